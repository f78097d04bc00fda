"""The use of a day, week, month or year as a page: bars, a sentence, a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from devices.domain.home_use import Span, Use
from portal.consumer import figures

_WIDTH: Final = 384.0
_TOP: Final = 14.0
_FLOOR: Final = 98.0
_BOX: Final = "0 0 384 116"
_BAR: Final = 0.76
_STEPS: Final = (1, 2, 5, 10)
# Labels that have room below the bars, a phone's large ones too.
_MOST_LABELS: Final = 7
# Below this much a difference is none: meters are not better.
_ALIKE: Final = 0.03


def asked(given: dict[str, str]) -> tuple[Span, date | None]:
    """Span and date of an address; what cannot be read is the week of today."""
    try:
        span = Span(given.get("span", ""))
    except ValueError:
        span = Span.WEEK
    try:
        return span, date.fromisoformat(given.get("of", ""))
    except ValueError:
        return span, None


def page(found: Use) -> dict[str, Any]:
    """The context of the page."""
    slots = _slots(found)
    return {
        "facility": {"pk": found.facility_id, "name": found.name},
        "title": _title(found),
        "tabs": [
            {
                "label": label,
                "address": _address(found, span, found.first),
                "current": span is found.span,
            }
            for span, label in _labels().items()
        ],
        "former": _address(found, found.span, found.previous),
        "following": None if found.is_last else _address(found, found.span, found.following),
        "used": None if found.used_wh is None else figures.energy(found.used_wh),
        "comparison": _comparison(found),
        "chart": _chart(slots),
        "rows": [
            {"label": slot["long"], "figure": figures.energy(slot["used"])}
            for slot in slots
            if slot["used"] is not None
        ],
    }


def _labels() -> dict[Span, str]:
    return {Span.DAY: _("Day"), Span.WEEK: _("Week"), Span.MONTH: _("Month"), Span.YEAR: _("Year")}


def _address(found: Use, span: Span, of: date) -> str:
    return f"{reverse('consumer:use', args=[found.facility_id])}?span={span}&of={of.isoformat()}"


def _title(found: Use) -> str:
    if found.span is Span.YEAR:
        return str(found.first.year)
    if found.span is Span.MONTH:
        return date_format(found.first, "F Y")
    if found.span is Span.DAY:
        return date_format(found.first, "l, j F Y")
    last = found.following - timedelta(days=1)
    return f"{date_format(found.first, 'j F')} – {date_format(last, 'j F Y')}"


def _comparison(found: Use) -> dict[str, str] | None:
    """The use against that of the span before, in words; None without both."""
    used, before = found.used_wh, found.compared_wh
    if used is None or before is None:
        return None
    values = {
        "difference": str(figures.energy(abs(used - before))),
        "before": str(figures.energy(before)),
    }
    if abs(used - before) <= _ALIKE * max(abs(before), 1.0):
        return {
            "tone": "same",
            "text": _("About as much as in the one before (%(before)s).") % values,
        }
    if used > before:
        text = _("%(difference)s more than in the one before (%(before)s).")
        return {"tone": "more", "text": text % values}
    text = _("%(difference)s less than in the one before (%(before)s).")
    return {"tone": "less", "text": text % values}


def _slots(found: Use) -> list[dict[str, Any]]:
    """Every hour, day or month of the span: its labels and its use, None where unknown."""
    zone = ZoneInfo(found.zone)
    known = {part.starts_at: part for part in found.parts}
    return [
        {
            "short": date_format(begin.astimezone(zone), short),
            "long": date_format(begin.astimezone(zone), long),
            "used": known[begin].used_wh if begin in known else None,
        }
        for begin in _begins(found, zone)
        for short, long in [_formats(found.span)]
    ]


def _formats(span: Span) -> tuple[str, str]:
    return {
        Span.DAY: ("H:i", "H:i"),
        Span.WEEK: ("D", "l, j F"),
        Span.MONTH: ("j", "l, j F"),
        Span.YEAR: ("M", "F"),
    }[span]


def _begins(found: Use, zone: ZoneInfo) -> Iterator[datetime]:
    """Where the parts of the span begin (UTC): hours of real time, local days and months."""
    if found.span is Span.DAY:
        at, end = (_midnight(day, zone) for day in (found.first, found.following))
        while at < end:
            yield at
            at += timedelta(hours=1)
        return
    day = found.first
    while day < found.following:
        yield _midnight(day, zone)
        if found.span is Span.YEAR:
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    utc = ZoneInfo("UTC")
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(utc)


def _chart(slots: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Bars, labels and scale for an SVG; None while nothing is known. What is below zero, which a
    meter that counts badly can give, is left at zero.
    """
    known = [slot["used"] for slot in slots if slot["used"] is not None]
    if not known:
        return None
    top = _scale(max(*known, 100.0))
    step = _WIDTH / len(slots)
    every = -(-len(slots) // _MOST_LABELS)
    return {
        "box": _BOX,
        "top": _TOP,
        "floor": _FLOOR,
        "width": _WIDTH,
        "scale": str(figures.energy(top)),
        "bars": [
            {"x": (index + (1 - _BAR) / 2) * step, "width": step * _BAR, "height": height,
             "y": _FLOOR - height}
            for index, slot in enumerate(slots)
            if slot["used"] is not None
            for height in [(_FLOOR - _TOP) * max(0.0, slot["used"]) / top]
        ],
        "labels": [
            {"x": (index + 0.5) * step, "text": slot["short"]}
            for index, slot in enumerate(slots)
            if index % every == 0
        ],
    }  # fmt: skip


def _scale(largest: float) -> float:
    """The top of the scale: the next of 1, 2, 5 times a power of ten."""
    decade = 1.0
    while decade * 10 < largest:
        decade *= 10
    return next(decade * step for step in _STEPS if decade * step >= largest)
