"""The store: files found by their SHA-256, wherever `STORAGES["firmware"]` keeps them.

The same bytes are there once, whoever brings them: nothing in a name tells whose they are, and
nobody gets at one without a row that names it. A file is verified when it is written and whenever
it is read as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any, Final

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage, storages

from firmware.artifacts.errors import ArtifactError, gettext_noop
from firmware.artifacts.storage import FolderStorage

ALIAS: Final = "firmware"
_PIECE: Final = 1 << 16
_DIGITS: Final = frozenset("0123456789abcdef")


class ArtifactMissingError(LookupError):
    """The store has no such file."""


class ArtifactDamagedError(RuntimeError):
    """A file in the store is not what its name says: the storage has lost or changed bytes."""


def name_of(sha256: str) -> str:
    """The name of a file in the store; `sha256` in hexadecimal, else ValueError."""
    if len(sha256) != hashlib.sha256().digest_size * 2 or not set(sha256) <= _DIGITS:
        raise ValueError(f"{sha256[:80]!r} is no SHA-256 in hexadecimal")
    return f"{sha256[:2]}/{sha256}"


def write(content: File[Any] | bytes, *, sha256: str) -> str:
    """Keep a file and return its name in the store; it has been read back and is what was asked.

    Writing what is there already is no error: the same bytes are written anew, so that the file is
    whole and young (`stored_before`). Raises ArtifactError when the bytes have another digest, and
    then the store is as before.
    """
    file: File[Any] = ContentFile(content) if isinstance(content, bytes) else content
    file.seek(0)
    if _digest(file) != sha256:
        raise ArtifactError(
            "digest", gettext_noop("The file changed while it was uploaded. Upload it again.")
        )
    file.seek(0)
    name = _storage().save(name_of(sha256), file)
    with _storage().open(name) as kept:
        if _digest(kept) != sha256:
            raise ArtifactDamagedError(f"the storage did not keep {sha256} as it was written")
    return name


def exists(sha256: str) -> bool:
    """Whether the store has the file; it is not read."""
    return _storage().exists(name_of(sha256))


def open(sha256: str) -> IO[bytes]:  # noqa: A001 - read as store.open
    """The file for reading, with `seek`; its digest is not compared. ArtifactMissingError.

    The caller closes it.
    """
    try:
        found = _storage().open(name_of(sha256), "rb")
    except FileNotFoundError as error:
        raise ArtifactMissingError(f"the store has no file {sha256}") from error
    return found


def part(sha256: str, start: int, most: int) -> bytes:
    """At most so many bytes of a file from `start` on, which lies in it; ArtifactMissingError.

    Of a bucket just these are fetched: a file that S3Storage has opened is fetched as a whole
    before the first of its bytes is read.
    """
    with open(sha256) as file:
        held = getattr(file, "obj", None)
        if held is not None:
            answer = held.get(Range=f"bytes={start}-{start + most - 1}")
            return bytes(answer["Body"].read())
        file.seek(start)
        return file.read(most)


def read(sha256: str) -> bytes:
    """All bytes of a file, verified. Raises ArtifactMissingError and ArtifactDamagedError."""
    with open(sha256) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactDamagedError(f"file {sha256} in the store is not what its name says")
    return data


def verify(sha256: str) -> None:
    """Read a file, in pieces. Raises ArtifactMissingError and ArtifactDamagedError."""
    with open(sha256) as file:
        if _digest(file) != sha256:
            raise ArtifactDamagedError(f"file {sha256} in the store is not what its name says")


def stored_before(instant: datetime) -> Iterator[str]:
    """The digests of files that were last written before `instant`, in no order."""
    storage = _storage()
    for folder in _listed(storage, "")[0]:
        for name in _listed(storage, folder)[1]:
            if len(name) == hashlib.sha256().digest_size * 2 and set(name) <= _DIGITS:
                path = f"{folder}/{name}"
                if storage.get_modified_time(path) < instant:
                    yield name


def sweep_unfinished(before: datetime) -> int:
    """Remove what writers that were killed left before an instant, where the storage writes beside
    the file (`storage.FolderStorage`); returns how many.
    """
    storage = _storage()
    return storage.sweep_unfinished(before) if isinstance(storage, FolderStorage) else 0


def remove(sha256: str) -> None:
    """Take a file out of the store; one that is not there is no error."""
    _storage().delete(name_of(sha256))


def _listed(storage: Storage, folder: str) -> tuple[list[str], list[str]]:
    try:
        return storage.listdir(folder)
    except FileNotFoundError:  # nothing was ever written
        return [], []


def _storage() -> Storage:
    return storages[ALIAS]


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
