"""The functions of formulas that look at one moment: their arguments, units and plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from devices.formulas import numbers
from devices.formulas.checking import Check, Checked, Checker
from devices.formulas.errors import FormulaError
from devices.formulas.plans import scaled
from devices.formulas.tree import Call
from devices.formulas.units import ONE

_MOST_DIGITS: Final = 12


def _of_many(work: Callable[..., numbers.Value]) -> Check:
    """min, max, sum, mean: of one value or more, all in one unit."""

    def check(checker: Checker, node: Call) -> Checked:
        checker.arity(node, 1, None)
        plans, unit = checker.in_one_unit(map(checker.number, node.arguments))
        return checker.made(node, work, plans, unit)

    return check


def _absolute(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 1, 1)
    operand = checker.number(node.arguments[0])
    return checker.combined(node, numbers.absolute, operand, unit=operand.unit)


def _root(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 1, 1)
    operand = checker.number(node.arguments[0])
    plan = scaled(operand.plan, operand.unit.scale)
    unit = operand.unit.coherent().power(Fraction(1, 2))
    return checker.made(node, numbers.square_root, (plan,), unit)


def _rounded(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 1, 2)
    operand = checker.number(node.arguments[0])
    digits = 0.0
    if len(node.arguments) == 2:
        digits = checker.constant(node.arguments[1], "the number of places", ONE)
    if not digits.is_integer() or abs(digits) > _MOST_DIGITS:
        raise FormulaError(
            f"a value is rounded to a whole number of places, at most {_MOST_DIGITS}: write one",
            node.arguments[1].at,
        )
    places = int(digits)
    plans = (operand.plan,)
    return checker.made(node, lambda a: numbers.rounded(a, places), plans, operand.unit)


def _clamped(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 3, 3)
    plans, unit = checker.in_one_unit(map(checker.number, node.arguments))
    return checker.made(node, numbers.clamp, plans, unit)


def _conditional(checker: Checker, node: Call) -> Checked:
    checker.arity(node, 3, 3)
    condition = checker.truth(node.arguments[0])
    branches = checker.check(node.arguments[1]), checker.check(node.arguments[2])
    if branches[0].truth and branches[1].truth:
        return checker.combined(node, numbers.choose, condition, *branches, truth=True)
    # What is checked already is not checked again: nested conditions would double it each time.
    plans, unit = checker.in_one_unit(map(checker.as_number, branches))
    return checker.made(node, numbers.choose, (condition.plan, *plans), unit)


POINTWISE: Final[Mapping[str, Check]] = MappingProxyType(
    {
        "abs": _absolute,
        "sqrt": _root,
        "round": _rounded,
        "clamp": _clamped,
        "if": _conditional,
        "min": _of_many(numbers.least),
        "max": _of_many(numbers.greatest),
        "sum": _of_many(numbers.total),
        "mean": _of_many(numbers.mean),
    }
)
