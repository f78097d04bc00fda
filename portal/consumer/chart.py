"""Today's use by quarter of an hour, as shapes for an SVG; yesterday as a line behind."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from devices.domain.energy import Quarter
from devices.domain.home import Home
from portal.consumer import figures

_WIDTH: Final = 384.0
_HEIGHT: Final = 116.0
# Room for the scale above the bars and the hours below them.
_TOP: Final = 14.0
_FLOOR: Final = 98.0
_QUARTER: Final = timedelta(minutes=15)
_LABELLED_HOURS: Final = (0, 6, 12, 18)
# The steps of a scale within a decade.
_STEPS: Final = (1, 2, 5, 10)


def day_chart(home: Home) -> dict[str, Any] | None:
    """Bars, yesterday's line, hours and scale; None while nothing is known of both days.

    A day has 92, 96 or 100 quarters. Bars below zero, which a meter that counts badly can give, are
    left at zero. The height is average power, so that it reads like the number above it.
    """
    length = (home.end - home.midnight) / _QUARTER
    step = _WIDTH / length
    today = _powers(home.quarters, home.midnight)
    before = _powers(home.before, home.previous_midnight)
    if not today and not before:
        return None
    top = _scale(max([*today.values(), *before.values(), 100.0]))
    return {
        "box": f"0 0 {_WIDTH:.0f} {_HEIGHT:.0f}",
        "floor": _FLOOR,
        "top": _TOP,
        "width": _WIDTH,
        "scale": str(figures.power(top)),
        "bars": [
            {
                "x": round(index * step + step * 0.12, 2),
                "width": round(step * 0.76, 2),
                "y": round(_level(watts, top), 2),
                "height": round(_FLOOR - _level(watts, top), 2),
            }
            for index, watts in sorted(today.items())
        ],
        "before": _steps(before, step, top),
        "hours": list(_hours(home, step)),
        "now": None if not today else round((max(today) + 1) * step, 2),
    }


def _powers(quarters: Iterable[Quarter], midnight: datetime) -> dict[int, float]:
    """Average power in W by number of the quarter since midnight."""
    return {
        round((quarter.starts_at - midnight) / _QUARTER): max(0.0, used * 4)
        for quarter in quarters
        if (used := quarter.energy.used_wh) is not None
    }


def _scale(largest: float) -> float:
    """The top of the scale: the next of 1, 2, 5 times a power of ten."""
    decade = 1.0
    while decade * 10 < largest:
        decade *= 10
    return next(decade * step for step in _STEPS if decade * step >= largest)


def _level(watts: float, top: float) -> float:
    return _FLOOR - (_FLOOR - _TOP) * watts / top


def _steps(powers: dict[int, float], step: float, top: float) -> str:
    """A line of steps, broken where quarters are missing."""
    path = []
    former = None
    for index, watts in sorted(powers.items()):
        y = round(_level(watts, top), 1)
        start, end = round(index * step, 1), round((index + 1) * step, 1)
        path.append(f"{'L' if former == index - 1 else 'M'}{start} {y}L{end} {y}")
        former = index
    return "".join(path)


def _hours(home: Home, step: float) -> Iterable[dict[str, Any]]:
    """The labels below: the hours of the wall clock, wherever the day's length puts them."""
    zone = ZoneInfo(home.facility.time_zone)
    at = home.midnight
    while at < home.end:
        local = at.astimezone(zone)
        if local.hour in _LABELLED_HOURS and local.minute == 0 and local.fold == 0:
            yield {
                "x": round((at - home.midnight) / _QUARTER * step, 2),
                "label": local.strftime("%H:%M"),
            }
        at += _QUARTER
