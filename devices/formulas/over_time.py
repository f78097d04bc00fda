"""Functions that look at more than one moment. Arrays (n,) on one rising axis in, (n,) out.

`ends` says until when each value holds (`Axis.ends`): where it ends before the next time, there is
a gap, and nothing is said across it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import ArrayLike

from devices.formulas.errors import EvaluationError
from devices.formulas.numbers import finite
from devices.protocol.data import Int64s
from devices.telemetry.periods import DAY_MS, Resolution, edges
from devices.telemetry.rollup import Floats

MAX_DAYS: Final = 40_000
_LAST_MS: Final = int(datetime(9998, 12, 31, tzinfo=UTC).timestamp()) * 1_000


def previous(times: Int64s, ends: Int64s, values: Floats) -> Floats:
    """The value before each; unknown at the first and after a gap."""
    before = np.full(len(values), np.nan)
    if len(values):
        before[1:] = np.where(ends[:-1] == times[1:], values[:-1], np.nan)
    return before


def delta(times: Int64s, ends: Int64s, values: Floats) -> Floats:
    """By how much each value differs from the one before."""
    with np.errstate(over="ignore"):
        return np.asarray(finite(values - previous(times, ends, values)))


def rate(times: Int64s, ends: Int64s, values: Floats) -> Floats:
    """Change per millisecond since the value before."""
    lasted = np.ones(len(times))
    lasted[1:] = np.diff(times)
    return delta(times, ends, values) / lasted


def integral(times: Int64s, ends: Int64s, values: Floats) -> Floats:
    """Value × ms that it held, from the first time up to each; the unknown adds nothing.

    So it is the energy of what was measured, by the rule of the roll-ups.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.nan_to_num(values) * (ends - times)
        sums = np.zeros(len(values))
        np.cumsum(held[:-1], out=sums[1:])
        return np.asarray(finite(sums))


def reached(
    times: Int64s, ends: Int64s, values: Floats, sums: Floats, instants: ArrayLike
) -> Floats:
    """What an integral (`sums`, as `integral` gives it) comes to at any instants; 0 before all."""
    at_ms = np.asarray(instants, np.int64)
    if not len(times):
        return np.zeros(at_ms.shape)
    at = np.maximum(np.searchsorted(times, at_ms, "right") - 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        lasted = np.clip(np.minimum(at_ms, ends[at]) - times[at], 0, None)
        return np.asarray(finite(sums[at] + np.nan_to_num(values[at]) * lasted))


def integral_since(
    times: Int64s, ends: Int64s, values: Floats, *, since_ms: int, before: float, until_ms: int
) -> tuple[Floats, float]:
    """As `integral`, going on from what it came to at `since_ms`; and what it comes to at
    `until_ms`.
    """
    sums = integral(times, ends, values)
    marks = reached(times, ends, values, sums, [since_ms, until_ms])
    base = marks[0] - before
    return np.asarray(sums - base), float(marks[1] - base)


def today(
    times: Int64s, ends: Int64s, values: Floats, zone: ZoneInfo, since_ms: int | None
) -> Floats:
    """As `integral`, from each local midnight on.

    Where `since_ms` says from when on the values are complete, a day that began before is unknown.
    """
    if not len(times):
        return values
    midnights = day_starts(int(times[0]), int(times[-1]), zone)
    sums = integral(times, ends, values)
    before = reached(times, ends, values, sums, midnights)
    if since_ms is not None:
        before = np.where(midnights < since_ms, np.nan, before)
    day = np.searchsorted(midnights, times, "right") - 1
    return np.asarray(sums - np.asarray(before)[day])


def today_since(
    times: Int64s,
    ends: Int64s,
    values: Floats,
    zone: ZoneInfo,
    *,
    since_ms: int,
    before: tuple[float, int],
    until_ms: int,
) -> tuple[Floats, float]:
    """As `today`, going on from what it came to at `since_ms`; and what it comes to at `until_ms`.

    `before`: what it came to at an instant, from which on nothing was measured until `since_ms`.
    Values of days before that of `since_ms` mean nothing.
    """
    sums = integral(times, ends, values)
    same_day = before[1] >= day_starts(since_ms, since_ms, zone)[0]
    midnights = day_starts(since_ms, max(until_ms, *times[-1:].tolist(), since_ms), zone)
    base = reached(times, ends, values, sums, midnights)
    base[0] = reached(times, ends, values, sums, since_ms) - (before[0] if same_day else 0.0)
    day = np.searchsorted(midnights, [*times.tolist(), until_ms], "right") - 1
    at = np.asarray(base)[np.maximum(day, 0)]
    end = reached(times, ends, values, sums, until_ms)
    return np.asarray(sums - at[:-1]), float(end - at[-1])


def day_starts(first_ms: int, last_ms: int, zone: ZoneInfo) -> Int64s:
    """The local midnights from that of the day of the first instant to that of the last's.

    A day has 23 or 25 hours where clocks change; one whose midnight does not exist begins with the
    first instant that does. EvaluationError when there are too many.
    """
    if (last_ms - first_ms) // DAY_MS > MAX_DAYS:
        raise EvaluationError(
            f"days are counted over at most {MAX_DAYS} of them: ask for a shorter period"
        )
    if last_ms > _LAST_MS:
        raise EvaluationError(
            "days are counted up to the year 9998: remove readings of a wrong clock"
        )
    # No two midnights are further apart than two days.
    midnights = edges(Resolution.DAY, first_ms - 2 * DAY_MS, last_ms + 1, zone)[1:-1]
    return midnights[np.searchsorted(midnights, first_ms, "right") - 1 :]
