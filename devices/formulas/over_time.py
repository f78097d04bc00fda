"""Functions that look at more than one moment. Arrays (n,) on one rising axis in, (n,) out.

`ends` says until when each value holds (`Axis.ends`): where it ends before the next time, there is
a gap, and nothing is said across it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

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
    at = np.maximum(np.searchsorted(times, midnights, "right") - 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        reached = np.clip(np.minimum(midnights, ends[at]) - times[at], 0, None)
        before = finite(sums[at] + np.nan_to_num(values[at]) * reached)
    if since_ms is not None:
        before = np.where(midnights < since_ms, np.nan, before)
    day = np.searchsorted(midnights, times, "right") - 1
    return np.asarray(sums - np.asarray(before)[day])


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
