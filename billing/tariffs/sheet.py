"""The lines of a bill while it is made: amounts are exact fractions until the one rounding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Final

from billing.tariffs.parts import At, Component, Mode, Rounding, kind_of
from billing.tariffs.pieces import Piece
from billing.tariffs.values import Kind, Line

# An amount that no rounding applies to is carried to so many places.
PLACES: Final = 12
NOTHING: Final = Decimal(0)


@lru_cache(maxsize=4096)
def fraction(value: Decimal) -> Fraction:
    """A decimal number as a fraction, exact."""
    return Fraction(value)


def steps(many: Fraction, mode: Mode) -> int:
    """A whole number of steps."""
    match mode:
        case Mode.HALF_EVEN:
            return round(many)
        case Mode.DOWN:
            return floor(many) if many >= 0 else ceil(many)
        case Mode.UP:
            return ceil(many) if many >= 0 else floor(many)
        case Mode.HALF_UP:
            half = Fraction(1, 2)
            return floor(many + half) if many >= 0 else ceil(many - half)


def rounded(amount: Fraction, rounding: Rounding) -> Fraction:
    """The multiple of the step nearest by the mode."""
    return steps(amount / fraction(rounding.step), rounding.mode) * fraction(rounding.step)


def rounded_down(amount: Fraction, rounding: Rounding) -> Fraction:
    """The highest multiple of the step that is not above an amount."""
    return floor(amount / fraction(rounding.step)) * fraction(rounding.step)


def decimal(amount: Fraction) -> Decimal:
    """A fraction as a decimal number of at most PLACES places, half to even."""
    whole = 10**PLACES
    scaled = round(amount * whole)
    places = PLACES
    while places and not scaled % 10:
        scaled //= 10
        places -= 1
    sign = 0 if scaled >= 0 else 1
    return Decimal((sign, tuple(map(int, str(abs(scaled)))), -places))


def kwh(milliwh: int) -> Decimal:
    """Milliwatt-hours as kilowatt-hours, exact."""
    return Decimal(milliwh).scaleb(-6)


@dataclass(slots=True)
class Item:
    """A line with its exact amount, and the tax that covers it so far."""

    component: str
    kind: Kind
    label: str
    first: date
    end: date
    quantity: Decimal
    unit: str
    price: Decimal | None
    amount: Fraction
    period: str = ""
    tier: int = 0
    estimated: Decimal = NOTHING
    at: int | None = None
    detail: Mapping[str, str] = field(default_factory=dict)
    taxes: dict[str, Fraction] = field(default_factory=dict)

    def line(self) -> Line:
        """As it stands on the bill."""
        return Line(
            component=self.component,
            kind=self.kind,
            label=self.label,
            first=self.first,
            end=self.end,
            quantity=self.quantity,
            unit=self.unit,
            price=self.price,
            amount=decimal(self.amount),
            period=self.period,
            tier=self.tier,
            estimated=self.estimated,
            at=self.at,
            tax_percent=decimal(sum(self.taxes.values(), Fraction(0))) if self.taxes else None,
            detail=self.detail,
        )


@dataclass(slots=True)
class Sheet:
    """The items of one piece of a bill."""

    piece: Piece
    items: list[Item] = field(default_factory=list)

    def add(
        self,
        component: Component,
        amount: Fraction,
        *,
        quantity: Decimal,
        unit: str,
        price: Decimal | None = None,
        period: str = "",
        tier: int = 0,
        estimated: Decimal = NOTHING,
        at: int | None = None,
        first: date | None = None,
        detail: Mapping[str, str] | None = None,
    ) -> Item:
        """Adds a line of a component, rounded if the tariff rounds lines."""
        item = Item(
            component=component.name,
            kind=kind_of(component),
            label=component.label,
            first=first or self.piece.first,
            end=self.piece.end,
            quantity=quantity,
            unit=unit,
            price=price,
            amount=self.exact(amount),
            period=period,
            tier=tier,
            estimated=estimated,
            at=at,
            detail=detail or {},
        )
        self.items.append(item)
        return item

    def exact(self, amount: Fraction) -> Fraction:
        """An amount as it stands on a line of this piece."""
        rounding = self.piece.terms.tariff.rounding
        return rounded(amount, rounding) if rounding.at is At.LINE else amount

    def sum(self) -> Fraction:
        """What everything costs so far."""
        return sum((item.amount for item in self.items), start=Fraction(0))

    def of(self, names: Iterable[str]) -> Fraction:
        """What the named components cost so far."""
        wanted = set(names)
        return sum(
            (item.amount for item in self.items if item.component in wanted), start=Fraction(0)
        )
