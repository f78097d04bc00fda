"""What the page of a price series shows, prepared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from billing.domain.prices_pages_queries import SHOWN, SeriesPage
from portal.charts.bars import Value, bar_chart
from portal.frame import quantities

_MOST_GAPS: Final = 30


def series(found: SeriesPage) -> dict[str, Any]:
    """The page of a series: its chart, and where prices are missing."""
    row = found.series
    gaps = found.month.gaps
    values = list(_values(found))
    chart = bar_chart(values) if found.last_at is not None else None
    return {
        "series": row,
        "step": f"{row.step_s // 60}\N{NO-BREAK SPACE}min",
        "first": _told(found.first_at) if found.first_at else "–",
        "last": _told(found.last_at) if found.last_at else "–",
        "ended": _told(found.ended_at) if found.ended_at else "",
        "current": quantities.price(found.current.price, row.currency) if found.current else "–",
        "shown": f"{_told(_begin(found))} – {_told(found.end)}",
        "chart": chart,
        "scale": quantities.price(Decimal(str(chart.most)), row.currency) if chart else "",
        "gap_count": len(gaps),
        "gaps": [
            {"from": _told(one.starts_at), "until": _told(one.ends_at)}
            for one in gaps[-_MOST_GAPS:]
        ]
        if found.first_at
        else [],
        "hidden_gaps": max(0, len(gaps) - _MOST_GAPS),
    }


def _values(found: SeriesPage) -> Iterator[Value]:
    """Each step of the days shown; those without a price as well."""
    held = {one.starts_at: one.price for one in found.month.prices}
    step = timedelta(seconds=found.series.step_s)
    at = _begin(found)
    while at < found.end:
        price = held.get(at)
        told = _("no price") if price is None else quantities.price(price, found.series.currency)
        yield Value(
            value=float(price or 0),
            short=date_format(timezone.localtime(at), "H:i"),
            title=f"{_told(at)}: {told}",
            state="missing" if price is None else "",
        )
        at += step


def _begin(found: SeriesPage) -> datetime:
    """Of the days shown."""
    return max(found.end - SHOWN, found.first_at or found.end)


def _told(at: datetime) -> str:
    """On the reader's clock."""
    return date_format(timezone.localtime(at), "SHORT_DATETIME_FORMAT")
