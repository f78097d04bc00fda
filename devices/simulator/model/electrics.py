"""The grid, and what meters make of watts: integers that obey P = U·I·cos φ and registers.

Every quantity is rounded to its channel's resolution once. Current is computed from the rounded
power, voltage and power factor; registers are sums of rounded power. So what a meter reports is
consistent with itself to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devices.simulator.model.chance import Chance, Floats, Int64s
from devices.simulator.model.loads import STEP_S, Load, Span

WS_PER_WH = 3_600


@dataclass(frozen=True, slots=True)
class Phases:
    """Power drawn from each phase: `active` (W) and `reactive` (var), shape (3, n)."""

    active: Floats
    reactive: Floats


def draw(loads: Sequence[Load], span: Span) -> Phases:
    """What loads draw together."""
    active = np.zeros((3, len(span.step)))
    reactive = np.zeros((3, len(span.step)))
    for load in loads:
        watts = load.power(span)
        shares = np.array(load.phases)[:, None]
        active += shares * watts
        reactive += shares * (watts * math.tan(math.acos(load.power_factor)))
    return Phases(active, reactive)


def frequency(grid: Chance, span: Span) -> Floats:
    """Frequency of a synchronous area, Hz: the same for all who share `grid`, within ±0.1."""
    slow = 0.028 * grid.smooth(span.time_s, 700.0)
    quick = 0.012 * grid.smooth(span.time_s + 17.0, 40.0)
    hour = span.time_s % 3_600  # schedules change on the hour
    step = 0.02 * np.exp(-np.minimum(hour, 3_600 - hour) / 180.0) * grid.smooth(span.time_s, 9e4)
    hertz: Floats = 50.0 + slow + quick + step
    return hertz


def voltages(chance: Chance, span: Span, phases: Phases, impedance: float) -> Floats:
    """Voltage of each phase (3, n): the local grid's, less what the site's own current costs."""
    rows = []
    for number in range(3):
        wander = 2.6 * chance.smooth(span.time_s + 1e6 * number, 1_800.0)
        flicker = 0.35 * chance.smooth(span.time_s + 1e6 * number, 11.0)
        drop = impedance * phases.active[number] / 230.0
        rows.append(231.5 + wander + flicker - drop)
    volts: Floats = np.clip(np.stack(rows), 195.0, 260.0)
    return volts


@dataclass(slots=True)
class Register:
    """A counter of energy: the exact integral of rounded power, in watt-seconds since the epoch."""

    start_wh: int
    energy_ws: int = 0

    def advance(self, watts: Int64s) -> Int64s:
        """Readings in Wh at the start of each step, and one more at the end of the last one."""
        energy_ws = self.energy_ws + np.concatenate(([0], np.cumsum(watts * STEP_S)))
        self.energy_ws = int(energy_ws[-1])
        return self.start_wh + energy_ws // WS_PER_WH


def meter_three_phase(
    phases: Phases,
    volts: Floats,
    hertz: Floats,
    *,
    gain: float,
    registers: tuple[Register, Register],
) -> Int64s:
    """The channels of `catalogue._three_phase`, in order, as integers (16, n).

    Resolutions: 1 W, 0.1 V, 0.01 A, 0.001, 0.001 Hz, 1 Wh. `gain` is the meter's error.
    """
    watts = np.rint(phases.active * (1 + gain)).astype(np.int64)
    apparent = np.hypot(watts, phases.reactive)
    raw_volts = np.rint(volts * 10).astype(np.int64)
    # The sign of cos φ is that of the power; a phase without any power has cos φ = 0.
    factor = np.divide(watts, apparent, out=np.zeros_like(apparent), where=apparent > 0)
    raw_factor = np.rint(factor * 1_000).astype(np.int64)
    exact = np.abs(raw_factor) > 0
    amperes = np.divide(
        watts * 10_000.0, raw_volts * raw_factor, out=apparent / volts, where=exact & (watts != 0)
    )
    raw_amperes = np.rint(amperes * 100).astype(np.int64)
    total = watts.sum(axis=0)
    bought = registers[0].advance(np.maximum(total, 0))[:-1]
    sold = registers[1].advance(np.maximum(-total, 0))[:-1]
    raw_hertz = np.rint(hertz * 1_000).astype(np.int64)
    return np.vstack(
        [watts, total[None], raw_volts, raw_amperes, raw_factor, raw_hertz[None], bought, sold]
    )


def meter_feeder(phases: Phases, *, gain: float, register: Register) -> Int64s:
    """The channels of a sub-meter, in order, as integers (4, n): 1 W, 1 var, 0.001, 1 Wh."""
    watts = np.rint(phases.active.sum(axis=0) * (1 + gain)).astype(np.int64)
    vars_ = np.rint(phases.reactive.sum(axis=0) * (1 + gain)).astype(np.int64)
    apparent = np.hypot(watts, vars_)
    factor = np.divide(watts, apparent, out=np.zeros_like(apparent), where=apparent > 0)
    energy = register.advance(np.maximum(watts, 0))[:-1]
    return np.vstack([watts, vars_, np.rint(factor * 1_000).astype(np.int64), energy])
