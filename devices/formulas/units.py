"""Units of formulas: dimension, scale and kind of power, and the arithmetic of them.

A table of its own, because the units of channels are few (`devices.quantities`) and two of their
rules are the field's and no general library's: W, VA and var share a dimension and must not be
added, and per cent is no bare number. Pint 0.25, the usual library, takes 0.25 s to import besides.
Temperature is in °C throughout, differences of it too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from devices.formulas.errors import FormulaError

# Exponents of volt, ampere, second, metre, degree Celsius: the watt is V·A.
Dimension = tuple[Fraction, ...]  # an exponent for each of _BASE

_BASE: Final = ("V", "A", "s", "m", "°C")
_NONE: Final[Dimension] = (Fraction(0),) * 5
# Beyond these nothing physical is meant, and exact fractions would grow without a bound.
_MOST_EXPONENT: Final = 12
_MOST_SCALE: Final = Fraction(10) ** 30
_SUPERSCRIPTS: Final = MappingProxyType({"²": "2", "³": "3"})
_FACTOR: Final = re.compile(r"([A-Za-zΩ°%]+)(?:([²³])|\^(-?[0-9]{1,2}(?:\.5)?))?")


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: a value in it is `scale` times as much in the base units V, A, s, m, °C.

    `kind` tells active, reactive and apparent power (and their energy) apart; None: any of them.
    """

    dimension: Dimension = _NONE
    scale: Fraction = Fraction(1)
    kind: str | None = None

    def __post_init__(self) -> None:
        sound = all(abs(e) <= _MOST_EXPONENT and e.denominator <= 2 for e in self.dimension)
        if not sound or not 1 / _MOST_SCALE <= self.scale <= _MOST_SCALE:
            raise FormulaError(
                "the unit of a part of this formula is beyond anything that can be measured: "
                "multiply fewer quantities, and take no root of a root"
            )

    @property
    def plain(self) -> bool:
        """Whether it is that of a bare number."""
        return self == ONE

    @property
    def pure(self) -> bool:
        """Whether it has no dimension: a bare number, per cent, or a multiple of it."""
        return self.dimension == _NONE

    def times(self, other: Unit) -> Unit:
        """The unit of a product."""
        added = tuple(a + b for a, b in zip(self.dimension, other.dimension, strict=True))
        return Unit(added, self.scale * other.scale)

    def power(self, exponent: Fraction) -> Unit:
        """The unit of a power; `exponent` must be whole unless the scale is 1."""
        raised = tuple(each * exponent for each in self.dimension)
        if max(map(abs, raised)) > _MOST_EXPONENT or abs(exponent) > _MOST_EXPONENT:
            raise FormulaError(
                f"a value in {self} cannot be raised to such a power: "
                f"exponents go up to {_MOST_EXPONENT}"
            )
        scale = self.scale if self.scale == 1 else self.scale ** int(exponent)
        return Unit(raised, scale)

    def coherent(self) -> Unit:
        """The same with scale 1."""
        return replace(self, scale=Fraction(1))

    def agrees(self, other: Unit) -> bool:
        """Whether values in both can be told in one of them."""
        kinds = {self.kind, other.kind} - {None}
        return self.dimension == other.dimension and len(kinds) <= 1

    def usual(self) -> Unit:
        """What a value in this unit is best told in: itself when it has a name, else Wh, V …"""
        if self in _NAMES:
            return self
        for unit in _USUAL:
            if unit.agrees(self) and (unit.kind == self.kind or self.kind is None):
                return unit
        return self.coherent()

    def __str__(self) -> str:
        known = _NAMES.get(self)
        if known is not None:
            return known
        if self.kind is not None:
            return str(replace(self, kind=None))
        factors = [
            base if exponent == 1 else f"{base}^{float(exponent):g}"
            for base, exponent in zip(_BASE, self.dimension, strict=True)
            if exponent
        ]
        number = [] if self.scale == 1 and factors else [str(self.scale)]
        return "·".join(number + factors)


def _unit(v: int, a: int, s: int, scale: str = "1", kind: str | None = None) -> Unit:
    dimension = (Fraction(v), Fraction(a), Fraction(s), Fraction(0), Fraction(0))
    return Unit(dimension, Fraction(scale), kind)


def _symbols() -> Mapping[str, Unit]:
    found = {
        "1": Unit(),
        "%": Unit(scale=Fraction(1, 100)),
        "m": replace(Unit(), dimension=(*_NONE[:3], Fraction(1), Fraction(0))),
        "°C": replace(Unit(), dimension=(*_NONE[:4], Fraction(1))),
        "V": _unit(1, 0, 0),
        "mV": _unit(1, 0, 0, "0.001"),
        "kV": _unit(1, 0, 0, "1000"),
        "A": _unit(0, 1, 0),
        "mA": _unit(0, 1, 0, "0.001"),
        "kA": _unit(0, 1, 0, "1000"),
        "s": _unit(0, 0, 1),
        "ms": _unit(0, 0, 1, "0.001"),
        "min": _unit(0, 0, 1, "60"),
        "h": _unit(0, 0, 1, "3600"),
        "d": _unit(0, 0, 1, "86400"),
        "Hz": _unit(0, 0, -1),
        "kHz": _unit(0, 0, -1, "1000"),
        "Ω": _unit(1, -1, 0),
        "mΩ": _unit(1, -1, 0, "0.001"),
        "Ah": _unit(0, 1, 1, "3600"),
        "mAh": _unit(0, 1, 1, "3.6"),
        "J": _unit(1, 1, 1),
        "kJ": _unit(1, 1, 1, "1000"),
        "MJ": _unit(1, 1, 1, "1000000"),
    }
    for symbol, kind in (("W", "active"), ("VA", "apparent"), ("var", "reactive")):
        for prefix, scale in (("", 1), ("k", 1_000), ("M", 1_000_000)):
            found[prefix + symbol] = _unit(1, 1, 0, str(scale), kind)
            found[f"{prefix}{symbol}h"] = _unit(1, 1, 1, str(3_600 * scale), kind)
    return MappingProxyType(found)


SYMBOLS: Final = _symbols()
ONE: Final = SYMBOLS["1"]
MILLISECOND: Final = SYMBOLS["ms"]
_NAMES: Final = {unit: symbol for symbol, unit in SYMBOLS.items()}
_USUAL: Final = tuple(
    SYMBOLS[symbol]
    for symbol in ("W", "VA", "var", "Wh", "VAh", "varh", "Ah", "Hz", "Ω", "V", "A", "s", "1")
)


def parse_unit(text: str) -> Unit:
    """Read a unit such as `W`, `W/m²`, `°C/h` or `V^2·A`; FormulaError when it is none."""
    unit, sign = ONE, 1
    for index, part in enumerate(re.split(r"([·*/])", text)):
        if index % 2:
            sign = -1 if part == "/" else 1
            continue
        unit = unit.times(_factor(part.strip(), text).power(Fraction(sign)))
    # The kind is that of a unit by itself: W/m² is no active power.
    return SYMBOLS.get(text.strip(), unit)


def _factor(part: str, text: str) -> Unit:
    if part in SYMBOLS:
        return SYMBOLS[part]
    match = _FACTOR.fullmatch(part)
    if match is None or match[1] not in SYMBOLS:
        raise FormulaError(
            f"`{text[:20]}` is no unit that is known: use {', '.join(SYMBOLS)} "
            "or products of them, as in W/m²"
        )
    symbol = SYMBOLS[match[1]]
    raised = Fraction(match[3] or _SUPERSCRIPTS.get(match[2] or "", "1"))
    if symbol.scale != 1 and raised.denominator != 1:
        raise FormulaError(f"`{text[:20]}`: write a root in base units, as in V^0.5")
    return symbol.power(raised)
