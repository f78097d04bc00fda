"""A made-up park for the gate: devices that vary as real ones do, with or without a fault.

The shape is fitted on a day of 29 plug meters at three gateways (tracebase, 2012-01-17): quarters
of an hour with a gap of half a minute are 1 to 28 a device (mean 5.3, and as widely spread as an
exponential distribution), come in bursts (variance of a meter's hours 0.7 to 3.8 times their mean),
and all meters of a gateway share its outages. What no recording tells (resets, reconnects, errors)
has rates of a sound fleet on mobile links, and the same spread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

import numpy as np

from firmware.gate.comparison import Comparison, Floats, Int64s, Measure, Park
from firmware.gate.metrics import METRICS, Metric

_TENANTS: Final = 6
_KINDS: Final = 4
# Devices in a facility: most have a few, some dozens.
_USUAL_FACILITY: Final = 5
_LARGEST_FACILITY: Final = 60
# Outages of a facility in a day, and how long one lasts (days).
_OUTAGES: Final = 0.01
_OUTAGE: Final = 0.12
# How far a tenant's network departs from what it was in the weeks before.
_TENANT_DRIFT: Final = 0.15
_BEGIN: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Habit:
    """Per device-day: the mean; how widely devices spread about it (1/shape of a gamma); how far a
    device departs from its own past; the size of a burst; what an outage adds in a whole day.
    """

    mean: float
    devices: float
    drift: float
    bursts: float
    outage: float


_HABITS: Final = MappingProxyType(
    {
        Metric.MISSING: _Habit(mean=8.0, devices=1.0, drift=0.3, bursts=4.0, outage=1440.0),
        Metric.GAPS: _Habit(mean=5.3, devices=1.0, drift=0.3, bursts=1.8, outage=96.0),
        Metric.RESETS: _Habit(mean=0.05, devices=1.0, drift=0.3, bursts=1.2, outage=0.0),
        Metric.RECONNECTS: _Habit(mean=3.0, devices=1.0, drift=0.3, bursts=2.5, outage=8.0),
        Metric.ERRORS: _Habit(mean=2.0, devices=2.0, drift=0.5, bursts=4.0, outage=20.0),
        Metric.SHAPE: _Habit(mean=0.25, devices=0.1, drift=0.2, bursts=0.02, outage=0.5),
        Metric.DRAIN: _Habit(mean=30.0, devices=0.1, drift=0.12, bursts=0.4, outage=0.0),
    }
)


class MadeUpPark:
    """A park of some devices; each call of `after` adds to what was measured since the wave."""

    def __init__(self, devices: int, random: np.random.Generator, *, past_days: float = 7) -> None:
        """Draw the devices and what they did before."""
        self._random = random
        self._n = devices
        self._past_days = past_days
        self.facility = self._facilities()
        count = int(self.facility.max()) + 1
        self._tenant = random.integers(0, _TENANTS, count)[self.facility]
        self._kind = random.integers(0, _KINDS, count)[self.facility]
        self._rates = {
            metric: habit.mean * random.gamma(1 / habit.devices, habit.devices, devices)
            for metric, habit in _HABITS.items()
        }
        self._past = self._drawn(past_days, {}, np.zeros(devices, np.bool_))
        tenants = random.lognormal(0, _TENANT_DRIFT, (len(_HABITS), _TENANTS))
        for number, (metric, habit) in enumerate(_HABITS.items()):
            drift = random.lognormal(0, habit.drift, devices)
            self._rates[metric] = self._rates[metric] * drift * tenants[number][self._tenant]
        self.begin_wave()

    def begin_wave(self) -> None:
        """Forget what was measured since the last wave."""
        self._days = 0.0
        self._amounts = {metric: np.zeros(self._n) for metric in _HABITS}

    def pass_time(self, days: float, updated: np.ndarray, effects: Mapping[Metric, float]) -> None:
        """Let some days pass; the updated show `effects` times as much."""
        self._days += days
        for metric, amount in self._drawn(days, effects, updated).items():
            self._amounts[metric] += amount

    def comparison(self, updated: np.ndarray, *, waves: int, look: int) -> Comparison:
        """What the gate is shown now."""
        exposure = np.full(self._n, self._days)
        past_exposure = np.full(self._n, self._past_days)
        return Comparison(
            park=Park(np.arange(self._n), updated, self.facility, self._tenant, self._kind),
            measures={
                metric: Measure(self._amounts[metric], exposure, self._past[metric], past_exposure)
                for metric in _HABITS
            },
            begins_at=_BEGIN,
            evidence_until=_BEGIN + timedelta(days=self._days),
            waves=waves,
            look=look,
        )

    def _facilities(self) -> Int64s:
        sizes = np.minimum(self._random.geometric(1 / _USUAL_FACILITY, self._n), _LARGEST_FACILITY)
        return np.repeat(np.arange(self._n), sizes)[: self._n]

    def _drawn(
        self, days: float, effects: Mapping[Metric, float], updated: np.ndarray
    ) -> dict[Metric, Floats]:
        count = int(self.facility.max()) + 1
        lengths = self._random.exponential(_OUTAGE, count)
        outages = (self._random.poisson(_OUTAGES * days, count) * lengths)[self.facility]
        amounts = {}
        for metric, habit in _HABITS.items():
            mean = self._rates[metric] * days * np.where(updated, effects.get(metric, 1.0), 1.0)
            if METRICS[metric].step:
                # Bursts of random size, as many as make up the mean.
                drawn = self._random.poisson(mean / habit.bursts)
                size = self._random.poisson((habit.bursts - 1) * drawn)
                amounts[metric] = (drawn + size + np.round(outages * habit.outage)).astype(float)
            else:
                shape = np.maximum(mean / habit.bursts, 1e-9)
                amounts[metric] = self._random.gamma(shape, habit.bursts) + outages * habit.outage
        return amounts
