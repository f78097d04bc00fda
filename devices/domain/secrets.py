"""Device secrets: 32 random bytes, shown once, stored as SHA-256."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class DeviceSecret:
    """A secret in the clear; it exists only between being drawn and being shown."""

    value: bytes = field(repr=False)

    @classmethod
    def draw(cls) -> DeviceSecret:
        """A new one from the system's random source."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> DeviceSecret:
        """The secret from its written form; ValueError when it is not 32 bytes in base32."""
        compact = text.replace(" ", "").replace("-", "").upper()
        try:
            value = base64.b32decode(compact + "=" * (-len(compact) % 8))
        except binascii.Error as error:
            raise ValueError(f"the secret is not base32 ({error})") from None
        if len(value) != SECRET_BYTES:
            raise ValueError(f"the secret has {len(value)} bytes instead of {SECRET_BYTES}")
        return cls(value)

    @property
    def text(self) -> str:
        """How it is shown: 52 letters and digits of base32 (RFC 4648), hard to misread."""
        return base64.b32encode(self.value).decode().rstrip("=")

    @property
    def sha256(self) -> bytes:
        """What is stored: 32 bytes."""
        return hashlib.sha256(self.value).digest()
