"""Secrets at rest: encrypted with keys that lie in files and not in the database.

What has to be read again (client secrets of companies, seeds of one-time codes) cannot be hashed.
It is sealed with AES-GCM under a key derived for its purpose and bound to whom it belongs, so that
a row copied over another one does not open. Each value names the key that sealed it; `rotate` makes
a new one, and the former stays readable until everything has been sealed anew.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_VERSION: Final = "s1"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_FORMAT: Final = re.compile(r"s1\.(?P<key>[0-9a-f]{8})\.(?P<sealed>[A-Za-z0-9_-]+)")


class KeysUnusable(Exception):  # noqa: N818 - it reads as what happened
    """The folder of the keys cannot be read or written; the message says what to do."""


class Unsealable(Exception):  # noqa: N818 - it reads as what happened
    """A sealed value does not open: its key is gone, or it belongs to something else."""


_cached: dict[Path, tuple[int, bytes]] = {}


def seal(text: str, *, purpose: str, owner: str = "") -> str:
    """`text` encrypted, as printable ASCII; opens for the same purpose and owner alone."""
    name, key = _current()
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = nonce + _cipher(key, purpose).encrypt(nonce, text.encode(), _bound(purpose, owner))
    return f"{_VERSION}.{name}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"


def unseal(value: str, *, purpose: str, owner: str = "") -> str:
    """What was sealed; raises Unsealable."""
    match = _FORMAT.fullmatch(value)
    if match is None:
        raise Unsealable("the value is not sealed")
    path = _folder() / f"{match['key']}.key"
    try:
        key = _read(path)
    except FileNotFoundError:
        raise Unsealable(
            f"the key {match['key']} is not in {path.parent}: bring it back from the backup, or "
            "set SEALING_KEYS_DIR to the folder that has it"
        ) from None
    sealed = base64.urlsafe_b64decode(match["sealed"] + "=" * (-len(match["sealed"]) % 4))
    nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return _cipher(key, purpose).decrypt(nonce, rest, _bound(purpose, owner)).decode()
    except (InvalidTag, ValueError):
        raise Unsealable("the value was changed, or it belongs to something else") from None


def is_current(value: str) -> bool:
    """Whether the value was sealed with the key that seals now."""
    return value.startswith(f"{_VERSION}.{_current()[0]}.")


def rotate() -> str:
    """Seal with a new key from now on; returns its name. Every process sees it at once."""
    with _locked() as folder:
        return _make(folder)


def forget_former() -> int:
    """Delete all keys but the current one; returns how many. Only once nothing needs them."""
    with _locked() as folder:
        current = _current()[0]
        former = [path for path in folder.glob("*.key") if path.stem != current]
        for path in former:
            path.unlink()
    return len(former)


def _bound(purpose: str, owner: str) -> bytes:
    return f"{purpose}\n{owner}".encode()


def _cipher(key: bytes, purpose: str) -> AESGCM:
    derive = HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=purpose.encode())
    return AESGCM(derive.derive(key))


def _folder() -> Path:
    return Path(settings.SEALING_KEYS_DIR)


def _current() -> tuple[str, bytes]:
    """Name and bytes of the key that seals; made at the first call."""
    pointer = _folder() / "current"
    try:
        name = pointer.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        with _locked() as folder:
            # Another process may have been quicker.
            name = pointer.read_text(encoding="ascii").strip() if pointer.exists() else ""
            name = name or _make(folder)
    return name, _read(_folder() / f"{name}.key")


def _read(path: Path) -> bytes:
    """The key of a file, read again whenever the file is another one."""
    version = path.stat().st_mtime_ns
    known = _cached.get(path)
    if known is None or known[0] != version:
        known = _cached[path] = version, path.read_bytes()
    return known[1]


def _make(folder: Path) -> str:
    """A new key, current from now on; both files appear complete or not at all."""
    name = secrets.token_hex(4)
    _write(folder / f"{name}.key", secrets.token_bytes(_KEY_BYTES))
    _write(folder / "current", name.encode())
    return name


def _write(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _locked() -> Iterator[Path]:
    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise KeysUnusable(
            f"the keys of sealed secrets belong into {folder}, which cannot be written "
            f"({error.strerror}): set SEALING_KEYS_DIR to a folder that all processes can use"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
