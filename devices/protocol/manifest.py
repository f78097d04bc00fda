"""The manifest of a firmware: what is signed, and what a device compares with itself.

The signature (Ed25519, RFC 8032) is over `signed_bytes(manifest)`, the bytes as they were made: a
device checks the bytes that it got and never writes them anew, so fields that a later version
appends are covered by the signature and ignored by readers that do not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from devices.protocol import fields
from devices.protocol.fields import MAX_NAME, FieldReader
from devices.protocol.firmware import MAX_MANIFEST, MAX_PAYLOAD, SHA256_BYTES

# Says what the signature is for: one made for anything else never fits a manifest.
SIGNED_PREFIX: Final = b"wattline-firmware-1\0"
MAX_HARDWARE: Final = 24


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an image is and for whom.

    `device_type` is the code of the device type; `hardware` the revisions that the image is for
    (none: all of them); `version` its version (SemVer 2.0); `image_sha256` and `image_size` are of
    the whole image, whatever way it travels.
    """

    device_type: str
    hardware: tuple[str, ...]
    version: str
    image_sha256: bytes
    image_size: int

    def encode(self) -> bytes:
        """The bytes to sign and to send; raises the ProtocolError of the first rule broken."""
        return b"".join(
            (
                fields.text(self.device_type, 1, MAX_NAME),
                fields.count(len(self.hardware), 0, MAX_HARDWARE),
                *(fields.text(revision, 1, MAX_NAME) for revision in self.hardware),
                fields.text(self.version, 1, MAX_NAME),
                fields.exactly(self.image_sha256, SHA256_BYTES, "a SHA-256"),
                fields.number(self.image_size, MAX_PAYLOAD, 1),
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The manifest in `data`; bytes after its last field are ignored. ProtocolError."""
        read = FieldReader(data)
        device_type = read.text(1, MAX_NAME)
        hardware = tuple(read.text(1, MAX_NAME) for _ in range(read.count(0, MAX_HARDWARE)))
        return cls(
            device_type,
            hardware,
            read.text(1, MAX_NAME),
            read.raw(SHA256_BYTES),
            read.number(MAX_PAYLOAD, 1),
        )

    def fits_hardware(self, revision: str) -> bool:
        """Whether the image is for this hardware revision."""
        return not self.hardware or revision in self.hardware


def signed_bytes(manifest: bytes) -> bytes:
    """What the signature is over: the purpose, then the manifest as it was encoded."""
    return SIGNED_PREFIX + manifest


# The longest manifest that can be made fits the field that carries it.
assert 2 * (1 + MAX_NAME) + 1 + MAX_HARDWARE * (1 + MAX_NAME) + SHA256_BYTES + 5 <= MAX_MANIFEST
