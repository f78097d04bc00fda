"""Net metering of random PV by random tariffs against NREL's PySAM, month by month.

With one price, flat or by tiers, all months agree: what a month gives more than it draws is carried
and drawn before anything is paid. By time of use, months agree until a period gives more than it
draws in a month: we carry that on in its period, as tariffs that net by period say; PySAM spends
some of it in others.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import next_month
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Rating, Usage
from billing.tests import sam
from billing.tests.test_oracle_pysam import (
    MONTHS,
    TOLERANCE,
    ZONE,
    hours_of,
    limits_of,
    load_of,
    scheduled,
    seasons_of,
    tariff_of,
    tiers_of,
    usage_of,
)

BATCH = 20


def generation_of(draw: random.Random, load: Sequence[int], size: float) -> list[int]:
    """A year of PV in Wh per hour, of a size in proportion to the load."""
    noise = np.random.default_rng(draw.randrange(2**32))
    hours = np.arange(sam.HOURS)
    day = np.maximum(np.sin((hours % 24 - 6) * np.pi / 12), 0)
    year = 1 + 0.5 * np.cos((hours / sam.HOURS - 0.5) * 2 * np.pi)
    peak = size * sum(load) / sam.HOURS
    return [int(one) for one in peak * day * year * noise.uniform(0.2, 1.2, sam.HOURS)]


def net_of(load: Sequence[int], generation: Sequence[int]) -> Usage:
    """What the meter at the mains shows: an hour draws or gives."""
    net = np.array(load, np.int64) - np.array(generation, np.int64)
    drawn = usage_of([int(one) for one in np.maximum(net, 0)])
    given = usage_of([int(one) for one in np.maximum(-net, 0)])
    return Usage.of(drawn.step_s, drawn.starts, drawn.imported, given.imported)


def months(record: dict[str, Any], usage: Usage) -> list[Rating]:
    """The bills of a year, each with the credit that the one before left."""
    tariff, context, made = tariff_of(record, "proportional"), Context(), []
    terms = Terms(date(2029, 1, 1), date(2030, 1, 1), tariff)
    for month in MONTHS:
        made.append(rate((terms,), usage, Period(month, next_month(month), ZONE), context))
        context = Context(credit=made[-1].credit, credit_milliwh=made[-1].credit_milliwh)
    return made


def expected(
    record: dict[str, Any], load: Sequence[int], generation: Sequence[int]
) -> tuple[float, ...]:
    return sam.charges(
        record, [one / 1000 for one in load], generation=[one / 1000 for one in generation]
    ).energy


@pytest.mark.parametrize("first", range(0, 120, BATCH))
def test_one_price_or_its_tiers_net_as_by_pysam(first: int) -> None:
    surplus = 0
    for seed in range(first, first + BATCH):
        draw = random.Random(seed)
        load = load_of(draw)
        generation = generation_of(draw, load, draw.uniform(1, 6))
        limits = limits_of(draw, sum(load) / 12_000) if seed % 2 else []
        hours = [hours_of(draw, 0, 1)] * 12
        record = {
            "name": "net",
            "dgrules": "Net Metering",
            "energyratestructure": [tiers_of(draw, limits, 0.2, {"unit": "kWh"})],
            "energyweekdayschedule": hours,
            "energyweekendschedule": hours,
        }
        bills = months(record, net_of(load, generation))
        for month, bill, usd in zip(MONTHS, bills, expected(record, load, generation), strict=True):
            surplus += bool(bill.credit_milliwh)
            assert abs(bill.total - Decimal(usd)) < TOLERANCE, (seed, month)
    assert surplus > BATCH


@pytest.mark.parametrize("first", range(2000, 2120, BATCH))
def test_periods_net_as_by_pysam_until_one_has_a_surplus(first: int) -> None:
    compared = 0
    for seed in range(first, first + BATCH):
        draw = random.Random(seed)
        load = load_of(draw)
        generation = generation_of(draw, load, draw.uniform(0.1, 1.5))
        record = {
            "name": "net",
            "dgrules": "Net Metering",
            **scheduled(draw, seasons_of(draw), "energy", sum(load) / 12_000, {"unit": "kWh"}, 0.2),
        }
        bills = months(record, net_of(load, generation))
        for month, bill, usd in zip(MONTHS, bills, expected(record, load, generation), strict=True):
            if bill.credit_milliwh:
                break
            assert abs(bill.total - Decimal(usd)) < TOLERANCE, (seed, month)
            compared += 1
    assert compared > 6 * BATCH
