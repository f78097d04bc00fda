"""Segments to bytes and back (the layout is told in devices/telemetry/segment.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from devices.protocol.data import Bools, Int64s
from devices.protocol.errors import ProtocolError
from devices.protocol.varint import read_svarint, read_uvarint, svarint, uvarint
from devices.telemetry.segment import HOUR_MS, Hour, Readings, Summary, summary_of
from devices.telemetry.segment_columns import SegmentError, pack, squeeze, stretch, unpack

_VERSION: Final = 1
# A channel without some readings shares an axis when it has at least this part of it.
_SHARED: Final = 0.5
# Four readings a millisecond: beyond it a count is damage, and not worth the memory.
_MAX_READINGS: Final = 4 * HOUR_MS


class _Axis(NamedTuple):
    times: Int64s
    known: Int64s


class _Place(NamedTuple):
    """On which axis a channel lies, and which of its rows it has (None: all)."""

    axis: int
    has: Bools | None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A channel in the directory; `at` and `end` bound its values."""

    number: int
    axis: int
    share: bytes
    summary: Summary
    at: int
    end: int


def encode(start_ms: int, hour: Hour) -> bytes:
    """The bytes of an hour that begins at `start_ms`; it has at least one reading."""
    axes, places = _axes(hour)
    parts = [bytes((_VERSION,)), uvarint(len(axes))]
    for axis in axes:
        parts.append(uvarint(len(axis.times)))
        parts += _sized(pack(axis.times - start_ms))
        parts += _sized(pack(axis.known - start_ms // 1000))
    parts.append(uvarint(len(hour)))
    columns = []
    for number, readings in hour.items():
        column = pack(readings.raw)
        columns.append(column)
        place = places[number]
        parts += (bytes((number,)), uvarint(place.axis))
        parts += _sized(b"" if place.has is None else squeeze(np.packbits(place.has).tobytes()))
        parts += (uvarint(len(readings)), _summary_bytes(summary_of(readings)))
        parts.append(uvarint(len(column)))
    return b"".join([*parts, *columns])


def decode(
    start_ms: int, body: bytes, channels: Collection[int] | None = None
) -> dict[int, Readings]:
    """The readings of some channels (None: of all) of an hour; SegmentError when it is damaged."""
    axes, entries = _directory(body)
    unpacked: dict[int, _Axis] = {}
    found: dict[int, Readings] = {}
    for entry, length in entries:
        if channels is not None and entry.number not in channels:
            continue
        axis = unpacked.get(entry.axis)
        if axis is None:
            axis = unpacked[entry.axis] = _unpacked(axes[entry.axis], start_ms)
        times, known = axis
        if entry.share:
            bits = np.frombuffer(stretch(entry.share, (len(times) + 7) // 8), np.uint8)
            has = np.unpackbits(bits, count=len(times)).view(np.bool_)
            times, known = times[has], known[has]
        if len(times) != length:
            raise SegmentError(f"channel {entry.number} has {length} values, {len(times)} times")
        found[entry.number] = Readings(times, known, unpack(body[entry.at : entry.end], length))
    return found


def summaries(body: bytes) -> dict[int, Summary]:
    """The summary of each channel, without unpacking any; SegmentError when it is damaged."""
    return {entry.number: entry.summary for entry, _ in _directory(body)[1]}


# --- Axes -------------------------------------------------------------------------------------


def _axes(hour: Hour) -> tuple[list[_Axis], dict[int, _Place]]:
    """The axes of an hour, each once, and where the channels lie."""
    distinct: list[tuple[_Axis, list[int]]] = []
    for number, readings in hour.items():
        mine = _Axis(readings.times, readings.known)
        twin = next((numbers for axis, numbers in distinct if _same(axis, mine)), None)
        if twin is None:
            distinct.append((mine, [number]))
        else:
            twin.append(number)
    # The longest first, so that what it holds in part finds it; the order is one of content.
    distinct.sort(key=lambda each: (-len(each[0].times), each[1][0]))
    axes: list[_Axis] = []
    places: dict[int, _Place] = {}
    for axis, numbers in distinct:
        place = _shared(axis, axes)
        if place is None:
            place = _Place(len(axes), None)
            axes.append(axis)
        places.update(dict.fromkeys(numbers, place))
    return axes, places


def _same(one: _Axis, other: _Axis) -> bool:
    if one.times is other.times and one.known is other.known:
        return True
    return np.array_equal(one.times, other.times) and np.array_equal(one.known, other.known)


def _shared(axis: _Axis, axes: Iterable[_Axis]) -> _Place | None:
    if (np.diff(axis.times) == 0).any():
        return None
    for index, whole in enumerate(axes):
        if len(axis.times) < _SHARED * len(whole.times) or (np.diff(whole.times) == 0).any():
            continue
        rows = np.searchsorted(whole.times, axis.times)
        if rows[-1] >= len(whole.times):
            continue
        if not _same(_Axis(whole.times[rows], whole.known[rows]), axis):
            continue
        has = np.zeros(len(whole.times), np.bool_)
        has[rows] = True
        return _Place(index, has)
    return None


# --- Bytes ------------------------------------------------------------------------------------


def _sized(data: bytes) -> tuple[bytes, bytes]:
    return uvarint(len(data)), data


def _summary_bytes(summary: Summary) -> bytes:
    # The sum of an hour of 64-bit integers may need more than 64 bits: two parts of 62.
    high, low = divmod(summary.total, 1 << 62)
    integers = (summary.minimum, summary.maximum, high, low, summary.first, summary.last)
    return uvarint(summary.count) + b"".join(map(svarint, integers))


class _Packed(NamedTuple):
    n: int
    times: bytes
    known: bytes


def _unpacked(axis: _Packed, start_ms: int) -> _Axis:
    if not 0 < axis.n <= _MAX_READINGS:
        raise SegmentError(f"an axis of a segment has {axis.n} readings")
    times = unpack(axis.times, axis.n)
    if int(times.min()) < 0 or int(times.max()) >= HOUR_MS:
        raise SegmentError("a time of a segment lies outside its hour")
    return _Axis(times + start_ms, unpack(axis.known, axis.n) + start_ms // 1000)


def _directory(body: bytes) -> tuple[list[_Packed], list[tuple[_Entry, int]]]:
    if not body or body[0] != _VERSION:
        raise SegmentError(f"a segment of version {body[0] if body else 'none'}: known is 1")
    try:
        return _read_directory(body)
    except (ProtocolError, IndexError) as error:
        raise SegmentError(f"a segment ends within its directory: {error}") from None


def _read_directory(body: bytes) -> tuple[list[_Packed], list[tuple[_Entry, int]]]:
    count, at = read_uvarint(body, 1)
    axes = []
    for _ in range(count):
        n, at = read_uvarint(body, at)
        times, at = _part(body, at)
        known, at = _part(body, at)
        axes.append(_Packed(n, times, known))
    count, at = read_uvarint(body, at)
    heads = []
    for _ in range(count):
        number = body[at]
        axis, at = read_uvarint(body, at + 1)
        if axis >= len(axes):
            raise SegmentError(f"channel {number} lies on axis {axis} of {len(axes)}")
        share, at = _part(body, at)
        length, at = read_uvarint(body, at)
        summary, at = _summary(body, at)
        size, at = read_uvarint(body, at)
        heads.append((number, axis, share, length, summary, size))
    entries = []
    for number, axis, share, length, summary, size in heads:
        entries.append((_Entry(number, axis, share, summary, at, at + size), length))
        at += size
    if at != len(body):
        raise SegmentError(f"a segment of {len(body)} bytes tells of {at}")
    return axes, entries


def _part(body: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_uvarint(body, at)
    if at + size > len(body):
        raise SegmentError("a segment ends within a column")
    return body[at : at + size], at + size


def _summary(body: bytes, at: int) -> tuple[Summary, int]:
    count, at = read_uvarint(body, at)
    integers = []
    for _ in range(6):
        integer, at = read_svarint(body, at)
        integers.append(integer)
    minimum, maximum, high, low, first, last = integers
    return Summary(count, minimum, maximum, (high << 62) + low, first, last), at
