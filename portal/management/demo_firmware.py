"""Firmware of the demo: a signing key, and two releases of each type that the maker delivers.

One person uploads, another approves. The first release is the image that simulated devices leave
their factory with, so that patches fit them.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.core.files.base import ContentFile

from devices.management import provision
from devices.protocol.manifest import Manifest
from devices.simulator.catalogue import METER_TYPES
from devices.simulator.image import build_image
from firmware.artifacts import signing
from firmware.domain import delta_operations, key_operations, release_operations
from firmware.domain.release_checks import Draft
from firmware.models import Release, SigningKey
from portal.management.demo_people import APPROVER, UPLOADER
from tenants.models import Tenant, User
from tenants.scope import Scope, open_scope

KEY_FILE: Final = "demo-release.pem"
TYPES: Final = ("S3-CT", "M3-63", "EG-1")
# What simulated devices say that they are (`devices.simulator.casting`).
HARDWARE: Final = ("simulated rev A",)
_NEWS: Final = """Keeps its readings over longer breaks of the link.
Answers commands while a firmware is downloaded."""
RELEASES: Final = (("1.0.0", "As delivered."), ("1.1.0", _NEWS))


def ensure_firmware(maker: Tenant, home: Path, state: dict[str, Any]) -> None:
    """Complete key, releases and patches in the maker's tenant; people and types must be there.

    The private key lies in `home`, as it would with whoever signs; `state["firmware_keys"]` has the
    public ones that simulated devices trust, in hexadecimal.
    """
    private = _private_key(home / KEY_FILE)
    public = private.public_key().public_bytes_raw().hex()
    known: list[str] = state.setdefault("firmware_keys", [])
    if public not in known:
        known.append(public)
    scope = Scope((maker.pk,))
    with open_scope(scope):
        _ensure_key(maker, private)
        for code in TYPES:
            for version, notes in RELEASES:
                _ensure_release(maker, private, code, version, notes)
    while delta_operations.make_next(scope=scope, now=datetime.now(UTC)):
        pass


def _private_key(path: Path) -> Ed25519PrivateKey:
    if path.is_file():
        return signing.private_key_of(path.read_bytes())
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def _ensure_key(maker: Tenant, private: Ed25519PrivateKey) -> None:
    key = private.public_key()
    key_id = signing.key_id(key.public_bytes_raw())
    if not SigningKey.objects.filter(tenant=maker, key_id=key_id).exists():
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key_operations.add_key(
            tenant_id=maker.pk, name="Demo releases", pem=pem, actor_id=_person(UPLOADER)
        )


def _ensure_release(
    maker: Tenant, private: Ed25519PrivateKey, code: str, version: str, notes: str
) -> None:
    kind = provision.ensure_type(maker.pk, METER_TYPES[code])
    if Release.objects.filter(tenant=maker, device_type=kind, version=version).exists():
        return
    image = build_image(version, device_type=code)
    digest = hashlib.sha256(image).digest()
    manifest = Manifest(code, HARDWARE, version, digest, len(image))
    signed = signing.SignatureFile.make(private, manifest).dump().encode()
    made = release_operations.create_release(
        tenant_id=maker.pk,
        draft=Draft(
            device_type_id=kind.pk,
            image=ContentFile(image),
            signature=ContentFile(signed),
            notes=notes,
        ),
        actor_id=_person(UPLOADER),
    )
    release_operations.approve_release(
        release_id=made.pk, actor_id=_person(APPROVER), now=datetime.now(UTC)
    )


def _person(email: str) -> int:
    return User.objects.get(email=email).pk
