"""The state of charge of a battery: charge counted, and corrected by the voltage at rest.

Rules:

- What flows in and out (current positive when charging) is counted by the rule of the roll-ups,
  what flows in times the efficiency of charging; the result stays within 0 and 100 %.
- A battery *rests* while its current is below a five-hundredth of what empties it in an hour.
  After an hour of rest its voltage is taken for the open-circuit voltage, and the state of charge
  goes towards what that says, by 1 − 1/e within another hour: a voltage still settles for hours.
- It is unknown before it is told (`start`) or the first rest of an hour is over, and after the
  current was unknown for more than an hour until the next such rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from devices.protocol.data import Int64s
from devices.telemetry.rollup import Floats

REST_MS: Final = 3_600_000
SETTLING_MS: Final = 3_600_000
FORGOTTEN_MS: Final = 3_600_000
_HOUR_MS: Final = 3_600_000.0
# Above that of a clock's self-consumption, below every load that is meant.
REST_PART: Final = 1 / 500

# Open-circuit voltage of a cell at 0, 10 … 100 %.
# lead_acid: Trojan Battery Company, User's Guide (flooded deep-cycle, 27 °C), whose table ends at
#   10 %; the value at 0 % continues its last step.
# lithium_ion: Panasonic NCR18650BF; lithium_iron_phosphate: Drypower IFR18650 E1600; both as taken
#   from the makers' data sheets by the Zephyr project (dt-bindings/battery/battery.h).
_TENTHS: Final = np.arange(0.0, 101.0, 10.0)
CHEMISTRIES: Final = MappingProxyType(
    {
        "lead_acid": (
            1.893, 1.918, 1.943, 1.969, 1.993, 2.017, 2.040, 2.062, 2.083, 2.103, 2.122,
        ),
        "lithium_ion": (
            2.502, 3.146, 3.372, 3.449, 3.532, 3.602, 3.680, 3.764, 3.842, 3.936, 4.032,
        ),
        "lithium_iron_phosphate": (
            2.013, 3.068, 3.159, 3.194, 3.210, 3.221, 3.229, 3.246, 3.256, 3.262, 3.348,
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Battery:
    """What has to be known of a battery.

    `capacity_ah` > 0; `cells` in series; `chemistry` a key of `CHEMISTRIES`; `start` in % at the
    first reading, None where it is not known; `efficiency` of charging, a part of 1. `curve`: pairs
    of cell voltage (rising) and per cent in place of the chemistry's.
    """

    capacity_ah: float
    cells: int
    chemistry: str = "lead_acid"
    start: float | None = None
    efficiency: float = 1.0
    curve: Sequence[tuple[float, float]] | None = None

    def at_rest(self, voltage: Floats) -> Floats:
        """(n,) per cent that an open-circuit voltage of the whole battery tells, NaN for NaN."""
        if self.curve is None:
            points, percents = np.array(CHEMISTRIES[self.chemistry]), _TENTHS
        else:
            points, percents = np.array(self.curve).T
        return np.asarray(np.interp(voltage / self.cells, points, percents), np.float64)


@dataclass(frozen=True, slots=True)
class Charge:
    """What is known of a battery after a reading at `at_ms`.

    `percent` NaN where unknown; `unknown_ms`: for how long its current was; `inflow`: in % a ms,
    NaN where unknown, for `held_ms`; `rests_since`: None where it does not rest.
    """

    at_ms: int
    percent: float
    unknown_ms: int
    inflow: float
    held_ms: int
    rests_since: int | None


def state_of(charge: Charge | None) -> list[float | None] | None:
    """A charge as JSON."""
    if charge is None:
        return None
    numbers = [getattr(charge, name) for name in Charge.__slots__]
    return [None if number is None or number != number else number for number in numbers]


def charge_of(state: Sequence[float | None] | None) -> Charge | None:
    """What `state_of` made a list of."""
    if state is None:
        return None
    at, percent, unknown, inflow, held, rests_since = state
    return Charge(
        at_ms=int(at or 0),
        percent=math.nan if percent is None else percent,
        unknown_ms=int(unknown or 0),
        inflow=math.nan if inflow is None else inflow,
        held_ms=int(held or 0),
        rests_since=None if rests_since is None else int(rests_since),
    )


def state_of_charge(
    times: Int64s, ends: Int64s, current: Floats, voltage: Floats, battery: Battery
) -> Floats:
    """(n,) in %, NaN where unknown, from current in A and voltage in V on one rising axis.

    `ends`: until when each reading holds (`Axis.ends`).
    """
    return charge_since(times, ends, current, voltage, battery)[0]


def charge_since(
    times: Int64s,
    ends: Int64s,
    current: Floats,
    voltage: Floats,
    battery: Battery,
    *,
    before: Charge | None = None,
    since_ms: int = 0,
    until_ms: int | None = None,
) -> tuple[Floats, Charge | None]:
    """As `state_of_charge`, going on from what was known `before` the readings from `since_ms` on;
    and what is known after those before `until_ms`.

    The readings before `since_ms` only say how long what was known holds; they have no values, but
    for the last of them.
    """
    charge = np.where(current > 0, current * battery.efficiency, current)
    flow = charge / battery.capacity_ah / _HOUR_MS * 100.0
    resting = (np.abs(current) <= battery.capacity_ah * REST_PART) & ~np.isnan(voltage)
    first = int(np.searchsorted(times, since_ms))
    begun = _rest_begun(times, ends, resting)
    if before is not None and before.rests_since is not None and first and begun[first - 1] >= 0:
        # It has rested since before what was read.
        begun = np.where(begun == begun[first - 1], before.rests_since, begun)
    rested = (begun >= 0) & (times - begun >= REST_MS)
    told = np.where(rested, battery.at_rest(voltage), np.nan)
    held = ends - times
    if before is not None and first:
        # How long it held is known better now than it was.
        last = first - 1
        before = replace(before, held_ms=int(held[last]), inflow=float(flow[last]))
    percents, unknowns = _counted(
        (times[first:], held[first:], flow[first:], told[first:]), battery.start, before
    )
    result = np.array([math.nan] * first + percents, np.float64)
    if before is not None and first:
        result[first - 1] = before.percent
    stop = len(times) if until_ms is None else int(np.searchsorted(times, until_ms))
    if stop <= first:
        return result, before
    at = stop - 1
    return result, Charge(
        at_ms=int(times[at]),
        percent=percents[at - first],
        unknown_ms=unknowns[at - first],
        inflow=float(flow[at]),
        held_ms=int(held[at]),
        rests_since=int(begun[at]) if begun[at] >= 0 else None,
    )


def _counted(
    columns: tuple[Int64s, Int64s, Floats, Floats], start: float | None, before: Charge | None
) -> tuple[list[float], list[int]]:
    """The state at each time, and for how long the current had been unknown; from times, how long
    each reading holds, inflow, and what the voltage tells.
    """
    # One step depends on the last: clamping and settling leave no closed form.
    state = math.nan if start is None else start
    unknown_ms, last = 0, None
    if before is not None:
        state, unknown_ms = before.percent, before.unknown_ms
        last = (before.at_ms, before.held_ms, before.inflow)
    percents, unknowns = [], []
    for at, length, rising, target in zip(*(column.tolist() for column in columns), strict=True):
        if last is not None:
            earlier, known, inflow = last
            unknown_ms = unknown_ms + at - earlier if inflow != inflow else at - earlier - known
            if unknown_ms > FORGOTTEN_MS:
                state = math.nan
            elif inflow == inflow:
                state = min(100.0, max(0.0, state + inflow * known)) if state == state else state
        if target == target:
            passed = 0 if last is None else at - last[0]
            state = (
                target
                if state != state
                else state + (target - state) * -math.expm1(-passed / SETTLING_MS)
            )
        percents.append(state)
        unknowns.append(unknown_ms)
        last = (at, length, rising)
    return percents, unknowns


def _rest_begun(times: Int64s, ends: Int64s, resting: np.ndarray) -> Int64s:
    """(n,) since when the battery has rested at each time; -1 where it does not."""
    if not len(times):
        return times
    goes_on = np.concatenate([[False], resting[:-1] & (ends[:-1] == times[1:])]) & resting
    begun = np.maximum.accumulate(np.where(goes_on, -1, np.arange(len(times))))
    return np.where(resting, times[begun], -1)
