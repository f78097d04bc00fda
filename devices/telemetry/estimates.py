"""Energy that was not measured, estimated where somebody asks for it: arrays in, arrays out.

Only what is missing is estimated, of each quarter of an hour the part that no reading stood for;
what was measured is never touched. The methods are those of AEMO's Metrology Procedure, Part B
(metering data validation, substitution and estimation), with our own bounds on history:

- A gap of up to SHORT_MS between two measured quarters: linear interpolation (type 17).
- A longer one: the mean of the same quarter on like days of the four weeks before it (type 15). A
  day is like another when both are working days, both Saturdays, or both Sundays or holidays. The
  newest LIKE_DAYS measured ones count; with fewer than LEAST_DAYS nothing is estimated.
- Where a register tells what was used over the gap, the estimate is scaled to exactly that; without
  like days it is shared evenly.

Later days never change an estimate, but for the quarter that ends a gap. What cannot be estimated
stays a gap, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.protocol.data import Int64s
from devices.telemetry.rollup import NEAR_END, NEAR_START, QUARTER_MS, Floats, Quarters

# A quarter that was measured for less than this has something missing.
COMPLETE: Final = 0.99
SHORT_MS: Final = 2 * 3_600_000
WEEKS: Final = 4
LIKE_DAYS: Final = 10
LEAST_DAYS: Final = 2
HISTORY_MS: Final = WEEKS * 7 * 86_400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Method(StrEnum):
    """How a gap was estimated."""

    INTERPOLATED = "interpolated"
    LIKE_DAYS = "like_days"
    EVEN = "even"


class Refusal(StrEnum):
    """Why a gap was not estimated.

    `too_little_history`: longer than two hours, or with no end, and fewer than LEAST_DAYS like days
    were measured before it; `no_energy`: the channel is no energy.
    """

    TOO_LITTLE_HISTORY = "too_little_history"
    NO_ENERGY = "no_energy"


@dataclass(frozen=True, slots=True)
class Gap:
    """Quarters in [start_ms, end_ms) that were not or not fully measured.

    `wh` is the estimate of what is missing, by `method`, scaled to a register where `scaled`;
    without a method, `reason` says why there is none.
    """

    start_ms: int
    end_ms: int
    method: Method | None
    wh: float
    scaled: bool
    reason: Refusal | None


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """What was estimated, (k,) each: `starts` of quarters (ms since the Unix epoch, rising), `wh`
    to be added to what was measured, `share` of the quarter that was missing (0 … 1).
    """

    starts: Int64s
    wh: Floats
    share: Floats
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Quarters of one channel, (n,) each, rising, from HISTORY_MS before a period to a quarter
    after it; `energy` in Wh, `coverage` 0 … 1.
    """

    starts: Int64s
    energy: Floats
    coverage: Floats


# What a register counted that was not measured, of a gap [start, end) in ms; None: it does not say.
Counted = Callable[[int, int], float | None]


def estimate(
    measured: Measured,
    start_ms: int,
    end_ms: int,
    zone: ZoneInfo,
    *,
    counted: Counted | None = None,
    holidays: Collection[date] = (),
) -> Estimates:
    """Estimate what is missing in [start_ms, end_ms), full quarters; see the module."""
    known = {
        start: (energy, coverage)
        for start, energy, coverage in zip(
            measured.starts.tolist(),
            measured.energy.tolist(),
            measured.coverage.tolist(),
            strict=True,
        )
        if energy == energy and coverage > 0  # a NaN is no energy
    }
    days = _Days(known, zone, frozenset(holidays))
    starts: list[int] = []
    wh: list[float] = []
    share: list[float] = []
    gaps = []
    for run in _runs(known, start_ms, end_ms):
        missing = [1.0 - known.get(start, (0.0, 0.0))[1] for start in run]
        found = _of_gap(run, missing, known, days, counted)
        gaps.append(found[0])
        if found[0].method is not None:
            starts += run
            wh += found[1]
            share += missing
    return Estimates(np.array(starts, np.int64), np.array(wh), np.array(share), tuple(gaps))


_Known = Mapping[int, tuple[float, float]]


def _runs(known: _Known, start_ms: int, end_ms: int) -> Iterator[list[int]]:
    """Quarters in a row of which something is missing."""
    run: list[int] = []
    for start in range(start_ms, end_ms, QUARTER_MS):
        if known.get(start, (0.0, 0.0))[1] < COMPLETE:
            run.append(start)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _of_gap(
    run: Sequence[int],
    missing: Sequence[float],
    known: _Known,
    days: _Days,
    counted: Counted | None,
) -> tuple[Gap, list[float]]:
    """What is estimated of the quarters of a gap."""
    begin, end = run[0], run[-1] + QUARTER_MS
    total = None if counted is None else counted(begin, end)
    full, method = _shape(run, missing, known, days)
    if full is None and total is not None:
        full, method = [1.0] * len(run), Method.EVEN
    if full is None:
        return Gap(begin, end, None, 0.0, scaled=False, reason=Refusal.TOO_LITTLE_HISTORY), []
    wh = [one * part for one, part in zip(full, missing, strict=True)]
    if total is not None:
        wh = _scaled(wh, missing, total)
    scaled = total is not None
    return Gap(begin, end, method, float(sum(wh)), scaled=scaled, reason=None), wh


def _shape(
    run: Sequence[int], missing: Sequence[float], known: _Known, days: _Days
) -> tuple[list[float] | None, Method | None]:
    """What each quarter would have measured, had it been measured in full."""
    before, after = known.get(run[0] - QUARTER_MS), known.get(run[-1] + QUARTER_MS)
    if sum(missing) * QUARTER_MS <= SHORT_MS and before is not None and after is not None:
        ends = before[0] / before[1], after[0] / after[1]
        steps = np.linspace(*ends, len(run) + 2)[1:-1]
        return steps.tolist(), Method.INTERPOLATED
    like = [days.like(start, run[0]) for start in run]
    found = [one for one in like if one is not None]
    return (found, Method.LIKE_DAYS) if len(found) == len(run) else (None, None)


def _scaled(wh: Sequence[float], missing: Sequence[float], total: float) -> list[float]:
    """The same shape with another sum; evenly where there is no shape."""
    whole = sum(wh)
    if whole * total <= 0:
        whole, wh = sum(missing), missing
    return [one * (total / whole) for one in wh]


class _Days:
    """The measured quarters of like days."""

    def __init__(self, known: _Known, zone: ZoneInfo, holidays: frozenset[date]) -> None:
        self._known = known
        self._zone = zone
        self._holidays = holidays

    def like(self, start_ms: int, before_ms: int) -> float | None:
        """The mean of the newest quarters at the same time of like days, all of them before an
        instant; None with too few.
        """
        local = (_EPOCH + timedelta(milliseconds=start_ms)).astimezone(self._zone)
        kind = self._kind(local.date())
        found: list[float] = []
        for back in range(1, 7 * WEEKS + 1):
            then = local - timedelta(days=back)  # the same time on the clock
            if self._kind(then.date()) != kind:
                continue
            at = int(then.timestamp()) * 1000
            energy, coverage = self._known.get(at, (0.0, 0.0))
            if at < before_ms and coverage >= COMPLETE:
                found.append(energy / coverage)
                if len(found) == LIKE_DAYS:
                    break
        return sum(found) / len(found) if len(found) >= LEAST_DAYS else None

    def _kind(self, day: date) -> int:
        """0 for working days, 5 for Saturdays, 6 for Sundays and holidays."""
        weekday = 6 if day in self._holidays else day.weekday()
        return weekday if weekday > 4 else 0


def register_counted(quarters: Quarters, modulus: float) -> Counted:
    """What a register counted over a gap beyond what its quarters tell: from the last reading
    before to the first after, less what was measured between. `modulus` in Wh is where it rolls
    over; of one that was set anew nothing is known.
    """
    has = quarters.n > 0
    place = {start: row for row, start in enumerate(quarters.starts.tolist()) if has[row]}
    energy = np.nan_to_num(quarters.energy)

    def counted(start_ms: int, end_ms: int) -> float | None:
        before = place.get(start_ms, place.get(start_ms - QUARTER_MS))
        after = place.get(end_ms - QUARTER_MS, place.get(end_ms))
        if before is None or after is None or before == after:
            return None
        last, first = float(quarters.last[before]), float(quarters.first[after])
        steps = first - last
        if steps < 0 and last > NEAR_END * modulus and first < NEAR_START * modulus:
            steps += modulus
        steps -= float(energy[before + 1 : after].sum())
        # Half a watt-hour: sums of shares are rounded.
        return None if steps < -0.5 else max(0.0, steps)

    return counted


@dataclass(frozen=True, slots=True, eq=False)
class PeriodEstimates:
    """Estimates of a channel by period, (m,) each: `starts` and `ends` in ms since the Unix epoch,
    rising, of periods in which anything was estimated; `wh` to be added to what was measured in
    it; `share` 0 … 1 of the period that this stands for. `gaps` tells of all, also of those that
    were not estimated.
    """

    starts: Int64s
    ends: Int64s
    wh: Floats
    share: Floats
    gaps: tuple[Gap, ...]


def added(parts: Sequence[Estimates]) -> Estimates:
    """The estimates of several channels (at least one) that are counted together: what was missing
    is that of all of them on average.
    """
    starts, place = np.unique(np.concatenate([one.starts for one in parts]), return_inverse=True)
    wh, share = np.zeros(len(starts)), np.zeros(len(starts))
    np.add.at(wh, place, np.concatenate([one.wh for one in parts]))
    np.add.at(share, place, np.concatenate([one.share for one in parts]) / len(parts))
    return Estimates(starts, wh, share, tuple(gap for one in parts for gap in one.gaps))


def by_period(estimates: Estimates, edges: Int64s) -> PeriodEstimates:
    """Estimates of quarters by the periods between `edges` in which they begin."""
    place = np.searchsorted(edges, estimates.starts, side="right") - 1
    if not len(place):
        nothing, none = np.empty(0, np.int64), np.empty(0)
        return PeriodEstimates(nothing, nothing, none, none, estimates.gaps)
    begins = np.flatnonzero(np.concatenate([[True], np.diff(place) != 0]))
    starts, ends = edges[place[begins]], edges[place[begins] + 1]
    missing = np.add.reduceat(estimates.share, begins) * QUARTER_MS
    return PeriodEstimates(
        starts,
        ends,
        np.add.reduceat(estimates.wh, begins),
        np.minimum(missing / (ends - starts), 1.0),
        estimates.gaps,
    )
