"""The same use by several tariffs, month by month."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from billing.dispatch.comparing import Costs, costs, months_of
from billing.tariffs.document import Tariff, read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Usage

_ZONE = "Europe/Berlin"
_YEAR = Period(date(2026, 1, 1), date(2027, 1, 1), _ZONE)


def _tariff(price: str, *components: dict[str, object]) -> Tariff:
    return read(
        {
            "tariff": 1,
            "name": "Test",
            "currency": "EUR",
            "components": [
                {"name": "energy", "kind": "energy", "label": "Energy", "prices": price},
                *components,
            ],
            "rounding": {"step": "0.01", "mode": "half_up", "at": "line"},
        }
    )


def _usage(first: date, end: date, milliwh: int = 1_000_000) -> Usage:
    start, stop = (
        int(datetime.combine(day, datetime.min.time(), ZoneInfo(_ZONE)).timestamp())
        for day in (first, end)
    )
    starts = np.arange(start, stop, 3600, dtype=np.int64)
    quarters = (starts[:, None] + np.arange(4) * 900).reshape(-1)
    return Usage.of(900, quarters, np.full(len(quarters), milliwh // 4, np.int64))


def test_a_year_is_the_sum_of_its_months_with_the_hours_that_each_has() -> None:
    found = costs([(date(2020, 1, 1), _tariff("0.10"))], _usage(_YEAR.first, _YEAR.end), _YEAR)
    # A kWh each hour: March has one hour less, October one more.
    hours = [744, 672, 743, 720, 744, 720, 744, 744, 720, 745, 720, 744]
    assert [month.total for month in found.months] == [Decimal(n) / 10 for n in hours]
    assert found.total == found.net == Decimal(876)
    assert found.by_kind == {"energy": Decimal(876)}


def test_each_version_holds_from_its_day_and_the_first_one_before() -> None:
    versions = [(date(2026, 6, 1), _tariff("0.10")), (date(2026, 7, 16), _tariff("0.20"))]
    july = Period(date(2026, 7, 1), date(2026, 8, 1), _ZONE)
    may = Period(date(2026, 5, 1), date(2026, 6, 1), _ZONE)
    assert costs(versions, _usage(july.first, july.end), july).total == Decimal("112.80")
    assert costs(versions, _usage(may.first, may.end), may).total == Decimal("74.40")


def test_a_month_knows_the_peaks_of_those_before_it() -> None:
    demand = {
        "name": "demand",
        "kind": "demand",
        "label": "Demand",
        "window_min": 15,
        "prices": 10,
        "ratchet": {"percent": 50, "months": 11},
    }
    tariff = _tariff("0", demand)
    period = Period(date(2026, 1, 1), date(2026, 3, 1), _ZONE)
    january = _usage(date(2026, 1, 1), date(2026, 2, 1), 8_000_000)
    february = _usage(date(2026, 2, 1), date(2026, 3, 1), 1_000_000)
    both = Usage.of(
        900,
        np.concatenate([january.starts, february.starts]),
        np.concatenate([january.imported, february.imported]),
    )
    found = costs([(date(2020, 1, 1), tariff)], both, period)
    assert [month.net for month in found.months] == [Decimal(80), Decimal(40)]


def test_costs_are_those_of_bills_made_one_by_one() -> None:
    tariff = _tariff("0.1234567")
    rng = np.random.default_rng(7)
    plain = _usage(_YEAR.first, _YEAR.end)
    usage = Usage.of(900, plain.starts, rng.integers(0, 2_000_000, len(plain.starts)))
    found: Costs = costs([(date(2020, 1, 1), tariff)], usage, _YEAR)
    alone = [
        rate([Terms(first, end, tariff)], usage, Period(first, end, _ZONE), Context()).total
        for first, end in months_of(_YEAR.first, _YEAR.end)
    ]
    assert [month.total for month in found.months] == alone


@pytest.mark.parametrize(
    ("first", "end", "parts"),
    [
        (date(2026, 1, 15), date(2026, 1, 20), 1),
        (date(2026, 1, 15), date(2026, 3, 2), 3),
        (date(2026, 12, 31), date(2027, 1, 2), 2),
        (date(2026, 1, 1), date(2026, 1, 1), 0),
    ],
)
def test_parts_of_months_make_the_period(first: date, end: date, parts: int) -> None:
    found = list(months_of(first, end))
    assert len(found) == parts
    days = [begin + timedelta(days=n) for begin, stop in found for n in range((stop - begin).days)]
    assert days == [first + timedelta(days=n) for n in range((end - first).days)]
