"""The keys that sign ID tokens and logout tokens, as files that all processes share.

Three of them are announced: `current` signs, `previous` verifies what was signed before the last
rotation, and `next` is known to every application long before it signs anything, so that a rotation
meets no application with an outdated set in its cache.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from jwcrypto import jwk

ALGORITHM: Final = "RS256"
NAMES: Final = ("current", "next", "previous")
_BITS: Final = 2048


class KeysUnusable(Exception):  # noqa: N818 - it reads as what happened
    """The folder of the keys cannot be read or written; the message says what to do."""


_cached: dict[Path, tuple[int, Any]] = {}


def signing_key() -> Any:
    """The key that signs now (a `jwcrypto.jwk.JWK`)."""
    return _key("current")


def published() -> list[dict[str, Any]]:
    """The public halves, for the JWKS document (RFC 7517)."""
    return [
        {"alg": ALGORITHM, "use": "sig", **json.loads(key.export_public()), "kid": key.thumbprint()}
        for key in _keys()
    ]


def find(kid: str | None) -> Any:
    """The key with this identifier; None when there is none (any more)."""
    return next((key for key in _keys() if key.thumbprint() == kid), None)


def rotate() -> str:
    """Let `next` sign from now on; returns its identifier. Every process sees it at once."""
    with _locked() as folder:
        _ensure(folder)
        (folder / "current.pem").replace(folder / "previous.pem")
        (folder / "next.pem").replace(folder / "current.pem")
        _write(folder / "next.pem")
    return str(signing_key().thumbprint())


def _keys() -> list[Any]:
    return [_key(name) for name in NAMES if name != "previous" or _path(name).exists()]


def _path(name: str) -> Path:
    return Path(settings.OIDC_KEYS_DIR) / f"{name}.pem"


def _key(name: str) -> Any:
    """The key of a file, read again whenever the file is another one."""
    path = _path(name)
    try:
        version = path.stat().st_mtime_ns
    except FileNotFoundError:
        with _locked() as folder:
            _ensure(folder)
        version = path.stat().st_mtime_ns
    known = _cached.get(path)
    if known is None or known[0] != version:
        known = _cached[path] = version, jwk.JWK.from_pem(path.read_bytes())
    return known[1]


@contextmanager
def _locked() -> Iterator[Path]:
    folder = Path(settings.OIDC_KEYS_DIR)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise KeysUnusable(
            f"the keys of ID tokens belong into {folder}, which cannot be written "
            f"({error.strerror}): set OIDC_KEYS_DIR to a folder that all processes can use"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _ensure(folder: Path) -> None:
    for name in ("current", "next"):
        if not (folder / f"{name}.pem").exists():
            _write(folder / f"{name}.pem")


def _write(path: Path) -> None:
    """Make a new key; the file appears complete or not at all."""
    key = jwk.JWK.generate(kty="RSA", size=_BITS)
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.export_to_pem(private_key=True, password=None))
    draft.replace(path)
