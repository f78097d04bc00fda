"""What a page shows of a tenant's look: name, style sheet, logo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse

from portal.frame.colours import THEMES, accent_of
from portal.frame.permissions import access_of
from tenants.domain.branding import Brand, BrandFile, BrandFiles, brand_of
from tenants.domain.oauth_queries import tenant_of_application
from tenants.domain.queries import tenants_below

PRODUCT: Final = "Wattline"
_CACHED_S: Final = 300


@dataclass(frozen=True, slots=True)
class ShownBrand:
    """Name, and the addresses of style sheet and logo where a tenant has set them."""

    name: str = PRODUCT
    css_url: str = ""
    logo_url: str = ""


def shown_brand(request: HttpRequest) -> ShownBrand:
    """The look of the tenant that the page is about, else the product's own."""
    tenant_id = _tenant_of(request)
    if tenant_id is None:
        return ShownBrand()
    key = _key(tenant_id)
    brand: Brand | None = cache.get(key)
    if brand is None:
        brand = brand_of(tenant_id=tenant_id)
        cache.set(key, brand, _CACHED_S)
    return ShownBrand(
        name=brand.name or PRODUCT,
        css_url=_url(brand.colours, "css"),
        logo_url=_url(brand.logo, "png"),
    )


def forget_brand(tenant_id: int) -> None:
    """Have a changed look seen at once, in the tenants below too; called after the commit."""
    below = tenants_below(tenant_ids=[tenant_id])[tenant_id]
    cache.delete_many([_key(tenant.tenant_id) for tenant in below])


def style_sheet(files: BrandFiles) -> str:
    """The tokens that a tenant's accents replace."""
    rules = []
    for theme, colour in zip(THEMES, (files.accent_light, files.accent_dark), strict=True):
        accent = accent_of(colour, theme)
        selector = f'[data-bs-theme="{theme}"]'
        rules.append(
            f"{selector} {{\n  --wl-accent: {accent.accent};\n  --wl-accent-soft: {accent.soft};\n"
            f"  --wl-on-accent: {accent.on_accent};\n}}\n"
        )
    return "".join(rules)


def _key(tenant_id: int) -> str:
    return f"brand:{tenant_id}"


def _url(file: BrandFile | None, extension: str) -> str:
    if file is None:
        return ""
    named = {"tenant_id": file.tenant_id, "version": file.version, "extension": extension}
    return reverse("brand-file", kwargs=named)


def _tenant_of(request: HttpRequest) -> int | None:
    """The tenant of the application that the page lets in, else the one the user acts in.

    The page of an application is its consent page, and the sign-in that leads there.
    """
    authorize = reverse("oauth:authorize")
    target = urlsplit(request.GET.get("next", ""))
    clients: list[str] = []
    if request.path == authorize:
        clients = request.GET.getlist("client_id")
    elif target.path == authorize:
        clients = parse_qs(target.query).get("client_id", [])
    if clients:
        return tenant_of_application(client_id=clients[0])
    access = access_of(request)
    return access.tenant.tenant_id if access else None
