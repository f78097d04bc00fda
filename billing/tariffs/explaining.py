"""A line of a bill opened to the intervals that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context as Arithmetic
from decimal import Decimal

import numpy as np

from billing.tariffs import calendar, charges, series
from billing.tariffs.metering import Metered
from billing.tariffs.netting import Netted, dealt, net
from billing.tariffs.parts import (
    Component,
    Demand,
    Dynamic,
    Energy,
    Flow,
    Levy,
    Pool,
    Shared,
    Within,
)
from billing.tariffs.pieces import Piece, RatingError, Terms
from billing.tariffs.rating import Bill
from billing.tariffs.sentences import sentence
from billing.tariffs.values import Context, Int64s, Line, LineIntervals, Period, Usage

_WIDE = Arithmetic(prec=80)
_NOTHING = LineIntervals(np.zeros(0, np.int64), np.zeros(0, np.int64), (), ())


def explain(
    terms: Sequence[Terms], usage: Usage, period: Period, context: Context | None, line: Line
) -> LineIntervals:
    """The intervals of a line that `rate` made of the same arguments; none for a line that is made
    of time or of other lines. Their energies add up to its quantity, and for a line of energy their
    amounts to its amount before it was rounded.

    Demand opens to the windows of its period. A tier that is shared in proportion has of each
    interval the same part (rounded down to whole mWh as they cumulate). Raises what `rate` raises,
    and RatingError for a line that is none of these.
    """
    made = Bill(terms, usage, period, context or Context())
    for piece in made.pieces:
        if piece.end < line.end:
            made.sheet(piece)
            continue
        if piece.end > line.end:
            break
        component = next(
            (one for one in piece.terms.tariff.components if one.name == line.component), None
        )
        if component is None:
            break
        return _opened(component, made, piece, line)
    if line.component == "rounding":
        return _NOTHING
    raise RatingError(
        sentence(
            "The bill has no line “%(component)s” until %(end)s.",
            component=line.component,
            end=line.end,
        )
    )


def _opened(component: Component, made: Bill, piece: Piece, line: Line) -> LineIntervals:
    metered = made.metered(piece)
    match component:
        case Energy():
            netting = piece.terms.tariff.netting
            netted = None if netting is None else net(netting, metered, made.carried)
            return _energy(component, made, metered, netted, line)
        case Dynamic():
            return _dynamic(component, made, metered)
        case Demand():
            return _demand(component, metered, line)
        case Levy() if component.per_kwh is not None:
            values = metered.grid.energy[Flow.IMPORT]
            return _priced(metered.grid.starts, values, component.per_kwh)
        case _:
            return _NOTHING


def _energy(
    component: Energy, made: Bill, metered: Metered, netted: Netted | None, line: Line
) -> LineIntervals:
    filling = charges.filling_of(component, metered, netted, made.pools)
    if filling is None:
        raise RatingError(
            sentence("“%(name)s” has its lines at the end of the bill.", name=component.name)
        )
    prices = charges.prices_by_period(component, filling.own)
    limits = charges.limits_of(component.tiers, prices, filling, metered.piece)
    n = 0 if component.schedule is None else component.schedule.periods.index(line.period)
    tier = max(line.tier - 1, 0)
    if component.tiers.per is Pool.DAY and any(limits):
        days = charges.by_day(component, limits, filling, metered)
    else:
        shares = charges.shares_of(component, prices, filling, metered)
        days = [(slice(None), shares)]
    codes, values = _weights(component, filling, metered, netted)
    in_order = component.tiers.shared is Shared.CHRONOLOGICAL and any(limits)
    parts = np.zeros(len(values), np.int64)
    for day, shares in days:
        mine = codes[day] == n
        if in_order:
            split = _split(values[day], limits[n], tier)
            parts[day] = np.where(mine, split, 0)
        else:
            weights = np.where(mine, values[day], 0).tolist()
            parts[day] = dealt(weights, shares[n][tier])
    starts = made.starts_of(filling.first, metered.piece)
    price = prices[n].tiers[tier].price
    return _priced(starts, parts, price, -1 if component.flow is Flow.EXPORT else 1)


def _weights(
    component: Energy, filling: charges.Filling, metered: Metered, netted: Netted | None
) -> tuple[Int64s, Int64s]:
    """By what a line is dealt to intervals: their energy; of what was netted over more than an
    interval, what was drawn.
    """
    if component.flow is Flow.NET:
        assert netted is not None
        if netted.netting.within is not Within.INTERVAL:
            codes = metered.codes(component.schedule, component.name)
            return codes, metered.grid.energy[Flow.IMPORT]
    return filling.ordered()


def _split(values: Int64s, limits: tuple[int, ...], tier: int) -> Int64s:
    """The part of each interval that is in a tier, filled as time goes."""
    after = np.cumsum(values)
    before = after - values

    def below(n: int) -> Int64s:
        if n < 0:
            return np.zeros(len(values), np.int64)
        if n >= len(limits):
            return values
        found: Int64s = np.minimum(after, limits[n]) - np.minimum(before, limits[n])
        return found

    return below(tier) - below(tier - 1)


def _dynamic(component: Dynamic, made: Bill, metered: Metered) -> LineIntervals:
    prices = series.series_of(component, made.context.prices)
    energy = series.energy_of(component, metered.grid)
    found = series.slots(component, prices, metered.grid, metered.piece)
    asked = series.asked(component, prices)
    sign = -1 if component.flow is Flow.EXPORT else 1
    own = tuple(asked[n] for n in found.tolist())
    amounts = tuple(
        _cost(milliwh, price, sign) for milliwh, price in zip(energy.tolist(), own, strict=True)
    )
    return LineIntervals(metered.grid.starts, energy, own, amounts)


def _demand(component: Demand, metered: Metered, line: Line) -> LineIntervals:
    energy, places = metered.windows(component.window_min)
    piece, step_s, window_s = metered.piece, metered.fine.step_s, component.window_min * 60
    if component.schedule is not None:
        codes = calendar.window_codes_of(
            component.schedule, piece.zone, piece.month, step_s, window_s
        )
        mine = codes[places] == component.schedule.periods.index(line.period)
        energy, places = energy[mine], places[mine]
    _index, first = calendar.windows_of(piece.zone, piece.month, step_s, window_s)
    starts = calendar.starts_of(piece.zone, piece.month, step_s)[first[places]]
    return LineIntervals(starts, energy, (), ())


def _priced(starts: Int64s, energy: Int64s, price: Decimal, sign: int = 1) -> LineIntervals:
    """The intervals that have any energy, at one price."""
    there = np.flatnonzero(energy)
    kept = energy[there]
    amounts = tuple(_cost(milliwh, price, sign) for milliwh in kept.tolist())
    return LineIntervals(starts[there], kept, (price,) * len(there), amounts)


def _cost(milliwh: int, price: Decimal, sign: int) -> Decimal:
    return _WIDE.scaleb(_WIDE.multiply(price, Decimal(sign * milliwh)), -6)
