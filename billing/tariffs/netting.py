"""What was given to the grid set against what was drawn, and what becomes of a surplus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import numpy as np

from billing.tariffs.calendar import next_month
from billing.tariffs.metering import Metered, added_up
from billing.tariffs.parts import At, Carry, Energy, Flow, Netting, Schedule, Within
from billing.tariffs.pieces import RatingError
from billing.tariffs.sentences import sentence
from billing.tariffs.sheet import Sheet, decimal, fraction, kwh, rounded_down
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s

# The surplus that belongs to no period.
WHOLE = ""


@dataclass(slots=True)
class Carried:
    """What former months left: money, and energy (mWh) by period."""

    money: Fraction
    energy: dict[str, int]


@dataclass(slots=True)
class Netted:
    """A piece after netting: what was sold by period (mWh), how much carried energy was used, and
    for netting within intervals what is left to buy in each.
    """

    netting: Netting
    metered: Metered
    sold: dict[str, int]
    used: dict[str, int]
    left: Int64s | None = None
    bought: dict[str, int] = field(default_factory=dict)

    def energies(self, component: Energy) -> tuple[list[int], list[int]]:
        """What is bought by the periods of a component, and what of it is estimated at most."""
        schedule, name = component.schedule, component.name
        drawn, guessed_in = self.metered.sums(Flow.IMPORT, schedule, name)
        given, guessed_out = self.metered.sums(Flow.EXPORT, schedule, name)
        if self.netting.within is Within.PERIOD:
            assert schedule is not None
            own = [self.bought[period] for period in schedule.periods]
        else:
            if self.left is not None:
                codes = self.metered.codes(schedule, name)
                weights = added_up(codes, self.left, len(drawn)).tolist()
            else:
                pairs = zip(drawn, given, strict=True)
                weights = [max(one - other, 0) for one, other in pairs]
            own = dealt(weights, self.bought[WHOLE])
        guessed = [
            min(milliwh, one + other)
            for milliwh, one, other in zip(own, guessed_in, guessed_out, strict=True)
        ]
        return own, guessed


def dealt(weights: Sequence[int], total: int) -> list[int]:
    """A total in proportion to weights, cut from the cumulated weights and rounded down, so that
    the parts add up.
    """
    whole, made, seen, before = sum(weights), [], 0, 0
    for weight in weights:
        seen += weight
        cut = seen * total // whole if whole else 0
        made.append(cut - before)
        before = cut
    return made


def net(netting: Netting, metered: Metered, carried: Carried) -> Netted:
    """Nets a piece, and uses what energy is carried."""
    if netting.within is Within.INTERVAL:
        made = _by_interval(netting, metered)
    else:
        schedule = netting.schedule if netting.within is Within.PERIOD else None
        names = _names(schedule)
        drawn, _guessed = metered.sums(Flow.IMPORT, schedule, netting.name)
        given, _guessed = metered.sums(Flow.EXPORT, schedule, netting.name)
        left = {name: drawn[n] - given[n] for n, name in enumerate(names)}
        made = Netted(
            netting,
            metered,
            sold={name: -milliwh for name, milliwh in left.items() if milliwh < 0},
            used={},
            bought={name: max(milliwh, 0) for name, milliwh in left.items()},
        )
    if netting.carry is Carry.ENERGY:
        for name, milliwh in made.bought.items():
            used = min(milliwh, carried.energy.get(name, 0))
            if used > 0:
                made.used[name] = used
                made.bought[name] -= used
                carried.energy[name] -= used
    return made


def _by_interval(netting: Netting, metered: Metered) -> Netted:
    columns = metered.grid.energy
    difference = columns[Flow.IMPORT] - columns[Flow.EXPORT]
    left, sold = np.maximum(difference, 0), np.maximum(-difference, 0)
    # A surplus by period is told apart only where periods have prices of their own.
    schedule = netting.schedule if netting.sell_prices[0].period else None
    names = _names(schedule)
    sums = added_up(metered.codes(schedule, netting.name), sold, len(names)).tolist()
    return Netted(
        netting,
        metered,
        sold={name: milliwh for name, milliwh in zip(names, sums, strict=True) if milliwh},
        used={},
        left=left,
        bought={WHOLE: int(left.sum())},
    )


def _names(schedule: Schedule | None) -> tuple[str, ...]:
    return (WHOLE,) if schedule is None else schedule.periods


def settle(netting: Netting, sheet: Sheet, netted: Netted, carried: Carried) -> None:
    """The lines of a netting: what carried energy was used, and what of a surplus is paid now."""
    piece = sheet.piece
    settling = piece.month.month == netting.settle_month and piece.end == next_month(piece.first)
    for name, milliwh in netted.used.items():
        detail = {"carried": "used"}
        free, quantity = Decimal(0), kwh(milliwh)
        sheet.add(
            netting,
            Fraction(0),
            quantity=quantity,
            unit="kWh",
            price=free,
            period=name,
            detail=detail,
        )
    match netting.carry:
        case Carry.NONE:
            _sell(netting, sheet, netted.sold)
        case Carry.ENERGY:
            for name, milliwh in netted.sold.items():
                carried.energy[name] = carried.energy.get(name, 0) + milliwh
            if settling:
                _sell(netting, sheet, carried.energy)
                carried.energy.clear()
        case Carry.MONEY:
            _credit(netting, sheet, netted, carried, settling=settling)


def _price(netting: Netting, period: str) -> Decimal:
    """What a surplus in a period is worth. Raises RatingError for a period of a former tariff that
    this one has no price for.
    """
    prices = {price.period: price.tiers[0].price for price in netting.sell_prices}
    found = prices.get(period, prices.get(WHOLE))
    if found is None:
        told = (
            sentence("of the period “%(period)s”", period=period)
            if period
            else sentence("of no period")
        )
        raise RatingError(
            sentence(
                "Energy %(told)s was carried from a former tariff, and “%(name)s” has no price"
                " for it: give a single sell_price.",
                told=told,
                name=netting.name,
            )
        )
    return found


def _sell(netting: Netting, sheet: Sheet, sold: dict[str, int]) -> None:
    for name, milliwh in sold.items():
        if milliwh:
            price = _price(netting, name)
            sheet.add(
                netting,
                -fraction(price) * Fraction(milliwh, MILLIWH_PER_KWH),
                quantity=kwh(milliwh),
                unit="kWh",
                price=price,
                period=name,
            )


def _credit(
    netting: Netting, sheet: Sheet, netted: Netted, carried: Carried, *, settling: bool
) -> None:
    """A surplus as money, that pays for what the bill has so far and is kept beyond; in the month
    of settlement it is paid out.
    """
    before = carried.money
    earned = sum(
        (
            fraction(_price(netting, name)) * Fraction(milliwh, MILLIWH_PER_KWH)
            for name, milliwh in netted.sold.items()
        ),
        start=Fraction(0),
    )
    carried.money += earned
    if settling:
        used = sheet.exact(carried.money)
        carried.money = Fraction(0)
    else:
        used = min(carried.money, max(sheet.sum(), Fraction(0)))
        rounding = sheet.piece.terms.tariff.rounding
        if rounding.at is At.LINE:
            # Never more than there is.
            used = rounded_down(used, rounding)
        carried.money -= used
    if earned or used:
        detail = {
            "surplus_kwh": str(kwh(sum(netted.sold.values()))),
            "earned": str(decimal(earned)),
            "before": str(decimal(before)),
            "left": str(decimal(carried.money)),
        }
        sheet.add(netting, -used, quantity=Decimal(1), unit="", detail=detail)
