"""A house with PV in New South Wales on two real plans, against totals that its owner published.

His retailer's export has 288 values of five minutes for each of 120 days, also for 1 October 2023,
which began daylight saving and had 23 hours: the hour from 02:00 is padded. The published totals
count it, so they are met on a clock without daylight saving. By the clock of Sydney there is no
such hour; a meter measures nothing in it, and our total is less by just its value.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from billing.tariffs.document import read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Period, Rating, Usage
from billing.tests.recordings import json_of, needs_recordings, rows

pytestmark = needs_recordings

FOLDER = "bills-au-retail-5min"
FIRST, END = date(2023, 8, 7), date(2023, 12, 5)
FIXED, SYDNEY = "Etc/GMT-10", "Australia/Sydney"
PLANS = ("gloBird2023SingleTariff", "redEnergy2024TouTariff")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The published totals are sums of floats.
TOLERANCE = Decimal("0.000000001")


def document_of(plan: str) -> dict[str, Any]:
    supply = next(iter(rows(f"{FOLDER}/plans/{plan}/supply.csv")))["$/Day"]
    bought, sold = priced(plan, "consumption"), priced(plan, "feedIn")
    return {
        "tariff": 1,
        "name": plan,
        "currency": "AUD",
        "interval_min": 5,
        "holidays": [
            f"{row['Date'][:4]}-{row['Date'][4:6]}-{row['Date'][6:]}"
            for row in rows(f"{FOLDER}/public-holidays-nsw.csv")
        ],
        "schedules": {"bought": bought[0], "sold": sold[0]},
        "components": [
            {"name": "supply", "kind": "standing", "amount": supply, "per": "day"},
            {"name": "bought", "kind": "energy", "schedule": "bought", "prices": bought[1]},
            {
                "name": "sold",
                "kind": "energy",
                "flow": "export",
                "schedule": "sold",
                "prices": {name: str(-Decimal(price)) for name, price in sold[1].items()},
            },
        ],
        "rounding": {"step": "0.0000000001"},
    }


def priced(plan: str, kind: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rules of a schedule and the prices of its periods; holidays are priced as Sunday."""
    rules, prices = [], {}
    for row in rows(f"{FOLDER}/plans/{plan}/{kind}.csv"):
        first, end, start, stop, price, name = row.values()
        days = [*DAYS[int(first) : int(end)], *(["holiday"] if end == "7" else [])]
        rules.append({"period": name, "days": days, "from": start[:5], "to": stop[:5]})
        prices[name] = price
    return rules, prices


def usage_of(zone: str) -> Usage:
    """The intervals at their wall clock, without those that it leaves out."""
    columns: list[tuple[int, int, int]] = []
    for row in rows(f"{FOLDER}/interval-data.csv.gz"):
        day = datetime.strptime(row["date"], "%Y%m%d")  # noqa: DTZ007
        wall = day + timedelta(minutes=int(row["minute_of_day"]))
        at = wall.replace(tzinfo=ZoneInfo(zone))
        if at.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall:
            columns.append(
                (int(at.timestamp()), milliwh(row["import_kwh"]), milliwh(row["export_kwh"]))
            )
    starts, bought, sold = (np.array(column, np.int64) for column in zip(*columns, strict=True))
    return Usage.of(300, starts, bought, sold)


def milliwh(kwh: str) -> int:
    return int(Decimal(kwh) * 1_000_000)


def bill(plan: str, zone: str) -> Rating:
    terms = Terms(FIRST, END, read(document_of(plan)))
    return rate((terms,), usage_of(zone), Period(FIRST, END, zone))


def total(rating: Rating, component: str) -> Decimal:
    return sum((one.amount for one in rating.lines if one.component == component), Decimal(0))


@pytest.mark.parametrize("plan", PLANS)
def test_totals_equal_those_that_the_owner_published(plan: str) -> None:
    expected = next(one for one in json_of(f"{FOLDER}/expected-bills.json") if one["plan"] == plan)

    rating = bill(plan, FIXED)

    for component, field in (
        ("supply", "supply_aud"),
        ("bought", "consumption_aud"),
        ("sold", "feed_in_aud"),
    ):
        assert abs(total(rating, component) - Decimal(expected[field])) < TOLERANCE, component
    assert abs(rating.total - Decimal(expected["total_aud"])) < TOLERANCE
    for period, split in expected["breakdown_recomputed"].items():
        lines = [one for one in rating.lines if (one.component, one.period) == ("bought", period)]
        assert sum(one.quantity for one in lines) == Decimal(str(split["kwh"]))
        assert round(sum((one.amount for one in lines), Decimal(0)), 6) == Decimal(
            str(split["aud"])
        )


@pytest.mark.parametrize("plan", PLANS)
def test_the_padded_hour_is_no_hour_of_sydney(plan: str) -> None:
    padded = sum(
        Decimal(row["import_kwh"])
        for row in rows(f"{FOLDER}/interval-data.csv.gz")
        if row["date"] == "20231001" and 120 <= int(row["minute_of_day"]) < 180
    )
    # A Sunday: one price all day.
    (price,) = {rule for name, rule in sunday_prices(plan).items()}

    difference = bill(plan, FIXED).total - bill(plan, SYDNEY).total

    assert difference == padded * price
    assert padded == Decimal("0.128")


def sunday_prices(plan: str) -> dict[str, Decimal]:
    rules, prices = priced(plan, "consumption")
    return {
        rule["period"]: Decimal(prices[rule["period"]]) for rule in rules if "sun" in rule["days"]
    }
