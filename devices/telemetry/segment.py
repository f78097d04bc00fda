"""A segment: what a device measured in one hour, as it is kept for years. Arrays in, bytes out.

A segment holds for each channel its *readings*: time, the second in which each became known, and
the integer as the device sent it, lossless. It depends on the readings alone: however they were cut
into frames and in however many steps they were merged, the bytes are the same.

Merging, channel by channel, in the order of the device's sequence numbers:

- Readings are kept by time; those of one time in the order of their numbers.
- One that says what the one before it at the same time says is a repetition and left out.
- One that says something else is kept beside it: the later number counts, and a question *as of*
  an instant before it was known still finds the earlier.

Bytes (uvarint and svarint are those of docs/protocol.md; a packed column is that of
segment_columns.py, behind its length as uvarint):

    version          u8 = 1
    axes             uvarint, then for each: n uvarint, packed times (ms since the hour began),
                     packed arrivals (s since the hour began, may be negative)
    channels         uvarint, then for each, ascending: number u8; axis uvarint; which rows of the
                     axis it has (uvarint length of a compressed bitmap, 0 = all); how many uvarint;
                     the summary (count uvarint; minimum, maximum, sum in two parts, first, last
                     svarint; of the readings that count); the length of its values uvarint
    values           the packed values, in the order of the channels

So a channel is found and its summary read without unpacking any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from devices.protocol.data import Block, Bools, Int64s

HOUR_MS: Final = 3_600_000
_NOT_ASKED: Final = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Of one channel, (n,) each: `times` ms since the Unix epoch, not decreasing; `known` the Unix
    second by which each had arrived; `raw` integers as sent. See the module for equal times.
    """

    times: Int64s
    known: Int64s
    raw: Int64s

    @classmethod
    def none(cls) -> Readings:
        """None at all."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, nothing)

    def __len__(self) -> int:
        return len(self.times)

    def chosen(self, which: Bools | slice) -> Readings:
        """Those that a mask (n,) or a slice chooses."""
        return Readings(self.times[which], self.known[which], self.raw[which])

    def counting(self, as_of: int | None = None) -> Readings:
        """One reading for each time: the last that was known at the Unix second `as_of` (None: now
        is).
        """
        readings = self if as_of is None else self.chosen(self.known <= as_of)
        last = np.ones(len(readings), np.bool_)
        np.not_equal(readings.times[1:], readings.times[:-1], out=last[:-1])
        return readings if last.all() else readings.chosen(last)


class Arrival(NamedTuple):
    """Blocks of one DATA message and when it arrived (Unix seconds, rounded up)."""

    known: int
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Summary:
    """What counts of a channel in an hour; all but `count` are integers of the channel."""

    count: int
    minimum: int
    maximum: int
    total: int
    first: int
    last: int


Hour = Mapping[int, Readings]


def gathered(arrivals: Iterable[Arrival]) -> dict[int, dict[int, Readings]]:
    """What messages of one device hold, by hour (start in ms) and channel.

    The messages come in the order of their sequence numbers.
    """
    parts: dict[int, list[Readings]] = {}
    for known, block in _joined(arrivals):
        for row, channel in enumerate(block.channels):
            whole = Readings(block.times, known, block.values[row])
            here = whole if block.present is None else whole.chosen(block.present[row])
            if len(here):
                parts.setdefault(channel, []).append(here)
    hours: dict[int, dict[int, Readings]] = {}
    for channel in sorted(parts):
        readings = tidied(concatenated(parts[channel]))
        for start, part in _by_hour(readings):
            hours.setdefault(start, {})[channel] = part
    return hours


def merged(kept: Hour, fresh: Hour) -> dict[int, Readings]:
    """The readings of one hour with others whose sequence numbers are all higher."""
    return {
        channel: tidied(concatenated([hour[channel] for hour in (kept, fresh) if channel in hour]))
        for channel in sorted({*kept, *fresh})
    }


def joined(parts: Sequence[Readings]) -> Readings:
    """Tidy readings of one channel, in the order of their sequence numbers, as one."""
    whole = concatenated(parts)
    if all(before.times[-1] < after.times[0] for before, after in pairwise(parts)):
        return whole
    return tidied(whole)


def concatenated(parts: Sequence[Readings]) -> Readings:
    """Readings in a row, as they stand; there is at least one part."""
    if len(parts) == 1:
        return parts[0]
    times = np.concatenate([part.times for part in parts])
    if all(part.known.strides == (0,) for part in parts):
        known = no_arrivals(len(times))
    else:
        known = np.concatenate([part.known for part in parts])
    return Readings(times, known, np.concatenate([part.raw for part in parts]))


def no_arrivals(n: int) -> Int64s:
    """`known` of n readings of which nobody asks it: zeros that take no memory."""
    return np.broadcast_to(_NOT_ASKED, n)


def known_second(received_at: datetime) -> int:
    """The Unix second by which a message had arrived."""
    return int(received_at.timestamp()) + (received_at.microsecond > 0)


def summary_of(readings: Readings) -> Summary:
    """The summary of one channel's readings; there is at least one."""
    raw = readings.counting().raw
    return Summary(len(raw), int(raw.min()), int(raw.max()), _total(raw), int(raw[0]), int(raw[-1]))


def _total(raw: Int64s) -> int:
    # Exact: int64 cannot overflow while all are small, and Python's integers never do.
    small = max(abs(int(raw.min())), abs(int(raw.max()))) < (1 << 62) // len(raw)
    return int(raw.sum()) if small else sum(raw.tolist())


def _joined(arrivals: Iterable[Arrival]) -> list[tuple[Int64s, Block]]:
    """Blocks in a row that have the same channels, as one: few long arrays, not many short ones."""
    alike: dict[tuple[int, ...], list[tuple[int, Block]]] = {}
    order: list[tuple[int, ...]] = []
    for known, blocks in arrivals:
        for block in blocks:
            if block.channels not in alike:
                order.append(block.channels)
                alike[block.channels] = []
            alike[block.channels].append((known, block))
    if _overlapping(order):
        # A channel in two sets: its readings must stay in order, so nothing is put together.
        return [
            (np.full(len(block.times), known, np.int64), block)
            for known, blocks in arrivals
            for block in blocks
        ]
    return [_one(alike[channels]) for channels in order]


def _overlapping(sets: Sequence[Collection[int]]) -> bool:
    return len(set().union(*sets)) < sum(map(len, sets))


def _one(members: Sequence[tuple[int, Block]]) -> tuple[Int64s, Block]:
    blocks = [block for _, block in members]
    lengths = [len(block.times) for block in blocks]
    known = np.repeat(np.array([known for known, _ in members], np.int64), lengths)
    present = None
    if any(block.present is not None for block in blocks):
        present = np.concatenate([_presence(block) for block in blocks], axis=1)
    times = np.concatenate([block.times for block in blocks])
    values = np.concatenate([block.values for block in blocks], axis=1)
    return known, Block(times, blocks[0].channels, values, present)


def _presence(block: Block) -> Bools:
    return np.ones(block.values.shape, np.bool_) if block.present is None else block.present


def tidied(readings: Readings) -> Readings:
    """The readings of a channel by time, without repetitions; given in the order of sequence
    numbers. Those that are tidy are returned as they are.
    """
    steps = np.diff(readings.times)
    if (steps > 0).all():
        return readings
    if (steps < 0).any():
        order = np.argsort(readings.times, kind="stable")
        readings = Readings(readings.times[order], readings.known[order], readings.raw[order])
    new = np.ones(len(readings), np.bool_)
    new[1:] = (np.diff(readings.times) != 0) | (np.diff(readings.raw) != 0)
    return readings if new.all() else readings.chosen(new)


def _by_hour(readings: Readings) -> Iterable[tuple[int, Readings]]:
    hours = readings.times // HOUR_MS
    first, last = int(hours[0]), int(hours[-1])
    if first == last:
        yield first * HOUR_MS, readings
        return
    begins = np.flatnonzero(np.concatenate([[True], np.diff(hours) != 0]))
    for begin, end in zip(begins, [*begins[1:], len(hours)], strict=True):
        yield int(hours[begin]) * HOUR_MS, readings.chosen(slice(begin, end))
