"""The store of bills' files: found by their SHA-256, wherever `STORAGES["bills"]` keeps them.

The same bytes are there once, and nothing in a name tells whose they are: nobody gets at a file
without a row (`BillFile`) that names it. A file is verified whenever it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

ALIAS: Final = "bills"
_DIGITS: Final = frozenset("0123456789abcdef")


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


def stored_before(instant: datetime) -> Iterator[str]:
    """The SHA-256 of files that were last written before an instant, in no order."""
    for path in _written_before(instant):
        name = path.rpartition("/")[2]
        if len(name) == hashlib.sha256().digest_size * 2 and set(name) <= _DIGITS:
            yield name


def remove(sha256: str) -> None:
    """Take a file out of the store; one that is not there is no error."""
    _storage().delete(_name(sha256))


def remove_unfinished(before: datetime) -> None:
    """Remove what writers have left beside their files that were killed before an instant."""
    for path in _written_before(before):
        if path.rpartition("/")[2].startswith("."):
            _storage().delete(path)


def _written_before(instant: datetime) -> Iterator[str]:
    storage = _storage()
    for folder in _listed(storage, "")[0]:
        for name in _listed(storage, folder)[1]:
            path = f"{folder}/{name}"
            try:
                is_old = storage.get_modified_time(path) < instant
            except FileNotFoundError:
                # Somebody has removed it, or has given it its name.
                continue
            if is_old:
                yield path


def _listed(storage: Storage, folder: str) -> tuple[list[str], list[str]]:
    try:
        return storage.listdir(folder)
    except FileNotFoundError:  # nothing was ever written
        return [], []


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _storage() -> Storage:
    return storages[ALIAS]
