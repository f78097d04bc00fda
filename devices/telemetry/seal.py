"""Seals: by which it is proven that the segments of a period are what they were.

A Merkle tree as in RFC 6962, section 2.1, with SHA-256. The leaf of a segment is the hash of
0x00, the device's id and the start of the hour (8 bytes each, big-endian; ms since the Unix epoch)
and the bytes of the segment; an hour without a segment has the leaf NOTHING. The seal of a device's
day (UTC) are its 24 leaves; their tree has the root of the day, roots of days that of a period, and
periods of devices, by id, that of a park. Who keeps a root can prove later that nothing below it
was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

HASH_BYTES: Final = 32
HOURS: Final = 24
NOTHING: Final = bytes(HASH_BYTES)
EMPTY_DAY: Final = NOTHING * HOURS


def leaf(device_id: int, start_ms: int, body: bytes) -> bytes:
    """The leaf of a segment."""
    place = device_id.to_bytes(8, "big") + start_ms.to_bytes(8, "big", signed=True)
    return hashlib.sha256(b"\0" + place + body).digest()


def leaves_of(day: bytes) -> list[bytes]:
    """The 24 leaves of a day; ValueError when the seal has another length."""
    if len(day) != HASH_BYTES * HOURS:
        raise ValueError(f"a seal of {len(day)} bytes, not {HASH_BYTES * HOURS}")
    return [day[at : at + HASH_BYTES] for at in range(0, len(day), HASH_BYTES)]


def with_leaf(day: bytes, hour: int, new: bytes) -> bytes:
    """A day with another leaf at an hour (0 … 23)."""
    at = hour * HASH_BYTES
    return day[:at] + new + day[at + HASH_BYTES :]


def root(hashes: Sequence[bytes]) -> bytes:
    """The root of a tree over hashes in their order; of none, the hash of nothing."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    left, right = root(hashes[:split]), root(hashes[split:])
    return hashlib.sha256(b"\1" + left + right).digest()
