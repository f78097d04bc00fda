"""Loads: consumers of electricity, each a function of time that needs no memory.

A load gives the power of a row of steps of two seconds. Cycles and bursts live in slots of time
whose content is decided by hashing the number of the slot; appliances have events decided by
hashing the local day. So every hour can be computed without the hours before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from devices.simulator.model.chance import Chance, Floats, Int64s
from devices.simulator.model.weather import Weather

STEP_S: Final = 2
_DAY_S: Final = 86_400
_THIRD: Final = (1 / 3, 1 / 3, 1 / 3)


@dataclass(frozen=True, slots=True)
class Span:
    """A row of consecutive steps at one site.

    `time_s` seconds since the Unix epoch (UTC) of each step's start; `step` the same in steps;
    `local_s` the site's civil time in seconds, so that `local_s // 86400` numbers its days.
    """

    time_s: Floats
    step: Int64s
    local_s: Floats
    weather: Weather

    @property
    def hour(self) -> Floats:
        """Local hour of the day, 0 … 24."""
        return self.local_s % _DAY_S / 3_600

    @property
    def weekend(self) -> bool:
        """Whether the local day of the first step is a Saturday or Sunday."""
        return is_weekend(int(self.local_s[0] // _DAY_S))


def is_weekend(local_day: int) -> bool:
    """Whether a day (numbered from Thursday, 1 January 1970) is a Saturday or Sunday."""
    return (local_day + 3) % 7 >= 5


class Load(Protocol):
    """A consumer: `power` in W for every step of a span, never negative.

    `phases` are the shares of L1, L2 and L3; `power_factor` is inductive.
    """

    @property
    def phases(self) -> tuple[float, float, float]: ...

    @property
    def power_factor(self) -> float: ...

    def power(self, span: Span) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Opening:
    """Opening hours by local time, the same on working days; shorter or none at the weekend."""

    opens: float
    closes: float
    weekend_opens: float
    weekend_closes: float

    def degree(self, span: Span, early_h: float = 0.0, ramp_h: float = 0.25) -> Floats:
        """0 closed … 1 open; staff is there `early_h` before and after, within ramps."""
        opens, closes = self.opens, self.closes
        if span.weekend:
            opens, closes = self.weekend_opens, self.weekend_closes
        rise = (span.hour - (opens - early_h)) / ramp_h
        fall = ((closes + early_h) - span.hour) / ramp_h
        return np.clip(np.minimum(rise, fall), 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Steady:
    """Always on: `watts`, drifting by a share `drift` within minutes and `noise` from step to step.

    `activity`, where given, scales the part `active_watts` that follows people.
    """

    chance: Chance
    watts: float
    drift: float = 0.03
    noise: float = 0.01
    active_watts: float = 0.0
    activity: Callable[[Span], Floats] | None = None
    phases: tuple[float, float, float] = _THIRD
    power_factor: float = 0.93

    def power(self, span: Span) -> Floats:
        watts: Floats | float = self.watts
        if self.activity is not None:
            watts = watts + self.active_watts * self.activity(span)
        wander = 1 + self.drift * self.chance.smooth(span.time_s, 420.0)
        return np.maximum(watts * (wander + self.noise * self.chance.bell(span.step)), 0.0)


@dataclass(frozen=True, slots=True)
class Cycling:
    """A machine that a thermostat switches: once a `period_s`, for the part `duty` of it.

    `duty` maps a span to 0 … 1 (constant within a slot, taken at its beginning as seen by the
    span). Running starts with an inrush of one step and settles within minutes.
    """

    chance: Chance
    watts: float
    period_s: float
    duty: Callable[[Span], Floats]
    idle_watts: float = 0.0
    inrush: float = 1.6
    noise: float = 0.012
    phases: tuple[float, float, float] = _THIRD
    power_factor: float = 0.86

    def power(self, span: Span) -> Floats:
        position = span.time_s / self.period_s + self.chance.at(-1)
        slot = np.floor(position).astype(np.int64)
        within = (position - slot) * self.period_s
        first = int(slot[0])
        known = np.arange(first, int(slot[-1]) + 1)
        spread = 0.85 + 0.3 * self.chance.uniform(known * 2)[slot - first]
        running_s = np.clip(self.duty(span) * spread, 0.0, 1.0) * self.period_s
        start_s = self.chance.uniform(known * 2 + 1)[slot - first] * (self.period_s - running_s)
        since = within - start_s
        running = (since >= 0) & (since < running_s)
        settling = 1 + 0.12 * np.exp(-np.maximum(since, 0.0) / 150.0)
        settling = np.where(since < STEP_S, self.inrush, settling)
        noisy = 1 + self.noise * self.chance.bell(span.step)
        return np.where(running, self.watts * settling * noisy, self.idle_watts)


@dataclass(frozen=True, slots=True)
class Bursts:
    """Short runs that come by chance: one per slot at most, with probability `rate(span)`.

    A run begins anywhere in its slot, lasts between `shortest_s` and `longest_s` (together with
    its delay less than the slot) and draws `profile(seconds since start, duration)` watts.
    """

    chance: Chance
    slot_s: float
    shortest_s: float
    longest_s: float
    rate: Callable[[Span], Floats]
    profile: Callable[[Floats, Floats], Floats]
    phases: tuple[float, float, float] = _THIRD
    power_factor: float = 0.88

    def power(self, span: Span) -> Floats:
        position = span.time_s / self.slot_s
        slot = np.floor(position).astype(np.int64)
        first = int(slot[0])
        known = np.arange(first, int(slot[-1]) + 1) * 3
        pick = slot - first
        duration = (
            self.shortest_s
            + (self.longest_s - self.shortest_s) * (self.chance.uniform(known)[pick])
        )
        start = self.chance.uniform(known + 1)[pick] * (self.slot_s - duration)
        since = (position - slot) * self.slot_s - start
        happens = self.chance.uniform(known + 2)[pick] < self.rate(span)
        running = happens & (since >= 0) & (since < duration)
        watts = np.zeros(len(since))
        if running.any():
            watts[running] = self.profile(since[running], duration[running])
        noise = 1 + 0.01 * self.chance.bell(span.step)
        return watts * noise


Profile = Callable[[Floats, float], Floats]


@dataclass(slots=True)
class Appliance:
    """Something a household uses now and then: events by local day.

    An event happens with probability `weekday` or `weekend`, starts around the local hour `around`
    (± `spread_h`, bell-shaped), lasts `shortest_s` … `longest_s` and draws `profile(seconds since
    start, duration)` watts.
    """

    chance: Chance
    around: float
    spread_h: float
    shortest_s: float
    longest_s: float
    profile: Profile
    weekday: float = 1.0
    weekend: float = 1.0
    phases: tuple[float, float, float] = (1.0, 0.0, 0.0)
    power_factor: float = 0.98
    _days: dict[int, tuple[float, float] | None] | None = None

    def power(self, span: Span) -> Floats:
        watts = np.zeros(len(span.step))
        # Civil time may jump by an hour within a day, but steps follow each other: an event is
        # placed by the local time of the span's first step.
        shift = span.time_s[0] - span.local_s[0]
        first_day = int(span.local_s[0] // _DAY_S)
        last_day = int(span.local_s[-1] // _DAY_S)
        for day in range(first_day - 1, last_day + 1):
            event = self._event(day)
            if event is None:
                continue
            start, duration = event[0] + shift, event[1]
            begin, end = np.searchsorted(span.time_s, (start, start + duration))
            if begin < end:
                watts[begin:end] += self.profile(span.time_s[begin:end] - start, duration)
        if watts.any():
            watts *= 1 + 0.008 * self.chance.bell(span.step)
        return watts

    def _event(self, day: int) -> tuple[float, float] | None:
        """Start (civil seconds) and duration of the event of a local day, None without one."""
        if self._days is None or len(self._days) > 8:
            self._days = {}
        if day not in self._days:
            luck, length, *bell = self.chance.uniform(np.arange(day * 6, day * 6 + 6)).tolist()
            wanted = self.weekend if is_weekend(day) else self.weekday
            if luck >= wanted:
                self._days[day] = None
            else:
                hour = self.around + self.spread_h * (sum(bell) - 2) * math.sqrt(3)
                duration = self.shortest_s + (self.longest_s - self.shortest_s) * length
                self._days[day] = (day * _DAY_S + hour * 3_600, duration)
        return self._days[day]


def flat(watts: float) -> Profile:
    """A profile of constant power."""
    return lambda since, _: np.full(len(since), watts)


def thermostat(watts: float, *, warm_up_s: float, period_s: float, duty: float) -> Profile:
    """A heating profile: on for `warm_up_s`, then for the part `duty` of every period."""

    def profile(since: Floats, _: float) -> Floats:
        on = (since < warm_up_s) | ((since - warm_up_s) % period_s < duty * period_s)
        return np.where(on, watts, 8.0)

    return profile


def stages(*parts: tuple[float, float, float, float]) -> Profile:
    """A programme: parts of (share of the duration, W, swing in W, period of the swing in s)."""
    ends = np.cumsum([part[0] for part in parts])
    watts, swing, period = (np.array([part[index] for part in parts]) for index in (1, 2, 3))

    def profile(since: Floats, duration: float) -> Floats:
        part = np.minimum(np.searchsorted(ends, since / duration, side="right"), len(parts) - 1)
        wave = np.sign(np.sin(2 * math.pi * since / period[part]))
        drawn: Floats = np.maximum(watts[part] + swing[part] * wave, 0.0)
        return drawn

    return profile
