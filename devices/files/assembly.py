"""From single readings with their times to the intervals of a stream: by time, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from devices.files import exact
from devices.files import problems as kinds
from devices.files.content import Bools, Intervals, Quality
from devices.files.problems import Problems


class Reading(NamedTuple):
    """One value as a file has it: text that `exact.is_number` takes with a point, empty where
    nothing was measured; and its place, a line or the path of an element.
    """

    start_ms: int
    length_ms: int
    text: str
    quality: Quality
    line: int | None = None
    path: str = ""


def intervals(
    readings: Sequence[Reading], power: int, what: str, problems: Problems
) -> tuple[Intervals | None, int]:
    """The readings of `what` by time, values times 10^`power`, and how many were repetitions.

    A time that is told twice with one value is a repetition; with two, neither is taken. Intervals
    that overlap otherwise are refused together, since nobody knows which of them counts.
    """
    try:
        values = exact.join([exact.parse([reading.text or "0" for reading in readings])], power)
    except exact.TooWideError:
        problems.add(kinds.TOO_WIDE, readings[0].line, readings[0].path, what=what)
        return None, 0
    found = Intervals(
        start_ms=np.array([reading.start_ms for reading in readings], np.int64),
        length_ms=np.array([reading.length_ms for reading in readings], np.int64),
        raw=values.raw,
        resolution=values.resolution,
        quality=np.array([reading.quality for reading in readings], np.uint8),
    )
    order = np.argsort(found.start_ms, kind="stable")
    found = _chosen(found, order)
    kept, repeated = _once(found, [readings[i] for i in order.tolist()], what, problems)
    found = _chosen(found, kept)
    ends = found.start_ms + found.length_ms
    overlaps = np.flatnonzero(ends[:-1] > found.start_ms[1:])
    if len(overlaps):
        time = _utc(int(found.start_ms[overlaps[0] + 1]))
        problems.add(kinds.OVERLAP, path=what, what=what, count=len(overlaps), time=time)
        return None, repeated
    return (found if len(found) else None), repeated


def _once(
    found: Intervals, readings: Sequence[Reading], what: str, problems: Problems
) -> tuple[Bools, int]:
    """Which of the intervals, sorted by time, are taken; and how many are repetitions."""
    starts = found.start_ms
    kept = np.ones(len(starts), np.bool_)
    np.not_equal(starts[1:], starts[:-1], out=kept[1:])
    repeated = 0
    for first in np.flatnonzero(kept & ~np.append(kept[1:], True)).tolist():
        after = first + 1
        same = True
        while after < len(starts) and not kept[after]:
            same &= _alike(found, first, after)
            after += 1
        if same:
            repeated += after - first - 1
        else:
            kept[first] = False
            place = readings[after - 1]
            time = _utc(int(starts[first]))
            problems.add(kinds.DISAGREE, place.line, place.path, what=what, time=time)
    return kept, repeated


def _alike(found: Intervals, one: int, other: int) -> bool:
    return all(
        values[one] == values[other] for values in (found.length_ms, found.raw, found.quality)
    )


def _chosen(found: Intervals, which: np.ndarray[tuple[int], np.dtype[np.generic]]) -> Intervals:
    return Intervals(
        found.start_ms[which],
        found.length_ms[which],
        found.raw[which],
        found.resolution,
        found.quality[which],
    )


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")
