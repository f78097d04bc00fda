"""A site: its loads, generation and storage as one circuit, and what each of its meters shows.

The site is computed in hours of 1 800 steps. What an hour starts with (registers, the charge of
the battery) is what the hour before ended with, back to the epoch, when all registers stand at
readings drawn from the seed. A `Snapshot` of any hour spares the way there; it changes no reading.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.protocol import Block
from devices.simulator.catalogue import BATTERY as BATTERY_METER
from devices.simulator.catalogue import INVERTER, SMART_METER, SUBMETER
from devices.simulator.model.chance import Chance, Floats, Int64s
from devices.simulator.model.electrics import (
    Phases,
    Register,
    draw,
    frequency,
    meter_feeder,
    meter_three_phase,
    voltages,
)
from devices.simulator.model.loads import STEP_S, Load, Span
from devices.simulator.model.sources import (
    Battery,
    Generation,
    Photovoltaics,
    Storage,
    balance,
    generate,
)
from devices.simulator.model.switching import (
    Control,
    bounded,
    course,
    reduced,
    share,
    throttled,
)
from devices.simulator.model.weather import Place, weather
from devices.simulator.settings import Switching

HOUR_S: Final = 3_600
STEPS: Final = HOUR_S // STEP_S
_CACHED_HOURS: Final = 3
_REMEMBERED_HOURS: Final = 240
_SINGLE_PHASE_WATTS: Final = 4_600  # the most that one phase may feed in (VDE-AR-N 4105)

MAINS: Final = "mains"
PHOTOVOLTAICS: Final = "pv"
BATTERY: Final = "battery"


@dataclass(frozen=True, slots=True)
class Layout:
    """What a site consists of.

    `feeders` are its circuits by the key of their sub-meter, together all its loads. `impedance`
    (Ω) of its connection to the grid; `region` seeds what neighbours share: weather and grid.
    """

    place: Place
    time_zone: str
    feeders: Mapping[str, tuple[Load, ...]]
    photovoltaics: Photovoltaics | None = None
    battery: Battery | None = None
    impedance: float = 0.05
    region: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a site remembers at the start of an hour (hours since the Unix epoch)."""

    hour: int
    energy_ws: Mapping[str, int] = field(default_factory=dict)
    charge: float = 0.5


class Site:
    """Readings of a site's meters from its epoch (seconds since the Unix epoch, a full hour) on."""

    def __init__(self, *, seed: int, layout: Layout, epoch_s: int) -> None:
        if epoch_s % HOUR_S:
            raise ValueError(f"the epoch {epoch_s} is not a full hour")
        self.layout = layout
        self._seed = seed
        self._zone = ZoneInfo(layout.time_zone)
        self._grid = Chance(layout.region, "grid")
        self._epoch = Snapshot(epoch_s // HOUR_S, {}, Chance(seed, "charge").between(0.3, 0.7))
        self._next = self._epoch  # where the computation stands
        self._kept: OrderedDict[int, dict[str, Int64s]] = OrderedDict()
        # States of late hours: whoever slept for a while reads on without going back to the epoch.
        self._passed: OrderedDict[int, Snapshot] = OrderedDict()
        self._controls: dict[str, tuple[Control, ...]] = {}

    @property
    def meters(self) -> tuple[str, ...]:
        """The keys of all meters: the mains, each feeder, `pv` and `battery` where there are."""
        keys = [MAINS, *self.layout.feeders]
        if self.layout.photovoltaics:
            keys.append(PHOTOVOLTAICS)
        if self.layout.battery:
            keys.append(BATTERY)
        return tuple(keys)

    @property
    def epoch_s(self) -> int:
        """Seconds since the Unix epoch of the first reading."""
        return self._epoch.hour * HOUR_S

    def channel_count(self, meter: str) -> int:
        """How many channels a meter has; KeyError for a meter that the site has not."""
        counts = dict.fromkeys(self.layout.feeders, len(SUBMETER.channels))
        counts[MAINS] = len(SMART_METER.channels)
        if self.layout.photovoltaics:
            counts[PHOTOVOLTAICS] = len(INVERTER.channels)
        if self.layout.battery:
            counts[BATTERY] = len(BATTERY_METER.channels)
        return counts[meter]

    @property
    def snapshot(self) -> Snapshot:
        """The state behind the last hour that was computed."""
        return self._next

    def resume(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of a site with the same seed, layout and epoch."""
        if snapshot.hour >= self._epoch.hour:
            self._next = snapshot

    def control(self, meter: str, controls: Sequence[Control]) -> None:
        """Switch or limit the unit behind a meter: all its controls, in order of time.

        The meter of a feeder switches its loads, that of the mains all there is. Hours from the
        first new one on are computed again; readings before it stay as they were.
        """
        before, self._controls[meter] = self._controls.get(meter, ()), tuple(controls)
        added = [control.at_s for control in controls if control not in before]
        if not added:
            return
        # A state from before this process has what was switched then in it.
        first = int(min(added)) // HOUR_S
        for number in [number for number in self._kept if number >= first]:
            del self._kept[number]
        if self._next.hour > first and first in self._passed:
            self._next = self._passed[first]
        for number in [number for number in self._passed if number > first]:
            del self._passed[number]

    def hour(self, number: int) -> dict[str, Int64s]:
        """The integers (channels, 1800) of every meter in an hour, numbered from the Unix epoch.

        Hours that were computed lately cost nothing; one before them is computed from the nearest
        state that is remembered.
        """
        found = self._kept.get(number)
        if found is not None:
            return found
        if number < self._epoch.hour:
            raise ValueError(f"hour {number} lies before the site's epoch {self._epoch.hour}")
        state = self._next
        if number < state.hour:
            state = self._passed.get(number) or self._epoch
        while state.hour <= number:
            self._passed[state.hour] = state
            self._kept[state.hour], state = self._compute(state)
            _forget_oldest(self._kept, _CACHED_HOURS)
            _forget_oldest(self._passed, _REMEMBERED_HOURS)
            if state.hour > self._next.hour:
                self._next = state
        return self._kept[number]

    def _compute(self, start: Snapshot) -> tuple[dict[str, Int64s], Snapshot]:
        layout = self.layout
        span = self._span(start.hour)
        courses = {
            meter: course(controls, span.time_s) for meter, controls in self._controls.items()
        }
        grid = courses.get(MAINS)
        registers = _Registers(self._seed, start.energy_ws)
        made = None
        if layout.photovoltaics:
            made = generate(layout.photovoltaics, Chance(self._seed, "strings"), span)
            made = throttled(made, courses.get(PHOTOVOLTAICS), grid)
        feeders = {key: draw(loads, span) for key, loads in layout.feeders.items()}
        for key, phases in feeders.items():
            feeders[key] = reduced(phases, share(phases.active.sum(axis=0), courses.get(key)))
        drawn = sum((phases.active.sum(axis=0) for phases in feeders.values()), np.zeros(STEPS))
        part = share(drawn, grid, 0.0 if made is None else made.watts)
        feeders = {key: reduced(phases, part) for key, phases in feeders.items()}
        active = sum((phases.active for phases in feeders.values()), np.zeros((3, STEPS)))
        reactive = sum((phases.reactive for phases in feeders.values()), np.zeros((3, STEPS)))
        readings: dict[str, Int64s] = {}
        charge = start.charge
        surplus = -active.sum(axis=0)
        if layout.photovoltaics and made is not None:
            active = active - _spread(made.watts, layout.photovoltaics.limit_watts)
            surplus = surplus + made.watts
            readings[PHOTOVOLTAICS] = _inverter(made, registers)
        if layout.battery:
            wanted = bounded(surplus, courses.get(BATTERY), grid)
            stored = balance(layout.battery, wanted, charge)
            charge = stored.left
            active = active + _spread(stored.watts, layout.battery.limit_watts)
            readings[BATTERY] = _battery(layout.battery, stored, span, registers)
        whole = Phases(active, reactive)
        volts = voltages(Chance(self._seed, "volts"), span, whole, layout.impedance)
        readings[MAINS] = meter_three_phase(
            whole,
            volts,
            frequency(self._grid, span),
            gain=self._gain(MAINS, 0.002),
            registers=(registers.of("mains.import"), registers.of("mains.export")),
        )
        for key, phases in feeders.items():
            readings[key] = meter_feeder(
                phases, gain=self._gain(key, 0.005), register=registers.of(key)
            )
        return readings, Snapshot(start.hour + 1, registers.energy_ws(), charge)

    def _gain(self, meter: str, accuracy: float) -> float:
        """The constant error of a meter within its class."""
        return Chance(self._seed, "gain", meter).between(-accuracy, accuracy)

    def _span(self, hour: int) -> Span:
        step = np.arange(hour * STEPS, (hour + 1) * STEPS, dtype=np.int64)
        time_s = (step * STEP_S).astype(np.float64)
        offset = datetime.fromtimestamp(hour * HOUR_S, tz=UTC).astimezone(self._zone).utcoffset()
        local_s = time_s + (offset.total_seconds() if offset else 0.0)
        return Span(time_s, step, local_s, weather(self.layout.region, self.layout.place, time_s))


class _Registers:
    """The registers of a site within one hour; each starts at a reading drawn from the seed."""

    def __init__(self, seed: int, energy_ws: Mapping[str, int]) -> None:
        self._seed = seed
        self._before = energy_ws
        self._registers: dict[str, Register] = {}

    def of(self, name: str) -> Register:
        start_wh = int(Chance(self._seed, "register", name).between(10_000, 60_000_000))
        register = Register(start_wh, self._before.get(name, 0))
        self._registers[name] = register
        return register

    def energy_ws(self) -> dict[str, int]:
        return {name: register.energy_ws for name, register in self._registers.items()}


def _forget_oldest(kept: OrderedDict[int, Any], count: int) -> None:
    while len(kept) > count:
        kept.popitem(last=False)


def _spread(watts: Floats, limit_watts: float) -> Floats:
    """Power by phase (3, n): evenly, or all on L1 where the machine is small enough."""
    shares = (1.0, 0.0, 0.0) if limit_watts <= _SINGLE_PHASE_WATTS else (1 / 3, 1 / 3, 1 / 3)
    return np.array(shares)[:, None] * watts


def _inverter(made: Generation, registers: _Registers) -> Int64s:
    """The channels of `catalogue.INVERTER`, in order (6, n)."""
    watts = _raw(made.watts, 1)
    return np.vstack(
        [
            watts,
            _raw(made.volts, 10),
            _raw(made.amperes, 100),
            _raw(made.irradiance, 1),
            _raw(made.temperature, 10),
            registers.of("pv.export").advance(watts)[:-1],
        ]
    )


def _battery(battery: Battery, stored: Storage, span: Span, registers: _Registers) -> Int64s:
    """The channels of `catalogue.BATTERY`, in order (7, n)."""
    watts = _raw(stored.watts, 1)
    direct = np.where(
        watts > 0, watts * battery.charge_efficiency, watts / battery.discharge_efficiency
    )
    volts = battery.cells_volts * (0.95 + 0.09 * stored.charge + 0.01 * watts / battery.limit_watts)
    warm = 21 + 0.15 * span.weather.temperature + 5 * np.abs(watts) / battery.limit_watts
    return np.vstack(
        [
            watts,
            _raw(stored.charge * 100, 10),
            _raw(volts, 100),
            _raw(direct / volts, 100),
            _raw(warm, 10),
            registers.of("battery.import").advance(np.maximum(watts, 0))[:-1],
            registers.of("battery.export").advance(np.maximum(-watts, 0))[:-1],
        ]
    )


def _raw(values: Floats, scale: int) -> Int64s:
    return np.rint(values * scale).astype(np.int64)


class ModelSource:
    """One meter of a site as a source of samples (`reporter.Source`).

    Between two steps of the model the readings stand still.
    """

    def __init__(self, site: Site, meter: str) -> None:
        self._site = site
        self._meter = meter
        self._epoch_ms = site.epoch_s * 1_000
        self.channel_count = site.channel_count(meter)

    def control(self, switchings: Sequence[Switching]) -> None:
        """Switch or limit the unit behind the meter."""
        self._site.control(
            self._meter, [Control(one.at_ms / 1_000, one.on, one.limit_w) for one in switchings]
        )

    def due(self, after_ms: int, samples: int, step_ms: int) -> int:
        """The `samples`-th multiple of `step_ms` after `after_ms`."""
        return (after_ms // step_ms + samples) * step_ms

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        """The readings at the multiples of `step_ms` in (`after_ms`, `until_ms`]."""
        first_ms = max((after_ms // step_ms + 1) * step_ms, self._epoch_ms)
        times = np.arange(first_ms, until_ms + 1, step_ms, dtype=np.int64)
        if not times.size:
            return ()
        hours, steps = np.divmod(times // (1_000 * STEP_S), STEPS)
        parts = [
            self._site.hour(hour)[self._meter][:, steps[hours == hour]]
            for hour in range(int(hours[0]), int(hours[-1]) + 1)
        ]
        values = parts[0] if len(parts) == 1 else np.hstack(parts)
        return (Block(times, tuple(range(len(values))), values),)
