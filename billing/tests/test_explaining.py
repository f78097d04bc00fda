"""Lines opened to the intervals they are made of."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import midnight
from billing.tariffs.document import read
from billing.tariffs.explaining import explain
from billing.tariffs.rating import RatingError, Terms, rate
from billing.tariffs.values import Context, Line, LineIntervals, Period, Prices, Rating, Usage
from billing.tests.tariffs import BERLIN, HOURS, NIGHT, document, flat

FIRST, END = date(2026, 3, 1), date(2026, 5, 1)
PERIOD = Period(date(2026, 3, 11), date(2026, 4, 21), BERLIN)
TIERED = {
    name: [{"up_to": 20, "price": low}, {"up_to": 60, "price": "0.33"}, {"price": high}]
    for name, low, high in (("day", "0.11", "0.2"), ("night", "0.1", "0.25"))
}


def _usage(seed: int = 7) -> Usage:
    starts = np.arange(midnight(BERLIN, FIRST), midnight(BERLIN, END), 900)
    drawn, given = np.random.default_rng(seed).integers(0, 400_000, (2, len(starts)))
    return Usage.of(900, starts, drawn, given)


def _terms(of: dict[str, Any]) -> list[Terms]:
    return [Terms(FIRST, END, read(of))]


def _opened(
    of: dict[str, Any], usage: Usage, context: Context | None = None
) -> list[tuple[Line, LineIntervals]]:
    terms = _terms(of)
    made: Rating = rate(terms, usage, PERIOD, context)
    return [(line, explain(terms, usage, PERIOD, context, line)) for line in made.lines]


def _adds_up(line: Line, found: LineIntervals) -> None:
    assert Decimal(int(found.milliwh.sum())).scaleb(-6) == line.quantity
    assert sum(found.amounts, start=Decimal(0)).quantize(Decimal("1e-12")) == line.amount
    assert np.all(np.diff(found.starts) > 0)
    assert found.starts[0] >= midnight(BERLIN, line.first)
    assert found.starts[-1] < midnight(BERLIN, line.end)


@pytest.mark.parametrize("shared", ["proportional", "chronological", "per_period"])
@pytest.mark.parametrize("per", ["month", "average_day", "day", "bill"])
@pytest.mark.parametrize("flow", ["import", "export"])
def test_a_line_of_energy_adds_up_from_its_intervals(flow: str, per: str, shared: str) -> None:
    tiered = {"tiers": {"per": per, "shared": shared}, "prices": TIERED, "flow": flow}
    of = document({**HOURS, **tiered}, rounding={"at": "bill"}, **NIGHT)
    opened = [(line, found) for line, found in _opened(of, _usage()) if line.unit == "kWh"]

    assert len(opened) >= 4
    for line, found in opened:
        _adds_up(line, found)


@pytest.mark.parametrize("within", ["interval", "period", "month"])
def test_net_energy_adds_up_from_its_intervals(within: str) -> None:
    of = document(
        {**HOURS, "flow": "net", "prices": TIERED},
        {"kind": "netting", "name": "net", "within": within, "schedule": "hours", "sell_price": 0},
        rounding={"at": "bill"},
        **NIGHT,
    )
    usage = _usage()
    usage.exported[:] //= 2
    opened = [one for one in _opened(of, usage) if one[0].component == "energy"]

    assert len(opened) >= 8
    for line, found in opened:
        _adds_up(line, found)


def test_the_interval_that_reaches_a_limit_is_in_both_tiers() -> None:
    of = document(
        {
            "kind": "energy",
            "name": "energy",
            "prices": [{"up_to": "0.6", "price": 1}, {"price": 2}],
            "tiers": {"shared": "chronological", "pro_rated": False},
        },
    )
    first, end = date(2026, 4, 1), date(2026, 4, 2)
    usage, terms = flat(250_000, first, end), [Terms(first, end, read(of))]
    period = Period(first, end, BERLIN)

    low, high = (
        explain(terms, usage, period, None, line) for line in rate(terms, usage, period).lines
    )

    assert low.milliwh.tolist() == [250_000, 250_000, 100_000]
    assert high.milliwh[:2].tolist() == [150_000, 250_000]
    assert low.starts[2] == high.starts[0] == midnight(BERLIN, first) + 1800


def test_a_dynamic_price_is_shown_by_interval() -> None:
    hours = np.arange(midnight(BERLIN, FIRST), midnight(BERLIN, END), 3600)
    prices = tuple(Decimal(n % 7 - 2).scaleb(-2) for n in range(len(hours)))
    context = Context(prices={"epex": Prices(3600, hours, prices)})
    of = document(
        {"kind": "dynamic", "name": "spot", "series": "epex", "factor": "1.5", "adder": "0.01"},
        rounding={"at": "bill"},
    )
    (march, found), _april, _rounding = _opened(of, _usage(), context)

    _adds_up(march, found)
    assert len(found.prices) == len(found.starts) == (21 * 24 - 1) * 4
    place = int(np.searchsorted(hours, found.starts[9] // 3600 * 3600))
    assert found.prices[9] == prices[place] * Decimal("1.5") + Decimal("0.01")


def test_demand_opens_to_the_windows_of_its_period() -> None:
    of = document(
        {
            "kind": "demand",
            "name": "demand",
            "window_min": 30,
            "schedule": "hours",
            "prices": {"day": 10},
        },
        **NIGHT,
    )
    opened = _opened(of, _usage())
    assert len(opened) == 2

    for line, found in opened:
        n = int(found.milliwh.argmax())
        assert int(found.starts[n]) == line.at
        assert Decimal(int(found.milliwh[n])) * 2 / 1_000_000 == line.quantity
        assert (found.prices, found.amounts) == ((), ())
    # 21 days of March by day, of 16 hours each.
    assert len(opened[0][1].starts) == 21 * 32


def test_a_line_of_time_or_of_other_lines_has_no_intervals() -> None:
    of = document(
        {"kind": "standing", "name": "base", "amount": 10, "per": "month"},
        {"kind": "levy", "name": "duty", "per_kWh": "0.02"},
        {"kind": "tax", "name": "vat", "percent": 19, "of": "all"},
        rounding={"at": "bill"},
    )
    counts = {line.component: len(found.starts) for line, found in _opened(of, _usage())}

    assert {name for name, count in counts.items() if not count} == {"base", "vat", "rounding"}
    assert counts["duty"] > 0


def test_a_line_of_another_bill_is_refused() -> None:
    of = document({**HOURS}, **NIGHT)
    usage = _usage()
    line = rate(_terms(of), usage, PERIOD).lines[0]
    other = document({"kind": "standing", "name": "base", "amount": 10, "per": "month"})

    with pytest.raises(RatingError, match="no line “energy”"):
        explain(_terms(other), usage, PERIOD, None, line)
