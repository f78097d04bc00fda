"""What use costs by a tariff: every line exact, rounded once where the tariff says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import numpy as np

from billing.tariffs import charges, demand, derived, series
from billing.tariffs.calendar import midnight
from billing.tariffs.metering import Grid, Metered
from billing.tariffs.netting import Carried, net, settle
from billing.tariffs.parts import (
    Demand,
    Discount,
    Dynamic,
    Energy,
    Levy,
    Minimum,
    Netting,
    PowerFactor,
    Standing,
    Tax,
)
from billing.tariffs.pieces import Piece, RatingError, Terms, cut
from billing.tariffs.sheet import Item, Sheet, decimal, fraction
from billing.tariffs.values import Context, Int64s, Period, Rating, Usage

__all__ = ["RatingError", "Terms", "rate"]


def rate(
    terms: Sequence[Terms], usage: Usage, period: Period, context: Context | None = None
) -> Rating:
    """What `usage` costs by `terms` in `period`, which they must cover without gap or overlap.

    The period is cut where a month begins and where the terms change; each piece is rated with its
    part of the month, then taxes on the sums. Raises RatingError (days without terms, a price that
    is missing), CoverageError (an instant without a period, or with two) and UsageError (intervals
    that do not fit the tariff).
    """
    made = Bill(terms, usage, period, context or Context())
    return made.rating()


class Bill:
    """A bill in the making: the pieces in order, and what one hands to the next."""

    def __init__(
        self, terms: Sequence[Terms], usage: Usage, period: Period, context: Context
    ) -> None:
        self.pieces = cut(terms, period)
        self.context = context
        self.period = period
        self.peaks = {(one.component, one.period, one.month): one.kw for one in context.peaks}
        self.carried = Carried(fraction(context.credit), dict(context.credit_milliwh))
        self.pools: dict[str, charges.Pooled] = {}
        self._fine = Grid.of(usage)
        self._grids = {self._fine.step_s: self._fine}

    def rating(self) -> Rating:
        """All lines and their sums."""
        sheets = [self.sheet(piece) for piece in self.pieces]
        items = [item for sheet in sheets for item in sheet.items]
        taxes: list[Item] = []
        if items:
            rounding = derived.rounding_item(items, sheets[-1])
            items += [rounding] if rounding is not None else []
            taxes = derived.tax_items(sheets, rounding)
        net_lines, tax_lines = ([item.line() for item in part] for part in (items, taxes))
        net = sum((line.amount for line in net_lines), start=Decimal(0))
        tax = sum((line.amount for line in tax_lines), start=Decimal(0))
        if items:
            last = derived.total_item(fraction(net + tax), items[0].first, sheets[-1])
            if last is not None:
                # What is paid more or less is no part of what is taxed.
                tax_lines.append(last.line())
                net += tax_lines[-1].amount
        return Rating(
            lines=(*net_lines, *tax_lines),
            net=net,
            tax=tax,
            total=net + tax,
            peaks=demand.merged(self.peaks, {piece.month for piece in self.pieces}),
            credit=decimal(self.carried.money),
            credit_milliwh={name: left for name, left in self.carried.energy.items() if left},
        )

    def metered(self, piece: Piece) -> Metered:
        """The use of a piece."""
        return Metered(piece, self._fine.within(piece), self._grid(piece).within(piece))

    def _grid(self, piece: Piece) -> Grid:
        step_s = piece.terms.tariff.interval_s
        if any(edge % step_s for one in self.pieces for edge in (one.start, one.stop)):
            # Local days begin within such an interval (half an hour past, in India): summed up to
            # it, energy would change the day. What was measured is finer, or cannot be told apart.
            step_s = min(step_s, self._fine.step_s)
        if step_s not in self._grids:
            self._grids[step_s] = self._fine.coarser(step_s)
        return self._grids[step_s]

    def starts_of(self, first: date, piece: Piece) -> Int64s:
        """The starts of the tariff's intervals from a day until the end of a piece."""
        starts = self._grid(piece).starts
        begin = midnight(piece.zone, first)
        part = slice(*np.searchsorted(starts, [begin, piece.stop]).tolist())
        return starts[part]

    def sheet(self, piece: Piece) -> Sheet:
        """The lines of a piece."""
        sheet, metered = Sheet(piece), self.metered(piece)
        netting = piece.terms.tariff.netting
        netted = None if netting is None else net(netting, metered, self.carried)
        for component in piece.terms.tariff.components:
            match component:
                case Standing():
                    charges.standing(component, sheet)
                case Energy():
                    charges.energy(component, sheet, metered, netted, self.pools)
                case Dynamic():
                    prices = series.series_of(component, self.context.prices)
                    series.dynamic(component, sheet, metered, prices)
                case Demand():
                    demand.demand(component, sheet, metered, self.peaks)
                case PowerFactor():
                    series.power_factor(component, sheet, metered)
                case Netting():
                    assert netted is not None
                    settle(component, sheet, netted, self.carried)
                case Minimum():
                    derived.minimum(component, sheet)
                case Discount():
                    derived.discount(component, sheet)
                case Levy():
                    derived.levy(component, sheet, metered)
                case Tax():
                    pass  # of the whole bill
        return sheet
