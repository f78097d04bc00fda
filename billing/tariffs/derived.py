"""Components that are made from others: minimum, discount, levy; at the end rounding and tax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.tariffs.metering import Metered
from billing.tariffs.parts import At, Discount, Flow, Levy, Minimum, Rounding, Tax
from billing.tariffs.sheet import Item, Sheet, decimal, fraction, kwh, rounded, steps
from billing.tariffs.values import MILLIWH_PER_KWH, Kind

ONE = Decimal(1)


def minimum(component: Minimum, sheet: Sheet) -> None:
    """What is missing to the least that the named components cost."""
    least = sheet.piece.times(component.per) * fraction(component.amount)
    cost = sheet.of(component.of)
    if cost < least:
        detail = {"minimum": str(decimal(least)), "reached": str(decimal(cost))}
        sheet.add(component, least - cost, quantity=ONE, unit="", detail=detail)


def discount(component: Discount, sheet: Sheet) -> None:
    """A part of what the named components cost, or an amount, but no more than that."""
    cost = sheet.of(component.of)
    base = {"base": str(decimal(cost))}
    if component.percent is not None:
        if cost and component.percent:
            off = cost * fraction(component.percent) / 100
            sheet.add(component, -off, quantity=component.percent, unit="%", detail=base)
        return
    assert component.amount is not None
    many = sheet.piece.times(component.per)
    off = min(many * fraction(component.amount), cost)
    if off > 0:
        sheet.add(component, -off, quantity=ONE, unit="", detail=base)


def levy(component: Levy, sheet: Sheet, metered: Metered) -> None:
    """A price for each kWh drawn, or a part of what the named components cost."""
    if component.percent is not None:
        cost = sheet.of(component.of)
        if cost and component.percent:
            sheet.add(
                component,
                cost * fraction(component.percent) / 100,
                quantity=component.percent,
                unit="%",
                detail={"base": str(decimal(cost))},
            )
        return
    assert component.per_kwh is not None
    (milliwh,), (estimated,) = metered.sums(Flow.IMPORT, None, component.name)
    if milliwh:
        sheet.add(
            component,
            fraction(component.per_kwh) * Fraction(milliwh, MILLIWH_PER_KWH),
            quantity=kwh(milliwh),
            unit="kWh",
            price=component.per_kwh,
            estimated=kwh(estimated),
        )


def rounding_item(items: Sequence[Item], last: Sheet) -> Item | None:
    """What makes the sum of the net lines a multiple of the step, where the bill is rounded."""
    rounding = last.piece.terms.tariff.rounding
    if rounding.at is At.LINE:
        return None
    net = sum((item.amount for item in items), start=Fraction(0))
    # Lines carry a limited number of places: what they leave out is part of the rounding.
    shown = sum((fraction(decimal(item.amount)) for item in items), start=Fraction(0))
    difference = rounded(net, rounding) - shown
    return _rounding_line(difference, items[0].first, last)


def total_item(total: Fraction, first: date, last: Sheet) -> Item | None:
    """What makes the sum to be paid a multiple of the larger step, if there is one."""
    rounding = last.piece.terms.tariff.rounding
    if rounding.total_step is None:
        return None
    step = fraction(rounding.total_step)
    return _rounding_line(steps(total / step, rounding.mode) * step - total, first, last)


def _rounding_line(difference: Fraction, first: date, last: Sheet) -> Item | None:
    if not difference:
        return None
    return Item(
        component="rounding",
        kind=Kind.ROUNDING,
        label="Rounding",
        first=first,
        end=last.piece.end,
        quantity=ONE,
        unit="",
        price=None,
        amount=difference,
    )


@dataclass(slots=True)
class _Taxed:
    """A tax with what it covers, of all pieces whose tariff has it."""

    tax: Tax
    rounding: Rounding
    covered: list[Item]


def tax_items(sheets: Sequence[Sheet], rounding: Item | None) -> list[Item]:
    """A line for each tax, on the sum of what it covers in all pieces: taxes of the same name and
    percentage are one. A tax that names an earlier one covers its amount, too.

    Each line notes what part of it its taxes are: where one tax covers another, their product with.
    """
    found: dict[tuple[str, Decimal], _Taxed] = {}
    for sheet in sheets:
        tariff = sheet.piece.terms.tariff
        for tax in tariff.components:
            if isinstance(tax, Tax):
                of = found.setdefault((tax.name, tax.percent), _Taxed(tax, tariff.rounding, []))
                of.covered += [item for item in sheet.items if item.component in tax.of]
    # The rounding of a bill is that of its last tariff: no other's taxes cover it.
    last = {
        (one.name, one.percent)
        for sheet in sheets[-1:]
        for one in sheet.piece.terms.tariff.components
        if isinstance(one, Tax) and one.of_all
    }
    made: list[Item] = []
    for (name, percent), of in found.items():
        part = fraction(percent) / 100
        below = [item for item in made if item.component in of.tax.of]
        covered = [*of.covered, *below]
        if rounding is not None and (name, percent) in last:
            covered.append(rounding)
        if not covered:
            continue
        base = sum((item.amount for item in covered), start=Fraction(0))
        for item in covered:
            on_tax = sum((item.taxes.get(one.component, Fraction(0)) for one in below), Fraction(0))
            item.taxes[name] = 100 * part * (1 + on_tax / 100)
        made.append(
            Item(
                component=name,
                kind=Kind.TAX,
                label=of.tax.label,
                first=min(item.first for item in covered),
                end=max(item.end for item in covered),
                quantity=percent,
                unit="%",
                price=None,
                amount=rounded(base * part, of.rounding),
                detail={"base": str(decimal(base))},
            )
        )
    return made
