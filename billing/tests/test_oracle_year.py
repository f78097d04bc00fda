"""A household's 15-minute meter in Austria through 2024, with both clock changes.

Months and periods of the engine against the recording's published sums and against a loop that
looks at the wall clock of each interval by itself.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest

from billing.tariffs.calendar import next_month
from billing.tariffs.document import read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Period, Usage
from billing.tests.recordings import needs_recordings, rows, text

pytestmark = needs_recordings

FOLDER = "meter-15min-at"
VIENNA = ZoneInfo("Europe/Vienna")
FIRST = datetime(2024, 1, 1, tzinfo=VIENNA)
MONTHS = [date(2024, month, 1) for month in range(1, 13)]
QUARTER = 900
MILLIWH = 1_000_000
DOCUMENT: dict[str, Any] = {
    "tariff": 1,
    "name": "Home",
    "currency": "EUR",
    "holidays": "AT",
    "seasons": {"summer": ["03-31..10-27"], "winter": ["10-28..03-30"]},
    "schedules": {
        "hours": [
            {"period": "night", "to": "02:30"},
            {"period": "early", "from": "02:30", "to": "06:15"},
            {
                "period": "day",
                "days": ["mon", "tue", "wed", "thu", "fri"],
                "from": "06:15",
                "to": "22:00",
            },
            {
                "period": "summer rest",
                "seasons": ["summer"],
                "days": ["sat", "sun", "holiday"],
                "from": "06:15",
                "to": "22:00",
            },
            {
                "period": "winter rest",
                "seasons": ["winter"],
                "days": ["sat", "sun", "holiday"],
                "from": "06:15",
                "to": "22:00",
            },
            {"period": "night", "from": "22:00"},
        ]
    },
    "components": [
        {
            "name": "bought",
            "kind": "energy",
            "schedule": "hours",
            "prices": {
                "night": "0.11",
                "early": "0.13",
                "day": "0.29",
                "summer rest": "0.17",
                "winter rest": "0.19",
            },
        },
        {"name": "sold", "kind": "energy", "flow": "export", "prices": "0.07"},
    ],
}


def column(file: str, name: str) -> list[int]:
    """The mWh of a file, whose stamps (ends of intervals) are those of consecutive quarters."""
    values = []
    end = FIRST.astimezone(UTC)
    for row in rows(f"{FOLDER}/{file}.csv.gz", delimiter=";"):
        end += timedelta(seconds=QUARTER)
        assert row["Messzeitpunkt"] == f"{end.astimezone(VIENNA):%d.%m.%Y %H:%M}"
        values.append(int(Decimal(row[name].replace(",", ".")) * MILLIWH))
    return values


@cache
def usage() -> Usage:
    bought = np.array(column("consumption-2024", "Verbrauch (kWh)"), np.int64)
    sold = np.array(column("feed-in-2024", "Einspeisung (kWh)"), np.int64)
    starts = np.arange(len(bought), dtype=np.int64) * QUARTER + int(FIRST.timestamp())
    return Usage.of(QUARTER, starts, bought, sold)


def quantities(first: date, end: date) -> dict[str, int]:
    """mWh by period of what was bought, and of what was sold."""
    terms = Terms(date(2024, 1, 1), date(2025, 1, 1), read(DOCUMENT))
    made: dict[str, int] = defaultdict(int)
    for line in rate((terms,), usage(), Period(first, end, VIENNA.key)).lines:
        made[line.period or line.component] += int(line.quantity * MILLIWH)
    return made


def naive(first: date, end: date) -> dict[str, int]:
    """The same by looking at each interval's wall clock."""
    made: dict[str, int] = defaultdict(int)
    free = holidays.country_holidays("AT", years=2024)
    measured = usage()
    for start, bought, sold in zip(
        measured.starts.tolist(),
        measured.imported.tolist(),
        measured.exported.tolist(),
        strict=True,
    ):
        at = datetime.fromtimestamp(start, VIENNA)
        if not first <= at.date() < end:
            continue
        clock, rest = (at.hour, at.minute), at.weekday() >= 5 or at.date() in free
        summer = (3, 31) <= (at.month, at.day) <= (10, 27)
        if clock >= (22, 0) or clock < (2, 30):
            period = "night"
        elif clock < (6, 15):
            period = "early"
        elif rest:
            period = "summer rest" if summer else "winter rest"
        else:
            period = "day"
        made[period] += bought
        made["sold"] += sold
    return {period: milliwh for period, milliwh in made.items() if milliwh}


def test_the_recording_has_both_clock_changes() -> None:
    assert len(usage().starts) == 366 * 96
    stamps = [row["Messzeitpunkt"] for row in rows(f"{FOLDER}/consumption-2024.csv.gz", ";")]
    assert stamps.count("27.10.2024 02:30") == 2
    assert stamps.count("31.03.2024 02:30") == 0


def test_months_equal_the_published_sums() -> None:
    published = {
        cells[0]: cells[1:]
        for line in text(f"{FOLDER}/README.md").splitlines()
        if line.startswith("| 2024-")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    assert len(published) == 12
    for month in MONTHS:
        found = quantities(month, next_month(month))
        sold = found.pop("sold")
        assert [Decimal(milliwh) / MILLIWH for milliwh in (sum(found.values()), sold)] == [
            Decimal(kwh) for kwh in published[f"{month:%Y-%m}"]
        ]


@pytest.mark.parametrize("month", MONTHS)
def test_periods_of_a_month_equal_those_of_the_wall_clock(month: date) -> None:
    assert quantities(month, next_month(month)) == naive(month, next_month(month))


@pytest.mark.parametrize("day", [date(2024, 2, 29), date(2024, 3, 31), date(2024, 10, 27)])
def test_a_special_day_is_billed_by_itself(day: date) -> None:
    following = day + timedelta(days=1)

    assert quantities(day, following) == naive(day, following)


def test_a_year_costs_the_sum_of_its_intervals() -> None:
    prices = DOCUMENT["components"][0]["prices"] | {"sold": "-0.07"}
    terms = Terms(
        date(2024, 1, 1),
        date(2025, 1, 1),
        read(DOCUMENT | {"rounding": {"step": "0.01", "at": "bill"}}),
    )

    rating = rate((terms,), usage(), Period(date(2024, 1, 1), date(2025, 1, 1), VIENNA.key))

    exact = sum(
        (
            Decimal(prices[period]) * milliwh / MILLIWH
            for period, milliwh in naive(date(2024, 1, 1), date(2025, 1, 1)).items()
        ),
        Decimal(0),
    )
    assert rating.total == round(exact, 2)
