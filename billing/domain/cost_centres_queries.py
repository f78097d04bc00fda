"""Cost centres in a month, beside the month before and the year before.

The final bills that begin in the month count, those that were taken back do not: a bill for several
months counts with all of it in its first. Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncMonth

from billing.domain.evidence import peaks_of
from billing.domain.revenue_queries import centre_of
from billing.domain.revenue_values import Centre, Centres, CentreSum
from billing.models import Bill, BillKind, BillState

_EMPTY: Final = CentreSum()


def cost_centres(*, month: date, currency: str) -> Centres:
    """The cost centres of the month that begins on a day; two queries."""
    before = (month - timedelta(days=1)).replace(day=1)
    year_before = month.replace(year=month.year - 1)
    bills = _bills(currency, (month, before, year_before))
    sums = {
        (centre, begins): CentreSum(sites, kwh, net)
        for centre, begins, sites, kwh, net in bills.values_list("centre", "begins").annotate(
            Count("facility", distinct=True), Sum("imported_kwh"), Sum("net")
        )
    }
    for (centre, begins), peak in _peaks(bills).items():
        sums[centre, begins] = replace(sums[centre, begins], peak_kw=peak)
    found = [
        Centre(
            name,
            sums.get((name, month), _EMPTY),
            sums.get((name, before), _EMPTY),
            sums.get((name, year_before), _EMPTY),
        )
        for name in {name for name, _ in sums}
    ]
    return Centres(month, currency, tuple(sorted(found, key=lambda one: (-one.now.net, one.name))))


def _peaks(bills: QuerySet[Any]) -> dict[tuple[str, date], Decimal]:
    """The highest demand that was measured for a bill, where its tariff bills demand."""
    found: dict[tuple[str, date], Decimal] = {}
    rows = bills.filter(carried__peaks__0__isnull=False).values_list("centre", "begins", "carried")
    for centre, begins, carried in rows.iterator():
        highest = max(peak.kw for peak in peaks_of(carried))
        found[centre, begins] = max(found.get((centre, begins), highest), highest)
    return found


def _bills(currency: str, months: tuple[date, ...]) -> QuerySet[Any]:
    within = Q()
    for month in months:
        end = (month + timedelta(days=31)).replace(day=1)
        within |= Q(first_on__gte=month, first_on__lt=end)
    return (
        Bill.objects.order_by()
        .filter(within, currency=currency, kind=BillKind.INVOICE, state=BillState.FINAL)
        .annotate(centre=centre_of(), begins=TruncMonth(F("first_on")))
    )
