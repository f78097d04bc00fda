"""Releases as people upload them: a key, an image, its signature."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.files.base import ContentFile

from devices.models import DeviceType
from devices.protocol.manifest import Manifest
from firmware.artifacts.signing import SignatureFile
from firmware.domain import key_operations, release_operations
from firmware.domain.release_checks import Draft
from firmware.models import Release, SigningKey
from tenants.models import Tenant

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Signer:
    """Who has a private key, whose public one the tenant accepts."""

    private: Ed25519PrivateKey
    key: SigningKey

    @classmethod
    def of(cls, tenant: Tenant) -> Signer:
        """With a new key."""
        private = Ed25519PrivateKey.generate()
        key = key_operations.add_key(
            tenant_id=tenant.pk, name="Release key", pem=pem_of(private), actor_id=None
        )
        return cls(private, key)

    def sign(self, image: bytes, code: str, version: str, hardware: tuple[str, ...] = ()) -> bytes:
        """The signature file of an image."""
        digest = hashlib.sha256(image).digest()
        manifest = Manifest(code, hardware, version, digest, len(image))
        return SignatureFile.make(self.private, manifest).dump().encode()


def pem_of(private: Ed25519PrivateKey) -> bytes:
    """The public key as it is uploaded."""
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def program(seed: int, size: int = 20_000) -> bytes:
    """A bare image: two with different seeds differ in a twentieth of their bytes."""
    data = bytearray(random.Random(0).randbytes(size))
    other = random.Random(seed)
    for at in range(0, size, 1000):
        data[at : at + 50] = other.randbytes(50)
    return bytes(data)


def draft(
    signer: Signer,
    kind: DeviceType,
    version: str = "1.0.0",
    image: bytes = b"firmware",
    *,
    hardware: tuple[str, ...] = (),
    from_versions: str = "",
) -> Draft:
    """A draft in which nothing is wrong."""
    return Draft(
        device_type_id=kind.pk,
        image=ContentFile(image),
        signature=ContentFile(signer.sign(image, kind.code, version, hardware)),
        version=version,
        hardware_revisions=hardware,
        from_versions=from_versions,
    )


def approved(
    signer: Signer,
    kind: DeviceType,
    version: str,
    image: bytes,
    *,
    people: tuple[int, int],
) -> Release:
    """A release that the first of two people uploaded, and the second approved."""
    made = release_operations.create_release(
        tenant_id=signer.key.tenant_id,
        draft=draft(signer, kind, version, image),
        actor_id=people[0],
    )
    return release_operations.approve_release(release_id=made.pk, actor_id=people[1], now=NOW)
