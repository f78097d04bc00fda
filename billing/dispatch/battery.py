"""What a battery behind the meter would have made of use: greedy, without knowing the future.

In each interval what is given to the grid loads the battery, and what is drawn from it unloads it,
as far as its power and what it holds allow. With `peak_kw` it is unloaded only for what exceeds
that power and loaded from the grid up to it: peak shaving instead of use of one's own. Energies are
integers of mWh; the losses of a round trip are taken when it is loaded. At the end of the time it
may hold something, which is told and worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from billing.tariffs.sentences import sentence
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s, Usage, UsageError

# Efficiency is counted in parts of this.
_PARTS: Final = 1000


class BatteryError(Exception):
    """A battery that cannot be; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery that holds `capacity_kwh`, of `power_kw` in both directions; of what loads it
    `efficiency` (0 … 1) can be taken out again.
    """

    capacity_kwh: float
    power_kw: float
    efficiency: float = 0.9
    peak_kw: float | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            (sentence("the capacity"), self.capacity_kwh, 0, 1_000_000),
            (sentence("the power"), self.power_kw, 0, 1_000_000),
            (sentence("the efficiency"), self.efficiency, 0.1, 1),
            (sentence("the limit of the peak"), self.peak_kw or 0, 0, 1_000_000),
        ):
            if not low <= value <= high:
                raise BatteryError(
                    sentence(
                        "%(name)s is %(value)s: give a number from %(low)s to %(high)s",
                        name=name,
                        value=f"{value:g}",
                        low=f"{low:g}",
                        high=f"{high:g}",
                    )
                )


@dataclass(frozen=True, slots=True)
class Dispatched:
    """`usage` as the meter at the mains would have counted it; mWh `loaded` into the battery,
    `unloaded` from it, `lost` in it, and `left` in it at the end: loaded = unloaded + lost + left.
    """

    usage: Usage
    loaded: int = 0
    unloaded: int = 0
    lost: int = 0
    left: int = 0


def with_generation(usage: Usage, generated: Int64s) -> Usage:
    """Use with what panels give (mWh (n,)): it covers what is drawn, the rest is given away.

    Intervals in which both were measured are taken as first drawn and then given.
    """
    if len(generated) != len(usage.starts):
        raise UsageError(
            sentence(
                "%(generated)s values of generation for %(starts)s intervals",
                generated=len(generated),
                starts=len(usage.starts),
            )
        )
    own = np.minimum(usage.imported, generated)
    return replace(usage, imported=usage.imported - own, exported=usage.exported + generated - own)


def with_battery(usage: Usage, battery: Battery) -> Dispatched:
    """Use with a battery, empty at the beginning; nothing happens in an interval that is missing
    from the grid of intervals.
    """
    capacity = round(battery.capacity_kwh * MILLIWH_PER_KWH)
    power = round(battery.power_kw * MILLIWH_PER_KWH * usage.step_s / 3600)
    parts = round(battery.efficiency * _PARTS)
    limit = None
    if battery.peak_kw is not None:
        limit = round(battery.peak_kw * MILLIWH_PER_KWH * usage.step_s / 3600)
    imported, exported = usage.imported.tolist(), usage.exported.tolist()
    held = loaded = unloaded = lost = 0
    for at, (drawn, given) in enumerate(zip(imported, exported, strict=True)):
        # What the battery could still be loaded with, so that `parts` of it fit.
        room = min(power, (capacity - held) * _PARTS // parts)
        from_grid = 0 if limit is None else max(0, min(limit - drawn, room - min(given, room)))
        load = min(given, room) + from_grid
        wanted = drawn if limit is None else drawn - limit
        unload = 0 if load else max(0, min(wanted, power, held))
        if load:
            kept = load * parts // _PARTS
            held, loaded, lost = held + kept, loaded + load, lost + load - kept
        held, unloaded = held - unload, unloaded + unload
        imported[at] = drawn + from_grid - unload
        exported[at] = given - (load - from_grid)
    changed = replace(
        usage, imported=np.array(imported, np.int64), exported=np.array(exported, np.int64)
    )
    return Dispatched(changed, loaded, unloaded, lost, held)


def lowest_peak(usage: Usage, battery: Battery) -> float:
    """The lowest limit (kW, to a hundredth of the peak) under which a battery can keep the use."""
    if not len(usage.imported):
        return 0.0
    peak = float(usage.imported.max()) * 3600 / usage.step_s / MILLIWH_PER_KWH
    low, high = 0, 100
    while low < high:
        middle = (low + high) // 2
        tried = replace(battery, peak_kw=peak * middle / 100)
        reached = with_battery(usage, tried).usage.imported.max()
        allowed = peak * middle / 100 * MILLIWH_PER_KWH * usage.step_s / 3600
        low, high = (low, middle) if reached <= allowed + 1 else (middle + 1, high)
    return peak * high / 100
