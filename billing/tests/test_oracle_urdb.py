"""Bills of real meters by real tariffs of the Utility Rate Database, computed by others.

680 months of seven commercial buildings by four dated tariffs of California, with both clock
changes in each year, by LBNL's electricitycostcalculator; and five years of 365 days by NREL's
PySAM. Energy and demand agree to a millionth of a dollar. Where conventions differ:

- The fixed charge of the first engine is not compared: it takes $/month as 12/365 of it a day, so
  that February costs less than January. A month's charge is for a month; parts go by days.
- The tariffs want demand over 15 minutes, the recordings are hourly: all engines take the hour.
- The recordings have tenths of a Wh, the other engine had hours made of more places: where its kWh
  of a period (or kW) differ, by less than a Wh in a month, they do so at the period's price.
- The years were computed with net billing, which fills tiers in order of time: so do we here. In
  proportion, May of `tiered-tou` would cost 0.000223 USD less, in PySAM as by our engine.
- `tiered-tou` has rates in single precision with up to 17 places. Documents have ten, so that its
  months may differ by half of the last place for each kWh.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import next_month
from billing.tariffs.document import read
from billing.tariffs.importing import Imported
from billing.tariffs.rating import Terms, rate
from billing.tariffs.urdb import import_urdb
from billing.tariffs.values import Int64s, Period, Usage
from billing.tests.recordings import json_of, needs_recordings, rows, text

pytestmark = needs_recordings

FOLDER = "billing-urdb-commercial"
ZONE = "America/Los_Angeles"
TARIFFS = ("FLAT-06", "PGE-A-10", "PGE-A-6", "PGE-E-19")
TOLERANCE = Decimal("0.000001")
KWH = Decimal("0.001")
HALF_A_CENT = Decimal("0.005")
FIELDS = {"energy": "energy", "flat_demand": "demand_flat", "demand": "demand_tou"}
YEARS = {
    "LP1": "meter_09",
    "PGE-A-10-2017": "meter_07",
    "SCE-GS-2-TOU-B": "meter_04",
    "tiered-tou-demand": "meter_02",
    "tiered-tou": "meter_00",
}


def terms_of(source: str, *, in_order: bool = False) -> tuple[Terms, ...]:
    imported = import_urdb(source, demand_window_min=60)
    assert isinstance(imported, Imported), imported
    finer = {"interval_min": 60, "rounding": {"step": "0.0000000001"}}
    return tuple(
        Terms(
            dated.first or date(2000, 1, 1),
            dated.end or date(2100, 1, 1),
            read({**(in_order_of_time if in_order else dict)(dated.document), **finer}),
        )
        for dated in imported.documents
    )


def in_order_of_time(document: Mapping[str, Any]) -> dict[str, Any]:
    """As PySAM computed the years: tiers filled hour by hour, which net metering forbids."""
    components = [dict(one) for one in document["components"] if one["kind"] != "netting"]
    for one in components:
        if "tiers" in one:
            one["tiers"] = {**one["tiers"], "shared": "chronological"}
        if one["kind"] == "energy":
            one["flow"] = "import"
    return {**document, "components": components}


@cache
def meters() -> dict[str, Usage]:
    columns: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in rows(f"{FOLDER}/meters-hourly.csv.gz"):
        start = int(datetime.fromisoformat(row.pop("interval_start_utc")).timestamp())
        for name, wh in row.items():
            if wh:
                columns[name.removesuffix("_wh")].append((start, round(Decimal(wh) * 1000)))
    return {name: usage_of(values) for name, values in columns.items()}


def usage_of(values: list[tuple[int, int]]) -> Usage:
    starts, milliwh = (np.array(column, np.int64) for column in zip(*values, strict=True))
    return Usage.of(3600, starts, milliwh)


def amounts(terms: tuple[Terms, ...], usage: Usage, period: Period) -> dict[str, Decimal]:
    made: dict[str, Decimal] = defaultdict(Decimal)
    for line in rate(terms, usage, period).lines:
        made[line.component] += line.amount
        made[f"{line.component} {line.period}"] += line.amount
        if line.unit == "kWh":
            made[f"kWh {line.period}"] += line.quantity
            made[f"price {line.period}"] = line.price or Decimal(0)
        elif line.unit == "kW":
            made[f"kW {line.component}"] += line.quantity
            made[f"kW {line.component} {line.period}"] += line.quantity
    return made


def test_every_bill_of_the_recordings_is_compared() -> None:
    found: dict[str, int] = defaultdict(int)
    for row in rows(f"{FOLDER}/expected-monthly.csv.gz"):
        found[row["tariff"]] += 1

    assert set(found) == set(TARIFFS)
    assert sum(found.values()) == 680


@pytest.mark.parametrize("tariff", TARIFFS)
def test_bills_equal_those_of_another_engine(tariff: str) -> None:
    terms = terms_of(text(f"{FOLDER}/tariffs/{tariff}.json"))
    for row in rows(f"{FOLDER}/expected-monthly.csv.gz"):
        if row["tariff"] != tariff:
            continue
        month = date.fromisoformat(f"{row['month']}-01")
        found = amounts(terms, meters()[row["meter"]], Period(month, next_month(month), ZONE))
        cost: dict[str, Decimal] = defaultdict(Decimal)
        for period, (kwh, usd) in json.loads(row["energy_by_period"]).items():
            suffix = energy_suffix(terms, month, int(period))
            more = found[f"kWh{suffix}"] - Decimal(str(kwh))
            assert abs(more) <= KWH, (row["meter"], month, more)
            cost[suffix] = more * found[f"price{suffix}"]
            cost["energy"] += cost[suffix]
            difference = found[f"energy{suffix}"] - cost[suffix] - Decimal(str(usd))
            assert abs(difference) <= TOLERANCE, (row["meter"], month, suffix, difference)
        for period, (kw, price) in json.loads(row["demand_tou_by_period"]).items():
            if Decimal(str(price)) and kw:
                more = found[f"kW demand period_{int(period) + 1}"] - Decimal(str(kw))
                cost["demand"] += more * Decimal(str(price))
        if found["kW flat_demand"]:
            more = found["kW flat_demand"] - Decimal(row["max_kw"])
            cost["flat_demand"] = more * found["flat_demand"] / found["kW flat_demand"]
        for name, field in FIELDS.items():
            assert abs(cost[name]) <= HALF_A_CENT
            difference = found[name] - cost[name] - Decimal(row[field])
            assert abs(difference) <= TOLERANCE, (row["meter"], month, name, difference)
        assert found["fixed"] == fixed(terms, month)


def energy_suffix(terms: tuple[Terms, ...], month: date, period: int) -> str:
    """How our lines name a period of the record, which a tariff with one period does not."""
    held = next(one for one in terms if one.first <= month < one.end)
    return f" period_{period + 1}" if held.tariff.schedules else " "


def fixed(terms: tuple[Terms, ...], month: date) -> Decimal:
    """A whole month costs the fixed charge, whatever its days."""
    held = next(one for one in terms if one.first <= month < one.end)
    charge: Any = next((one for one in held.tariff.components if one.name == "fixed"), None)
    return charge.amount if charge else Decimal(0)


@pytest.mark.parametrize(("tariff", "meter"), YEARS.items())
def test_aligned_years_equal_pysam(tariff: str, meter: str) -> None:
    terms = terms_of(text(f"{FOLDER}/aligned-year/{tariff}.json"), in_order=True)
    first = int(datetime(2029, 1, 1, 8, tzinfo=UTC).timestamp())
    usage = usage_of(
        [
            (first + int(row["hour"]) * 3600, round(Decimal(row["kwh"]) * 1_000_000))
            for row in rows(f"{FOLDER}/aligned-year/load-{meter}.csv.gz")
        ]
    )
    terms = (Terms(date(2029, 1, 1), date(2030, 1, 1), terms[0].tariff),)
    for expected in json_of(f"{FOLDER}/aligned-year/{tariff}-expected.json")["months"]:
        month = date(2029, expected["month"], 1)
        found = amounts(terms, usage, Period(month, next_month(month), "Etc/GMT+8"))
        kwh = Decimal(str(expected["kwh"]))
        places = kwh * Decimal("0.00000000005") if tariff == "tiered-tou" else Decimal(0)
        for name, field in FIELDS.items():
            difference = found[name] - Decimal(str(expected[field]))
            assert abs(difference) <= TOLERANCE + places, (month, name, difference)


def test_a_load_of_the_aligned_years_has_every_hour() -> None:
    for meter in YEARS.values():
        hours: Int64s = np.array(
            [int(row["hour"]) for row in rows(f"{FOLDER}/aligned-year/load-{meter}.csv.gz")]
        )
        assert np.array_equal(hours, np.arange(8760))
