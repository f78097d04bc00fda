"""What can be asked of revenue, and its sums in full detail for a file. Needs an open scope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import Sum

from billing.domain.revenue_queries import booked
from billing.domain.revenue_values import Asked, Choices
from billing.models import Agreement, BillingSettings, Tariff
from devices.models import Facility


def choices(*, tenant_id: int) -> Choices:
    """What can be asked for, the currency of the tenant's settings first; four queries."""
    own = BillingSettings.objects.filter(tenant_id=tenant_id).values_list("currency", flat=True)
    first = own.first() or ""
    used = set(Agreement.objects.order_by().values_list("currency", flat=True).distinct())
    centres = Agreement.objects.order_by("cost_centre").exclude(cost_centre="")
    return Choices(
        currencies=tuple(sorted(used or {first or "EUR"}, key=lambda one: (one != first, one))),
        cost_centres=tuple(centres.values_list("cost_centre", flat=True).distinct()),
        tariffs=tuple(Tariff.objects.order_by("name").values_list("pk", "name")),
    )


@dataclass(frozen=True, slots=True)
class Detail:
    """What lines of a kind come to in a month, of a facility by a tariff and cost centre."""

    month: date
    kind: str
    tariff: str
    cost_centre: str
    facility: str
    amount: Decimal


def months(asked: Asked) -> Iterator[Asked]:
    """The same, month by month."""
    first = asked.first
    while first < asked.end:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield replace(asked, first=first, end=min(following, asked.end))
        first = following


def details(asked: Asked) -> tuple[Detail, ...]:
    """The sums of a month, tax among its kinds; three queries."""
    rows = list(
        booked(asked)
        .values_list("facility_id", "centre", "tariff_id", "kind")
        .annotate(amount=Sum("amount"))
        .order_by("facility_id", "centre", "tariff_id", "kind")
    )
    places = Facility.objects.filter(pk__in={row[0] for row in rows})
    facilities = dict(places.values_list("pk", "name"))
    tariffs = dict(
        Tariff.objects.filter(pk__in={row[2] for row in rows if row[2]}).values_list("pk", "name")
    )
    return tuple(
        Detail(
            asked.first,
            kind,
            tariffs.get(tariff_id, ""),
            centre,
            facilities.get(facility_id, ""),
            amount,
        )
        for facility_id, centre, tariff_id, kind, amount in rows
    )
