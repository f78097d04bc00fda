"""Roll-ups of a quarter of an hour, computed from samples: arrays in, arrays out.

The rules, for each channel (a series):

- Of several samples at one millisecond the one with the highest sequence number counts.
- The distance of two samples is *usual* up to `longest_step_ms` (a minute, or the step of the
  device's type). The step of a sample is its usual distance from the one before, not below the step
  of the type, which also stands for one without.
- A sample holds until the next one when that comes within twice the longest of: the step of the
  sample, that of the type, and the usual distance that follows. Otherwise there is a gap, and the
  sample stands for its own step alone. That of an *exact* series always does.
- `coverage` is the part of the quarter in which a sample held; `mean` is weighted by that time.
- `n`, `minimum`, `maximum`, `first`, `last` tell of the samples inside the quarter alone. A quarter
  into which only an earlier sample holds has n = 0, and these are NaN.
- Energy of power is power times the time that it held; what flowed backwards is told apart.
- Energy of a register is what it counted between two samples at most `bridge_ms` apart, shared
  among quarters by time. Where it runs backwards it has rolled over (near the end of its range) or
  was set anew; where it runs faster than the device can measure it was replaced: such a step counts
  as nothing, because nothing is known of it.

So a quarter depends on the samples alone, not on how they were cut into frames, and on none that is
further away from it than `reach_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.protocol.data import Bools, Int64s
from devices.telemetry.rollup_samples import Kind, Samples, Series, bridge_ms, longest_step_ms

Floats = NDArray[np.float64]

QUARTER: Final = timedelta(minutes=15)
QUARTER_MS: Final = QUARTER // timedelta(milliseconds=1)
WH_PER_UNIT_MS: Final = 3_600_000.0  # a watt for this many milliseconds is a watt-hour
# A register that falls from beyond the first to below the second part of its range rolled over.
NEAR_END: Final = 0.9
NEAR_START: Final = 0.1
# Above the rated power by this factor, a register was not read but replaced.
_TOLERATED: Final = 1.2


@dataclass(frozen=True, slots=True, eq=False)
class Quarters:
    """Roll-ups, (n,) each, by series and start; `starts` in ms since the Unix epoch.

    Values are in the channel's unit, NaN for none; `energy` and `returned` (the part of power that
    was negative, as a positive number) in Wh.
    """

    series: Int64s
    starts: Int64s
    n: Int64s
    minimum: Floats
    maximum: Floats
    mean: Floats
    first: Floats
    last: Floats
    energy: Floats
    returned: Floats
    coverage: Floats

    def only(self, chosen: Bools | Int64s | slice) -> Quarters:
        """Those that a mask (n,), rows or a slice choose."""
        return Quarters(*(getattr(self, name)[chosen] for name in self.__slots__))


def roll(samples: Samples, series: Sequence[Series]) -> Quarters:
    """The roll-ups of all quarters that the samples touch; see the module for the rules."""
    samples = _ordered(samples)
    ends = held_until(samples, series)
    pieces = _split(samples.times, ends)
    at, starts, lengths, own = pieces
    of = samples.series[at]
    if not len(at):
        return no_quarters()
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(of) != 0) | (np.diff(starts) != 0)]))
    finals = np.concatenate([begins[1:], [len(at)]]) - 1
    group_series, group_starts = of[begins], starts[begins]
    raw = samples.raw[at]
    n = np.add.reduceat(own.astype(np.int64), begins)
    held = np.add.reduceat(lengths, begins)
    # Exact while the sums stay below 2⁵³: a gigawatt in steps of a watt for a quarter of an hour.
    weighted = raw.astype(np.float64) * lengths
    # What an earlier sample left comes first, and is one piece at most.
    firsts = begins + ~own[begins]
    scale, unscale = _scales(series)
    scale, unscale = scale[group_series], unscale[group_series]
    whole = np.add.reduceat(weighted, begins) * scale / unscale
    back = np.add.reduceat(np.where(raw < 0, -weighted, 0.0), begins) * scale / unscale
    extreme = np.iinfo(np.int64)
    none = n == 0

    def value(integers: Int64s) -> Floats:
        return np.where(none, np.nan, integers.astype(np.float64) * scale / unscale)

    kinds = np.array([each.kind for each in series], np.int64)[group_series]
    power = kinds == Kind.POWER
    energy = np.where(power, whole / WH_PER_UNIT_MS, np.nan)
    register = kinds == Kind.REGISTER
    if register.any():
        counted = _counted(samples, series, group_series, group_starts)
        energy = np.where(register, counted * scale / unscale, energy)
    return Quarters(
        series=group_series,
        starts=group_starts,
        n=n,
        minimum=value(np.minimum.reduceat(np.where(own, raw, extreme.max), begins)),
        maximum=value(np.maximum.reduceat(np.where(own, raw, extreme.min), begins)),
        mean=whole / held,
        first=value(raw[np.minimum(firsts, finals)]),
        last=value(raw[finals]),
        energy=energy,
        returned=np.where(power, back / WH_PER_UNIT_MS, np.nan),
        coverage=held / QUARTER_MS,
    )


def no_quarters() -> Quarters:
    """Not one."""
    integers, floats = np.empty(0, np.int64), np.empty(0)
    return Quarters(integers, integers, integers, *([floats] * 8))


def _scales(series: Sequence[Series]) -> tuple[Floats, Floats]:
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    ratios = [each.resolution.as_integer_ratio() for each in series]
    return np.array([up for up, _ in ratios], float), np.array([down for _, down in ratios], float)


def _ordered(samples: Samples) -> Samples:
    """By series and time, each time once."""
    same = np.diff(samples.series) == 0
    rising = np.diff(samples.times) > 0
    if (np.diff(samples.series) >= 0).all() and (rising | ~same).all():
        return samples
    order = np.lexsort((samples.sequences, samples.times, samples.series))
    of, times = samples.series[order], samples.times[order]
    final = np.concatenate([(np.diff(of) != 0) | (np.diff(times) != 0), [True]])
    return samples.chosen(order[final])


def held_until(samples: Samples, series: Sequence[Series]) -> Int64s:
    """Until when each sample holds, (n,) in ms; samples by series and time, each time once."""
    of = samples.series
    shortest = np.array([each.step_ms for each in series], np.int64)[of]
    exact = np.array([each.exact for each in series], np.bool_)[of]
    if len(of) < 2:
        return samples.times + shortest
    longest = np.array([longest_step_ms(each.step_ms) for each in series], np.int64)[of]
    follows = np.diff(of) == 0
    distance = np.diff(samples.times)
    usual = np.where(follows & (distance <= longest[:-1]), distance, 0)
    steps = np.maximum(shortest, np.concatenate([[0], usual]))
    steps = np.where(exact, shortest, steps)
    limit = 2 * np.maximum(steps[:-1], np.concatenate([usual[1:], [0]]))
    limit = np.where(exact[:-1], steps[:-1], limit)
    lengths = np.where(
        follows,
        np.where(distance <= limit, distance, np.minimum(steps[:-1], distance)),
        steps[:-1],
    )
    ends: Int64s = samples.times + np.concatenate([lengths, steps[-1:]])
    return ends


def gaps_before(times: Int64s, step_ms: int) -> Bools:
    """Which samples of one series the one before does not hold until, (n,): as `held_until` has it.

    Few distances are longer than two steps of the type, and shorter ones are none: so the rule is
    worked out where it may say so alone.
    """
    gaps = np.zeros(len(times), np.bool_)
    distance = np.diff(times)
    far = np.flatnonzero(distance > 2 * step_ms)
    if not len(far):
        return gaps
    longest = longest_step_ms(step_ms)
    before = np.where(far > 0, distance[far - 1], 0)
    behind = np.where(far < len(distance) - 1, distance[np.minimum(far + 1, len(distance) - 1)], 0)
    usual = [np.where(each <= longest, each, 0) for each in (before, behind)]
    limit = 2 * np.maximum(np.maximum(usual[0], step_ms), usual[1])
    gaps[far + 1] = distance[far] > limit
    return gaps


def _split(begins: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Int64s, Bools]:
    """Cut intervals [begin, end) at the quarters.

    Returns for each piece: which interval, the quarter's start, the length in ms, and whether the
    interval begins in that quarter.
    """
    first = begins // QUARTER_MS
    count = (ends - 1) // QUARTER_MS - first + 1
    at = np.repeat(np.arange(len(begins)), count)
    offset = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    starts = (first[at] + offset) * QUARTER_MS
    lengths = np.minimum(ends[at], starts + QUARTER_MS) - np.maximum(begins[at], starts)
    return at, starts, lengths, offset == 0


def _counted(
    samples: Samples, series: Sequence[Series], group_series: Int64s, group_starts: Int64s
) -> Floats:
    """What registers counted in each group, in integers of the channel."""
    counted = np.zeros(len(group_series))
    kinds = np.array([each.kind for each in series], np.int64)
    bridge = np.array([bridge_ms(each.step_ms) for each in series], np.int64)
    here = samples.series[:-1]
    distance = np.diff(samples.times)
    pairs = np.flatnonzero(
        (np.diff(samples.series) == 0) & (kinds[here] == Kind.REGISTER) & (distance <= bridge[here])
    )
    if not len(pairs):
        return counted
    of, lasted = here[pairs], distance[pairs]
    # A register shows what it counted in whole integers: one more than the power alone explains.
    most = np.array([_most_per_ms(each) for each in series])[of] * lasted + 1
    if samples.lift is not None:
        most *= samples.lift[pairs + 1]
    modulus = np.array([each.modulus for each in series], float)[of]
    steps = _steps(samples.raw[pairs], samples.raw[pairs + 1], most, modulus)
    at, starts, lengths, _ = _split(samples.times[pairs], samples.times[pairs + 1])
    shares = steps[at] * (lengths / lasted[at])
    # Both samples of a pair lie in quarters of their own, and a longer step holds all between.
    keys = group_series * (1 << 32) + group_starts // QUARTER_MS
    places = np.searchsorted(keys, of[at] * (1 << 32) + starts // QUARTER_MS)
    np.add.at(counted, places, shares)
    return counted


def _steps(before: Int64s, after: Int64s, most: Floats, modulus: Floats) -> Floats:
    """How far registers went from one sample to the next, in integers; 0 where unknown."""
    steps = (after - before).astype(np.float64)
    rolled = (steps < 0) & (before > NEAR_END * modulus) & (after < NEAR_START * modulus)
    steps = np.where(rolled, steps + modulus, steps)
    return np.where((steps < 0) | (steps > most), 0.0, steps)


def _most_per_ms(series: Series) -> float:
    """The most integers that a register can count in a millisecond."""
    if series.most_w is None:
        return np.inf
    return _TOLERATED * series.most_w / WH_PER_UNIT_MS / float(series.resolution)
