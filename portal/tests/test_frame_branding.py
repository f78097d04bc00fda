"""The look of tenants: what is accepted, who sees it, and where it comes from."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from PIL import Image, PngImagePlugin
from pytest_django import DjangoCaptureOnCommitCallbacks

from devices.tests import factories
from portal.frame.logos import MAX_BYTES, LogoRefused, clean_logo
from tenants.domain.branding import Look, brand_of, set_look
from tenants.models import AuditEntry, Branding, Tenant, TenantKind
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import application as new_application

pytestmark = pytest.mark.django_db

PURPLE = {"name": "Violet Power", "accent_light": "#7a1fa2", "accent_dark": "#d6a3ff"}


@pytest.fixture(autouse=True)
def fresh_cache() -> None:
    cache.clear()


def picture(kind: str = "PNG", size: tuple[int, int] = (900, 300), **options: Any) -> bytes:
    written = io.BytesIO()
    Image.new("RGBA", size, (122, 31, 162, 255)).save(written, format=kind, **options)
    return written.getvalue()


def admin_of(tenant: Tenant) -> Client:
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, Role.ADMIN).user
    client = Client()
    client.force_login(user)
    return client


def family() -> tuple[Tenant, Tenant, Tenant]:
    operator = factories.operator()
    reseller = factories.tenant(operator, TenantKind.RESELLER)
    return operator, reseller, factories.tenant(reseller)


def set_in(tenant: Tenant, look: Look, logo: bytes | None = None) -> None:
    with open_scope(Scope((tenant.pk,))):
        set_look(tenant_id=tenant.pk, look=look, logo=logo, actor_id=None)


# --- where it comes from --------------------------------------------


def test_each_part_comes_from_the_nearest_tenant_that_has_set_it() -> None:
    operator, reseller, client = family()
    set_in(operator, Look("Operator", "#0b3d2e", "#7fe0b0"), picture())
    set_in(reseller, Look("Reseller"))
    brand = brand_of(tenant_id=client.pk)
    assert brand.name == "Reseller"
    assert brand.colours is not None
    assert brand.logo is not None
    assert (brand.colours.tenant_id, brand.logo.tenant_id) == (operator.pk, operator.pk)
    set_in(client, Look("", "#7a1fa2", "#d6a3ff"))
    brand = brand_of(tenant_id=client.pk)
    assert brand.name == "Reseller"
    assert brand.colours is not None
    assert brand.colours.tenant_id == client.pk


def test_look_of_a_tenant_reaches_neither_those_above_nor_beside() -> None:
    operator, reseller, _client = family()
    sibling = factories.tenant(operator)
    set_in(reseller, Look("Reseller", "#7a1fa2", "#d6a3ff"), picture())
    for other in (operator, sibling):
        assert brand_of(tenant_id=other.pk).name == ""


def test_looking_up_a_brand_costs_one_query() -> None:
    _operator, _reseller, client = family()
    with CaptureQueriesContext(connection) as captured:
        brand_of(tenant_id=client.pk)
    assert len(captured) == 1


def test_database_wants_both_accents_or_none() -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))), pytest.raises(IntegrityError), transaction.atomic():
        Branding.objects.create(tenant=tenant, accent_light="#7a1fa2", version="x")


# --- setting it -----------------------------------------------------


def test_saved_look_is_on_every_page_and_in_the_audit_log(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    tenant = factories.tenant()
    client = admin_of(tenant)
    assert "<span>Wattline</span>" in client.get("/design/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        upload = SimpleUploadedFile("logo.png", picture(), "image/png")
        response = client.post(reverse("branding"), {**PURPLE, "logo": upload})
    assert response.status_code == 302
    html = client.get("/design/").content.decode()
    assert "· Violet Power</title>" in html
    assert 'alt="Violet Power"' in html
    with open_scope(Scope((tenant.pk,))):
        entry = AuditEntry.objects.get(action="branding.set")
        assert entry.after is not None
        assert entry.after["accent_light"] == "#7a1fa2"
        assert "logo" not in entry.after


def test_changed_look_of_a_tenant_above_is_seen_below_at_once(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    operator, _reseller, below = family()
    client = admin_of(below)
    assert "· Wattline</title>" in client.get("/design/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        admin_of(operator).post(reverse("branding"), {"name": "Above"})
    assert "· Above</title>" in client.get("/design/").content.decode()


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({"accent_light": "red", "accent_dark": "#d6a3ff"}, "accent_light", "# and six digits"),
        ({"accent_light": "#ffee88", "accent_dark": "#d6a3ff"}, "accent_light", "4.5 : 1"),
        ({"accent_light": "#7a1fa2", "accent_dark": "#331144"}, "accent_dark", "4.5 : 1"),
        ({"accent_light": "#7a1fa2", "accent_dark": ""}, "accent_dark", "both accents"),
        ({"accent_light": "", "accent_dark": "#d6a3ff"}, "accent_light", "both accents"),
        ({"name": "x" * 61}, "name", "60"),
    ],
)
def test_look_that_does_not_do_is_refused_at_its_field(
    given: dict[str, str], field: str, text: str
) -> None:
    tenant = factories.tenant()
    response = admin_of(tenant).post(reverse("branding"), given)
    assert response.status_code == 422
    errors = response.context["form"].errors
    assert list(errors) == [field]
    assert text in errors[field][0]
    assert brand_of(tenant_id=tenant.pk).name == ""


def test_logo_stays_until_it_is_replaced_or_removed() -> None:
    tenant = factories.tenant()
    client = admin_of(tenant)
    set_in(tenant, Look("First"), picture())
    client.post(reverse("branding"), {"name": "Second"})
    assert brand_of(tenant_id=tenant.pk).logo is not None
    client.post(reverse("branding"), {"name": "Second", "remove_logo": "on"})
    assert brand_of(tenant_id=tenant.pk).logo is None


# --- the public files -----------------------------------------------


def test_files_are_kept_for_ever_under_an_address_that_nobody_guesses() -> None:
    tenant = factories.tenant()
    set_in(tenant, Look("", "#7a1fa2", "#d6a3ff"), picture())
    file = brand_of(tenant_id=tenant.pk).colours
    assert file is not None

    def address(version: str, extension: str) -> str:
        return reverse("brand-file", args=[tenant.pk, version, extension])

    sheet = Client().get(address(file.version, "css"))
    assert sheet["Content-Type"] == "text/css; charset=utf-8"
    assert sheet["Cache-Control"] == "public, max-age=31536000, immutable"
    assert '[data-bs-theme="dark"] {\n  --wl-accent: #d6a3ff;' in sheet.content.decode()
    logo = Client().get(address(file.version, "png"))
    assert logo["Content-Type"] == "image/png"
    assert logo["X-Content-Type-Options"] == "nosniff"
    for extension in ("css", "png"):
        assert Client().get(address("guessed", extension)).status_code == 404


def test_old_version_is_gone_with_the_change() -> None:
    tenant = factories.tenant()
    set_in(tenant, Look("", "#7a1fa2", "#d6a3ff"))
    old = brand_of(tenant_id=tenant.pk).colours
    set_in(tenant, Look("", "#0b3d2e", "#7fe0b0"))
    assert old is not None
    address = reverse("brand-file", args=[tenant.pk, old.version, "css"])
    assert Client().get(address).status_code == 404


def test_sign_in_towards_an_application_looks_like_its_tenant() -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        application, _secret = new_application(tenant)
    set_in(tenant, Look("Violet Power"))
    target = f"{reverse('oauth:authorize')}?client_id={application.client_id}"
    shown = Client().get(reverse("login"), {"next": target}).content.decode()
    assert "· Violet Power</title>" in shown
    for elsewhere in ("/design/", f"{reverse('oauth:authorize')}?client_id=nobody", "\0"):
        page = Client().get(reverse("login"), {"next": elsewhere}).content.decode()
        assert "· Wattline</title>" in page


# --- logos ----------------------------------------------------------


def bomb() -> bytes:
    """A PNG of 30 000 × 30 000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_logo_is_written_anew_and_fits_its_place(kind: str) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<script>alert(1)</script>")
    options: dict[str, Any] = {"pnginfo": info} if kind == "PNG" else {}
    content = clean_logo(picture(kind, **options))
    assert b"script" not in content
    with Image.open(io.BytesIO(content)) as logo:
        assert logo.format == "PNG"
        assert (logo.width <= 560, logo.height <= 136) == (True, True)
        assert logo.width / logo.height == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "SVG"),
        (b"<?xml version='1.0'?><SVG/>", "SVG"),
        (b"GIF89a" + b"\0" * 100, "no PNG or WebP"),
        (picture("PNG")[:200], "no PNG or WebP"),
        (picture("BMP", (90, 30)), "no PNG or WebP"),
        (b"", "no PNG or WebP"),
        (bomb(), "too many pixels"),
        (b"\0" * (MAX_BYTES + 1), "1 MB"),
    ],
    ids=["svg", "svg-upper", "gif", "cut", "bmp", "empty", "bomb", "large"],
)
def test_file_that_is_no_logo_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(LogoRefused, match=text):
        clean_logo(content)
