"""Whether a formula may stand for a derived channel of a device; nothing is written.

Needs an open scope, and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from devices.domain.derived_definitions import MAX_CHAIN
from devices.domain.derived_names import Names
from devices.formulas.errors import FormulaError
from devices.formulas.formula import Formula
from devices.models import FormulaVersion


@dataclass(frozen=True, slots=True)
class Accepted:
    """A formula that may be used: as it is written canonically, its unit, and what it uses."""

    text: str
    unit: str
    names: Sequence[str]
    inputs: Sequence[int]
    devices: Sequence[int]


def accepted(names: Names, text: str, unit: str | None, *, channel_id: int | None) -> Accepted:
    """The formula with everything settled; FormulaError says what is wrong with it, and where.

    `unit`: of the channel, None where it follows from the formula. `channel_id`: the channel that
    it is for, None for a new one. At most `2 * MAX_CHAIN` queries, and one where no input is
    derived itself.
    """
    formula = Formula.parse(text, names.units, unit)
    if formula.memories > 1:
        raise FormulaError(
            _(
                "`integral`, `today` and `state_of_charge` cannot stand within each other: make"
                " the inner one a derived channel of its own."
            )
        )
    used = [names.known[name] for name in formula.names]
    found = Accepted(
        text=formula.text,
        unit=formula.unit,
        names=formula.names,
        inputs=[one.channel_id for one in used],
        devices=sorted({one.device_id for one in used}),
    )
    if channel_id in found.inputs:
        raise FormulaError(_("A channel cannot be computed from itself: use others."))
    below = _levels([one.channel_id for one in used if one.derived], _inputs_of)
    above = [] if channel_id is None else _levels([channel_id], _users_of)
    if channel_id is not None and any(channel_id in level for level in below):
        raise FormulaError(
            _("These channels need each other in a circle: use measured channels in one of them.")
        )
    if len(below) + max(1, len(above)) > MAX_CHAIN - 1:
        raise FormulaError(
            _(
                "At most %(most)d derived channels can be computed from each other in a row: use"
                " measured channels instead."
            )
            % {"most": MAX_CHAIN - 1}
        )
    return found


def _levels(first: Collection[int], following: Callable[[set[int]], set[int]]) -> list[set[int]]:
    """Derived channels level by level, each as deep as it lies."""
    levels: list[set[int]] = []
    level = set(first)
    while level and len(levels) < MAX_CHAIN:
        levels.append(level)
        level = following(level)
    return levels


def _inputs_of(level: set[int]) -> set[int]:
    """The derived channels that some are computed from, in any of their versions."""
    rows = FormulaVersion.objects.filter(channel_id__in=level).values_list("inputs", flat=True)
    used = {one for inputs in rows for one in inputs}
    return set(
        FormulaVersion.objects.filter(channel_id__in=used).values_list("channel_id", flat=True)
    )


def _users_of(level: set[int]) -> set[int]:
    """The channels that are computed from some."""
    rows = FormulaVersion.objects.filter(inputs__overlap=list(level))
    return set(rows.values_list("channel_id", flat=True))
