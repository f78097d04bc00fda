"""Small values that a device keeps in flash, whatever moment the power fails in.

A log in two halves: records follow each other, the last of a kind counts. When a half is full, what
counts is copied to the other one, whose head is written last and makes it valid. So at every moment
one half is whole, and a record is there completely or not at all.

A half is `magic u32 | generation u32 | CRC-32C u32`, then records `kind u8 | length u16 |
CRC-32C u32 | value`, little-endian, the checksums covering what comes before them and the value.
"""

from __future__ import annotations

import struct
from typing import Final

import google_crc32c

from devices.simulator.flash import ERASED, SECTOR, Flash, Region

_MAGIC: Final = 0x57_4C_52_31
_HEAD: Final = struct.Struct("<III")
_HEAD_FIELDS: Final = struct.Struct("<II")
_RECORD: Final = struct.Struct("<BHI")
_RECORD_FIELDS: Final = struct.Struct("<BH")

_crc32c = google_crc32c.value


class RecordLog:
    """The last value of each kind (0 … 254), in a region of an even number of sectors."""

    def __init__(self, flash: Flash, region: Region) -> None:
        """Read what is there; whatever is damaged is as if it had not been written."""
        if region.size % (2 * SECTOR):
            raise ValueError(f"a log of {region.size} bytes has no two halves of whole sectors")
        self._flash = flash
        self._size: Final = region.size // 2
        self._halves = (region.part(0, self._size), region.part(self._size, self._size))
        self._values: dict[int, bytes] = {}
        generations = [self._generation(half) for half in self._halves]
        self._half = 0 if generations[0] >= generations[1] else 1
        self._number = generations[self._half]
        self._end = self._size  # nothing fits: the first record begins a half
        if self._number:
            self._end = self._read(self._halves[self._half])

    def get(self, kind: int) -> bytes | None:
        """The value of a kind, None when it has none."""
        return self._values.get(kind)

    def put(self, kind: int, value: bytes) -> None:
        """Keep a value; PowerLostError leaves the one before it, or this one."""
        if self._values.get(kind) == value:
            return
        record = _record(kind, value)
        if self._end + len(record) <= self._size:
            at = self._halves[self._half].start + self._end
            # Set first: a torn record must not be written over.
            self._end = self._size
            end = at + len(record) - self._halves[self._half].start
            self._flash.program(at, record)
            self._end = end
            self._values[kind] = value
        else:
            self._turn({**self._values, kind: value})

    def _turn(self, values: dict[int, bytes]) -> None:
        records = b"".join(_record(kind, value) for kind, value in values.items())
        if _HEAD.size + len(records) > self._size:
            raise ValueError(f"{len(records)} bytes of records do not fit {self._size}")
        other = self._halves[1 - self._half]
        for at in range(other.start, other.end, SECTOR):
            self._flash.erase(at)
        self._flash.program(other.start + _HEAD.size, records)
        fields = _HEAD_FIELDS.pack(_MAGIC, self._number + 1)
        self._flash.program(other.start, fields + int(_crc32c(fields)).to_bytes(4, "little"))
        self._half, self._number = 1 - self._half, self._number + 1
        self._end = _HEAD.size + len(records)
        self._values = values

    def _generation(self, half: Region) -> int:
        head = self._flash.read(half.start, _HEAD.size)
        magic, number, checksum = _HEAD.unpack(head)
        sound = magic == _MAGIC and checksum == _crc32c(head[: _HEAD_FIELDS.size])
        return int(number) if sound else 0

    def _read(self, half: Region) -> int:
        """Take the records of a half; returns where the next one goes."""
        data = self._flash.read(half.start, half.size)
        at = _HEAD.size
        while at + _RECORD.size <= len(data) and data[at] != ERASED:
            kind, length, checksum = _RECORD.unpack_from(data, at)
            value = data[at + _RECORD.size : at + _RECORD.size + length]
            fields = data[at : at + _RECORD_FIELDS.size]
            if len(value) != length or checksum != _crc32c(fields + value):
                return self._size  # torn by a power failure: nothing more is written behind it
            self._values[kind] = value
            at += _RECORD.size + length
        return at if data.count(ERASED, at) == len(data) - at else self._size


def _record(kind: int, value: bytes) -> bytes:
    fields = _RECORD_FIELDS.pack(kind, len(value))
    return fields + int(_crc32c(fields + value)).to_bytes(4, "little") + value
