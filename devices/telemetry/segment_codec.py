"""Segments to bytes and back (the layout is told in devices/telemetry/segment.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np

from devices.protocol.data import Bools, Int64s
from devices.protocol.errors import ProtocolError
from devices.protocol.varint import read_svarint, read_uvarint, svarint, uvarint
from devices.telemetry.segment import HOUR_MS, Hour, Readings, Summary, no_arrivals, summary_of
from devices.telemetry.segment_columns import SegmentError, pack, squeeze, stretch, unpack

_VERSION: Final = 1
# A channel without some readings shares an axis when it has at least this part of it.
_SHARED: Final = 0.5
# Four readings a millisecond: beyond it a count is damage, and not worth the memory.
_MAX_READINGS: Final = 4 * HOUR_MS
# The head of a channel that lies on all rows of its axis, in one step: number, axis, count, the
# seven integers of the summary, the length of its values (see devices/telemetry/segment.py).
_INTEGER: Final = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_HEAD: Final = re.compile(
    rb"[\x00-\xff](%b)\x00(%b)(?:%b){7}(%b)" % (_INTEGER, _INTEGER, _INTEGER, _INTEGER)
)


class _Axis(NamedTuple):
    times: Int64s
    known: Int64s


class _Place(NamedTuple):
    """On which axis a channel lies, and which of its rows it has (None: all)."""

    axis: int
    has: Bools | None


class _Head(NamedTuple):
    """A channel in the directory: `length` readings, `size` bytes of values."""

    number: int
    axis: int
    share: bytes
    length: int
    size: int


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
    return decode_many([(start_ms, body, channels)])[0]


def decode_many(
    segments: Iterable[tuple[int, bytes, Collection[int] | None]], *, arrivals: bool = True
) -> list[dict[int, Readings]]:
    """The readings of many hours: (start in ms, body, channels asked for or None for all) each.

    Without `arrivals` it is left open when a reading became known: `known` is 0. SegmentError when
    what is read is damaged; channels that are not asked for are stepped over.
    """
    # Devices that sample evenly write the same bytes hour by hour: those are unpacked once.
    unpacked: dict[tuple[bytes, int], Int64s] = {}

    def times_of(data: bytes, n: int) -> Int64s:
        times = unpacked.get((data, n))
        if times is None:
            times = unpacked[data, n] = unpack(data, n)
            if int(times.min()) < 0 or int(times.max()) >= HOUR_MS:
                raise SegmentError("a time of a segment lies outside its hour")
        return times

    def axis_of(packed: _Packed, start_ms: int) -> _Axis:
        if not 0 < packed.n <= _MAX_READINGS:
            raise SegmentError(f"an axis of a segment has {packed.n} readings")
        times = times_of(packed.times, packed.n) + start_ms
        if not arrivals:
            return _Axis(times, no_arrivals(packed.n))
        return _Axis(times, unpack(packed.known, packed.n) + start_ms // 1000)

    return [_decoded(start_ms, body, channels, axis_of) for start_ms, body, channels in segments]


def _decoded(
    start_ms: int,
    body: bytes,
    channels: Collection[int] | None,
    axis_of: Callable[[_Packed, int], _Axis],
) -> dict[int, Readings]:
    with _as_segment(body):
        axes, heads = _directory(body, channels)
    unpacked: dict[int, _Axis] = {}
    found: dict[int, Readings] = {}
    for (number, index, share, length, _), values in heads:
        axis = unpacked.get(index)
        if axis is None:
            axis = unpacked[index] = axis_of(axes[index], start_ms)
        times, known = axis
        if share:
            bits = np.frombuffer(stretch(share, (len(times) + 7) // 8), np.uint8)
            has = np.unpackbits(bits, count=len(times)).view(np.bool_)
            times, known = times[has], known[has]
        if len(times) != length:
            raise SegmentError(f"channel {number} has {length} values, {len(times)} times")
        found[number] = Readings(times, known, unpack(values, length))
    return found


def summaries(body: bytes) -> dict[int, Summary]:
    """The summary of each channel, without unpacking any; SegmentError when it is damaged."""
    with _as_segment(body):
        _, count, at = _read_axes(body)
        found, sizes = {}, 0
        for _ in range(count):
            head, found[head.number], at = _read_head(body, at)
            sizes += head.size
        _refuse_length(body, at + sizes)
        return found


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


@contextmanager
def _as_segment(body: bytes) -> Iterator[None]:
    if not body or body[0] != _VERSION:
        raise SegmentError(f"a segment of version {body[0] if body else 'none'}: known is 1")
    try:
        yield
    except (ProtocolError, IndexError) as error:
        raise SegmentError(f"a segment ends within its directory: {error}") from None


def _directory(
    body: bytes, channels: Collection[int] | None
) -> tuple[list[_Packed], list[tuple[_Head, bytes]]]:
    """The axes, and the head and the packed values of each channel that is asked for."""
    axes, count, at = _read_axes(body)
    heads: list[tuple[_Head, int]] = []
    sizes = 0
    for _ in range(count):
        number = body[at]
        asked = channels is None or number in channels
        found = _HEAD.match(body, at)
        if found is None:
            head, _, at = _read_head(body, at)
            size = head.size
        else:
            at = found.end()
            size, _ = read_uvarint(body, found.start(3))
            if asked:
                axis, _ = read_uvarint(body, found.start(1))
                length, _ = read_uvarint(body, found.start(2))
                head = _Head(number, axis, b"", length, size)
        if asked:
            if head.axis >= len(axes):
                raise SegmentError(f"channel {number} lies on axis {head.axis} of {len(axes)}")
            heads.append((head, sizes))
        sizes += size
    _refuse_length(body, at + sizes)
    return axes, [(head, body[at + begin : at + begin + head.size]) for head, begin in heads]


def _refuse_length(body: bytes, told: int) -> None:
    if told != len(body):
        raise SegmentError(f"a segment of {len(body)} bytes tells of {told}")


def _read_axes(body: bytes) -> tuple[list[_Packed], int, int]:
    """The axes, how many channels there are, and where their heads begin."""
    count, at = read_uvarint(body, 1)
    axes = []
    for _ in range(count):
        n, at = read_uvarint(body, at)
        times, at = _part(body, at)
        known, at = _part(body, at)
        axes.append(_Packed(n, times, known))
    count, at = read_uvarint(body, at)
    return axes, count, at


def _read_head(body: bytes, at: int) -> tuple[_Head, Summary, int]:
    number = body[at]
    axis, at = read_uvarint(body, at + 1)
    share, at = _part(body, at)
    length, at = read_uvarint(body, at)
    summary, at = _summary(body, at)
    size, at = read_uvarint(body, at)
    return _Head(number, axis, share, length, size), summary, at


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
