"""What a home has used over a day, week, month or year, in the calendar of its facility.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.domain.queries import FacilityNotFound
from devices.domain.totals import Totals, read_totals
from devices.models import Facility
from devices.telemetry.periods import Resolution

# Before it no meter of today has measured, and calendars of zones are not what they are now.
FIRST: Final = date(2000, 1, 1)


class Span(StrEnum):
    """How much of the calendar is looked at."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_PARTS: Final = {
    Span.DAY: Resolution.HOUR,
    Span.WEEK: Resolution.DAY,
    Span.MONTH: Resolution.DAY,
    Span.YEAR: Resolution.MONTH,
}


@dataclass(frozen=True, slots=True)
class Part:
    """An hour, a day or a month of it; `used_wh` is None where nothing was measured."""

    starts_at: datetime
    ends_at: datetime
    used_wh: float | None


@dataclass(frozen=True, slots=True)
class Use:
    """The use of `first` up to and without `following`, local dates, with that of the span before.

    `compared_wh` is what the span before had used after as long a time, for one that is not over;
    else all of it. None where nothing was measured. `is_last`: the next one has not begun.
    """

    facility_id: int
    name: str
    zone: str
    span: Span
    first: date
    following: date
    previous: date
    parts: tuple[Part, ...]
    used_wh: float | None
    compared_wh: float | None
    is_last: bool


def use(*, facility_id: int, span: Span, of: date | None, now: datetime) -> Use:
    """The span of the calendar that holds the local date `of` (None: today); seven queries.

    A date that has not come is today, one before FIRST is FIRST. Raises FacilityNotFound.
    """
    row = Facility.objects.filter(pk=facility_id).values_list("name", "time_zone").first()
    if row is None:
        raise FacilityNotFound(f"facility {facility_id}")
    name, zone_name = row
    zone = ZoneInfo(zone_name)
    today = now.astimezone(zone).date()
    day = max(FIRST, min(of or today, today))
    first = _first(span, day)
    following = _first(span, _after(span, first))
    previous = _first(span, first - timedelta(days=1))
    start, end = _midnight(first, zone), _midnight(following, zone)
    before = _midnight(previous, zone)
    shown = _totals(facility_id, start, end, _PARTS[span])
    # A span that runs is compared with as much of the one before.
    until = min(start, before + (now - start)) if now < end else start
    until = max(until, before + timedelta(minutes=15))
    former = _totals(facility_id, before, until, Resolution.QUARTER)
    return Use(
        facility_id=facility_id,
        name=name,
        zone=zone_name,
        span=span,
        first=first,
        following=following,
        previous=previous,
        parts=tuple(
            Part(_moment(begin), _moment(finish), None if np.isnan(used) else float(used))
            for begin, finish, used in zip(shown.starts, shown.ends, shown.used, strict=True)
        ),
        used_wh=_sum(shown),
        compared_wh=_sum(former),
        is_last=following > today,
    )


def _first(span: Span, day: date) -> date:
    """Where the span that holds a date begins; weeks begin on Monday."""
    if span is Span.WEEK:
        return day - timedelta(days=day.weekday())
    if span is Span.MONTH:
        return day.replace(day=1)
    return day.replace(month=1, day=1) if span is Span.YEAR else day


def _after(span: Span, first: date) -> date:
    """A date in the span that follows the one which begins with `first`."""
    days = {Span.DAY: 1, Span.WEEK: 7, Span.MONTH: 31, Span.YEAR: 366}
    return first + timedelta(days=days[span])


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _totals(facility_id: int, start: datetime, end: datetime, resolution: Resolution) -> Totals:
    return read_totals(facility_ids=[facility_id], start=start, end=end, resolution=resolution)


def _sum(totals: Totals) -> float | None:
    known = totals.used[~np.isnan(totals.used)]
    return float(known.sum()) if len(known) else None
