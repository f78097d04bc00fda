"""Figures as people read them: number and unit apart, the number in the reader's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.formats import number_format

_PREFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """`number` in the reader's format, `unit` with its prefix."""

    number: str
    unit: str

    def __str__(self) -> str:
        return f"{self.number}\N{NO-BREAK SPACE}{self.unit}"


def power(watts: float) -> Figure:
    """Power with three digits: 840 W, 1.24 kW."""
    return _figure(watts, "W")


def energy(watt_hours: float) -> Figure:
    """Energy in kWh and above, since nobody is billed by the Wh: 0.42 kWh, 12.4 kWh."""
    return _figure(watt_hours, "Wh", smallest=1e3)


def _figure(value: float, unit: str, smallest: float = 1.0) -> Figure:
    size = max(abs(value), smallest)
    # 999.6 W is 1.00 kW: what counts is the size after rounding.
    factor, prefix = next(
        ((factor, name) for factor, name in _PREFIXES if round(size) >= factor), (1.0, "")
    )
    scaled = value / factor
    whole = len(str(int(abs(scaled) + 0.005)))
    decimals = 0 if factor == 1.0 else max(0, min(2, _DIGITS - whole))
    text = number_format(round(scaled, decimals) + 0.0, decimal_pos=decimals)
    return Figure(text.replace("-", "−"), prefix + unit)
