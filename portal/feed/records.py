"""The binary messages of `/ws/live/`: one or more records, each a head of 40 bytes and a body.

Little-endian: kind u8 | 3 bytes reserved | body length u32 | device i64 | sequence i64 |
received µs i64 | sent µs i64. `received` is when the bridge took the message, `sent` when this
process handed it to the socket, both µs since the Unix epoch. The browser's side is
`static/js/wattline/records.js`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

HEAD: Final = struct.Struct("<B3xIqqqq")


class Kind(IntEnum):
    """What a record holds: a DATA body that is live, of the backfill, or asked for; or the JSON of
    a bridge's own event about the device's connection, which has the number of that connection in
    the place of the sequence.
    """

    LIVE = 1
    BACKFILL = 2
    FILL = 3
    LINK = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One decoded record; times in µs since the Unix epoch."""

    kind: Kind
    device_id: int
    sequence: int
    received_us: int
    sent_us: int
    body: bytes


def encode(
    kind: Kind, device_id: int, sequence: int, received_us: int, sent_us: int, body: bytes
) -> bytes:
    """One record."""
    return HEAD.pack(kind, len(body), device_id, sequence, received_us, sent_us) + body


def decode(message: bytes) -> Iterator[Record]:
    """The records of a message (for tests and benchmarks); struct.error when it is cut."""
    at = 0
    while at < len(message):
        kind, length, device_id, sequence, received_us, sent_us = HEAD.unpack_from(message, at)
        at += HEAD.size
        if at + length > len(message):
            raise struct.error("the body of a record is cut")
        body = message[at : at + length]
        yield Record(Kind(kind), device_id, sequence, received_us, sent_us, body)
        at += length
