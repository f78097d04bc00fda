"""The part of `series.read_series` that computes derived channels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from devices.domain.derived_definitions import definitions_of
from devices.domain.derived_readings import Derivations, Window, read_derived
from devices.domain.derived_rollups import rolled_up
from devices.domain.series_bounds import Bounds
from devices.telemetry.rollup import Quarters
from devices.telemetry.rollup_samples import Kind, Series
from devices.telemetry.segment import concatenated
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.series import Curve, curve_of


class _Facts(Protocol):
    @property
    def channel_id(self) -> int: ...
    @property
    def device_id(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def resolution(self) -> Decimal: ...


def derived_curves(facts: Sequence[_Facts], bounds: Bounds) -> dict[int, Curve]:
    """The values of derived channels, by channel id; those that have any."""
    definitions = definitions_of([one.channel_id for one in facts], as_of=bounds.as_of)
    inputs = definitions.measured_of([one.channel_id for one in facts])
    bounds.refuse_long_raw(len(inputs))
    window = Window(_up(bounds.start), _up(bounds.end))
    derivations = Derivations(definitions, bounds.as_of)
    found = read_derived(derivations, {one.channel_id: window for one in facts})
    curves = {}
    for one in facts:
        pieces = [piece for piece in found[one.channel_id] if len(piece[1])]
        if pieces:
            step_ms = min(stretch.step_ms for stretch, _ in pieces)
            series = Series(one.device_id, one.number, one.resolution, Kind.NONE, step_ms)
            readings = concatenated([readings for _, readings in pieces])
            curves[one.channel_id] = curve_of(readings, series)
    return curves


def derived_quarters(facts: Sequence[_Facts], bounds: Bounds) -> dict[int, Quarters]:
    """The roll-ups of derived channels as they were known at an instant, by channel id."""
    definitions = definitions_of([one.channel_id for one in facts], as_of=bounds.as_of)
    bounds.refuse_long_raw(len(definitions.measured_of([one.channel_id for one in facts])))
    window = Window(bounds.start_ms, bounds.end_ms)
    derivations = Derivations(definitions, bounds.as_of)
    return rolled_up(derivations, {one.channel_id: window for one in facts})


def inputs_of(facts: Sequence[_Facts], bounds: Bounds) -> int:
    """How many measured channels derived ones are computed from; one, where none is known."""
    ids = [one.channel_id for one in facts]
    return max(1, len(definitions_of(ids, as_of=bounds.as_of).measured_of(ids)))


def _up(at: datetime) -> int:
    """An instant in ms; one between two milliseconds keeps its meaning for whole ones."""
    whole = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return milliseconds(whole) + (whole < at)
