"""The functions of formulas, and of those that look over time their arguments and units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from devices.formulas import over_time
from devices.formulas.checking import Check, Checked, Checker, channels
from devices.formulas.columns import Axis
from devices.formulas.errors import FormulaError, shown
from devices.formulas.plans import Evaluation, OverTime, scaled
from devices.formulas.pointwise import POINTWISE
from devices.formulas.state_of_charge import (
    CHEMISTRIES,
    Battery,
    charge_of,
    charge_since,
    state_of,
    state_of_charge,
)
from devices.formulas.tree import Call, Name
from devices.formulas.units import MILLISECOND, ONE, SYMBOLS, Unit
from devices.telemetry.rollup import Floats

_PERCENT: Final = SYMBOLS["%"]
_MOST_CELLS: Final = 1_000


def _simple(work: Callable[..., Floats], unit: Callable[[Unit], Unit]) -> Check:
    """A function of one value, from times, ends and values."""

    def check(checker: Checker, node: Call) -> Checked:
        operand = _one_value(checker, node)

        def run(_: Evaluation, axis: Axis, values: Floats) -> Floats:
            return work(axis.times, axis.ends, values)

        return _over_time(node, run, operand, unit=unit(operand.unit))

    return check


def _integral(checker: Checker, node: Call) -> Checked:
    operand = _one_value(checker, node)
    key = str(node.at)

    def run(evaluation: Evaluation, axis: Axis, values: Floats) -> Floats:
        if (memory := evaluation.memory) is None:
            return over_time.integral(axis.times, axis.ends, values)
        result, evaluation.states[key] = over_time.integral_since(
            axis.times,
            axis.ends,
            values,
            since_ms=memory.at_ms,
            before=memory.states.get(key, 0.0),
            until_ms=evaluation.until_ms,
        )
        return result

    return _over_time(node, run, operand, unit=_summed(operand.unit))


def _today(checker: Checker, node: Call) -> Checked:
    operand = _one_value(checker, node)
    key = str(node.at)

    def run(evaluation: Evaluation, axis: Axis, values: Floats) -> Floats:
        zone = evaluation.zone
        if (memory := evaluation.memory) is None:
            return over_time.today(axis.times, axis.ends, values, zone, evaluation.since_ms)
        value, at_ms = memory.states.get(key, (0.0, 0))
        result, value = over_time.today_since(
            axis.times,
            axis.ends,
            values,
            zone,
            since_ms=memory.at_ms,
            before=(value, at_ms),
            until_ms=evaluation.until_ms,
        )
        evaluation.states[key] = [value, evaluation.until_ms]
        return result

    return _over_time(node, run, operand, unit=_summed(operand.unit))


def _state_of_charge(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 2, 2, named=True)
    parts = []
    for argument, symbol, what in zip(
        node.arguments, ("A", "V"), ("current", "voltage"), strict=True
    ):
        part = checker.number(argument)
        if not part.unit.agrees(SYMBOLS[symbol]):
            raise FormulaError(
                f"the {what} {part.text} is in {part.unit}: state_of_charge takes the {what} in "
                f"{symbol}",
                argument.at,
            )
        parts.append(replace(part, plan=scaled(part.plan, part.unit.scale)))
    battery = _battery(checker, node)

    key = str(node.at)

    def run(evaluation: Evaluation, axis: Axis, current: Floats, voltage: Floats) -> Floats:
        if (memory := evaluation.memory) is None:
            return state_of_charge(axis.times, axis.ends, current, voltage, battery)
        result, known = charge_since(
            axis.times,
            axis.ends,
            current,
            voltage,
            battery,
            before=charge_of(memory.states.get(key)),
            since_ms=memory.at_ms,
            until_ms=evaluation.until_ms,
        )
        evaluation.states[key] = state_of(known)
        return result

    return _over_time(node, run, *parts, unit=_PERCENT)


def _battery(checker: Checker, node: Call) -> Battery:
    named = dict(node.named)
    known = ("capacity", "cells", "chemistry", "start", "efficiency")
    for name, value in named.items():
        if name not in known:
            raise FormulaError(
                f"state_of_charge has no argument {shown(name)}: there are {', '.join(known)}",
                value.at,
            )
    if "capacity" not in named or "cells" not in named:
        raise FormulaError(
            "state_of_charge has to know the battery: add capacity=100 Ah and cells=6 "
            "(cells in series; a 12 V lead-acid battery has 6)",
            node.at,
        )
    chemistry = named.get("chemistry")
    if chemistry is not None and not (
        isinstance(chemistry, Name) and chemistry.name in CHEMISTRIES
    ):
        raise FormulaError(
            f"the chemistry of a battery is one of {', '.join(CHEMISTRIES)}: write one of them",
            chemistry.at,
        )

    def number(name: str, unit: Unit, least: float, most: float) -> float:
        value = checker.constant(named[name], f"`{name}`", unit)
        if not least <= value <= most:
            bounds = f"{least:g} and {most:g}" + ("" if unit.plain else f" {unit}")
            raise FormulaError(f"`{name}` must lie between {bounds}: write another", named[name].at)
        return value

    cells = number("cells", ONE, 1, _MOST_CELLS)
    if not cells.is_integer():
        raise FormulaError("`cells` counts cells: write a whole number", named["cells"].at)
    return Battery(
        capacity_ah=number("capacity", SYMBOLS["Ah"], 0.001, 1e7),
        cells=int(cells),
        chemistry=chemistry.name if isinstance(chemistry, Name) else "lead_acid",
        start=number("start", _PERCENT, 0, 100) if "start" in named else None,
        efficiency=number("efficiency", _PERCENT, 50, 100) / 100 if "efficiency" in named else 1.0,
    )


def _one_value(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 1, 1)
    return checker.number(node.arguments[0])


def _over_time(node: Call, run: Callable[..., Floats], *parts: Checked, unit: Unit) -> Checked:
    names = frozenset[str]().union(*(channels(part.node) for part in parts))
    if not names:
        raise FormulaError(
            f"`{node.function}` looks over time and needs a channel: name one in its brackets",
            node.at,
        )
    return Checked(node, OverTime(run, tuple(part.plan for part in parts), names), unit)


def _same(unit: Unit) -> Unit:
    return unit


def _summed(unit: Unit) -> Unit:
    return replace(unit.times(MILLISECOND), kind=unit.kind)


def _a_time(unit: Unit) -> Unit:
    return replace(unit.times(MILLISECOND.power(Fraction(-1))), kind=unit.kind)


FUNCTIONS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        **POINTWISE,
        "previous": _simple(over_time.previous, _same),
        "delta": _simple(over_time.delta, _same),
        "rate": _simple(over_time.rate, _a_time),
        "integral": _integral,
        "today": _today,
        "state_of_charge": _state_of_charge,
    }
)
# Those whose values depend on more than one moment.
OVER_TIME: Final = FUNCTIONS.keys() - POINTWISE.keys()
# Those whose values depend on all that came before.
REMEMBERING: Final = frozenset({"integral", "today", "state_of_charge"})
