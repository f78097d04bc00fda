"""Series of prices as pages, the API and bills read them.

Needs an open scope and sees what it holds: one narrowed to facilities sees no prices.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.paging import page_of
from billing.models import PriceSeries, PriceValue
from devices.domain.catalogue import Page

# Of a longer period nobody reads the prices one by one.
MOST: Final = timedelta(days=400)


class SeriesNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such series of prices in the scope."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price per kWh from an instant on, for the step of its series."""

    starts_at: datetime
    price: Decimal


@dataclass(frozen=True, slots=True)
class Gap:
    """A time [starts_at, ends_at) without prices."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class SeriesPrices:
    """The prices of a period, as they were known at an instant, and where there are none."""

    series: PriceSeries
    prices: tuple[Price, ...]
    gaps: tuple[Gap, ...]


def series_page(*, limit: int, after: int = 0, name: str | None = None) -> Page[PriceSeries]:
    """Series by id; one query."""
    return page_of(PriceSeries.objects.all(), limit=limit, after=after, wanted={"name": name})


def series(*, series_id: int) -> PriceSeries:
    """One series; one query. Raises SeriesNotFound."""
    found = PriceSeries.objects.filter(pk=series_id).first()
    if found is None:
        raise SeriesNotFound(f"series {series_id}")
    return found


def prices_of(
    *, series_id: int, start: datetime, end: datetime, known_at: datetime | None = None
) -> SeriesPrices:
    """The prices of a series whose step begins in [start, end); two queries. Raises
    SeriesNotFound, and ValidationError at `end` for a period that is too long or none.
    """
    found = series(series_id=series_id)
    if not timedelta() < end - start <= MOST:
        message = _("The end lies after the beginning, at most %(most)d days.")
        raise ValidationError({"end": [message % {"most": MOST.days}]})
    rows = PriceValue.objects.filter(series=found, starts_at__gte=start, starts_at__lt=end)
    if known_at is not None:
        rows = rows.filter(entered_at__lte=known_at)
    ordered = rows.order_by("starts_at", "entered_at")
    held = dict(ordered.values_list("starts_at", "price"))
    prices = tuple(Price(at, held[at]) for at in sorted(held))
    return SeriesPrices(found, prices, gaps_of(prices, timedelta(seconds=found.step_s), start, end))


def gaps_of(
    prices: tuple[Price, ...], step: timedelta, start: datetime, end: datetime
) -> tuple[Gap, ...]:
    """Where prices (rising) are missing in [start, end)."""
    found = []
    at = start
    for one in prices:
        if one.starts_at > at:
            found.append(Gap(at, one.starts_at))
        at = one.starts_at + step
    if at < end:
        found.append(Gap(at, end))
    return tuple(found)
