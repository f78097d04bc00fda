"""Releases and signing keys over the REST API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from devices.models import DeviceType
from devices.tests.factories import device_type, member
from firmware.models import Release
from firmware.tests.uploads import Signer, pem_of, program
from portal.benchmarks import tokens
from tenants.models import Tenant, User
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


@dataclass(frozen=True)
class World:
    """A tenant with a key, and the headers of three callers."""

    tenant: Tenant
    kind: DeviceType
    signer: Signer
    first: dict[str, str]
    second: dict[str, str]
    service: dict[str, str]


def _headers(tenant: Tenant, user: User | None) -> dict[str, str]:
    scopes = frozenset(ACCESS_SCOPES) - (PERSONAL_SCOPES if user is None else frozenset())
    made = tokens.application(tenant_id=tenant.pk, scopes=scopes, service=user is None)
    if user is None:
        value, _row = tokens.issue(made, user_id=None)
    else:
        value, _row = tokens.issue(made, user_id=user.pk, scopes=scopes)
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
def firmware(db: None) -> World:
    """Without a scope: each request opens its own."""
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        callers = [
            _headers(tenant, user)
            for user in (*(member(tenant, Role.ADMIN).user for _ in range(2)), None)
        ]
        return World(tenant, device_type(tenant), Signer.of(tenant), *callers)


def _form(world: World, image: bytes, version: str, **changes: Any) -> dict[str, Any]:
    signed = world.signer.sign(image, world.kind.code, version, ("rev A",))
    return {
        "device_type": world.kind.code,
        "image": SimpleUploadedFile("meter.bin", image),
        "signature": SimpleUploadedFile("meter.bin.sig.json", signed),
        **changes,
    }


def test_a_release_lives_over_the_api(firmware: World, client: Client) -> None:
    image = program(5)
    form = _form(firmware, image, "1.2.0", from_versions=">=1", notes="Better")
    answer = client.post(reverse("api:release-list"), form, headers=firmware.first)
    assert answer.status_code == 201
    made = answer.json()
    assert made["image"] == {
        "sha256": hashlib.sha256(image).hexdigest(),
        "size": len(image),
        "header": {"format": "raw"},
    }
    told = ("device_type", "version", "hardware_revisions", "from_versions", "notes", "state")
    assert [made[name] for name in told] == [
        firmware.kind.code,
        "1.2.0",
        ["rev A"],
        ">=1",
        "Better",
        "draft",
    ]
    key = (made["id"],)
    refused = client.post(reverse("api:release-approve", args=key), headers=firmware.first)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    approved = client.post(reverse("api:release-approve", args=key), headers=firmware.second)
    assert approved.json()["state"] == "approved"
    assert client.get(reverse("api:release", args=key), headers=firmware.first).json() == (
        approved.json()
    )
    got = client.get(reverse("api:release-image", args=key), headers=firmware.first)
    assert b"".join(got.streaming_content) == image  # type: ignore[attr-defined]
    assert got["ETag"] == f'"{hashlib.sha256(image).hexdigest()}"'
    kept = client.delete(reverse("api:release", args=key), headers=firmware.first)
    assert kept.status_code == 400
    retired = client.post(reverse("api:release-retire", args=key), headers=firmware.first)
    assert retired.json()["state"] == "retired"


def test_what_does_not_fit_is_told_by_member(firmware: World, client: Client) -> None:
    path = reverse("api:release-list")
    for changes, member_ in (
        ({"image": SimpleUploadedFile("x", b"other")}, "signature"),
        ({"signature": SimpleUploadedFile("x", b"{}")}, "signature"),
        ({"version": "1.2"}, "version"),
        ({"from_versions": "?"}, "from_versions"),
        ({"device_type": "none"}, "device_type"),
        ({"colour": "red"}, "colour"),
    ):
        form = _form(firmware, b"image", "1.2.0") | changes
        answer = client.post(path, form, headers=firmware.first)
        assert answer.status_code == 400
        assert member_ in {error["parameter"] for error in answer.json()["errors"]}
    with open_scope(Scope((firmware.tenant.pk,))):
        assert not Release.objects.exists()


def test_a_service_account_neither_uploads_nor_approves(firmware: World, client: Client) -> None:
    path = reverse("api:release-list")
    form = _form(firmware, b"image", "1.2.0")
    answer = client.post(path, form, headers=firmware.service)
    assert (answer.status_code, "in the name of a person" in answer.content.decode()) == (400, True)
    form = _form(firmware, b"image", "1.2.0")
    made = client.post(path, form, headers=firmware.first).json()
    refused = client.post(
        reverse("api:release-approve", args=[made["id"]]), headers=firmware.service
    )
    assert (refused.status_code, "another person" in refused.content.decode()) == (400, True)


def test_lists_are_paged_and_narrowed(firmware: World, client: Client) -> None:
    path = reverse("api:release-list")
    for number in range(3):
        form = _form(firmware, program(number), f"1.{number}.0")
        assert client.post(path, form, headers=firmware.first).status_code == 201
    first = client.get(path, {"limit": 2}, headers=firmware.first).json()
    rest = client.get(first["next"], headers=firmware.first).json()
    versions = [one["version"] for one in (*first["results"], *rest["results"])]
    assert (versions, rest["next"]) == (["1.0.0", "1.1.0", "1.2.0"], None)
    one = client.get(path, {"version": "1.1.0", "state": "draft"}, headers=firmware.first).json()
    assert [release["version"] for release in one["results"]] == ["1.1.0"]
    none = client.get(path, {"device_type": "none"}, headers=firmware.first).json()
    assert none["results"] == []


def test_keys_live_over_the_api(firmware: World, client: Client) -> None:
    path = reverse("api:signing-key-list")
    private = Ed25519PrivateKey.generate()
    body = {"name": "Ours", "public_key": pem_of(private).decode()}

    def post(**changes: str) -> Any:
        return client.post(
            path, {**body, **changes}, content_type="application/json", headers=firmware.first
        )

    made = post().json()
    assert made["public_key"] == private.public_key().public_bytes_raw().hex()
    assert post().status_code == 400
    assert post(public_key="none").json()["errors"][0]["parameter"] == "public_key"
    listed = client.get(path, headers=firmware.first).json()["results"]
    assert [one["name"] for one in listed] == ["Release key", "Ours"]
    retire = reverse("api:signing-key-retire", args=[made["id"]])
    assert client.post(retire, headers=firmware.first).json()["retired_at"] is not None
    assert client.post(retire, headers=firmware.first).status_code == 400
