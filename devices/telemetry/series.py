"""Series as charts, exports and bills take them: arrays in, arrays out.

Periods are put together from quarters of an hour, each of which belongs to the period in which it
begins. So the energy of a period is the sum of that of its parts, whatever the parts are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from tsdownsample import MinMaxLTTBDownsampler

from devices.protocol.data import Bools, Int64s
from devices.telemetry.rollup import QUARTER_MS, Floats, Quarters, gaps_before
from devices.telemetry.rollup_samples import Series
from devices.telemetry.segment import Readings
from devices.telemetry.sums import Sums, over

# With fewer points than this a curve cannot keep its ends, its extremes and a form between them.
LEAST_POINTS: Final = 10
# Of the points of a thinned curve, the part that may go to the edges of its longest gaps.
_FOR_GAPS: Final = 4
_DOWNSAMPLER: Final[Any] = MinMaxLTTBDownsampler()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Readings of a channel, (n,) each: `times` ms since the Unix epoch, rising; `values` in the
    channel's unit; `gap_before`: nothing is known between the point before and this one, by the
    rule of roll-ups, so that no line may join them.
    """

    times: Int64s
    values: Floats
    gap_before: Bools

    def chosen(self, rows: Int64s) -> Curve:
        """The points of some rows (rising); a gap anywhere between two of them stays one."""
        # How many gaps there are up to each row.
        gaps = np.searchsorted(np.flatnonzero(self.gap_before), rows, side="right")
        gap_before = np.concatenate([self.gap_before[rows[:1]], np.diff(gaps) > 0])
        return Curve(self.times[rows], self.values[rows], gap_before)


@dataclass(frozen=True, slots=True, eq=False)
class Periods:
    """Periods of a channel in which anything is known, (m,) each, rising.

    `starts` and `ends` in ms since the Unix epoch; `n` readings; `minimum` to `last` in the
    channel's unit, NaN where the period has no reading of its own; `mean` weighted by the time
    that readings stand for; `energy` and `returned` in Wh, NaN for channels that are no energy;
    `coverage` 0 … 1, how much of the period was measured; `gap_before`: the period before this one
    is missing.
    """

    starts: Int64s
    ends: Int64s
    n: Int64s
    minimum: Floats
    maximum: Floats
    mean: Floats
    first: Floats
    last: Floats
    energy: Floats
    returned: Floats
    coverage: Floats
    gap_before: Bools

    def only(self, chosen: slice) -> Periods:
        """Those of a slice."""
        return Periods(*(getattr(self, name)[chosen] for name in self.__slots__))


def put_together(quarters: Quarters, *chain: Int64s) -> Periods:
    """The periods between the last edges (m + 1,) from the quarters of one channel, which rise and
    all begin within them; by way of the edges before, each of which has all that follow.
    """
    return periods_of(over(Sums.of(quarters), chain), chain[-1])


def periods_of(sums: Sums, edges: Int64s) -> Periods:
    """The periods that sums tell of, each from one of the edges (m + 1,) to the next.

    With several series, one after the other; `gap_before` is False at the first of each.
    """
    period = np.searchsorted(edges, sums.starts)
    ends = edges[period + 1]
    lasted = ends - sums.starts
    follows = np.diff(sums.series, prepend=-1) == 0
    return Periods(
        starts=sums.starts,
        ends=ends,
        n=sums.n,
        minimum=sums.minimum,
        maximum=sums.maximum,
        mean=sums.weighted / sums.held,
        first=sums.first,
        last=sums.last,
        energy=sums.energy,
        returned=sums.returned,
        coverage=np.minimum(sums.held * QUARTER_MS / lasted, 1.0),
        gap_before=follows & (np.diff(period, prepend=0) > 1),
    )


def curve_of(readings: Readings, series: Series) -> Curve:
    """The readings that count (each time once) as a curve with its gaps."""
    gap_before = gaps_before(readings.times, series.step_ms)
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    numerator, denominator = series.resolution.as_integer_ratio()
    values = readings.raw.astype(np.float64)
    values *= numerator
    values /= denominator
    return Curve(readings.times, values, gap_before)


def thinned(curve: Curve, points: int) -> Curve:
    """At most `points` (LEAST_POINTS or more) of a curve that look like all of it.

    First, last, lowest and highest are among them, and both edges of its longest gaps. The rest is
    chosen by MinMaxLTTB (Van Der Donckt et al., 2023).
    """
    if len(curve.times) <= points:
        return curve
    gaps = np.flatnonzero(curve.gap_before)
    longest = np.argsort(curve.times[gaps - 1] - curve.times[gaps], kind="stable")
    gaps = gaps[longest[: points // (2 * _FOR_GAPS)]]
    kept = np.zeros(len(curve.times), np.bool_)
    kept[[0, -1, int(curve.values.argmin()), int(curve.values.argmax())]] = True
    kept[gaps - 1] = True
    kept[gaps] = True
    left = max(3, points - int(np.count_nonzero(kept)))
    kept[_DOWNSAMPLER.downsample(curve.times, curve.values, n_out=left)] = True
    return curve.chosen(np.flatnonzero(kept))
