"""Periods of a local calendar: where hours, days and months begin in a time zone, and which of them
answer a question. Integers of ms since the Unix epoch in and out; no database.

- A local hour is the time in which the clock shows one full hour under one offset from UTC: where
  clocks are set by half an hour (Lord Howe), two of half an hour lie there.
- A local day begins with the first instant of its date, also where clocks skip midnight; a date
  that a zone left out (Samoa, 30 December 2011) has none.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.protocol.data import Int64s
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.segment import HOUR_MS

DAY_MS: Final = 24 * HOUR_MS


class Resolution(StrEnum):
    """How fine a series is: readings as measured, or periods of a local calendar."""

    RAW = "raw"
    QUARTER = "quarter"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    AUTO = "auto"


class Reason(StrEnum):
    """Why a series has the resolution that it has.

    `asked`: it was asked for; `enough_points`: the coarsest with as many periods as points were
    asked for; `short`: so few quarters of an hour that the readings themselves are given;
    `too_long_for_raw`: too few quarters as well, but too many readings to be read quickly.
    """

    ASKED = "asked"
    ENOUGH_POINTS = "enough_points"
    SHORT = "short"
    TOO_LONG_FOR_RAW = "too_long_for_raw"


_COARSEST_FIRST: Final = (Resolution.MONTH, Resolution.DAY, Resolution.HOUR, Resolution.QUARTER)


def edges(resolution: Resolution, start_ms: int, end_ms: int, zone: ZoneInfo) -> Int64s:
    """Where the periods of [start, end) begin, rising, and at last the end itself: (periods + 1,).

    The first and the last period are cut off at the bounds, which are full quarters of an hour.
    Not for RAW and AUTO, which have no periods.
    """
    if resolution is Resolution.QUARTER:
        return np.append(np.arange(start_ms, end_ms, QUARTER_MS, dtype=np.int64), end_ms)
    days = _days(start_ms, end_ms, zone)
    if resolution is Resolution.HOUR:
        begins = np.concatenate([_hours(*bounds, zone) for bounds in pairwise(_instants(days))])
    elif resolution is Resolution.DAY:
        begins = np.array(_instants(days), np.int64)
    elif resolution is Resolution.MONTH:
        firsts = [(day, at) for day, at in days if day.day == 1]
        begins = np.array(_instants(firsts), np.int64)
    else:
        raise ValueError(f"{resolution} has no periods")
    inner = begins[(begins > start_ms) & (begins < end_ms)]
    return np.concatenate([[start_ms], inner, [end_ms]]).astype(np.int64)


def chosen(
    start_ms: int, end_ms: int, zone: ZoneInfo, *, points: int, raw_is_quick: bool
) -> tuple[Resolution, Reason]:
    """The coarsest resolution that gives at least `points` periods, and why.

    Where quarters of an hour are too few: readings, if they are read quickly, else quarters.
    """
    for resolution in _COARSEST_FIRST:
        if len(edges(resolution, start_ms, end_ms, zone)) > points:
            return resolution, Reason.ENOUGH_POINTS
    if raw_is_quick:
        return Resolution.RAW, Reason.SHORT
    return Resolution.QUARTER, Reason.TOO_LONG_FOR_RAW


_Days = list[tuple[date, int]]


def _days(start_ms: int, end_ms: int, zone: ZoneInfo) -> _Days:
    """Local dates with the instant of their beginning, from the one that holds `start_ms` to the
    one after that which holds `end_ms`.
    """
    first, last = (_moment(at).astimezone(zone).date() for at in (start_ms, end_ms))
    count = (last - first).days + 2
    return [
        (day, _instant(datetime.combine(day, datetime.min.time(), zone)))
        for day in (first + timedelta(days=number) for number in range(count))
    ]


def _instants(days: _Days) -> list[int]:
    # A date that does not exist would begin where the next one does.
    return sorted({at for _, at in days})


def _hours(begin_ms: int, end_ms: int, zone: ZoneInfo) -> Int64s:
    """Where the hours of one local day begin."""
    if end_ms - begin_ms == DAY_MS and _offset(begin_ms, zone) == _offset(end_ms, zone):
        return np.arange(begin_ms, end_ms, HOUR_MS, dtype=np.int64)
    # Clocks are set on this day: everywhere at a full quarter of an hour.
    quarters = range(begin_ms, end_ms, QUARTER_MS)
    clocks = [_moment(at).astimezone(zone) for at in quarters]
    shown = [(clock.date(), clock.hour, clock.utcoffset()) for clock in clocks]
    new = [True, *(before != after for before, after in pairwise(shown))]
    return np.array([at for at, is_new in zip(quarters, new, strict=True) if is_new], np.int64)


def _offset(at_ms: int, zone: ZoneInfo) -> timedelta | None:
    return _moment(at_ms).astimezone(zone).utcoffset()


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _instant(local: datetime) -> int:
    return int(local.timestamp()) * 1000
