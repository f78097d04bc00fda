"""Columns of readings, and how several are brought to one time axis.

A reading holds as long as the roll-ups say (`devices.telemetry.rollup`): until the next one, but
never across a gap. Between its end and the next reading the channel is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from devices.formulas.errors import EvaluationError
from devices.protocol.data import Int64s
from devices.protocol.layout import MAX_TIME_MS
from devices.telemetry.rollup import Floats, held_until
from devices.telemetry.rollup_samples import Kind, Samples, Series

# Of the union of all axes: a year of a channel at ten seconds, some 25 MB an operand.
MAX_POINTS: Final = 3_200_000


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Readings of one channel, as `column_of` makes them.

    `times`: (n,) ms since the Unix epoch, rising. `values`: (n,) in the channel's unit, NaN where
    unknown, never infinite. `step_ms`: how far apart the device's type takes readings; after a
    reading without a successor it stands for that long.
    """

    times: Int64s
    values: Floats
    step_ms: int


def column_of(times: ArrayLike, values: ArrayLike, step_ms: int) -> Column:
    """Check and take readings; what is not finite becomes unknown.

    EvaluationError when the lengths differ, the times do not rise or lie outside the years that a
    reading can have (1970 to 10889), or the step is not positive.
    """
    at = np.asarray(times, np.int64)
    of = np.asarray(values, np.float64)
    if at.ndim != 1 or at.shape != of.shape:
        raise EvaluationError(
            f"a column has as many times as values: these are {at.shape} and {of.shape}"
        )
    if step_ms <= 0:
        raise EvaluationError(f"the step of a column is {step_ms} ms: it must be more than 0")
    if len(at) and (at[0] < 0 or at[-1] > MAX_TIME_MS or not (np.diff(at) > 0).all()):
        raise EvaluationError(
            "the times of a column must rise and lie between 1970 and 10889: sort them and keep "
            "one reading for each"
        )
    finite = np.isfinite(of)
    return Column(at, of if finite.all() else np.where(finite, of, np.nan), step_ms)


@dataclass(slots=True)
class Axis:
    """The union of the times of some columns, and each of them brought to it when asked for."""

    times: Int64s
    step_ms: int
    _columns: Mapping[str, Column]
    _joined: dict[str, Floats] = field(default_factory=dict)
    _ends: Int64s | None = None

    @classmethod
    def of(cls, columns: Mapping[str, Column], names: Iterable[str]) -> Axis:
        """The axis of the columns with these names; EvaluationError when it is too long."""
        chosen = {name: columns[name] for name in names}
        step_ms = min(column.step_ms for column in chosen.values())
        return cls(_union([column.times for column in chosen.values()]), step_ms, chosen)

    @property
    def ends(self) -> Int64s:
        """(n,) until when a value at each time holds."""
        if self._ends is None:
            self._ends = holds_until(self.times, self.step_ms)
        return self._ends

    def values(self, name: str) -> Floats:
        """(n,) the values of a column, NaN where it is unknown."""
        if name not in self._joined:
            self._joined[name] = joined(self._columns[name], self.times)
        return self._joined[name]


def holds_until(times: Int64s, step_ms: int) -> Int64s:
    """(n,) until when the reading at each time holds, in ms; the rule of the roll-ups."""
    if not len(times):
        return times
    nothing = np.zeros(len(times), np.int64)
    samples = Samples(series=nothing, times=times, sequences=nothing, raw=nothing)
    return held_until(samples, [Series(0, 0, Decimal(1), Kind.NONE, step_ms)])


def joined(column: Column, times: Int64s) -> Floats:
    """(n,) the values of a column at these rising times, NaN where none holds."""
    if column.times is times or np.array_equal(column.times, times):
        return column.values
    if not len(column.times):
        return np.full(len(times), np.nan)
    place = np.searchsorted(column.times, times, "right") - 1
    before = np.maximum(place, 0)
    known = (place >= 0) & (times < holds_until(column.times, column.step_ms)[before])
    return np.where(known, column.values[before], np.nan)


def _union(axes: Sequence[Int64s]) -> Int64s:
    first = axes[0]
    if all(each is first or np.array_equal(each, first) for each in axes[1:]):
        union = first
    else:
        if sum(map(len, axes)) > MAX_POINTS * 4:
            raise _too_long()
        union = np.unique(np.concatenate(axes))
    if len(union) > MAX_POINTS:
        raise _too_long()
    return union


def _too_long() -> EvaluationError:
    return EvaluationError(
        f"a formula takes at most {MAX_POINTS} points of time at once: ask for a shorter period"
    )
