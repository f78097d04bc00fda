"""What each kind of component makes of a month: time, energy and demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np

from billing.tariffs import calendar
from billing.tariffs.metering import (
    Grid,
    added_up,
    codes_in,
    fill_each,
    fill_in_order,
    fill_together,
)
from billing.tariffs.parts import (
    Demand,
    Energy,
    Flow,
    LimitUnit,
    Pool,
    Price,
    Schedule,
    Shared,
    Standing,
    Tier,
    Tiers,
)
from billing.tariffs.pieces import Piece, RatingError, contracted
from billing.tariffs.sheet import Sheet, decimal, fraction, kwh
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s, Peak, UsageError


@dataclass(slots=True)
class Metered:
    """The use of one piece: `fine` on the grid it was measured on, `grid` on the tariff's."""

    piece: Piece
    fine: Grid
    grid: Grid
    _sums: dict[tuple[Flow, Schedule | None], tuple[list[int], list[int]]] = field(
        default_factory=dict
    )
    _windows: dict[int, tuple[Int64s, Int64s]] = field(default_factory=dict)

    def sums(self, flow: Flow, schedule: Schedule | None, name: str) -> tuple[list[int], list[int]]:
        """Energy by period (one, without a schedule), and what of it is estimated."""
        key = (flow, schedule)
        if key not in self._sums:
            columns = [self.grid.energy[flow]]
            if self.grid.estimated is not None:
                columns.append(self.grid.estimated[flow])
            if schedule is None:
                made = [[int(column.sum())] for column in columns]
            else:
                codes, count = (
                    codes_in(schedule, self.grid, self.piece, name),
                    len(schedule.periods),
                )
                made = [added_up(codes, column, count).tolist() for column in columns]
            self._sums[key] = (made[0], made[1] if len(made) > 1 else [0] * len(made[0]))
        return self._sums[key]

    def windows(self, window_min: int) -> tuple[Int64s, Int64s]:
        """Energy drawn in each window of local time that has any interval, and the windows' places
        in the month. What is not measured counts as nothing, and so does what the clock leaves out:
        a window that is not full never shows more than was drawn.
        """
        if window_min not in self._windows:
            window_s = window_min * 60
            if window_s % self.fine.step_s:
                raise UsageError(
                    f"A demand over {window_min} minutes cannot be told from intervals of "
                    f"{self.fine.step_s // 60} minutes."
                )
            index, _first = calendar.windows_of(
                self.piece.zone, self.piece.month, self.fine.step_s, window_s
            )
            here = index[self.fine.place(self.piece)]
            low = int(here[0]) if len(here) else 0
            count = int(here[-1]) - low + 1 if len(here) else 0
            energy = added_up(here - low, self.fine.energy[Flow.IMPORT], count)
            self._windows[window_min] = (energy, np.arange(low, low + count))
        return self._windows[window_min]

    def peak_kw(self, window_min: int) -> Fraction:
        """The highest mean of any window."""
        energy, _places = self.windows(window_min)
        return power(int(energy.max()), window_min) if len(energy) else Fraction(0)


def power(milliwh: int, window_min: int) -> Fraction:
    """The mean power in kW of energy in a window."""
    return Fraction(milliwh * 60, window_min * MILLIWH_PER_KWH)


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
        detail=_part(sheet.piece),
    )


def _part(piece: Piece) -> dict[str, str]:
    """Which part of its month a piece is, where it is not the whole."""
    of = calendar.month_days(piece.first)
    return {} if piece.days == of else {"days": str(piece.days), "of_days": str(of)}


def energy(component: Energy, sheet: Sheet, metered: Metered) -> None:
    """A line for each period and tier that has energy (import and export)."""
    own, estimated = metered.sums(component.flow, component.schedule, component.name)
    prices = prices_by_period(component, own)
    limits = limits_of(component.tiers, prices, metered)
    shares = _filled(component, own, limits, metered)
    lines(component, sheet, prices, shares, estimated)


def lines(
    component: Energy,
    sheet: Sheet,
    prices: list[Price],
    shares: list[list[int]],
    estimated: list[int],
    first: date | None = None,
) -> None:
    """The lines of energies (mWh) by period and tier. What is estimated of a period is dealt to its
    tiers in proportion.
    """
    sign = -1 if component.flow is Flow.EXPORT else 1
    for price, parts, guessed in zip(prices, shares, estimated, strict=True):
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
                first=first,
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
                f"The component “{component.name}” has no price in the period “{name}”, in which "
                "energy was used."
            )
        made.append(by_name.get(name) or Price(name, (Tier(None, Decimal(0)),), tiered=False))
    return made


def limits_of(tiers: Tiers, prices: list[Price], metered: Metered) -> list[tuple[int, ...]]:
    """The limits of each price's tiers in whole mWh, rounded down."""
    if not any(len(price.tiers) > 1 for price in prices):
        return [() for _ in prices]
    factor = MILLIWH_PER_KWH * _times(tiers, metered.piece)
    if tiers.unit is LimitUnit.KWH_PER_KW:
        factor *= metered.peak_kw(tiers.window_min)
    elif tiers.unit is LimitUnit.KWH_PER_KW_CONTRACTED:
        factor *= fraction(contracted(metered.piece.terms))
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


def _filled(
    component: Energy, own: list[int], limits: list[tuple[int, ...]], metered: Metered
) -> list[list[int]]:
    """Energies by period and tier."""
    if not any(limits):
        return [[milliwh] for milliwh in own]
    if component.tiers.per is Pool.DAY:
        return _filled_by_day(component, limits, metered)
    match component.tiers.shared:
        case Shared.PROPORTIONAL:
            return fill_together(own, limits)
        case Shared.PER_PERIOD:
            return fill_each(own, limits)
        case Shared.CHRONOLOGICAL:
            values = metered.grid.energy[component.flow]
            return fill_in_order(_codes(component, metered), values, limits)


def _codes(component: Energy, metered: Metered) -> Int64s:
    if component.schedule is None:
        return np.zeros(len(metered.grid.starts), np.int64)
    return codes_in(component.schedule, metered.grid, metered.piece, component.name)


def _filled_by_day(
    component: Energy, limits: list[tuple[int, ...]], metered: Metered
) -> list[list[int]]:
    """Tiers that begin anew each local day."""
    grid, piece = metered.grid, metered.piece
    days = calendar.days_of(piece.zone, piece.month, grid.step_s)[grid.place(piece)]
    codes, values = _codes(component, metered), grid.energy[component.flow]
    total = [[0] * (len(of) + 1) for of in limits]
    edges = np.flatnonzero(np.diff(days)) + 1
    count = len(limits)
    for of_day, energies in zip(np.split(codes, edges), np.split(values, edges), strict=True):
        match component.tiers.shared:
            case Shared.CHRONOLOGICAL:
                shares = fill_in_order(of_day, energies, limits)
            case Shared.PER_PERIOD:
                shares = fill_each(added_up(of_day, energies, count).tolist(), limits)
            case Shared.PROPORTIONAL:
                shares = fill_together(added_up(of_day, energies, count).tolist(), limits)
        for kept, more in zip(total, shares, strict=True):
            for n, milliwh in enumerate(more):
                kept[n] += milliwh
    return total


def demand(
    component: Demand, sheet: Sheet, metered: Metered, peaks: dict[tuple[str, str, date], Decimal]
) -> None:
    """A line for each period (and tier) whose highest demand is billed. `peaks`, by component,
    period and month, are those of former months; the month's own are added.
    """
    for price in component.prices:
        measured, at, estimated = _highest(component, price.period, metered)
        key = (component.name, price.period, sheet.piece.month)
        before = _ratcheted(component, price.period, sheet.piece.month, peaks)
        peaks[key] = max(peaks.get(key, Decimal(0)), decimal(measured))
        billed = max(measured, fraction(component.minimum_kw), before)
        detail = _part(sheet.piece)
        if billed > measured:
            detail |= {"measured_kw": str(decimal(measured))}
            detail |= {"by": "ratchet" if before == billed else "minimum"}
        low = Fraction(0)
        for n, tier in enumerate(price.tiers):
            high = billed if tier.up_to is None else min(billed, fraction(tier.up_to))
            if high > low:
                quantity = decimal(high - low)
                sheet.add(
                    component,
                    (high - low) * fraction(tier.price) * sheet.piece.part,
                    quantity=quantity,
                    unit="kW",
                    price=tier.price,
                    period=price.period,
                    tier=n + 1 if price.tiered else 0,
                    estimated=quantity if estimated else Decimal(0),
                    at=at,
                    detail=detail,
                )
            low = max(low, high)


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
