"""Units as files write them, in any letter case, and what they measure."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from devices.files.content import Direction

_BASES: Final = {
    "wh": "Wh",
    "varh": "varh",
    "vah": "VAh",
    "w": "W",
    "var": "var",
    "va": "VA",
    "v": "V",
    "a": "A",
    "hz": "Hz",
    "pf": "1",
    "1": "1",
    "%": "%",
    "°c": "°C",
    "w/m²": "W/m²",
    "ah": "Ah",
}
_PREFIXES: Final = (("", 0), ("k", 3), ("m", 6), ("g", 9))
# Letter case says nothing in these files, so “mv” could be thousandths or millions of volts.
_MEGA: Final = frozenset({"wh", "varh", "vah", "w", "var", "va"})
_PLAIN: Final = frozenset({"hz", "pf", "1", "%", "°c", "w/m²", "ah"})
_QUANTITIES: Final = MappingProxyType(
    {
        ("Wh", "import"): "energy_import",
        ("Wh", "export"): "energy_export",
        "varh": "reactive_energy",
        "W": "active_power",
        "var": "reactive_power",
        "VA": "apparent_power",
        "V": "voltage",
        "A": "current",
        "Hz": "frequency",
        "1": "power_factor",
    }
)


class Unit(NamedTuple):
    """A canonical unit and the power of ten that leads to it: kWh is ("Wh", 3)."""

    canonical: str
    power: int


def _all() -> dict[str, Unit]:
    units = {}
    for base, canonical in _BASES.items():
        for prefix, power in _PREFIXES:
            if power <= (0 if base in _PLAIN else 9 if base in _MEGA else 3):
                units[prefix + base] = Unit(canonical, power)
    return units


_UNITS: Final = MappingProxyType(_all())


def unit_of(text: str) -> Unit | None:
    """The unit that a file names, or None when it is not known."""
    return _UNITS.get(text.strip().lower())


def quantity_of(unit: str, direction: Direction) -> str | None:
    """The code of `devices.quantities` of what is measured in a canonical unit."""
    return _QUANTITIES.get((unit, direction)) or _QUANTITIES.get(unit)
