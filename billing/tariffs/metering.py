"""Sums of energy: by period, by tier and by window, as integers of milliwatt-hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from billing.tariffs import calendar
from billing.tariffs.parts import Flow, Schedule
from billing.tariffs.pieces import Piece
from billing.tariffs.sentences import sentence
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s, Quality, Usage, UsageError

# Up to here sums of integers in doubles are exact.
_EXACT: Final = 2**53
Place = slice | Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Energy on a grid of `step_s`: columns (n,) by flow, what of it is estimated (None: nothing),
    and reactive energy (None: not measured).
    """

    step_s: int
    starts: Int64s
    energy: dict[Flow, Int64s]
    estimated: dict[Flow, Int64s] | None
    reactive: Int64s | None

    @classmethod
    def of(cls, usage: Usage) -> Grid:
        """Use on its own grid; what is missing counts as nothing."""
        energy = {Flow.IMPORT: usage.imported, Flow.EXPORT: usage.exported}
        reactive, estimated = usage.reactive, None
        if usage.quality.any():
            there = usage.quality != Quality.MISSING
            guessed = usage.quality == Quality.ESTIMATED
            estimated = {flow: np.where(guessed, column, 0) for flow, column in energy.items()}
            energy = {flow: np.where(there, column, 0) for flow, column in energy.items()}
            reactive = None if reactive is None else np.where(there, reactive, 0)
        return cls(usage.step_s, usage.starts, energy, estimated, reactive)

    def coarser(self, step_s: int) -> Grid:
        """Summed up to longer intervals. Raises UsageError when these are no multiple."""
        if step_s == self.step_s:
            return self
        if step_s % self.step_s:
            raise UsageError(
                sentence(
                    "The tariff goes by %(step_s)s minutes: intervals of %(step_s_2)s s do not"
                    " add up to them.",
                    step_s=step_s // 60,
                    step_s_2=self.step_s,
                )
            )
        starts, group = np.unique(self.starts - self.starts % step_s, return_inverse=True)
        count = len(starts)

        def added(columns: dict[Flow, Int64s]) -> dict[Flow, Int64s]:
            return {flow: added_up(group, column, count) for flow, column in columns.items()}

        return Grid(
            step_s,
            starts,
            added(self.energy),
            self.estimated and added(self.estimated),
            None if self.reactive is None else added_up(group, self.reactive, count),
        )

    def within(self, piece: Piece) -> Grid:
        """The intervals that begin in a piece."""
        begin, end = np.searchsorted(self.starts, [piece.start, piece.stop]).tolist()
        if begin == 0 and end == len(self.starts):
            return self
        part = slice(begin, end)
        return Grid(
            self.step_s,
            self.starts[part],
            {flow: column[part] for flow, column in self.energy.items()},
            self.estimated and {flow: column[part] for flow, column in self.estimated.items()},
            None if self.reactive is None else self.reactive[part],
        )

    def place(self, piece: Piece) -> Place:
        """Where its intervals (of the piece alone) stand among all of the month."""
        if not len(self.starts):
            return slice(0, 0)
        begin = calendar.starts_of(piece.zone, piece.month, self.step_s)[0]
        first, last = (int(self.starts[n] - begin) // self.step_s for n in (0, -1))
        if last - first + 1 == len(self.starts):
            return slice(first, last + 1)
        found: Int64s = (self.starts - begin) // self.step_s
        return found


def added_up(group: NDArray[Any], values: Int64s, count: int) -> Int64s:
    """Sums (count,) of values by group, exact: in doubles as long as these hold the integers."""
    if not len(values):
        return np.zeros(count, np.int64)
    if int(np.abs(values).max()) * len(values) < _EXACT:
        return np.bincount(group, values, count).astype(np.int64)
    made = np.zeros(count, np.int64)
    np.add.at(made, group, values)
    return made


def codes_in(schedule: Schedule, grid: Grid, piece: Piece, component: str) -> NDArray[Any]:
    """The period of each interval of a piece. Raises CoverageError for one without, or with two."""
    codes = calendar.codes_of(schedule, piece.zone, piece.month, grid.step_s)[grid.place(piece)]
    if len(codes) and codes.min() < 0:
        n = int(np.flatnonzero(codes < 0)[0])
        raise calendar.uncovered(component, int(grid.starts[n]), piece.zone, int(codes[n]))
    return codes


def fill_together(energies: Sequence[int], limits: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tiers filled by the sum of all periods, each period's part of each tier in proportion to its
    energy. Parts are cut from the cumulated energy, rounded down to whole mWh, so that those of a
    period add up to its energy. With nothing or less in sum, everything is in the first tier.
    """
    total = sum(energies)
    return [
        _between([own * min(total, limit) // total for limit in of], own)
        if total > 0
        else _first(own, of)
        for own, of in zip(energies, limits, strict=True)
    ]


def fill_each(energies: Sequence[int], limits: Sequence[Sequence[int]]) -> list[list[int]]:
    """Tiers filled by each period for itself."""
    return [
        _between([min(own, limit) for limit in of], own) if own > 0 else _first(own, of)
        for own, of in zip(energies, limits, strict=True)
    ]


def fill_in_order(
    codes: NDArray[Any], energies: Int64s, limits: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Tiers filled as time goes; the interval in which a limit is reached is split there."""
    count = len(limits)
    after = np.cumsum(energies)
    before = after - energies
    own = added_up(codes, energies, count).tolist()
    below = {
        limit: added_up(codes, np.minimum(after, limit) - np.minimum(before, limit), count).tolist()
        for limit in {limit for of in limits for limit in of}
    }
    return [_between([below[limit][n] for limit in of], own[n]) for n, of in enumerate(limits)]


def _between(cuts: list[int], own: int) -> list[int]:
    """The energy of each tier, from what is below each limit."""
    return [high - low for low, high in zip([0, *cuts], [*cuts, own], strict=True)]


def _first(own: int, of: Sequence[int]) -> list[int]:
    return [own, *(0 for _ in of)]


@dataclass(slots=True)
class Metered:
    """The use of one piece: `fine` on the grid it was measured on, `grid` on the tariff's."""

    piece: Piece
    fine: Grid
    grid: Grid
    _sums: dict[tuple[Flow, Schedule | None], tuple[list[int], list[int]]] = field(
        default_factory=dict
    )
    _windows: dict[int, tuple[Int64s, Int64s]] = field(default_factory=dict)

    def sums(self, flow: Flow, schedule: Schedule | None, name: str) -> tuple[list[int], list[int]]:
        """Energy by period (one, without a schedule), and what of it is estimated."""
        key = (flow, schedule)
        if key not in self._sums:
            columns = [self.grid.energy[flow]]
            if self.grid.estimated is not None:
                columns.append(self.grid.estimated[flow])
            if schedule is None:
                made = [[int(column.sum())] for column in columns]
            else:
                codes, count = (
                    codes_in(schedule, self.grid, self.piece, name),
                    len(schedule.periods),
                )
                made = [added_up(codes, column, count).tolist() for column in columns]
            self._sums[key] = (made[0], made[1] if len(made) > 1 else [0] * len(made[0]))
        return self._sums[key]

    def codes(self, schedule: Schedule | None, name: str) -> NDArray[Any]:
        """The index of each interval's period; without a schedule there is one."""
        if schedule is None:
            return np.zeros(len(self.grid.starts), np.int64)
        return codes_in(schedule, self.grid, self.piece, name)

    def windows(self, window_min: int) -> tuple[Int64s, Int64s]:
        """Energy drawn in each window of local time that has any interval, and the windows' places
        in the month. What is not measured counts as nothing, and so does what the clock leaves out:
        a window that is not full never shows more than was drawn.
        """
        if window_min not in self._windows:
            window_s = window_min * 60
            if window_s % self.fine.step_s:
                raise UsageError(
                    sentence(
                        "A demand over %(window_min)s minutes cannot be told from intervals of"
                        " %(step_s)s minutes.",
                        window_min=window_min,
                        step_s=self.fine.step_s // 60,
                    )
                )
            index, _first = calendar.windows_of(
                self.piece.zone, self.piece.month, self.fine.step_s, window_s
            )
            here = index[self.fine.place(self.piece)]
            low = int(here[0]) if len(here) else 0
            count = int(here[-1]) - low + 1 if len(here) else 0
            energy = added_up(here - low, self.fine.energy[Flow.IMPORT], count)
            self._windows[window_min] = (energy, np.arange(low, low + count))
        return self._windows[window_min]

    def peak_kw(self, window_min: int) -> Fraction:
        """The highest mean of any window."""
        energy, _places = self.windows(window_min)
        return power(int(energy.max()), window_min) if len(energy) else Fraction(0)


def power(milliwh: int, window_min: int) -> Fraction:
    """The mean power in kW of energy in a window."""
    return Fraction(milliwh * 60, window_min * MILLIWH_PER_KWH)
