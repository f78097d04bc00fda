"""What a formula means: channels and functions found, units checked, a plan made."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np

from devices.formulas import numbers
from devices.formulas.errors import FormulaError, shown
from devices.formulas.plans import Apply, Constant, Plan, Reading, scaled
from devices.formulas.tree import Binary, Call, Name, Node, Number, Unary, canonical, names_of
from devices.formulas.units import ONE, SYMBOLS, Unit, parse_unit

_SUMS: Final = {"+": numbers.add, "-": numbers.subtract}
_LOGIC: Final = {"and": numbers.both, "or": numbers.either}


@dataclass(frozen=True, slots=True)
class Checked:
    """A part of a formula: how to get it and in which unit it comes.

    `truth`: it is yes or no. `zero`: it is the number 0, which fits every unit. `constant`: its
    value where it has no channel.
    """

    node: Node
    plan: Plan
    unit: Unit = ONE
    truth: bool = False
    zero: bool = False

    @property
    def constant(self) -> float | None:
        """Its number, where it is one."""
        return self.plan.value if isinstance(self.plan, Constant) else None

    @property
    def text(self) -> str:
        """As sentences quote it."""
        return shown(canonical(self.node))


class Checker:
    """Checks the tree of one formula; `functions` has what checks a call, by the name called."""

    def __init__(
        self,
        units: Mapping[str, str],
        functions: Mapping[str, Check],
    ) -> None:
        self._units = units
        self._functions = functions

    def check(self, node: Node) -> Checked:
        """The meaning of a part; FormulaError says what is wrong with it."""
        if isinstance(node, Number):
            return self._number(node)
        if isinstance(node, Name):
            return self._name(node)
        if isinstance(node, Unary):
            return self._unary(node)
        if isinstance(node, Binary):
            return self._binary(node)
        assert isinstance(node, Call)
        return self._call(node)

    def number(self, node: Node) -> Checked:
        """As `check`, of what must not be yes or no."""
        return self.as_number(self.check(node))

    def as_number(self, checked: Checked) -> Checked:
        """What was checked, unless it is yes or no."""
        if checked.truth:
            raise FormulaError(
                f"{checked.text} is yes or no where a number is needed: write "
                f"if({canonical(checked.node)}, 1, 0)",
                checked.node.at,
            )
        return checked

    def truth(self, node: Node) -> Checked:
        """As `check`, of what must be yes or no."""
        checked = self.check(node)
        if not checked.truth:
            raise FormulaError(
                f"{checked.text} is a number where yes or no is needed: compare it, as in "
                f"{canonical(node)} > 0",
                node.at,
            )
        return checked

    def in_one_unit(self, parts: Iterable[Checked]) -> tuple[tuple[Plan, ...], Unit]:
        """Plans that give all parts in the unit of the first that has one."""
        members = tuple(parts)
        fixed = [part for part in members if not part.zero]
        if not fixed:
            return tuple(part.plan for part in members), ONE
        first = fixed[0]
        for other in fixed[1:]:
            self._must_agree(first, other)
        kinds = [part.unit.kind for part in fixed if part.unit.kind is not None]
        unit = replace(first.unit, kind=kinds[0] if kinds else None)
        plans = (
            part.plan if part.zero else scaled(part.plan, part.unit.scale / unit.scale)
            for part in members
        )
        return tuple(plans), unit

    def _must_agree(self, first: Checked, other: Checked) -> None:
        both = f"{first.text} is in {first.unit} and {other.text} in {other.unit}"
        if first.unit.dimension != other.unit.dimension:
            for one, bare in ((first, other), (other, first)):
                if bare.unit.plain and bare.constant is not None:
                    raise FormulaError(
                        f"{one.text} is in {one.unit} and {bare.text} has no unit: write "
                        f"{canonical(bare.node)} {one.unit.usual()}",
                        bare.node.at,
                    )
            raise FormulaError(
                f"{both}: only values of one kind can be added or compared", other.node.at
            )
        if not first.unit.agrees(other.unit):
            raise FormulaError(
                f"{both}: active, reactive and apparent power do not add up; "
                "the apparent is sqrt(active ^ 2 + reactive ^ 2)",
                other.node.at,
            )
        if first.unit.pure and first.unit.scale != other.unit.scale:
            raise FormulaError(
                f"{both if not other.unit.plain else f'{first.text} is in {first.unit}'}"
                f"{'' if not other.unit.plain else f' and {other.text} has no unit'}: write a "
                "number with its unit, as in 50 %, or divide by 1 %",
                other.node.at,
            )

    def _number(self, node: Number) -> Checked:
        plan = Constant(node.value)
        if node.unit is None:
            return Checked(node, plan, zero=node.value == 0)
        if node.unit not in SYMBOLS:
            raise FormulaError(
                f"{shown(node.unit)} after a number is no unit that is known"
                f"{_suggestion(node.unit, SYMBOLS)}: use {', '.join(SYMBOLS)}",
                node.at,
            )
        return Checked(node, plan, SYMBOLS[node.unit])

    def _name(self, node: Name) -> Checked:
        if node.name not in self._units:
            hint = _suggestion(node.name, self._units)
            if not hint and self._units:
                hint = f"; there are {', '.join(sorted(self._units)[:8])}"
            raise FormulaError(f"unknown channel {shown(node.name)}{hint}", node.at)
        return Checked(node, Reading(node.name), parse_unit(self._units[node.name]))

    def _unary(self, node: Unary) -> Checked:
        if node.operator == "not":
            return self.combined(node, numbers.negation, self.truth(node.operand), truth=True)
        operand = self.number(node.operand)
        return self.combined(node, numbers.negative, operand, unit=operand.unit, zero=operand.zero)

    def _binary(self, node: Binary) -> Checked:
        operator = node.operator
        if operator in _LOGIC:
            sides = self.truth(node.left), self.truth(node.right)
            return self.combined(node, _LOGIC[operator], *sides, truth=True)
        left, right = self.number(node.left), self.number(node.right)
        if operator == "^":
            return self._power(node, left, right)
        if operator in ("*", "/"):
            return self._product(node, left, right)
        plans, unit = self.in_one_unit((left, right))
        if operator in _SUMS:
            return self.made(node, _SUMS[operator], plans, unit)
        compared = self.made(node, numbers.COMPARISONS[operator], plans, ONE)
        return replace(compared, truth=True)

    def _product(self, node: Binary, left: Checked, right: Checked) -> Checked:
        over = node.operator == "/"
        unit = left.unit.times(right.unit.power(Fraction(-1)) if over else right.unit)
        # Twice an active power is one; what a power factor makes of an apparent one is not.
        if right.constant is not None and right.unit.plain:
            unit = replace(unit, kind=left.unit.kind)
        elif left.constant is not None and left.unit.plain and not over:
            unit = replace(unit, kind=right.unit.kind)
        work = numbers.divide if over else numbers.multiply
        return self.combined(node, work, left, right, unit=unit)

    def _power(self, node: Binary, base: Checked, exponent: Checked) -> Checked:
        if not exponent.unit.plain:
            raise FormulaError(
                f"the exponent {exponent.text} is in {exponent.unit}: an exponent has no unit",
                exponent.node.at,
            )
        if base.unit.pure:
            plan = scaled(base.plan, base.unit.scale)
            return self.made(node, numbers.power, (plan, exponent.plan), ONE)
        if exponent.constant is None or not (2 * exponent.constant).is_integer():
            raise FormulaError(
                f"{base.text} is in {base.unit}, so its exponent must be a number such as 2 or "
                "0.5: write one, or divide by a value with the same unit first",
                exponent.node.at,
            )
        plan = scaled(base.plan, base.unit.scale)
        unit = base.unit.coherent().power(Fraction(exponent.constant))
        return self.made(node, numbers.power, (plan, exponent.plan), unit)

    def _call(self, node: Call) -> Checked:
        if node.function not in self._functions:
            hint = _suggestion(node.function, self._functions)
            hint = hint or f"; there are {', '.join(sorted(self._functions))}"
            raise FormulaError(f"unknown function {shown(node.function)}{hint}", node.at)
        return self._functions[node.function](self, node)

    def arity(self, node: Call, least: int, most: int | None, *, named: bool = False) -> None:
        """Refuse a call with too few or too many arguments by place, or with any by name."""
        if node.named and not named:
            raise FormulaError(
                f"`{node.function}` has no argument {shown(node.named[0][0])}: write the value "
                "alone",
                node.at,
            )
        count = len(node.arguments)
        if count < least or (most is not None and count > most):
            wanted = (
                f"{least}" if most == least else f"{least} to {most}" if most else "one or more"
            )
            raise FormulaError(
                f"`{node.function}` takes {wanted} {'value' if wanted == '1' else 'values'} and "
                f"has {count}: {'add' if count < least else 'remove'} some",
                node.at,
            )

    def constant(self, node: Node, what: str, unit: Unit) -> float:
        """A number that must be written as one, in a unit."""
        checked = self.number(node)
        value = checked.constant
        if value is None or not checked.unit.agrees(unit) or (unit.plain != checked.unit.plain):
            like = "5" if unit.plain else f"5 {unit}"
            raise FormulaError(f"{what} must be a number such as {like}: write one", node.at)
        return value * float(checked.unit.scale / unit.scale)

    def combined(
        self,
        node: Node,
        work: Callable[..., numbers.Value],
        *parts: Checked,
        unit: Unit = ONE,
        truth: bool = False,
        zero: bool = False,
    ) -> Checked:
        """A function of checked parts, in a unit that the caller knows."""
        made = self.made(node, work, tuple(part.plan for part in parts), unit)
        return replace(made, truth=truth, zero=zero)

    def made(
        self, node: Node, work: Callable[..., numbers.Value], plans: tuple[Plan, ...], unit: Unit
    ) -> Checked:
        """A function of plans, carried out at once where all of them are constants."""
        values = [plan.value for plan in plans if isinstance(plan, Constant)]
        if len(values) < len(plans):
            return Checked(node, Apply(work, plans), unit)
        value = float(work(*map(np.float64, values)))
        if value != value:
            raise FormulaError(
                f"{shown(canonical(node))} is no finite number: nobody could ever know it; "
                "write another",
                node.at,
            )
        return Checked(node, Constant(value), unit)


Check = Callable[[Checker, Call], Checked]


def channels(node: Node) -> frozenset[str]:
    """The channels that a part depends on."""
    return frozenset(names_of(node))


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f": did you mean `{close[0]}`?" if close else ""
