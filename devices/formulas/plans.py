"""A checked formula as steps that can be carried out: no names of functions, no units any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from devices.formulas.columns import Axis, Column, joined
from devices.formulas.numbers import Value, divide, multiply
from devices.telemetry.rollup import Floats


@dataclass(frozen=True, slots=True)
class Constant:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A channel, as it is."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """A function of values at one time."""

    work: Callable[..., Value]
    arguments: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class OverTime:
    """A function of values over time, on the axis of its own channels alone: what another channel
    of the formula reports in between does not matter to it.
    """

    work: Callable[..., Floats]  # (evaluation, axis, *values)
    arguments: tuple[Plan, ...]
    names: frozenset[str]


Plan = Constant | Reading | Apply | OverTime


@dataclass(frozen=True, slots=True)
class Memory:
    """What the parts of a formula that remember knew when all readings before `at_ms` were told,
    by part; one that is not there begins anew.
    """

    at_ms: int
    states: Mapping[str, Any]


@dataclass(slots=True)
class Evaluation:
    """What a formula is evaluated with; axes that several of its parts share are made once.

    `memory`: from where it goes on, None to begin with the first reading. `until_ms`: up to which
    readings are told to what it remembers then, which `states` gets.
    """

    columns: Mapping[str, Column]
    zone: ZoneInfo
    since_ms: int | None
    memory: Memory | None = None
    until_ms: int = 0
    states: dict[str, Any] = field(default_factory=dict)
    _axes: dict[frozenset[str], Axis] = field(default_factory=dict)

    def axis(self, names: frozenset[str]) -> Axis:
        """The axis of some channels."""
        if names not in self._axes:
            self._axes[names] = Axis.of(self.columns, sorted(names))
        return self._axes[names]

    def run(self, plan: Plan, axis: Axis) -> Value:
        """The values of a plan on an axis."""
        if isinstance(plan, Constant):
            return np.float64(plan.value)
        if isinstance(plan, Reading):
            return axis.values(plan.name)
        if isinstance(plan, Apply):
            return plan.work(*(self.run(argument, axis) for argument in plan.arguments))
        own = self.axis(plan.names)
        values = [spread(self.run(argument, own), own) for argument in plan.arguments]
        result = plan.work(self, own, *values)
        return joined(Column(own.times, result, own.step_ms), axis.times)


def spread(value: Value, axis: Axis) -> Floats:
    """(n,) a value on the whole axis."""
    return np.broadcast_to(np.asarray(value, np.float64), axis.times.shape)


def scaled(plan: Plan, factor: Fraction) -> Plan:
    """A plan in another unit.

    As a quotient where the factor is one: 2301 / 1000 is the double nearest to 2.301, while
    2301 * 0.001 is not.
    """
    if factor == 1:
        return plan
    if isinstance(plan, Constant):
        return Constant(plan.value * float(factor))
    if factor.numerator == 1:
        return Apply(divide, (plan, Constant(float(factor.denominator))))
    return Apply(multiply, (plan, Constant(float(factor))))
