"""Random tariffs (time of use × tiers × demand) × random years against NREL's PySAM.

All charges of all months agree far below a cent. Where conventions differ:

- PySAM gives each period its share of the month's tiers in proportion to its energy, or with net
  billing fills them in order of time. A tariff says which (`shared`), both are compared.
- PySAM's year has 365 days of 24 hours and begins on a Monday, whatever the year. Ours is the
  calendar, so we compare in 2029, which is such a year, at a fixed offset. Where clocks change, a
  day has 23 or 25 hours, and a meter has as many readings: leaving out an hour's energy or counting
  it twice would charge for what was not used.
- PySAM multiplies a limit of “kWh daily” by the days of the month and applies it to the month
  (`average_day`), as utilities do with baselines; `day` is the limit of each day by itself.
- PySAM does not round. A bill consists of amounts that can be paid, so our tariffs name a step;
  here it is a hundred-millionth of a dollar.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import next_month
from billing.tariffs.document import read
from billing.tariffs.importing import Imported
from billing.tariffs.parts import Tariff
from billing.tariffs.rating import Terms, rate
from billing.tariffs.urdb import import_urdb
from billing.tariffs.values import Int64s, Period, Rating, Usage
from billing.tests import sam

ZONE = "Etc/GMT+8"
MONTHS = [date(2029, month, 1) for month in range(1, 13)]
TARIFFS = 240
BATCH = 20
TOLERANCE = Decimal("0.0001")


def load_of(draw: random.Random) -> list[int]:
    """A year of Wh per hour: days, weeks, seasons, noise, outages and peaks of some size."""
    noise = np.random.default_rng(draw.randrange(2**32))
    hours = np.arange(sam.HOURS)
    mean_wh = 10 ** draw.uniform(2.3, 6.3)
    day = 1 + draw.uniform(0, 0.9) * np.cos((hours % 24 - draw.uniform(0, 24)) * np.pi / 12)
    week = np.where(hours // 24 % 7 < 5, 1.0, draw.uniform(0.2, 1.5))
    year = 1 + draw.uniform(-0.6, 0.6) * np.cos(hours * 2 * np.pi / sam.HOURS)
    load = mean_wh * day * week * year * noise.uniform(0.7, 1.3, sam.HOURS)
    load[noise.random(sam.HOURS) < draw.choice([0, 0.01, 0.2])] = 0
    load *= np.where(noise.random(sam.HOURS) < 0.001, draw.uniform(1, 8), 1)
    return [int(value) for value in load]


def record_of(draw: random.Random, load: Sequence[int]) -> dict[str, Any]:
    """A tariff as a URDB record, with limits near what the load reaches."""
    kwh = sum(load) / 12_000
    peak_kw = max(load) / 1000
    seasons = seasons_of(draw)
    unit = draw.choice(list(sam.UNITS))
    scale = kwh / {"kWh": 1, "kWh/kW": peak_kw, "kWh daily": 30, "kWh/kW daily": 30 * peak_kw}[unit]
    record: dict[str, Any] = {
        "name": "random",
        "fixedchargefirstmeter": draw.choice([0, round(draw.uniform(1, 200), 2)]),
        **scheduled(draw, seasons, "energy", scale, {"unit": unit}, draw.uniform(0.02, 0.6)),
    }
    if draw.random() < 0.6:
        record["flatdemandmonths"] = seasons
        record["flatdemandstructure"] = [
            tiers_of(draw, limits_of(draw, peak_kw), draw.uniform(1, 20), {})
            for _ in range(max(seasons) + 1)
        ]
    if draw.random() < 0.6:
        record |= scheduled(draw, seasons, "demand", peak_kw, {}, draw.uniform(1, 20))
    if draw.random() < 0.3:
        record["minmonthlycharge"] = round(kwh * draw.uniform(0.05, 0.5), 2)
    return record


def seasons_of(draw: random.Random) -> list[int]:
    edges = sorted(draw.sample(range(12), draw.randint(1, 4)))
    return [sum(month >= edge for edge in edges) % len(edges) for month in range(12)]


def scheduled(
    draw: random.Random,
    seasons: list[int],
    kind: str,
    scale: float,
    extra: dict[str, Any],
    price: float,
) -> dict[str, Any]:
    """A structure with its two schedules: each season has periods and limits of its own."""
    structure: list[list[dict[str, Any]]] = []
    weekday: dict[int, list[int]] = {}
    weekend: dict[int, list[int]] = {}
    for season in range(max(seasons) + 1):
        first, count = len(structure), draw.randint(1, 4)
        limits = limits_of(draw, scale)
        structure += [tiers_of(draw, limits, price, extra) for _ in range(count)]
        weekday[season] = hours_of(draw, first, count)
        weekend[season] = hours_of(draw, first, count)
    return {
        f"{kind}ratestructure": structure,
        f"{kind}weekdayschedule": [weekday[season] for season in seasons],
        f"{kind}weekendschedule": [weekend[season] for season in seasons],
    }


def hours_of(draw: random.Random, first: int, count: int) -> list[int]:
    row: list[int] = []
    while len(row) < 24:
        row += [first + draw.randrange(count)] * draw.randint(1, 9)
    return row[:24]


def limits_of(draw: random.Random, scale: float) -> list[float]:
    limits = {round(scale * draw.uniform(0.02, 1.2), 3) for _ in range(draw.randint(0, 3))}
    return sorted(limit for limit in limits if limit > 0)


def tiers_of(
    draw: random.Random, limits: list[float], price: float, extra: dict[str, Any]
) -> list[dict[str, Any]]:
    return [
        extra | limit | {"rate": round(price * draw.uniform(0.3, 2), 5)}
        for limit in [*({"max": limit} for limit in limits), {}]
    ]


def usage_of(load: Sequence[int]) -> Usage:
    first = int(datetime(2029, 1, 1, 8, tzinfo=UTC).timestamp())
    starts: Int64s = np.arange(sam.HOURS, dtype=np.int64) * 3600 + first
    return Usage.of(3600, starts, np.array(load, np.int64) * 1000)


def tariff_of(record: dict[str, Any], shared: str) -> Tariff:
    imported = import_urdb(record, demand_window_min=60)
    assert isinstance(imported, Imported), imported
    document = dict(imported.documents[0].document)
    document |= {"interval_min": 60, "rounding": {"step": "0.00000001"}}
    for component in document["components"]:
        if "tiers" in component:
            component["tiers"]["shared"] = shared
    return read(document)


def bill(tariff: Tariff, usage: Usage, month: date) -> Rating:
    terms = (Terms(date(2029, 1, 1), date(2030, 1, 1), tariff),)
    return rate(terms, usage, Period(month, next_month(month), ZONE))


def amounts(rating: Rating) -> dict[str, Decimal]:
    made: dict[str, Decimal] = {}
    for line in rating.lines:
        made[line.component] = made.get(line.component, Decimal(0)) + line.amount
    return made


def compare(seed: int, option: int, shared: str) -> None:
    draw = random.Random(seed)
    load = load_of(draw)
    record = record_of(draw, load)
    expected = sam.charges(record, [wh / 1000 for wh in load], option=option)
    tariff, usage = tariff_of(record, shared), usage_of(load)
    for number, month in enumerate(MONTHS):
        rating = bill(tariff, usage, month)
        found = amounts(rating)
        for component, values in (
            ("energy", expected.energy),
            ("flat_demand", expected.flat_demand),
            ("demand", expected.demand),
            ("fixed", expected.fixed),
        ):
            difference = found.get(component, Decimal(0)) - Decimal(values[number])
            assert abs(difference) < TOLERANCE, (seed, shared, month, component, difference)
        difference = rating.total - Decimal(expected.total[number])
        assert abs(difference) < TOLERANCE, (seed, shared, month, "total", difference)


@pytest.mark.parametrize("first", range(0, TARIFFS, BATCH))
def test_bills_equal_pysam_with_tiers_in_proportion(first: int) -> None:
    for seed in range(first, first + BATCH):
        compare(seed, sam.PROPORTIONAL, "proportional")


@pytest.mark.parametrize("first", range(1000, 1000 + TARIFFS // 4, BATCH))
def test_bills_equal_pysam_with_tiers_in_order_of_time(first: int) -> None:
    for seed in range(first, first + BATCH):
        compare(seed, sam.CHRONOLOGICAL, "chronological")


def test_random_tariffs_use_all_that_is_compared() -> None:
    """Else the comparison could lose what it is for without failing."""
    drawn = []
    for seed in range(TARIFFS):
        draw = random.Random(seed)
        load = load_of(draw)
        drawn.append(record_of(draw, load))
    tiered = [one for one in drawn if any(len(t) > 1 for t in one["energyratestructure"])]
    units = {one["energyratestructure"][0][0]["unit"] for one in tiered}
    assert units == set(sam.UNITS)
    both = [one for one in tiered if "demandratestructure" in one and "flatdemandmonths" in one]
    assert len(both) > TARIFFS // 5
    assert sum("minmonthlycharge" in one for one in drawn) > TARIFFS // 5
    assert sum(len(set(map(str, one["energyweekdayschedule"]))) > 1 for one in drawn) > TARIFFS // 2
