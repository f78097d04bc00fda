"""What the highest demand of a month costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np

from billing.tariffs import calendar
from billing.tariffs.metering import Metered, power
from billing.tariffs.parts import Demand, Flow, Price, Tier
from billing.tariffs.sheet import Sheet, decimal, fraction
from billing.tariffs.values import Peak


def demand(
    component: Demand, sheet: Sheet, metered: Metered, peaks: dict[tuple[str, str, date], Decimal]
) -> None:
    """A line for each period (and tier) whose highest demand is billed; for one that the piece does
    not have, as a summer's in winter, none, whatever its minimum or ratchet. `peaks`, by component,
    period and month, are those of former months; the month's own are added.
    """
    for price in component.prices:
        if not _has(component, price.period, metered):
            continue
        measured, at, estimated = _highest(component, price.period, metered)
        key = (component.name, price.period, sheet.piece.month)
        before = _ratcheted(component, price.period, sheet.piece.month, peaks)
        peaks[key] = max(peaks.get(key, Decimal(0)), decimal(measured))
        billed = max(measured, fraction(component.minimum_kw), before)
        detail = sheet.piece.part_of_month()
        if billed > measured:
            detail |= {"measured_kw": str(decimal(measured))}
            detail |= {"by": "ratchet" if before == billed else "minimum"}
        for number, tier, kw in _tiers(price, billed):
            quantity = decimal(kw)
            sheet.add(
                component,
                kw * fraction(tier.price) * sheet.piece.part,
                quantity=quantity,
                unit="kW",
                price=tier.price,
                period=price.period,
                tier=number,
                estimated=quantity if estimated else Decimal(0),
                at=at,
                detail=detail,
            )


def _tiers(price: Price, billed: Fraction) -> Iterator[tuple[int, Tier, Fraction]]:
    """The tiers that a demand reaches: their numbers (0: there are none), and the kW in each."""
    low = Fraction(0)
    for n, tier in enumerate(price.tiers):
        high = billed if tier.up_to is None else min(billed, fraction(tier.up_to))
        if high > low:
            yield n + 1 if price.tiered else 0, tier, high - low
        low = max(low, high)


def _has(component: Demand, period: str, metered: Metered) -> bool:
    """Whether a window of a piece is of a period, measured or not."""
    if component.schedule is None:
        return True
    piece, schedule = metered.piece, component.schedule
    return schedule.periods.index(period) in calendar.window_periods_of(
        schedule,
        piece.zone,
        (piece.start, piece.stop),
        piece.month,
        metered.fine.step_s,
        component.window_min * 60,
    )


def _highest(component: Demand, period: str, metered: Metered) -> tuple[Fraction, int | None, bool]:
    """The highest demand in kW in a period, when its window began (the first of equals), and
    whether any of it is estimated.
    """
    energy_of, places = metered.windows(component.window_min)
    piece, fine, window_s = metered.piece, metered.fine, component.window_min * 60
    if component.schedule is not None:
        codes = calendar.window_codes_of(
            component.schedule, piece.zone, piece.month, fine.step_s, window_s
        )[places]
        mine = np.flatnonzero(codes == component.schedule.periods.index(period))
        energy_of, places = energy_of[mine], places[mine]
    if not len(energy_of) or (n := int(energy_of.argmax())) < 0 or energy_of[n] <= 0:
        return Fraction(0), None, False
    index, first = calendar.windows_of(piece.zone, piece.month, fine.step_s, window_s)
    starts = calendar.starts_of(piece.zone, piece.month, fine.step_s)
    at = int(starts[first[places[n]]])
    estimated = False
    if fine.estimated is not None:
        inside = index[fine.place(piece)] == places[n]
        estimated = bool(fine.estimated[Flow.IMPORT][inside].any())
    return power(int(energy_of[n]), component.window_min), at, estimated


def _ratcheted(
    component: Demand, period: str, month: date, peaks: dict[tuple[str, str, date], Decimal]
) -> Fraction:
    """The least that former months leave to be billed, in kW."""
    ratchet = component.ratchet
    if ratchet is None:
        return Fraction(0)
    now = month.year * 12 + month.month
    former = [
        kw
        for (name, of, when), kw in peaks.items()
        if name == component.name
        and of == period
        and 1 <= now - (when.year * 12 + when.month) <= ratchet.months
        and (not ratchet.of_months or when.month in ratchet.of_months)
    ]
    return fraction(max(former, default=Decimal(0))) * fraction(ratchet.percent) / 100


def merged(peaks: dict[tuple[str, str, date], Decimal], months: set[date]) -> tuple[Peak, ...]:
    """The peaks of some months."""
    return tuple(
        Peak(name, period, month, kw)
        for (name, period, month), kw in peaks.items()
        if month in months
    )
