"""When the periods of a tariff hold, as a heat map of week × hour for each season: SVG without
script, drawn from the rules themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import gettext as _

from billing.tariffs.parts import DAYS, HOLIDAY, MINUTES_OF_DAY, Schedule

WIDTH: Final = 480
ROW: Final = 22
_GAP: Final = 3
_STEP_MIN: Final = 5
# Colours of series that the design has; further periods begin again.
_COLOURS: Final = 8
_HOURS: Final = (0, 6, 12, 18, 24)


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a day in one period; `colour` is the number of a series, 0 where no rule holds
    or several do.
    """

    x: float
    width: float
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Day:
    """A row of the map."""

    label: str
    y: int
    middle: float
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """The map of one season ("" where there are none)."""

    season: str
    days: tuple[Day, ...]
    height: int
    width: int = WIDTH
    row: int = ROW


@dataclass(frozen=True, slots=True)
class Period:
    """A period with its colour, for the legend."""

    name: str
    colour: int


@dataclass(frozen=True, slots=True)
class ScheduleChart:
    """A schedule with a map for each season that differs."""

    name: str
    maps: tuple[Map, ...]
    periods: tuple[Period, ...]
    hours: tuple[tuple[float, str], ...]


def schedule_chart(schedule: Schedule) -> ScheduleChart:
    """What `components/schedule.html` shows."""
    colours = {name: n % _COLOURS + 1 for n, name in enumerate(schedule.periods)}
    seasons = [season.name for season in schedule.seasons] or [""]
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for season in seasons:
        alike.setdefault(_week(schedule, season), []).append(season)
    whole = len(alike) == 1
    return ScheduleChart(
        name=schedule.name,
        maps=tuple(
            _map("" if whole else ", ".join(names), week, colours) for week, names in alike.items()
        ),
        periods=tuple(Period(name, colour) for name, colour in colours.items()),
        hours=tuple((WIDTH * hour / 24, f"{hour:02}") for hour in _HOURS),
    )


def _week(schedule: Schedule, season: str) -> tuple[tuple[str, ...], ...]:
    """For each day of the week, and for holidays where they have rules, the period of every five
    minutes; "" where no rule holds or several do.
    """
    rules = [rule for rule in schedule.rules if not rule.seasons or season in rule.seasons]
    holidays = any(HOLIDAY in rule.days for rule in rules)
    week = []
    for day in range(len(DAYS) if holidays else HOLIDAY):
        of_day = [rule for rule in rules if not rule.days or day in rule.days]
        parts = []
        for minute in range(0, MINUTES_OF_DAY, _STEP_MIN):
            held = {rule.period for rule in of_day if rule.start <= minute < rule.end}
            parts.append(held.pop() if len(held) == 1 else "")
        week.append(tuple(parts))
    return tuple(week)


def _map(season: str, week: Sequence[Sequence[str]], colours: dict[str, int]) -> Map:
    days = []
    for number, parts in enumerate(week):
        y = number * (ROW + _GAP) + (2 * _GAP if number == HOLIDAY else 0)
        label = _("Holiday") if number == HOLIDAY else str(WEEKDAYS_ABBR[number])
        days.append(Day(label, y, y + ROW / 2, tuple(_blocks(parts, colours, label))))
    return Map(season, tuple(days), days[-1].y + ROW)


def _blocks(parts: Sequence[str], colours: dict[str, int], day: str) -> list[Block]:
    scale = WIDTH / len(parts)
    blocks, at = [], 0
    for name, group in groupby(parts):
        count = len(list(group))
        clock = f"{_clock(at)}–{_clock(at + count)}"
        title = f"{day} {clock} {name or _('no period, or several')}"
        blocks.append(
            Block(round(at * scale, 2), round(count * scale, 2), colours.get(name, 0), title)
        )
        at += count
    return blocks


def _clock(step: int) -> str:
    hours, minutes = divmod(step * _STEP_MIN, 60)
    return f"{hours:02}:{minutes:02}"
