"""Sums of quarters of an hour over periods, which can be joined to sums of longer periods.

Arrays in, arrays out. What a period is told by (`series.Periods`) is computed from them at the very
end: so a month is the same, to the last bit, whether its days were kept or are put together now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from devices.protocol.data import Bools, Int64s
from devices.telemetry.rollup import QUARTER_MS, Floats, Quarters, no_quarters

# Quarters until the year 2209: a series below 2⁴⁰ and its quarters are one integer.
_TIMES: Final = 1 << 23


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Of some series over the periods that begin at `starts` (ms since the Unix epoch), (n,) each,
    by series and start.

    `held`: quarters of an hour that were measured; `weighted`: the sum of means by that time;
    `minimum` to `last` NaN without readings, `energy` and `returned` in Wh, NaN for none.
    """

    series: Int64s
    starts: Int64s
    n: Int64s
    minimum: Floats
    maximum: Floats
    first: Floats
    last: Floats
    weighted: Floats
    held: Floats
    energy: Floats
    returned: Floats

    @classmethod
    def of(cls, quarters: Quarters) -> Self:
        """Quarters as sums of themselves."""
        return cls(
            quarters.series,
            quarters.starts,
            quarters.n,
            quarters.minimum,
            quarters.maximum,
            quarters.first,
            quarters.last,
            quarters.mean * quarters.coverage,
            quarters.coverage,
            quarters.energy,
            quarters.returned,
        )

    def only(self, chosen: Bools | Int64s | slice) -> Self:
        """Those that a mask (n,), rows or a slice choose."""
        return type(self)(*(getattr(self, name)[chosen] for name in Sums.__slots__))

    def over(self, edges: Int64s) -> Self:
        """The sums over the periods between `edges` (m + 1,), within which all of these begin."""
        place = np.searchsorted(edges, self.starts, side="right") - 1
        if not len(place):
            return self
        begins = np.flatnonzero(
            np.concatenate([[True], (np.diff(place) != 0) | (np.diff(self.series) != 0)])
        )
        first, last = _outermost(self, begins)
        return type(self)(
            self.series[begins],
            edges[place[begins]],
            np.add.reduceat(self.n, begins),
            np.fmin.reduceat(self.minimum, begins),
            np.fmax.reduceat(self.maximum, begins),
            first,
            last,
            np.add.reduceat(self.weighted, begins),
            np.add.reduceat(self.held, begins),
            summed(self.energy, begins),
            summed(self.returned, begins),
        )


def over(sums: Sums, chain: Iterable[Int64s]) -> Sums:
    """The sums over the periods of the last edges, by way of those before. Quarters that are
    periods themselves stay as they are.
    """
    for edges in chain:
        if len(edges) - 1 < (edges[-1] - edges[0]) // QUARTER_MS:
            sums = sums.over(edges)
    return sums


def together(parts: Sequence[Sums]) -> Sums:
    """All of them by series and start; no period is in two."""
    some = [part for part in parts if len(part.starts)]
    if not some:
        return Sums.of(no_quarters())
    if len(some) == 1:
        return some[0]
    return ordered(
        Sums(*(np.concatenate([getattr(part, name) for part in some]) for name in Sums.__slots__))
    )


def ordered(sums: Sums) -> Sums:
    """By series and start."""
    key = keys(sums.series, sums.starts)
    if (np.diff(key) > 0).all():
        return sums
    return sums.only(np.argsort(key))


def keys(series: Int64s, starts: Int64s) -> Int64s:
    """Integers that sort as (series, start of a quarter) do; series below 2⁴⁰."""
    found: Int64s = series * _TIMES + starts // QUARTER_MS
    return found


def runs(chosen: Bools) -> list[tuple[int, int]]:
    """Where the runs of True begin and end (the place after the last)."""
    steps = np.diff(chosen.astype(np.int8), prepend=0, append=0)
    return list(
        zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True)
    )


def summed(values: Floats, begins: Int64s) -> Floats:
    """Sums of groups that begin at some rows, of what is a number; NaN where nothing is."""
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), begins)
    return np.where(np.add.reduceat(known.astype(np.int64), begins) > 0, sums, np.nan)


def _outermost(sums: Sums, begins: Int64s) -> tuple[Floats, Floats]:
    """The first and last reading of each group; NaN for one without readings."""
    rows = np.arange(len(sums.n))
    beyond = len(rows)
    has = sums.n > 0
    early = np.minimum.reduceat(np.where(has, rows, beyond), begins)
    late = np.maximum.reduceat(np.where(has, rows, -1), begins)
    none = late < 0
    first = np.where(none, np.nan, sums.first[np.minimum(early, beyond - 1)])
    return first, np.where(none, np.nan, sums.last[late])
