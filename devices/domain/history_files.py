"""Files that history was taken from, kept as evidence.

Needs an open scope that contains the tenant and is not narrowed to facilities.
"""

from __future__ import annotations

import hashlib
from typing import Final

import zstandard

from devices.models import KeptFile

# Of what somebody brings; files may be packed, and what is inside has a bound of its own
# (`devices.files.opening.MAX_BYTES`).
MAX_UPLOAD: Final = 32_000_000


class TooLargeError(ValueError):
    """A file is larger than MAX_UPLOAD; the message is a sentence."""


class ChangedFileError(RuntimeError):
    """A kept file is not what its hash says: somebody has changed it in the database."""


def keep_file(*, tenant_id: int, data: bytes) -> KeptFile:
    """The file, kept; the same bytes are kept once for each tenant. Raises TooLargeError."""
    if len(data) > MAX_UPLOAD:
        raise TooLargeError(
            f"The file has more than {MAX_UPLOAD // 1_000_000} MB. Pack it with gzip, or split it."
        )
    digest = hashlib.sha256(data).digest()
    found, _made = KeptFile.objects.get_or_create(
        tenant_id=tenant_id,
        sha256=digest,
        defaults={"size": len(data), "content": zstandard.compress(data)},
    )
    return found


def content_of(file_id: int) -> bytes:
    """The bytes of a kept file as they came. Raises ChangedFileError, and DoesNotExist."""
    kept = KeptFile.objects.get(pk=file_id)
    try:
        data = zstandard.decompress(bytes(kept.content), max_output_size=kept.size)
    except zstandard.ZstdError as error:
        raise ChangedFileError(f"file {file_id} cannot be unpacked") from error
    if hashlib.sha256(data).digest() != bytes(kept.sha256):
        raise ChangedFileError(f"file {file_id} is not what its hash says")
    return data


def forget_unused(*, file_id: int) -> None:
    """Remove a kept file that no import refers to."""
    KeptFile.objects.filter(pk=file_id, imports__isnull=True).delete()
