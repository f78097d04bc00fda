"""The readings of derived channels, computed when they are asked for: nothing of them is stored.

A value depends on what lies around it alone, never on where the question begins or ends. So charts,
roll-ups and answers as of an instant agree. Needs an open scope, and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from devices.domain.derived_definitions import Definitions, Part, Stretch
from devices.domain.derived_memory import Recall, evaluated, recall, sliced
from devices.formulas.columns import Column, column_of
from devices.protocol.data import Int64s
from devices.telemetry.corrected_reads import read_corrected
from devices.telemetry.corrections import Corrected
from devices.telemetry.rollup import Floats
from devices.telemetry.segment import HOUR_MS, Readings, concatenated
from devices.telemetry.segment_store import moment

# Integers that a double has exactly.
_EXACT: Final = float(1 << 53)


@dataclass(frozen=True, slots=True)
class Window:
    """A period [start_ms, end_ms)."""

    start_ms: int
    end_ms: int

    @property
    def empty(self) -> bool:
        """Whether nothing lies in it."""
        return self.start_ms >= self.end_ms

    def joined(self, other: Window | None) -> Window:
        """The shortest that holds both."""
        if other is None:
            return self
        return Window(min(self.start_ms, other.start_ms), max(self.end_ms, other.end_ms))

    def in_full(self, length_ms: int) -> Window:
        """The shortest of full hours, quarters, … that holds it."""
        return Window(
            self.start_ms // length_ms * length_ms, -(-self.end_ms // length_ms) * length_ms
        )

    def within(self, stretch: Stretch) -> Window:
        """What it has in common with the time of a formula; may be empty."""
        return Window(max(self.start_ms, stretch.start_ms), min(self.end_ms, stretch.end_ms))

    def wider(self, by_ms: int) -> Window:
        """The same with more on both sides."""
        return Window(self.start_ms - by_ms, self.end_ms + by_ms)


@dataclass(frozen=True, slots=True)
class Derivations:
    """Derived channels to be read, by what was known at `as_of` (None: is now).

    `anew`: channels of which nothing is trusted that was remembered of later hours. `recalls`, by
    version: what formulas remember, noted while they are read.
    """

    definitions: Definitions
    as_of: datetime | None = None
    anew: frozenset[int] = frozenset()
    recalls: dict[int, Recall] = field(default_factory=dict)


def read_derived(
    derivations: Derivations, windows: Mapping[int, Window]
) -> dict[int, list[tuple[Stretch, Readings]]]:
    """The readings of derived channels within a window of each.

    For each channel those of its formulas, in order of time; integers of its resolution, each time
    once. Three statements, for corrections, frames and segments, and more where readings were
    moved in time; for formulas that remember a few more.
    """
    definitions = derivations.definitions
    needed = _needed(derivations, windows)
    columns = _measured(definitions, needed, derivations.as_of)
    found: dict[int, list[tuple[Stretch, Readings]]] = {}
    for channel_id in definitions.order:
        if channel_id not in needed:
            continue
        part = definitions.parts[channel_id]
        pieces = [
            (stretch, _evaluated(part, stretch, window, columns, derivations.recalls))
            for stretch in definitions.stretches[channel_id]
            if not (window := needed[channel_id].within(stretch)).empty
        ]
        columns[channel_id] = _column(part, [readings for _, readings in pieces])
        if channel_id in windows:
            found[channel_id] = [
                (stretch, _cut(readings, windows[channel_id])) for stretch, readings in pieces
            ]
    return found


def _needed(derivations: Derivations, windows: Mapping[int, Window]) -> dict[int, Window]:
    """For each channel, measured ones too, the window in which it has to be known."""
    definitions = derivations.definitions
    needed = dict(windows)
    for channel_id in reversed(definitions.order):
        if channel_id not in needed:
            continue
        for stretch in definitions.stretches[channel_id]:
            window = needed[channel_id].within(stretch)
            if window.empty:
                continue
            around = window.wider(stretch.reach_ms)
            if stretch.formula.memories:
                recalled = _recalled(derivations, channel_id, stretch, window)
                if recalled is None:
                    continue
                ends = -(-window.end_ms // HOUR_MS) * HOUR_MS
                around = Window(recalled.hour_ms - stretch.reach_ms, ends).wider(stretch.reach_ms)
            for each in stretch.inputs.values():
                needed[each] = around.joined(needed.get(each))
    return needed


def _recalled(
    derivations: Derivations, channel_id: int, stretch: Stretch, window: Window
) -> Recall | None:
    definitions = derivations.definitions
    measured = definitions.measured_of(stretch.inputs.values())
    recalled = recall(
        definitions.parts[channel_id],
        stretch,
        frozenset(definitions.parts[one].device_id for one in measured),
        window.start_ms,
        window.end_ms,
        as_of=derivations.as_of,
        anew=channel_id in derivations.anew,
    )
    if recalled is not None:
        derivations.recalls[stretch.version_id] = recalled
    return recalled


def _measured(
    definitions: Definitions, needed: Mapping[int, Window], as_of: datetime | None
) -> dict[int, Column]:
    """The columns of the measured channels that are needed."""
    wanted = [part for channel_id in needed if not (part := definitions.parts[channel_id]).derived]
    if not wanted:
        return {}
    whole = needed[wanted[0].channel_id]
    for part in wanted:
        whole = whole.joined(needed[part.channel_id])
    numbers: dict[int, set[int]] = {}
    for part in wanted:
        numbers.setdefault(part.device_id, set()).add(part.number)
    found = read_corrected(
        connection,
        sorted(numbers),
        moment(max(whole.start_ms, 0)),
        moment(whole.end_ms),
        channels_of=numbers,
        as_of=as_of,
    )
    nothing = Corrected(Readings.none())
    return {
        part.channel_id: _column(
            part, [found.get(part.device_id, {}).get(part.number, nothing).readings]
        )
        for part in wanted
    }


def _column(part: Part, pieces: Sequence[Readings]) -> Column:
    """Readings as what formulas compute with."""
    if not pieces:
        pieces = [Readings.none()]
    readings = concatenated(pieces)
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    numerator, denominator = part.resolution.as_integer_ratio()
    values = readings.raw.astype(np.float64) * numerator / denominator
    return column_of(readings.times, values, part.step_ms)


def _evaluated(
    part: Part,
    stretch: Stretch,
    window: Window,
    columns: Mapping[int, Column],
    recalls: Mapping[int, Recall],
) -> Readings:
    """What a formula gives within a window, in integers of the channel."""
    inputs = {name: columns.get(each) for name, each in stretch.inputs.items()}
    known = {name: column for name, column in inputs.items() if column is not None}
    if len(known) < len(inputs):
        return Readings.none()
    if not stretch.formula.memories:
        around = window.wider(stretch.reach_ms)
        near = {
            name: sliced(column, around.start_ms, around.end_ms) for name, column in known.items()
        }
        column = stretch.formula.evaluate(near, zone=ZoneInfo(part.zone))
        return _cut(quantised(part, column.times, column.values), window)
    recalled = recalls.get(stretch.version_id)
    if recalled is None:
        return Readings.none()
    hours = [
        quantised(part, times, values)
        for times, values in evaluated(part, stretch, recalled, known, window.end_ms)
    ]
    return _cut(concatenated(hours), window) if hours else Readings.none()


def quantised(part: Part, times: Int64s, values: Floats) -> Readings:
    """Values as integers of a channel; without what is unknown or outside the channel's limits."""
    numerator, denominator = part.resolution.as_integer_ratio()
    raw = np.rint(values * denominator / numerator)
    lowest = max(-_EXACT, float(part.minimum / part.resolution))
    highest = min(_EXACT, float(part.maximum / part.resolution))
    known = (raw >= lowest) & (raw <= highest)  # not where it is NaN
    chosen = times[known]
    return Readings(chosen, np.zeros(len(chosen), np.int64), raw[known].astype(np.int64))


def _cut(readings: Readings, window: Window) -> Readings:
    rows = slice(*np.searchsorted(readings.times, (window.start_ms, window.end_ms)).tolist())
    return readings.chosen(rows)
