"""A formula over named channels, and its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.formulas.checking import Checker
from devices.formulas.columns import Column
from devices.formulas.errors import EvaluationError, FormulaError
from devices.formulas.functions import FUNCTIONS, OVER_TIME, REMEMBERING
from devices.formulas.grammar import parse_tree
from devices.formulas.numbers import finite
from devices.formulas.plans import Evaluation, Memory, Plan, scaled, spread
from devices.formulas.tree import canonical, names_of, nesting
from devices.formulas.units import ONE, Unit, parse_unit

UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, eq=False)
class Formula:
    """A checked formula, made by `parse`.

    `text` is canonical: it reads as the same formula again. `names`: the channels, in the order of
    the text. `unit`: of its values. `units`: of the channels, as the formula was checked with them.
    `levels`: a value depends on no reading further away than that many times what a reading
    depends on (`rollup_samples.reach_ms`), but for what REMEMBERING functions remember; `memories`:
    how many of those lie within each other.
    """

    text: str
    names: tuple[str, ...]
    unit: str
    units: tuple[str, ...]
    levels: int
    memories: int
    _plan: Plan

    @classmethod
    def parse(cls, text: str, units: Mapping[str, str], unit: str | None = None) -> Formula:
        """Read a formula over channels with these units (by name, as `W`, `°C`, `W/m²`).

        `unit`: what its values shall be in; None: what follows from the formula. FormulaError when
        it cannot be read, names an unknown channel or function, or its units do not fit.
        """
        tree = parse_tree(text)
        names = names_of(tree)
        checked = Checker(units, FUNCTIONS).check(tree)
        if not names:
            raise FormulaError(
                "a formula computes with channels and this has none: name one, such as `voltage`"
            )
        found = ONE if checked.truth else checked.unit
        wanted = _wanted(found, unit)
        plan = scaled(checked.plan, found.scale / wanted.scale)
        return cls(
            text=canonical(tree),
            names=names,
            unit=str(wanted),
            units=tuple(units[name] for name in names),
            levels=1 + nesting(tree, OVER_TIME),
            memories=nesting(tree, REMEMBERING),
            _plan=plan,
        )

    def evaluate(
        self,
        columns: Mapping[str, Column],
        *,
        zone: ZoneInfo = UTC,
        since_ms: int | None = None,
    ) -> Column:
        """The values at every time at which any of its channels has a reading.

        `columns`: by name, each in the unit that the formula was parsed with; others are ignored.
        A channel counts from a reading on for as long as that holds (`devices.formulas.columns`);
        values are NaN where they depend on something unknown. `zone`: from whose midnights `today`
        counts; `since_ms`: from when on the columns are complete, None: from their first reading.
        EvaluationError when a column is missing or the columns are too long.
        """
        return self._run(Evaluation(columns, zone, since_ms))

    def go_on(
        self, columns: Mapping[str, Column], *, zone: ZoneInfo, memory: Memory, until_ms: int
    ) -> tuple[Column, dict[str, Any]]:
        """As `evaluate`, going on from what the formula remembered at `memory.at_ms`; and what it
        remembers at `until_ms`, as JSON values, to go on from there.

        The columns begin early enough for what holds at `memory.at_ms`, and end late enough for
        what holds at `until_ms`: so far away that no reading beyond matters to it. Values before
        `memory.at_ms` mean nothing. However time is cut into parts, the values are those of one.
        """
        evaluation = Evaluation(columns, zone, None, memory, until_ms)
        return self._run(evaluation), evaluation.states

    def _run(self, evaluation: Evaluation) -> Column:
        columns = evaluation.columns
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise EvaluationError(f"the formula needs a column for {', '.join(missing)}: pass it")
        axis = evaluation.axis(frozenset(self.names))
        values = spread(finite(evaluation.run(self._plan, axis)), axis)
        return Column(axis.times, np.array(values), axis.step_ms)


def _wanted(found: Unit, declared: str | None) -> Unit:
    if declared is None:
        return found.usual()
    wanted = parse_unit(declared)
    if not found.agrees(wanted):
        raise FormulaError(
            f"the formula gives {found.usual()} and shall be in {declared}: "
            "change the unit or the formula"
        )
    return wanted
