"""What some kinds of component make of a month: time and energy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np

from billing.tariffs import calendar
from billing.tariffs.metering import (
    Metered,
    added_up,
    fill_each,
    fill_in_order,
    fill_together,
)
from billing.tariffs.netting import Netted
from billing.tariffs.parts import (
    Energy,
    Flow,
    LimitUnit,
    Pool,
    Price,
    Shared,
    Standing,
    Tier,
    Tiers,
)
from billing.tariffs.pieces import Piece, RatingError, contracted
from billing.tariffs.sentences import sentence
from billing.tariffs.sheet import Sheet, decimal, fraction, kwh
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s


def standing(component: Standing, sheet: Sheet) -> None:
    """An amount for the days of the piece."""
    many = sheet.piece.times(component.per)
    if not many:
        return
    unit = "kW" if component.per == "kW_month" else component.per.value
    sheet.add(
        component,
        many * fraction(component.amount),
        quantity=decimal(many),
        unit=unit,
        price=component.amount,
        detail=sheet.piece.part_of_month(),
    )


@dataclass(slots=True)
class Pooled:
    """Energy of the pieces so far, for tiers that fill over a whole bill."""

    own: list[int]
    estimated: list[int]
    peak_kw: Fraction = Fraction(0)
    codes: list[Int64s] = field(default_factory=list)
    values: list[Int64s] = field(default_factory=list)

    def add(self, component: Energy, metered: Metered) -> None:
        """Takes a piece in."""
        own, estimated = metered.sums(component.flow, component.schedule, component.name)
        self.own = [one + more for one, more in zip(self.own, own, strict=True)]
        self.estimated = [one + more for one, more in zip(self.estimated, estimated, strict=True)]
        if component.tiers.unit is LimitUnit.KWH_PER_KW:
            self.peak_kw = max(self.peak_kw, metered.peak_kw(component.tiers.window_min))
        self.codes.append(metered.codes(component.schedule, component.name))
        self.values.append(metered.grid.energy[component.flow])


@dataclass(slots=True)
class Filling:
    """Energy by period (mWh) before it is dealt to tiers, and in the order of time."""

    own: list[int]
    estimated: list[int]
    first: date
    peak_kw: Callable[[], Fraction]
    ordered: Callable[[], tuple[Int64s, Int64s]]


def energy(
    component: Energy,
    sheet: Sheet,
    metered: Metered,
    netted: Netted | None,
    pools: dict[str, Pooled],
) -> None:
    """A line for each period and tier that has energy; where tiers fill over the whole bill, in the
    last piece.
    """
    filling = filling_of(component, metered, netted, pools)
    if filling is not None:
        prices = prices_by_period(component, filling.own)
        shares = shares_of(component, prices, filling, metered)
        lines(component, sheet, prices, shares, filling)


def filling_of(
    component: Energy, metered: Metered, netted: Netted | None, pools: dict[str, Pooled]
) -> Filling | None:
    """What fills the tiers of a component at the end of a piece; None while it waits for more."""
    tiers, piece = component.tiers, metered.piece
    if tiers.per is Pool.BILL and any(price.tiered for price in component.prices):
        count = 1 if component.schedule is None else len(component.schedule.periods)
        pool = pools.setdefault(component.name, Pooled([0] * count, [0] * count))
        pool.add(component, metered)
        if not piece.last:
            return None
        del pools[component.name]
        return Filling(
            pool.own,
            pool.estimated,
            piece.begun,
            lambda: pool.peak_kw,
            lambda: (np.concatenate(pool.codes), np.concatenate(pool.values)),
        )
    if component.flow is Flow.NET:
        assert netted is not None
        own, estimated = netted.energies(component)
        values = netted.left
    else:
        own, estimated = metered.sums(component.flow, component.schedule, component.name)
        values = metered.grid.energy[component.flow]

    def ordered() -> tuple[Int64s, Int64s]:
        assert values is not None
        return metered.codes(component.schedule, component.name), values

    return Filling(own, estimated, piece.first, lambda: metered.peak_kw(tiers.window_min), ordered)


def lines(
    component: Energy,
    sheet: Sheet,
    prices: list[Price],
    shares: list[list[int]],
    filling: Filling,
) -> None:
    """The lines of energies (mWh) by period and tier. What is estimated of a period is dealt to its
    tiers in proportion.
    """
    sign = -1 if component.flow is Flow.EXPORT else 1
    for price, parts, guessed in zip(prices, shares, filling.estimated, strict=True):
        whole = sum(parts)
        for n, (tier, milliwh) in enumerate(zip(price.tiers, parts, strict=True)):
            if not milliwh:
                continue
            sheet.add(
                component,
                sign * fraction(tier.price) * Fraction(milliwh, MILLIWH_PER_KWH),
                quantity=kwh(milliwh),
                unit="kWh",
                price=tier.price,
                period=price.period,
                tier=n + 1 if price.tiered else 0,
                estimated=kwh(guessed * milliwh // whole if whole else 0),
                first=filling.first,
            )


def prices_by_period(component: Energy, energies: list[int]) -> list[Price]:
    """A price for each of the schedule's periods. Raises RatingError for energy in a period that
    has none.
    """
    if component.schedule is None:
        return list(component.prices)
    by_name = {price.period: price for price in component.prices}
    made = []
    for name, milliwh in zip(component.schedule.periods, energies, strict=True):
        if name not in by_name and milliwh:
            raise RatingError(
                sentence(
                    "The component “%(name)s” has no price in the period “%(name_2)s”, in which"
                    " energy was used.",
                    name=component.name,
                    name_2=name,
                )
            )
        made.append(by_name.get(name) or Price(name, (Tier(None, Decimal(0)),), tiered=False))
    return made


def shares_of(
    component: Energy, prices: list[Price], filling: Filling, metered: Metered
) -> list[list[int]]:
    """Energies (mWh) by period and tier."""
    limits = limits_of(component.tiers, prices, filling, metered.piece)
    if not any(limits):
        return [[milliwh] for milliwh in filling.own]
    if component.tiers.per is Pool.DAY:
        return _by_day(component, limits, filling, metered)
    return fill(component.tiers.shared, limits, filling.own, filling.ordered)


def fill(
    shared: Shared,
    limits: list[tuple[int, ...]],
    own: list[int],
    ordered: Callable[[], tuple[Int64s, Int64s]],
) -> list[list[int]]:
    """Energies by period dealt to tiers."""
    match shared:
        case Shared.PROPORTIONAL:
            return fill_together(own, limits)
        case Shared.PER_PERIOD:
            return fill_each(own, limits)
        case Shared.CHRONOLOGICAL:
            return fill_in_order(*ordered(), limits)


def limits_of(
    tiers: Tiers, prices: list[Price], filling: Filling, piece: Piece
) -> list[tuple[int, ...]]:
    """The limits of each price's tiers in whole mWh, rounded down."""
    if not any(len(price.tiers) > 1 for price in prices):
        return [() for _ in prices]
    factor = MILLIWH_PER_KWH * _times(tiers, piece)
    if tiers.unit is LimitUnit.KWH_PER_KW:
        factor *= filling.peak_kw()
    elif tiers.unit is LimitUnit.KWH_PER_KW_CONTRACTED:
        factor *= fraction(contracted(piece.terms))
    return [
        tuple(int(fraction(tier.up_to) * factor) for tier in price.tiers if tier.up_to is not None)
        for price in prices
    ]


def _times(tiers: Tiers, piece: Piece) -> Fraction:
    """How often the limits count in a piece."""
    if tiers.per is Pool.AVERAGE_DAY:
        return Fraction(piece.days)
    if not tiers.pro_rated or tiers.per is Pool.DAY:
        return Fraction(1)
    return piece.bill_part if tiers.per is Pool.BILL else piece.part


def _by_day(
    component: Energy, limits: list[tuple[int, ...]], filling: Filling, metered: Metered
) -> list[list[int]]:
    """Tiers that begin anew each local day."""
    total = [[0] * (len(of) + 1) for of in limits]
    for _day, shares in by_day(component, limits, filling, metered):
        for kept, more in zip(total, shares, strict=True):
            for n, milliwh in enumerate(more):
                kept[n] += milliwh
    return total


def by_day(
    component: Energy, limits: list[tuple[int, ...]], filling: Filling, metered: Metered
) -> list[tuple[slice, list[list[int]]]]:
    """For each local day its intervals in the piece, and its energies by period and tier."""
    grid, piece = metered.grid, metered.piece
    days = calendar.days_of(piece.zone, piece.month, grid.step_s)[grid.place(piece)]
    codes, values = filling.ordered()
    edges = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    made = []
    for begin, end in pairwise(edges):
        day = slice(begin, end)
        of, energies = codes[day], values[day]
        own = added_up(of, energies, len(limits)).tolist()
        shares = fill(component.tiers.shared, limits, own, partial(_pair, of, energies))
        made.append((day, shares))
    return made


def _pair(codes: Int64s, energies: Int64s) -> tuple[Int64s, Int64s]:
    return codes, energies
