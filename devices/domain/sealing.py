"""Short-lived secrets at rest: encrypted with a key that is not in the database.

What must be shown once after work in the background (a new device's secret, a claim code for its
label) waits sealed. The key follows from the installation's SECRET_KEY, so that a copy of the
database alone opens nothing; SECRET_KEY_FALLBACKS still open what was sealed before a change.
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes


class BrokenSeal(Exception):  # noqa: N818 - it reads as what happened
    """The sealed text was made with another key, for another purpose, or was changed."""


def seal(text: str, *, purpose: str) -> bytes:
    """Encrypt `text`; only the same `purpose` opens it again."""
    return _box(purpose).encrypt(text.encode())


def unseal(sealed: bytes, *, purpose: str) -> str:
    """The text; raises BrokenSeal."""
    try:
        return _box(purpose).decrypt(bytes(sealed)).decode()
    except InvalidToken as error:
        raise BrokenSeal(f"a sealed {purpose} cannot be opened: was SECRET_KEY changed?") from error


def _box(purpose: str) -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([Fernet(_key(key, purpose)) for key in keys])


def _key(secret: str | bytes, purpose: str) -> bytes:
    derived = HKDF(SHA256(), 32, salt=None, info=f"wattline seal {purpose}".encode())
    return base64.urlsafe_b64encode(derived.derive(force_bytes(secret)))
