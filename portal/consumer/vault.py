"""Tokens at rest: sealed with a key that only the browser's secret gives."""

from __future__ import annotations

import json
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO: Final = b"wattline home session"
_NONCE_BYTES: Final = 12


class Unreadable(Exception):  # noqa: N818 - it reads as what happened
    """What was stored does not open with this secret, or is not what was sealed."""


def new_secret() -> str:
    """What the browser keeps: 256 random bits."""
    return secrets.token_urlsafe(32)


def _key(secret: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO)
    return AESGCM(derived.derive(secret.encode()))


def seal(secret: str, values: dict[str, str]) -> bytes:
    """AES-256-GCM: a random nonce, then the ciphertext of the JSON."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _key(secret).encrypt(nonce, json.dumps(values).encode(), None)


def unseal(secret: str, sealed: bytes) -> dict[str, str]:
    """What was sealed; raises Unreadable."""
    try:
        opened = _key(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:
        raise Unreadable from error
    found: dict[str, str] = json.loads(opened)
    return found
