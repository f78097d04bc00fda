"""Formulas that come ready-made for devices with certain channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from devices.formulas.formula import Formula
from devices.formulas.grammar import parse_tree
from devices.formulas.tree import names_of
from devices.formulas.units import parse_unit


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A derived channel to be offered.

    `key` is its name, `quantity` a code of `devices.quantities`, `text` its formula. `asks`: what
    a person has to fill in first, as placeholders `{name}` of the text, with the unit of each.
    """

    key: str
    quantity: str
    unit: str
    text: str
    asks: tuple[tuple[str, str], ...] = ()

    def filled(self, **answers: float) -> str:
        """The text of the formula with the answers in place; KeyError when one is missing."""
        return self.text.format(**{name: answers[name] for name, _ in self.asks})

    @property
    def names(self) -> tuple[str, ...]:
        """The channels that it needs."""
        return names_of(parse_tree(self.filled(**dict.fromkeys(dict(self.asks), 1.0))))


_PHASES: Final = (1, 2, 3)
_BATTERY: Final = (("capacity", "Ah"), ("cells", "1"))


def _over_phases(part: str) -> str:
    return f"sum({', '.join(part.format(n=n) for n in _PHASES)})"


# In order of preference: the first that a device has the channels for is offered under its key.
READY_MADE: Final = (
    ReadyMade("active_power", "active_power", "W", "voltage * current * power_factor"),
    ReadyMade("power_dc", "active_power", "W", "voltage_dc * current_dc"),
    ReadyMade(
        "apparent_power", "apparent_power", "VA", "sqrt(active_power ^ 2 + reactive_power ^ 2)"
    ),
    ReadyMade(
        "apparent_power", "apparent_power", "VA", _over_phases("voltage_l{n} * current_l{n}")
    ),
    ReadyMade("apparent_power", "apparent_power", "VA", "voltage * current"),
    ReadyMade(
        "power_factor",
        "power_factor",
        "1",
        "active_power / sqrt(active_power ^ 2 + reactive_power ^ 2)",
    ),
    ReadyMade(
        "power_factor",
        "power_factor",
        "1",
        f"active_power / {_over_phases('voltage_l{n} * current_l{n}')}",
    ),
    ReadyMade(
        "power_factor",
        "power_factor",
        "1",
        "clamp(active_power / (voltage * current), -1, 1)",
    ),
    ReadyMade("energy_today", "energy_import", "Wh", "today(max(active_power, 0))"),
    ReadyMade("energy_today", "energy_import", "Wh", "today(max(voltage_dc * current_dc, 0))"),
    ReadyMade("energy_returned_today", "energy_export", "Wh", "today(max(-active_power, 0))"),
    ReadyMade(
        "state_of_charge",
        "state_of_charge",
        "%",
        "state_of_charge(current_dc, voltage_dc, capacity={capacity} Ah, cells={cells})",
        _BATTERY,
    ),
    ReadyMade(
        "state_of_charge",
        "state_of_charge",
        "%",
        "state_of_charge(current, voltage, capacity={capacity} Ah, cells={cells})",
        _BATTERY,
    ),
)


def offered(units: Mapping[str, str], *, battery: bool = False) -> tuple[ReadyMade, ...]:
    """What suits a device with these channels (unit by key): no key twice, none that it measures.

    `battery`: whether it measures a battery, which its channels do not tell.
    """
    found: dict[str, ReadyMade] = {}
    for each in READY_MADE:
        if each.key in units or each.key in found or (each.asks and not battery):
            continue
        if all(name in units for name in each.names) and _fits(each, units):
            found[each.key] = each
    return tuple(found.values())


def _fits(ready: ReadyMade, units: Mapping[str, str]) -> bool:
    """Whether channels that bear the names have the units too."""
    usual = {
        "voltage": "V",
        "current": "A",
        "active": "W",
        "reactive": "var",
        "power": "1",
    }
    return all(
        parse_unit(units[name]).agrees(parse_unit(usual[name.split("_")[0]]))
        for name in ready.names
    )


def formula_of(ready: ReadyMade, units: Mapping[str, str], **answers: float) -> Formula:
    """The formula for a device with these channels; FormulaError when an answer does not do."""
    return Formula.parse(ready.filled(**answers), units, ready.unit)
