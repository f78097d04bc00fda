"""What the pages of price series show. Needs an open scope; a narrowed one sees none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery

from billing.domain.pages_queries import NotThere
from billing.domain.prices_queries import Price, SeriesNotFound, SeriesPrices, prices_of
from billing.models import PriceSeries, PriceValue

SHOWN: Final = timedelta(days=3)
LOOKED_THROUGH: Final = timedelta(days=31)
# Prices of tomorrow are shown; what is known of later days is not what a reader looks for first.
AHEAD: Final = timedelta(days=2)


def series_rows() -> QuerySet[PriceSeries]:
    """Series with the first and the last instant that they have a price for."""
    values = PriceValue.objects.filter(series=OuterRef("pk"))
    return PriceSeries.objects.annotate(
        first_at=Subquery(values.order_by("starts_at").values("starts_at")[:1]),
        last_at=Subquery(values.order_by("-starts_at").values("starts_at")[:1]),
    )


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """A series: its prices of the days before `end`, and where the month before it has gaps.

    `current` is the price of now; `ended_at` is when its prices ended, None while they go on.
    """

    series: PriceSeries
    first_at: datetime | None
    last_at: datetime | None
    end: datetime
    month: SeriesPrices
    current: Price | None = None
    ended_at: datetime | None = None


def series_page(*, series_id: int, now: datetime) -> SeriesPage:
    """One series up to its last price, at most two days ahead of now; raises NotThere."""
    found: Any = series_rows().filter(pk=series_id).first()
    if found is None:
        raise NotThere
    step = timedelta(seconds=found.step_s)
    last: datetime | None = found.last_at
    here = _edge(now, step)
    end = here if last is None else min(last + step, max(here, found.first_at) + AHEAD)
    start = end - LOOKED_THROUGH
    if found.first_at is not None:
        # Before its first price nobody expects any.
        start = max(start, found.first_at)
    try:
        month = prices_of(series_id=series_id, start=start, end=end)
    except SeriesNotFound as error:
        raise NotThere from error
    return SeriesPage(
        found,
        found.first_at,
        last,
        end,
        month,
        current=next((one for one in month.prices if one.starts_at == here), None),
        ended_at=last + step if last is not None and last < here else None,
    )


def _edge(at: datetime, step: timedelta) -> datetime:
    """The begin of the step that an instant lies in."""
    return at - timedelta(seconds=at.timestamp() % step.total_seconds())
