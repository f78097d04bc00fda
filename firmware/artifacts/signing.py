"""Signatures of releases: Ed25519 (RFC 8032) over a manifest.

A release is signed where the private key is, away from the server, and comes with a *signature
file*: JSON with the manifest that was signed, the signature and the id of the key. Only these
count; what else stands in the file is for people to read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from devices.protocol.errors import ProtocolError
from devices.protocol.manifest import Manifest, signed_bytes
from firmware.artifacts.errors import ArtifactError, gettext_noop
from firmware.artifacts.inspection import is_private_key

FORMAT: Final = "wattline-signature-1"
KEY_ID_LENGTH: Final = 16
SIGNATURE_BYTES: Final = 64
# A manifest with all its lists full, in base64, and what is for people.
LONGEST_FILE: Final = 16_384


def key_id(public_key: bytes) -> str:
    """By what a key is named: the beginning of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:KEY_ID_LENGTH]


def public_key_of(data: bytes) -> bytes:
    """The 32 bytes of an Ed25519 public key in PEM; raises ArtifactError.

    Bare bytes are not taken: a private key has as many, and nobody could tell.
    """
    if is_private_key(data):
        raise ArtifactError(
            "private_key",
            gettext_noop(
                "This is a private key, and was not kept. Upload the public key, which begins with"
                " “-----BEGIN PUBLIC KEY-----”; if the private key left its place, make a new one."
            ),
        )
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ArtifactError(
            "key",
            gettext_noop(
                "This is no Ed25519 public key in PEM. `manage.py sign_firmware --new-key` writes"
                " one beside the private key; its first line is “-----BEGIN PUBLIC KEY-----”."
            ),
        )
    return key.public_bytes_raw()


def private_key_of(data: bytes, password: bytes | None = None) -> Ed25519PrivateKey:
    """An Ed25519 private key in PEM (perhaps with a password) or as its 32 bytes; ArtifactError."""
    if len(data) == 32:
        return Ed25519PrivateKey.from_private_bytes(data)
    try:
        key = serialization.load_pem_private_key(data, password)
    except TypeError as error:
        raise ArtifactError(
            "password", gettext_noop("The key cannot be opened: %(error)s."), error=error
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ArtifactError(
            "key",
            gettext_noop(
                "This is no private key in PEM, nor the 32 bytes of one, or its password is"
                " another."
            ),
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ArtifactError("key", gettext_noop("The key is not an Ed25519 key."))
    return key


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """A manifest as it was signed, the signature over it (64 bytes), and the id of the key."""

    manifest: bytes
    signature: bytes
    key_id: str

    @classmethod
    def make(cls, key: Ed25519PrivateKey, manifest: Manifest) -> Self:
        """Sign a manifest; raises ArtifactError for one that cannot be written."""
        try:
            data = manifest.encode()
        except ProtocolError as error:
            raise ArtifactError(
                "manifest", gettext_noop("This cannot be signed: %(error)s."), error=error
            ) from error
        public = key.public_key().public_bytes_raw()
        return cls(data, key.sign(signed_bytes(data)), key_id(public))

    def dump(self) -> str:
        """The file, with the manifest once more in words."""
        told = self.read()
        document = {
            "format": FORMAT,
            "device_type": told.device_type,
            "hardware": list(told.hardware),
            "version": told.version,
            "image_sha256": told.image_sha256.hex(),
            "image_size": told.image_size,
            "key_id": self.key_id,
            "manifest": base64.b64encode(self.manifest).decode(),
            "signature": base64.b64encode(self.signature).decode(),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, data: bytes) -> Self:
        """The signature in a file; raises ArtifactError."""
        if is_private_key(data[:LONGEST_FILE]):
            raise ArtifactError(
                "private_key",
                gettext_noop("This file is a private key, not a signature, and was not kept."),
            )
        if len(data) > LONGEST_FILE:
            raise ArtifactError(
                "signature", gettext_noop("This is no signature file: it is too long.")
            )
        try:
            document = json.loads(data)
            if document["format"] != FORMAT:
                raise ValueError(document["format"])
            found = cls(
                base64.b64decode(document["manifest"], validate=True),
                base64.b64decode(document["signature"], validate=True),
                str(document["key_id"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
            raise ArtifactError(
                "signature",
                gettext_noop(
                    "This is no signature file. `manage.py sign_firmware` writes one (.sig.json)."
                ),
            ) from error
        found.read()
        if len(found.signature) != SIGNATURE_BYTES:
            raise ArtifactError("signature", gettext_noop("The signature does not have 64 bytes."))
        return found

    def read(self) -> Manifest:
        """What was signed; raises ArtifactError."""
        try:
            return Manifest.decode(self.manifest)
        except ProtocolError as error:
            raise ArtifactError(
                "manifest", gettext_noop("The signed manifest is damaged: %(error)s."), error=error
            ) from error

    def verify(self, public_key: bytes) -> None:
        """Raises ArtifactError unless the key has signed exactly this manifest."""
        try:
            key = Ed25519PublicKey.from_public_bytes(public_key)
            key.verify(self.signature, signed_bytes(self.manifest))
        except InvalidSignature:
            raise ArtifactError(
                "signature",
                gettext_noop(
                    "The signature is not of this key over this manifest: one of them was altered."
                ),
            ) from None
