"""Periods by local wall clock, against a loop over `zoneinfo`; and coverage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from billing.tariffs import calendar, holidaying
from billing.tariffs.check import CoverageError, check
from billing.tariffs.document import read
from billing.tariffs.parts import Schedule
from billing.tests.tariffs import HOURS, NIGHT, document

WEEK = ["mon", "tue", "wed", "thu", "fri"]
TOU: dict[str, Any] = {
    "holidays": ["DE-BY", "12-24"],
    "seasons": {"summer": ["04-01..10-31"], "winter": ["11-01..03-31"]},
    "schedules": {
        "tou": [
            {"period": "peak", "seasons": ["summer"], "days": WEEK, "from": "08:00", "to": "20:00"},
            {"period": "shoulder", "seasons": ["summer"], "days": WEEK, "to": "08:00"},
            {"period": "shoulder", "seasons": ["summer"], "days": WEEK, "from": "20:00"},
            {"period": "off", "seasons": ["summer"], "days": ["sat", "sun", "holiday"]},
            {"period": "winter", "seasons": ["winter"], "to": "02:30"},
            {"period": "off", "seasons": ["winter"], "from": "02:30"},
        ]
    },
}


def _schedule() -> Schedule:
    priced = dict.fromkeys(("peak", "shoulder", "off", "winter"), 1)
    component = {"kind": "energy", "name": "energy", "schedule": "tou", "prices": priced}
    return read(document(component, **TOU)).schedules[0]


def _naive(local: datetime) -> str:
    minute = local.hour * 60 + local.minute
    if not date(local.year, 4, 1) <= local.date() <= date(local.year, 10, 31):
        return "winter" if minute < 150 else "off"
    if local.weekday() > 4 or local.date() in holidaying.holidays_in(local.year, ["DE-BY"]):
        return "off"
    return "peak" if 480 <= minute < 1200 else "shoulder"


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu",
        "America/Havana", "Africa/Cairo", "UTC",
    ],
)  # fmt: skip
def test_every_interval_of_a_year_has_the_period_of_its_wall_clock(zone: str) -> None:
    schedule = _schedule()
    there, month = ZoneInfo(zone), date(2026, 1, 1)
    while month.year == 2026:
        starts = calendar.starts_of(zone, month, 900)
        codes = calendar.codes_of(schedule, zone, month, 900)
        days = calendar.days_of(zone, month, 900)
        local = [datetime.fromtimestamp(start, there) for start in starts.tolist()]

        assert [schedule.periods[code] for code in codes] == [_naive(one) for one in local]
        assert [month + timedelta(days=n) for n in days.tolist()] == [one.date() for one in local]
        month = calendar.next_month(month)


def test_months_follow_each_other_without_gap() -> None:
    for zone in ("Europe/Berlin", "America/Havana", "Asia/Kathmandu"):
        for step_s in (300, 900, 3600):
            months = [date(2026 + n // 12, n % 12 + 1, 1) for n in range(24)]
            starts = np.concatenate([calendar.starts_of(zone, one, step_s) for one in months])
            assert set(np.diff(starts).tolist()) == {step_s}


def test_a_day_begins_with_its_first_instant() -> None:
    # In Cairo the clock goes from 24:00 to 01:00: there is no midnight.
    assert calendar.midnight("Africa/Cairo", date(2026, 4, 24)) == int(
        datetime(2026, 4, 23, 22, tzinfo=UTC).timestamp()
    )
    # In Havana it goes from 01:00 to 00:00: there are two.
    assert calendar.midnight("America/Havana", date(2026, 11, 1)) == int(
        datetime(2026, 11, 1, 4, tzinfo=UTC).timestamp()
    )


def test_windows_are_those_of_the_wall_clock() -> None:
    # Half past the hour in UTC is the full hour in Kathmandu less a quarter.
    index, first = calendar.windows_of("Asia/Kathmandu", date(2026, 1, 1), 900, 3600)
    local = calendar.local_of("Asia/Kathmandu", date(2026, 1, 1), 900)

    assert set((local[first] % 3600).tolist()) == {0}
    assert np.bincount(index).tolist() == [4] * 744


def test_the_hour_that_is_there_twice_is_two_windows() -> None:
    october = date(2026, 10, 1)
    index, _first = calendar.windows_of("Europe/Berlin", october, 900, 3600)
    assert np.bincount(index).tolist() == [4] * 745

    # Where the clock goes back by half an hour, a window of an hour has a half that is no full one.
    index, first = calendar.windows_of("Australia/Lord_Howe", date(2026, 4, 1), 900, 3600)
    starts = calendar.starts_of("Australia/Lord_Howe", date(2026, 4, 1), 900)
    counts = np.bincount(index)
    there = ZoneInfo("Australia/Lord_Howe")
    short = [
        datetime.fromtimestamp(int(starts[first[n]]), there) for n in (counts < 4).nonzero()[0]
    ]
    assert [f"{one:%d %H:%M}" for one in short] == ["05 01:30"]


@pytest.mark.parametrize(
    ("change", "at", "what", "component"),
    [
        # The last rule of summer is missing at night.
        ({"schedules": {"tou": TOU["schedules"]["tou"][:2] + TOU["schedules"]["tou"][3:]}},
         "2026-04-01 20:00", "no price", "energy"),
        ({"schedules": {"tou": [*TOU["schedules"]["tou"],
                                {"period": "off", "days": ["sun"], "from": "12:00"}]}},
         "2026-01-04 12:00", "more than one price", "energy"),
        # Only holidays are left out; the first in summer that is no Sunday.
        ({"schedules": {"tou": [
            *TOU["schedules"]["tou"][:3], *TOU["schedules"]["tou"][4:],
            {"period": "off", "seasons": ["summer"], "days": ["sat", "sun"]},
            {"period": "off", "seasons": ["summer"], "days": ["holiday"], "to": "23:45"}]}},
         "2026-04-03 23:45", "no price", "energy"),
    ],
)  # fmt: skip
def test_an_instant_without_a_price_or_with_two_is_named(
    change: dict[str, Any], at: str, what: str, component: str
) -> None:
    priced = dict.fromkeys(("peak", "shoulder", "off", "winter"), 1)
    energy = {"kind": "energy", "name": "energy", "schedule": "tou", "prices": priced}
    tariff = read(document(energy, **(TOU | change)))

    with pytest.raises(CoverageError) as refused:
        check(tariff, zone="Europe/Berlin", first=date(2026, 1, 1), end=date(2027, 1, 1))

    assert f"{refused.value.at:%Y-%m-%d %H:%M}" == at
    assert (refused.value.what, refused.value.component) == (what, component)


def test_a_period_without_a_price_is_named_by_its_first_instant() -> None:
    tariff = read(document({**HOURS, "prices": {"night": 1}}, **NIGHT))

    with pytest.raises(CoverageError, match=r"“energy” has no price at 2026-05-17 06:00"):
        check(tariff, zone="Europe/Berlin", first=date(2026, 5, 17), end=date(2026, 5, 19))


def test_an_hour_that_is_left_out_needs_no_price() -> None:
    rules = [{"period": "day", "to": "02:00"}, {"period": "day", "from": "03:00"}]
    tariff = read(
        document({**HOURS, "prices": {"day": 1}}, schedules={"hours": rules}, name="Spring")
    )
    spring = date(2026, 3, 29)

    check(tariff, zone="Europe/Berlin", first=spring, end=spring + timedelta(days=1))
    with pytest.raises(CoverageError, match="2026-03-30 02:00"):
        check(tariff, zone="Europe/Berlin", first=spring, end=spring + timedelta(days=2))


def test_demand_may_be_free_in_a_period() -> None:
    demand = {"kind": "demand", "name": "d", "schedule": "hours", "prices": {"day": 9}}
    tariff = read(document(demand, **NIGHT))

    check(tariff, zone="Europe/Berlin", first=date(2026, 1, 1), end=date(2027, 1, 1))


def test_a_holiday_is_its_weekday_where_no_rule_is_for_holidays() -> None:
    energy = {"kind": "energy", "name": "e", "schedule": "w", "prices": {"work": 1, "free": 2}}
    rules = [{"period": "work", "days": WEEK}, {"period": "free", "days": ["sat", "sun"]}]
    tariff = read(document(energy, schedules={"w": rules}, holidays="DE-BY"))
    schedule = tariff.schedules[0]

    codes = calendar.codes_of(schedule, "Europe/Berlin", date(2026, 5, 1), 3600)

    # Friday, 1 May, a holiday.
    assert {schedule.periods[code] for code in codes[:24]} == {"work"}


def test_holidays_are_regions_dates_and_days_of_every_year() -> None:
    texts = ["DE-BY", "2026-05-15", "02-29", "12-24"]
    own = {year: holidaying.holidays_in(year, texts) for year in (2026, 2028)}

    assert {date(2026, 5, 15), date(2026, 12, 24), date(2026, 1, 6)} < own[2026]
    assert {date(2028, 2, 29), date(2028, 12, 24)} < own[2028]
    assert {year: {day.year for day in days} for year, days in own.items()} == {
        2026: {2026},
        2028: {2028},
    }
