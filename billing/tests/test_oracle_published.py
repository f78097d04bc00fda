"""Every published tariff of the recordings is imported or refused by a sentence, and prices every
interval as its own form does.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from billing.tariffs.australian import import_network, import_retail
from billing.tariffs.calendar import midnight
from billing.tariffs.check import check
from billing.tariffs.document import read
from billing.tariffs.importing import Imported, Refused
from billing.tariffs.published import import_plan
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Prices, Usage
from billing.tests.recordings import json_of, needs_recordings, rows

pytestmark = needs_recordings

FOLDER = "tariffs-open"
MILLIWH = 1_000_000
# Each line is rounded to ten places.
TOLERANCE = Decimal("0.00000001")
# Both clock changes of North America, Europe and Australia lie in these months.
MONTHS = [(date(2026, 3, 1), date(2026, 5, 1)), (date(2026, 10, 1), date(2026, 12, 1))]


def plans() -> list[dict[str, Any]]:
    return list(json_of(f"{FOLDER}/time_of_use_plans.json"))


def retail() -> list[dict[str, Any]]:
    return list(json_of(f"{FOLDER}/au_retail_small_business_2019.json"))


def networks() -> Iterator[tuple[dict[str, Any], str]]:
    for record in json_of(f"{FOLDER}/au_network.json"):
        for part in record["Parameters"]:
            yield record, part


def outcome(answer: Imported | Refused, zone: str) -> str:
    """“imported”, or the sentence of the refusal without numbers and names of fields."""
    if isinstance(answer, Refused):
        (problem,) = answer.problems
        return re.sub(r"-?\d+(\.\d+)?", "#", problem.text)
    (dated,) = answer.documents
    check(read(dated.document), zone=zone, first=date(2026, 1, 1), end=date(2027, 1, 1))
    return "imported"


def test_all_time_of_use_plans_are_imported() -> None:
    found = Counter(outcome(import_plan(plan), plan["meta"]["timezone"]) for plan in plans())

    assert found == {"imported": 40}


def test_retail_plans_are_imported_or_refused_by_a_sentence() -> None:
    found = Counter(outcome(import_retail(record), "Australia/Sydney") for record in retail())

    assert found == {
        "imported": 48,
        "has blocks of longer than a month, which no tiers have.": 1,
        "is no time of day like #:#: '#: #'.": 1,
    }


def test_network_tariffs_are_imported_or_refused_by_a_sentence() -> None:
    found = Counter(
        outcome(import_network(record, part=part), "Australia/Melbourne")
        for record, part in networks()
    )

    assert found == {
        "imported": 154,
        "has blocks of longer than a month, which no tiers have.": 27,
        "is the mean of several peaks, not the highest demand.": 16,
        "is a price per kW and day; demand is priced per kW and month.": 8,
        "has month # twice.": 4,
        "is # a day, more than any small customer pays: a year's?": 2,
        "is # a day, and the whole of which it is a part #.": 1,
    }


def test_what_a_network_charges_in_parts_is_what_its_sum_says() -> None:
    """NUOS is what a customer pays: the parts of most add up to it, of some a part is missing."""
    sums: Counter[bool] = Counter()
    for record, part in networks():
        if part != "NUOS" or "FlatRate" not in record["Parameters"][part]:
            continue
        own = record["Parameters"]
        parts = [own[name]["FlatRate"]["Value"] for name in ("DUOS", "TUOS", "JUOS") if name in own]
        sums[abs(sum(parts) - own["NUOS"]["FlatRate"]["Value"]) < 0.0002] += 1

    assert sums == {True: 17, False: 11}


Priced = Callable[[Mapping[str, Any], datetime], Decimal]


@pytest.mark.parametrize("number", range(40))
def test_a_plan_prices_every_interval_as_its_own_form(number: int) -> None:
    plan = plans()[number]

    compare(import_plan(plan), plan["tariff"]["import"], plan_price, plan["meta"]["timezone"])


def plan_price(structure: Mapping[str, Any], at: datetime) -> Decimal:
    clock = f"{at:%H:%M}"
    kinds = {"all", "weekend" if at.weekday() >= 5 else "weekday"}
    (band,) = (
        window["band"]
        for window in structure["schedule"]
        if window["days"] in kinds and window["from"] <= clock < window["to"]
    )
    return Decimal(str(next(one["rate"] for one in structure["bands"] if one["id"] == band)))


def test_retail_plans_price_every_interval_as_their_own_form() -> None:
    compared = 0
    for record in retail():
        answer = import_retail(record)
        if isinstance(answer, Imported) and "TOU" in record["Parameters"]:
            compare(answer, record["Parameters"]["TOU"], retail_price, "Australia/Adelaide")
            compared += 1

    assert compared == 25


def retail_price(entries: Mapping[str, Any], at: datetime) -> Decimal:
    clock = f"{at:%H:%M}"
    kind = "Weekend" if at.weekday() >= 5 else "Weekday"
    (entry,) = (
        entry
        for entry in entries.values()
        if at.month in entry["Month"]
        and entry[kind]
        and any(
            start <= clock < end if start < end else clock >= start or clock < end
            for start, end in entry["TimeIntervals"].values()
        )
    )
    return Decimal(str(entry["Value"]))


def compare(answer: Imported | Refused, form: Mapping[str, Any], price: Priced, zone: str) -> None:
    """Random use of some months costs what each interval costs by the form's own words."""
    assert isinstance(answer, Imported), answer
    document = {**answer.documents[0].document, "rounding": {"step": "0.0000000001"}}
    energy = [one for one in document["components"] if one["kind"] == "energy"]
    bought = {one["name"] for one in energy if one.get("flow", "import") == "import"}
    terms = Terms(date(2026, 1, 1), date(2027, 1, 1), read(document))
    draw = random.Random(zone)
    for first, end in MONTHS:
        starts = np.arange(midnight(zone, first), midnight(zone, end), 900, dtype=np.int64)
        milliwh = [draw.randrange(0, 5 * MILLIWH) for _ in starts]
        usage = Usage.of(900, starts, np.array(milliwh, np.int64))
        lines = rate((terms,), usage, Period(first, end, zone)).lines
        by_period: Counter[Decimal] = Counter()
        for start, amount in zip(starts.tolist(), milliwh, strict=True):
            by_period[price(form, datetime.fromtimestamp(start, ZoneInfo(zone)))] += amount
        expected = sum((one * amount / MILLIWH for one, amount in by_period.items()), Decimal(0))
        found = sum((one.amount for one in lines if one.component in bought), Decimal(0))
        assert abs(found - expected) < TOLERANCE


def test_the_bands_of_london_price_every_half_hour() -> None:
    """Low Carbon London's dynamic time of use: half hours of GMT all year."""
    prices = {
        int(datetime.fromisoformat(row["start_gmt"]).timestamp()): Decimal(row["price_p_per_kwh"])
        for row in rows(f"{FOLDER}/london_dynamic_tou_2013.csv.gz")
    }
    assert len(prices) == 8688
    zone, first, end = "Europe/London", date(2013, 1, 1), date(2013, 6, 1)
    starts = np.arange(midnight(zone, first), midnight(zone, end), 900, dtype=np.int64)
    draw = random.Random(zone)
    milliwh = [draw.randrange(0, MILLIWH) for _ in starts]
    terms = Terms(
        first,
        end,
        read(
            {
                "tariff": 1,
                "name": "London",
                "currency": "GBP",
                "components": [
                    {"kind": "dynamic", "name": "energy", "series": "bands", "factor": "0.01"}
                ],
                "rounding": {"step": "0.0000000001", "at": "bill"},
            }
        ),
    )
    series = Prices(1800, np.array(list(prices), np.int64), tuple(prices.values()))

    rating = rate(
        (terms,),
        Usage.of(900, starts, np.array(milliwh, np.int64)),
        Period(first, end, zone),
        Context(prices={"bands": series}),
    )

    pence = sum(
        (
            prices[start - start % 1800] * amount
            for start, amount in zip(starts.tolist(), milliwh, strict=True)
        ),
        Decimal(0),
    )
    assert abs(rating.total - pence / 100 / MILLIWH) < TOLERANCE
