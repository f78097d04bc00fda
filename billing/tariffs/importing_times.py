"""Days, weeks and months of a record as seasons and schedules of a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from billing.tariffs.importing import CannotImportError, Fields
from billing.tariffs.sentences import sentence

MINUTES: Final = 24 * 60
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
HOLIDAY: Final = 7
MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
LAST_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# What documents hold: characters of names and of keys, lengths of intervals.
LONGEST_NAME: Final = 120
LONGEST_PERIOD: Final = 60
LONGEST_KEY: Final = 40
INTERVALS: Final = (15, 5)
_CLOCK: Final = re.compile(r"[0-9]{1,2}:[0-9]{1,2}")

Day = tuple[tuple[int, int, str], ...]
"""A day's windows: start and end in minutes since midnight, and the period."""


def clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def minute_of(text: Any, name: str) -> int:
    """Minutes since midnight of HH:MM; 24:00 is the end of the day."""
    hours, colon, minutes = str(text).partition(":")
    if colon and _CLOCK.fullmatch(str(text)):
        minute = int(hours) * 60 + int(minutes)
        if int(minutes) < 60 and minute <= MINUTES:
            return minute
    raise CannotImportError(
        name, sentence("is no time of day like 07:30: %(text)s.", text=repr(text))
    )


def spans_of(start: Any, end: Any, name: str) -> list[tuple[int, int]]:
    """The parts of a day of a window that may pass midnight; from 00:00 to 00:00 is all of it."""
    first, last = minute_of(start, name), minute_of(end, name)
    if first == last:
        return [(0, MINUTES)]
    if first < last:
        return [(first, last)]
    return [(0, last), (first, MINUTES)] if last else [(first, MINUTES)]


def day_of(windows: Iterable[tuple[int, int, str]], name: str) -> Day:
    """A day out of windows in any order, neighbours of one period joined. Raises CannotImportError
    where a minute has no window or two.
    """
    day: list[tuple[int, int, str]] = []
    at = 0
    for start, end, period in sorted(windows):
        if start > at:
            break
        if start < at:
            raise CannotImportError(
                name,
                sentence(
                    "%(start)s has two prices: %(day)s, %(period)s.",
                    start=clock(start),
                    day=day[-1][2],
                    period=period,
                ),
            )
        if day and day[-1][2] == period:
            start = day.pop()[0]
        day.append((start, end, period))
        at = end
    if at < MINUTES:
        raise CannotImportError(name, sentence("%(at)s has no price.", at=clock(at)))
    return tuple(day)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Seasons and schedules of a document."""

    seasons: Mapping[str, list[str]]
    schedules: Mapping[str, list[dict[str, Any]]]


def calendar_of(grids: Mapping[str, Sequence[Sequence[Day]]]) -> Calendar:
    """The fewest seasons by whole months in which all grids hold, and a schedule for each grid.

    `grids`: by name of the schedule, 12 months of days from Monday on (7, or 8 with public
    holidays).
    """
    if not grids:
        return Calendar({}, {})
    keys = [tuple(tuple(grid[month]) for grid in grids.values()) for month in range(12)]
    groups: dict[Any, list[int]] = {}
    for month, key in enumerate(keys):
        groups.setdefault(key, []).append(month)
    if len(groups) == 1:
        names = {keys[0]: ""}
    else:
        names = {key: _season_name(months) for key, months in groups.items()}
    schedules = {
        name: [
            rule for key, months in groups.items() for rule in _rules(grid[months[0]], names[key])
        ]
        for name, grid in grids.items()
    }
    return Calendar(
        seasons={names[key]: _ranges(months) for key, months in groups.items() if names[key]},
        schedules=schedules,
    )


def document_of(
    fields: Fields,
    name: str,
    currency: str,
    calendar: Calendar,
    components: list[dict[str, Any]],
    *,
    holidays: str = "",
) -> dict[str, Any]:
    """A document of these parts; a name that is too long is cut, with a note. Raises
    CannotImportError where a window begins between the intervals of meters.
    """
    name = plain_name(name) or "Tariff"
    if len(name) > LONGEST_NAME:
        fields.note(
            "name",
            sentence(
                "cut after %(longest_name)s characters: %(name)s",
                longest_name=LONGEST_NAME,
                name=name,
            ),
        )
        name = name[:LONGEST_NAME].rstrip()
    document: dict[str, Any] = {"tariff": 1, "name": name, "currency": currency}
    if holidays:
        document["holidays"] = holidays
    if (interval_min := _interval_min(fields, calendar)) != INTERVALS[0]:
        document["interval_min"] = interval_min
    if calendar.seasons:
        document["seasons"] = dict(calendar.seasons)
    if calendar.schedules:
        document["schedules"] = dict(calendar.schedules)
    document["components"] = components
    return document


def _interval_min(fields: Fields, calendar: Calendar) -> int:
    times = {
        minute_of(rule[edge], "")
        for rules in calendar.schedules.values()
        for rule in rules
        for edge in ("from", "to")
        if edge in rule
    }
    for interval in INTERVALS:
        if all(minute % interval == 0 for minute in times):
            return interval
    odd = next(minute for minute in sorted(times) if minute % INTERVALS[-1])
    raise CannotImportError(
        fields.path or "schedule",
        sentence("%(odd)s lies within an interval of 5 minutes.", odd=clock(odd)),
    )


def _runs(months: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for month in months:
        if runs and runs[-1][1] == month - 1:
            runs[-1] = (runs[-1][0], month)
        else:
            runs.append((month, month))
    return runs


def _ranges(months: Sequence[int]) -> list[str]:
    return [
        f"{first + 1:02d}-01..{last + 1:02d}-{LAST_DAYS[last]:02d}" for first, last in _runs(months)
    ]


def _season_name(months: Sequence[int]) -> str:
    runs = _runs(months)
    if len(runs) > 1 and runs[0][0] == 0 and runs[-1][1] == 11:
        runs = [(runs[-1][0], runs[0][1]), *runs[1:-1]]
    name = "_".join(
        MONTHS[first] if first == last else f"{MONTHS[first]}_to_{MONTHS[last]}"
        for first, last in runs
    )
    return name if len(name) <= LONGEST_KEY else f"season_of_{MONTHS[months[0]]}"


def _rules(week: Sequence[Day], season: str) -> list[dict[str, Any]]:
    kinds: dict[Day, list[int]] = {}
    for number, day in enumerate(week):
        kinds.setdefault(day, []).append(number)
    rules = []
    for day, numbers in kinds.items():
        for start, end, period in day:
            rule: dict[str, Any] = {"period": period}
            if season:
                rule["seasons"] = [season]
            if len(kinds) > 1:
                rule["days"] = [DAYS[number] for number in numbers]
            if (start, end) != (0, MINUTES):
                rule |= {"from": clock(start), "to": clock(end)}
            rules.append(rule)
    return rules


def plain_name(text: str) -> str:
    """A name in one line of characters that can be shown, as documents and the database take it."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def period_named(text: Any, taken: Iterable[str]) -> str:
    """The name of a period, unlike those that are taken."""
    name, names = plain_name(str(text))[: LONGEST_PERIOD - 4].rstrip() or "period", set(taken)
    if name not in names:
        return name
    return next(one for n in count(2) if (one := f"{name} {n}") not in names)
