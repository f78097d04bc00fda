"""Pages of releases and signing keys."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from devices.models import DeviceType
from devices.tests.factories import device_type, member
from firmware.artifacts import store
from firmware.domain import release_operations
from firmware.models import Release, ReleaseState, SigningKey
from firmware.tests import images
from firmware.tests.uploads import Signer, approved, draft, pem_of, program
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


@dataclass(frozen=True)
class World:
    """A tenant with a key, and two administrators with browsers."""

    tenant: Tenant
    kind: DeviceType
    signer: Signer
    first: User
    second: User
    mine: Client
    others: Client

    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    def draft(self, version: str = "1.0.0", image: bytes = b"firmware") -> Release:
        """A draft that the first uploaded."""
        with open_scope(self.scope()):
            return release_operations.create_release(
                tenant_id=self.tenant.pk,
                draft=draft(self.signer, self.kind, version, image),
                actor_id=self.first.pk,
            )


def _browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def firmware(db: None) -> World:
    """Without a scope: pages open their own."""
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        first, second = (member(tenant, Role.ADMIN).user for _ in range(2))
        kind, signer = device_type(tenant), Signer.of(tenant)
    return World(tenant, kind, signer, first, second, _browser(first), _browser(second))


def _files(world: World, image: bytes, version: str, **changes: Any) -> dict[str, Any]:
    signed = world.signer.sign(image, world.kind.code, version)
    return {
        "device_type": world.kind.pk,
        "image": SimpleUploadedFile("meter.img", image),
        "signature": SimpleUploadedFile("meter.img.sig.json", signed),
        **changes,
    }


def test_a_release_is_uploaded_and_approved_by_another(firmware: World, tmp_path: Path) -> None:
    image = images.mcuboot(tmp_path, "1.4.0")
    form = _files(firmware, image, "1.4.0", notes="<b>Counts</b> better.")
    answer = firmware.mine.post(reverse("release-create"), form)
    with open_scope(firmware.scope()):
        made = Release.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, reverse("release", args=[made.pk]))
    page = firmware.mine.get(answer["Location"])
    text = page.content.decode()
    assert "Another person has to approve it" in text
    assert reverse("release-approve", args=[made.pk]) not in text
    assert hashlib.sha256(image).hexdigest() in text
    assert "&lt;b&gt;Counts&lt;/b&gt; better." in text
    assert bytes(made.signature).hex() in text

    refused = firmware.mine.post(reverse("release-approve", args=[made.pk]), follow=True)
    assert "approved by another person" in refused.content.decode()
    theirs = firmware.others.get(reverse("release", args=[made.pk])).content.decode()
    assert reverse("release-approve", args=[made.pk]) in theirs
    firmware.others.post(reverse("release-approve", args=[made.pk]))
    with open_scope(firmware.scope()):
        made.refresh_from_db()
    assert (made.state, made.approved_by_id) == (ReleaseState.APPROVED, firmware.second.pk)
    firmware.mine.post(reverse("release-retire", args=[made.pk]))
    listed = firmware.others.get(reverse("release-list")).content.decode()
    assert "1.4.0" in listed
    assert "Retired" in listed


def test_what_does_not_fit_is_told_at_its_field_and_not_kept(firmware: World) -> None:
    good = _files(firmware, b"firmware", "1.0.0")
    altered = {**good, "image": SimpleUploadedFile("meter.img", b"Firmware")}
    answer = firmware.mine.post(reverse("release-create"), altered)
    assert answer.status_code == 422
    assert "signed for another image" in answer.content.decode()
    answer = firmware.mine.post(reverse("release-create"), {})
    assert set(answer.context["form"].errors) == {"device_type", "image", "signature"}
    with open_scope(firmware.scope()):
        assert not Release.objects.exists()
    assert not store.exists(hashlib.sha256(b"Firmware").hexdigest())


def test_the_checks_say_what_the_files_say_and_keep_nothing(firmware: World) -> None:
    image = program(4_711)  # which no other test keeps
    answer = firmware.mine.post(
        reverse("release-check"), _files(firmware, image, "1.0.0", from_versions="~1")
    )
    text = answer.content.decode()
    assert "Signed by Release key" in text
    assert "is no range of versions" in text
    assert "Everything fits together" not in text
    text = firmware.mine.post(
        reverse("release-check"), _files(firmware, image, "1.0.0")
    ).content.decode()
    assert "Everything fits together" in text
    text = firmware.mine.post(reverse("release-check"), {"notes": "x"}).content.decode()
    assert "Everything fits together" not in text
    assert not store.exists(hashlib.sha256(image).hexdigest())
    with open_scope(firmware.scope()):
        assert not Release.objects.exists()


def test_what_is_wrong_with_a_file_is_told_in_the_readers_language(
    firmware: World, tmp_path: Path
) -> None:
    image = images.mcuboot(tmp_path, "1.4.0")
    User.objects.filter(pk=firmware.first.pk).update(language="de")
    for data, sentence in (
        (image[:2000], "Sie wurde abgeschnitten"),
        (image, "Der Kopf der Datei nennt Version 1.4.0, und das Release soll 1.5.0 sein."),
    ):
        answer = firmware.mine.post(reverse("release-check"), _files(firmware, data, "1.5.0"))
        assert sentence in answer.content.decode()


def test_types_of_others_cannot_be_chosen(firmware: World) -> None:
    stranger = factories.tenant()
    with open_scope(Scope((stranger.pk,))):
        theirs = device_type(stranger)
    form = _files(firmware, b"firmware", "1.0.0", device_type=theirs.pk)
    answer = firmware.mine.post(reverse("release-create"), form)
    assert set(answer.context["form"].errors) == {"device_type"}
    assert theirs.code not in firmware.mine.get(reverse("release-create")).content.decode()


def test_a_draft_is_edited_and_deleted(firmware: World) -> None:
    made = firmware.draft()
    path = reverse("release-edit", args=[made.pk])
    assert firmware.mine.get(path).status_code == 200
    bad = firmware.mine.post(path, {"from_versions": "newer", "notes": ""})
    assert (bad.status_code, set(bad.context["form"].errors)) == (422, {"from_versions"})
    firmware.mine.post(path, {"from_versions": ">=1", "notes": "Better"})
    with open_scope(firmware.scope()):
        made.refresh_from_db()
    assert (made.from_versions, made.notes) == (">=1", "Better")
    answer = firmware.mine.post(reverse("release-delete", args=[made.pk]))
    assert answer["Location"] == reverse("release-list")
    assert firmware.mine.get(reverse("release", args=[made.pk])).status_code == 404


def test_the_image_is_sent_as_it_came(firmware: World) -> None:
    image = program(3, size=600_000)
    made = firmware.draft("1.0.0", image)
    answer = firmware.mine.get(reverse("release-image", args=[made.pk]))
    assert b"".join(answer.streaming_content) == image  # type: ignore[attr-defined]
    assert answer["Content-Length"] == "600000"
    name = f"{firmware.kind.code}-1.0.0.bin"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'


def test_keys_are_added_and_retired_and_private_ones_refused(firmware: World) -> None:
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = reverse("signing-key-create")
    refused = firmware.mine.post(path, {"name": "Mine", "public_key": secret})
    text = refused.content.decode()
    assert refused.status_code == 422
    assert "This is a private key" in text
    assert secret.splitlines()[1] not in text
    added = firmware.mine.post(path, {"name": "Ours", "public_key": pem_of(key).decode()})
    assert added["Location"] == reverse("signing-key-list")
    with open_scope(firmware.scope()):
        row = SigningKey.objects.get(name="Ours")
    listed = firmware.mine.get(added["Location"]).content.decode()
    assert row.key_id in listed
    firmware.mine.post(reverse("signing-key-retire", args=[row.pk]))
    with open_scope(firmware.scope()):
        row.refresh_from_db()
    assert row.retired_at is not None
    again = firmware.mine.post(reverse("signing-key-retire", args=[row.pk]), follow=True)
    assert "retired already" in again.content.decode()


def test_tenants_below_see_releases_and_keys_without_ways_to_change_them(firmware: World) -> None:
    with open_scope(firmware.scope()):
        people = firmware.first.pk, firmware.second.pk
        made = approved(firmware.signer, firmware.kind, "1.0.0", b"one", people=people)
    waiting = firmware.draft("2.0.0", b"two")
    below = factories.tenant(firmware.tenant)
    with open_scope(Scope((below.pk,))):
        client = _browser(member(below, Role.ADMIN).user)
    listed = client.get(reverse("release-list")).content.decode()
    assert "1.0.0" in listed
    assert "2.0.0" not in listed
    page = client.get(reverse("release", args=[made.pk])).content.decode()
    assert "an organisation above yours" in page
    for route in ("release-approve", "release-retire", "release-edit", "release-delete"):
        assert reverse(route, args=[made.pk]) not in page
    assert client.get(reverse("release", args=[waiting.pk])).status_code == 404
    keys = client.get(reverse("signing-key-list")).content.decode()
    assert firmware.signer.key.key_id in keys
    assert reverse("signing-key-retire", args=[firmware.signer.key.pk]) not in keys


@pytest.mark.parametrize("releases", [1, 3])
def test_the_list_takes_few_queries(
    firmware: World, releases: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(releases):
        firmware.draft(f"1.{number}.0", program(number))
    firmware.mine.get(reverse("release-list"))
    with django_assert_num_queries(11):
        answer = firmware.mine.get(reverse("release-list"))
    assert answer.content.decode().count("Draft") >= releases
