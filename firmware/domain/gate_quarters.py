"""What the roll-ups say of devices: gaps, the shape of the load, the charge that is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from django.db import connection

from devices.models import Channel
from devices.telemetry.quarter_reads import Span, read_quarters, series_key
from devices.telemetry.rollup_codec import NUMBERS
from firmware.domain.gate_windows import QUARTER_S, Windows
from firmware.gate.comparison import Bools, Floats, Int64s, Measure
from firmware.gate.metrics import Metric

# Read at once: with eight days of two channels some 800 000 quarters.
_PORTION: Final = 500
_IN_A_DAY: Final = 86_400 // QUARTER_S
# A quarter of which less was measured has a gap: half a minute of it.
_WHOLE: Final = 1 - 30 / QUARTER_S
# A day that departs from the usual course by more departs altogether.
_MOST_DEPARTURE: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Quartered:
    """Measures of devices by metric, and the course of the sums after the wave: for each metric,
    device and quarter since the wave the amount and the exposure, (n, quarters).
    """

    measures: Mapping[Metric, Measure]
    course: Mapping[Metric, tuple[Floats, Floats]]


def power_and_charge(devices: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """The channel numbers of devices that stand for them: power (else the first that is measured),
    and state of charge where there is one. One query.
    """
    power: dict[int, tuple[int, int]] = {}
    charge: dict[int, int] = {}
    rows = Channel.objects.filter(device_id__in=devices, derived=False).values_list(
        "device_id", "number", "quantity", "in_total"
    )
    for device_id, number, quantity, in_total in rows:
        rank = (0 if in_total else 1) if quantity == "active_power" else 2
        power[device_id] = min(power.get(device_id, (9, 0)), (rank, number))
        if quantity == "state_of_charge":
            charge[device_id] = min(charge.get(device_id, number), number)
    return {device: number for device, (_, number) in power.items()}, charge


def read(devices: Int64s, known_since: Int64s, behind: Bools, windows: Windows) -> Quartered:
    """The measures of devices, (n,) and rising.

    `known_since`: s since the Unix epoch; quarters before are not counted. Devices that are
    `behind` in roll-ups are not measured.
    """
    starts, past = windows.quarters()
    parts = []
    for first in range(0, len(devices), _PORTION):
        some = slice(first, first + _PORTION)
        grids = _grids([int(device) for device in devices[some]], starts, windows)
        counted = (starts >= known_since[some, None]) & ~behind[some, None]
        parts.append(_measured(*grids, counted, starts, past))
    return _joined(parts)


def _grids(devices: list[int], starts: Int64s, windows: Windows) -> tuple[Floats, Floats, Floats]:
    """Coverage and mean of the first channel, and the charge: (n, quarters), NaN for none."""
    power, charge = power_and_charge(devices)
    spans = [
        Span(device, int(span.starts_at.timestamp()) * 1000, int(span.ends_at.timestamp()) * 1000)
        for device in devices
        for span in windows.spans
    ]
    wanted = {series_key(device, number) for device, number in power.items()}
    charges = {series_key(device, number) for device, number in charge.items()}
    found = read_quarters(connection, spans, series=wanted | charges)
    row = np.searchsorted(np.array(devices), found.series // NUMBERS)
    slot = np.searchsorted(starts, found.starts // 1000)
    of_charge = np.isin(found.series, sorted(charges))
    of_power = np.isin(found.series, sorted(wanted))
    grids = tuple(np.full((len(devices), len(starts)), np.nan) for _ in range(3))
    grids[0][row[of_power], slot[of_power]] = found.coverage[of_power]
    grids[1][row[of_power], slot[of_power]] = found.mean[of_power]
    grids[2][row[of_charge], slot[of_charge]] = found.mean[of_charge]
    return grids[0], grids[1], grids[2]


def _measured(
    coverage: Floats, power: Floats, charge: Floats, counted: Bools, starts: Int64s, past: Bools
) -> Quartered:
    each = {
        Metric.GAPS: _gaps(coverage, counted),
        Metric.SHAPE: _shape(power, counted, starts, past),
        Metric.DRAIN: _drain(charge, counted, starts, past),
    }
    measures, course = {}, {}
    for metric, (amount, exposure) in each.items():
        measures[metric] = Measure(
            amount=amount[:, ~past].sum(axis=1),
            exposure=exposure[:, ~past].sum(axis=1),
            past_amount=amount[:, past].sum(axis=1),
            past_exposure=exposure[:, past].sum(axis=1),
        )
        course[metric] = (amount[:, ~past], exposure[:, ~past])
    return Quartered(measures, course)


def _gaps(coverage: Floats, counted: Bools) -> tuple[Floats, Floats]:
    """Of each quarter: whether it has a gap, and its length in days."""
    gap = counted & ~(np.nan_to_num(coverage) >= _WHOLE)
    return gap.astype(np.float64), counted / _IN_A_DAY


def _shape(power: Floats, counted: Bools, starts: Int64s, past: Bools) -> tuple[Floats, Floats]:
    """How far each quarter lies from the mean of the same quarter on the past days, as a part of
    the device's usual load; one of the past from that of the other past days.
    """
    measured = counted & ~np.isnan(power)
    load = np.where(measured, power, 0.0)
    clock = starts // QUARTER_S % _IN_A_DAY
    days = np.zeros((len(load), _IN_A_DAY))
    total = np.zeros((len(load), _IN_A_DAY))
    for slot in np.flatnonzero(past):
        days[:, clock[slot]] += measured[:, slot]
        total[:, clock[slot]] += load[:, slot]
    others = days[:, clock] - (past & measured)
    sums = total[:, clock] - np.where(past, load, 0.0)
    usual = np.abs(load[:, past]).sum(axis=1) / np.maximum(measured[:, past].sum(axis=1), 1)
    known = measured & (others > 0) & (usual > 0)[:, None]
    distance = np.abs(load - sums / np.maximum(others, 1))
    departure = np.minimum(distance / np.where(usual > 0, usual, 1)[:, None], _MOST_DEPARTURE)
    return np.where(known, departure / _IN_A_DAY, 0.0), known / _IN_A_DAY


def _drain(charge: Floats, counted: Bools, starts: Int64s, past: Bools) -> tuple[Floats, Floats]:
    """By how much the charge fell from each quarter to the next one, in percentage points."""
    following = np.zeros_like(charge)
    following[:, :-1] = charge[:, 1:]
    joined = np.zeros(len(starts), np.bool_)
    joined[:-1] = (np.diff(starts) == QUARTER_S) & (past[1:] == past[:-1])
    known = counted & joined & ~np.isnan(charge) & ~np.isnan(following)
    fall = np.maximum(0.0, np.where(known, charge - following, 0.0))
    return fall, known / _IN_A_DAY


def _joined(parts: list[Quartered]) -> Quartered:
    def column(metric: Metric, name: str) -> Floats:
        return np.concatenate([getattr(part.measures[metric], name) for part in parts])

    names = ("amount", "exposure", "past_amount", "past_exposure")
    metrics = tuple(parts[0].measures)
    return Quartered(
        {metric: Measure(*(column(metric, name) for name in names)) for metric in metrics},
        {
            metric: (
                np.concatenate([part.course[metric][0] for part in parts]),
                np.concatenate([part.course[metric][1] for part in parts]),
            )
            for metric in metrics
        },
    )
