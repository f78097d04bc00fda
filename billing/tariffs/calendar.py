"""Which period of a schedule each interval of a month falls into, by local wall clock.

Days of 23 and 25 hours, seasons and public holidays come out as people read them. The answers are
arrays that are made once for (schedule, zone, month, step) and shared by all accounts. An interval
belongs to the day, the window and the period in which it begins.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from billing.tariffs import holidaying
from billing.tariffs.parts import DAYS, HOLIDAY, MINUTES_OF_DAY, Schedule, Season
from billing.tariffs.sentences import sentence
from billing.tariffs.values import Int64s

Codes = NDArray[np.int16]
_Item = TypeVar("_Item", bound=np.generic)

DAY_S: Final = 86_400
# Codes of minutes for which a schedule has no rule, or more than one.
NONE: Final = -1
SEVERAL: Final = -2
_EPOCH: Final = date(1970, 1, 1).toordinal()
# What a worker keeps of each: codes of a month of quarters are 6 kB, its instants 24 kB.
_KEPT: Final = 4096
_INSTANTS_KEPT: Final = 512


class CoverageError(Exception):
    """A tariff without a price, or with several, from the local instant `at` on."""

    def __init__(self, component: str, at: datetime, what: str) -> None:
        self.component, self.at, self.what = component, at, what
        told = {"what": what, "at": f"{at:%Y-%m-%d %H:%M}", "zone": at.tzinfo}
        super().__init__(
            sentence(
                "Component “%(component)s” has %(what)s at %(at)s (%(zone)s).",
                component=component,
                **told,
            )
            if component
            else sentence("The tariff has %(what)s at %(at)s (%(zone)s).", **told)
        )


@lru_cache(maxsize=_KEPT)
def midnight(zone: str, day: date) -> int:
    """When a local day begins, in Unix seconds."""
    local = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(local.astimezone(UTC).timestamp())


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def month_days(day: date) -> int:
    """How many days the month of a day has."""
    return (next_month(day) - day.replace(day=1)).days


def first_start(instant: int, step_s: int) -> int:
    """The first start of an interval not before an instant."""
    return -(-instant // step_s) * step_s


@lru_cache(maxsize=_INSTANTS_KEPT)
def starts_of(zone: str, month: date, step_s: int) -> Int64s:
    """The starts of all intervals that begin in a local month (its first day)."""
    begin = first_start(midnight(zone, month), step_s)
    return _locked(np.arange(begin, midnight(zone, next_month(month)), step_s, dtype=np.int64))


@lru_cache(maxsize=_INSTANTS_KEPT)
def local_of(zone: str, month: date, step_s: int) -> Int64s:
    """The same starts as local wall clock: seconds since 1970-01-01 00:00 local."""
    starts = starts_of(zone, month, step_s)
    return _locked(starts + _offsets(starts, ZoneInfo(zone)))


def _offsets(starts: Int64s, zone: ZoneInfo) -> Int64s:
    """Seconds to add to UTC; looked up for each interval only on days that change them."""
    offsets = np.empty(len(starts), np.int64)
    days = starts // DAY_S
    for day in np.unique(days).tolist():
        part = slice(*np.searchsorted(days, [day, day + 1]).tolist())
        begin, end = _offset(day * DAY_S, zone), _offset((day + 1) * DAY_S, zone)
        if begin == end:
            offsets[part] = begin
        else:
            offsets[part] = [_offset(start, zone) for start in starts[part].tolist()]
    return offsets


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


@lru_cache(maxsize=_KEPT)
def codes_of(schedule: Schedule, zone: str, month: date, step_s: int) -> Codes:
    """For each interval that begins in a month the index of its period in `schedule.periods`, or
    NONE or SEVERAL.
    """
    return _locked(_codes(schedule, month, local_of(zone, month, step_s)))


@lru_cache(maxsize=_KEPT)
def days_of(zone: str, month: date, step_s: int) -> Codes:
    """For each interval that begins in a month the day of the month, from 0."""
    days = local_of(zone, month, step_s) // DAY_S - (month.toordinal() - _EPOCH)
    return _locked(days.astype(np.int16))


@lru_cache(maxsize=_INSTANTS_KEPT)
def windows_of(zone: str, month: date, step_s: int, window_s: int) -> tuple[Int64s, Int64s]:
    """Windows of local wall clock: for each interval of a month the index of its window (n,), and
    the first interval of each window (m,). A window ends where the clock is changed, too.
    """
    local = local_of(zone, month, step_s)
    shift = local - starts_of(zone, month, step_s)
    window = local // window_s
    new = np.ones(len(local), bool)
    new[1:] = (window[1:] != window[:-1]) | (shift[1:] != shift[:-1])
    return _locked(np.cumsum(new) - 1), _locked(np.flatnonzero(new))


@lru_cache(maxsize=_KEPT)
def window_codes_of(
    schedule: Schedule, zone: str, month: date, step_s: int, window_s: int
) -> Codes:
    """For each window of a month the index of the period in which it begins."""
    _index, first = windows_of(zone, month, step_s, window_s)
    return _locked(_codes(schedule, month, local_of(zone, month, step_s)[first]))


@lru_cache(maxsize=_KEPT)
def window_periods_of(
    schedule: Schedule,
    zone: str,
    span: tuple[int, int],
    month: date,
    step_s: int,
    window_s: int,
) -> frozenset[int]:
    """The indices of the periods of which a window begins in the span [start, stop) of a month."""
    _index, first = windows_of(zone, month, step_s, window_s)
    starts = starts_of(zone, month, step_s)[first]
    inside = (starts >= span[0]) & (starts < span[1])
    return frozenset(window_codes_of(schedule, zone, month, step_s, window_s)[inside].tolist())


def _codes(schedule: Schedule, month: date, local: Int64s) -> Codes:
    table = table_of(schedule)
    rows = day_rows(schedule, month.replace(day=1), month_days(month))
    day = local // DAY_S - (month.toordinal() - _EPOCH)
    minute = local % DAY_S // 60
    found: Codes = table[rows[day], minute]
    return found


@lru_cache(maxsize=256)
def table_of(schedule: Schedule) -> Codes:
    """The code of each minute of the day (second axis) of each row: seasons × days of the week with
    holidays, in that order.
    """
    names = [season.name for season in schedule.seasons] or [""]
    counts = np.zeros((len(names) * len(DAYS), MINUTES_OF_DAY), np.int16)
    table = np.full_like(counts, NONE)
    for rule in schedule.rules:
        code = schedule.periods.index(rule.period)
        days = rule.days or range(len(DAYS))
        rows = [
            n * len(DAYS) + day
            for n, name in enumerate(names)
            if not rule.seasons or name in rule.seasons
            for day in days
        ]
        counts[rows, rule.start : rule.end] += 1
        table[rows, rule.start : rule.end] = code
    table[counts > 1] = SEVERAL
    return _locked(table)


def day_rows(schedule: Schedule, first: date, count: int) -> Int64s:
    """The row of `table_of` for each of `count` days from `first` on."""
    seasons = {season.name: n for n, season in enumerate(schedule.seasons)}
    special = {
        n
        for n, name in enumerate(seasons or [""])
        if any(
            HOLIDAY in rule.days and (not rule.seasons or name in rule.seasons)
            for rule in schedule.rules
        )
    }
    rows = []
    for day in (first + timedelta(days=n) for n in range(count)):
        season = next((seasons[one.name] for one in schedule.seasons if _holds(one, day)), 0)
        holiday = season in special and day in holidaying.holidays_in(day.year, schedule.holidays)
        rows.append(season * len(DAYS) + (HOLIDAY if holiday else day.weekday()))
    return np.array(rows, np.int64)


def _holds(season: Season, day: date) -> bool:
    at = (day.month, day.day)
    return any(
        first <= at <= last if first <= last else at >= first or at <= last
        for first, last in season.parts
    )


def _locked(array: NDArray[_Item]) -> NDArray[_Item]:
    """Shared by all callers, so nobody may write to it."""
    array.flags.writeable = False
    return array


def uncovered(component: str, instant: int, zone: str, code: int) -> CoverageError:
    """The error for an interval whose code is NONE or SEVERAL."""
    at = local_time(instant, zone)
    what = sentence("more than one price") if code == SEVERAL else sentence("no price")
    return CoverageError(component, at, what)


def local_time(instant: int, zone: str) -> datetime:
    """An instant in Unix seconds by the clock of a zone."""
    return datetime.fromtimestamp(instant, ZoneInfo(zone))
