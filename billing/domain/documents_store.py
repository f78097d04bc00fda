"""The store of bills' files: found by their SHA-256, wherever `STORAGES["bills"]` keeps them.

The same bytes are there once, and nothing in a name tells whose they are: nobody gets at a file
without a row (`BillFile`) that names it. A file is verified whenever it is read.
"""

from __future__ import annotations

import hashlib
from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

ALIAS: Final = "bills"


class FileMissingError(LookupError):
    """The store has no such file."""


class FileDamagedError(RuntimeError):
    """A file in the store is not what its name says: the storage has lost or changed bytes."""


def write(content: bytes) -> str:
    """Keep a file; returns its SHA-256. What is there already is not written again."""
    sha256 = hashlib.sha256(content).hexdigest()
    storage, name = _storage(), _name(sha256)
    if not storage.exists(name):
        storage.save(name, ContentFile(content))
    return sha256


def read(sha256: str) -> bytes:
    """All bytes of a file. Raises FileMissingError and FileDamagedError."""
    try:
        with _storage().open(_name(sha256)) as file:
            content = bytes(file.read())
    except FileNotFoundError as error:
        raise FileMissingError(f"the store has no file {sha256}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileDamagedError(f"file {sha256} in the store is not what its name says")
    return content


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _storage() -> Storage:
    return storages[ALIAS]
