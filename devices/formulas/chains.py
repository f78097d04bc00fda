"""Derived channels that use each other: their order, and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from devices.formulas.columns import Column
from devices.formulas.errors import FormulaError
from devices.formulas.formula import UTC, Formula
from devices.formulas.grammar import parse_tree
from devices.formulas.tree import names_of

MAX_FORMULAS: Final = 500


@dataclass(frozen=True, slots=True)
class Definition:
    """A derived channel as it is written: formula, and the unit that its values shall be in."""

    text: str
    unit: str | None = None


def resolve(
    definitions: Mapping[str, Definition], units: Mapping[str, str]
) -> tuple[tuple[str, Formula], ...]:
    """The formulas by name, each after those that it uses.

    `units`: of the measured channels. FormulaError names the derived channel that is wrong, one
    that has the name of a measured one, and the channels of a circle.
    """
    if len(definitions) > MAX_FORMULAS:
        raise FormulaError(
            f"there are {len(definitions)} derived channels: at most {MAX_FORMULAS} can depend on "
            "each other, so remove some"
        )
    taken = sorted(definitions.keys() & units.keys())
    if taken:
        raise FormulaError(f"`{taken[0]}` is a measured channel: choose another name")
    needs = {name: _needs(name, definitions) for name in definitions}
    known = dict(units)
    resolved = []
    for name in _ordered(needs):
        definition = definitions[name]
        try:
            formula = Formula.parse(definition.text, known, definition.unit)
        except FormulaError as error:
            raise FormulaError(f"`{name}`: {error}") from error
        known[name] = formula.unit
        resolved.append((name, formula))
    return tuple(resolved)


def evaluate_all(
    formulas: Sequence[tuple[str, Formula]],
    columns: Mapping[str, Column],
    *,
    zone: ZoneInfo = UTC,
    since_ms: int | None = None,
) -> dict[str, Column]:
    """The values of `resolve`d formulas by name; see `Formula.evaluate`."""
    known = dict(columns)
    for name, formula in formulas:
        known[name] = formula.evaluate(known, zone=zone, since_ms=since_ms)
    return {name: known[name] for name, _ in formulas}


def _needs(name: str, definitions: Mapping[str, Definition]) -> tuple[str, ...]:
    try:
        used = names_of(parse_tree(definitions[name].text))
    except FormulaError as error:
        raise FormulaError(f"`{name}`: {error}") from error
    return tuple(each for each in used if each in definitions)


def _ordered(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Every name after those that it needs; without recursion, since a chain may be long."""
    done: dict[str, None] = {}
    for start in needs:
        path = [start]
        while path:
            name = path[-1]
            open_ones = [need for need in needs[name] if need not in done]
            if not open_ones:
                done[name] = None
                path.pop()
            elif open_ones[0] in path:
                circle = [*path[path.index(open_ones[0]) :], open_ones[0]]
                raise FormulaError(
                    f"{' → '.join(circle)}: these channels need each other in a circle; "
                    "let one of them use measured channels alone"
                )
            else:
                path.append(open_ones[0])
    return list(done)
