"""Energy at prices of a series, and reactive energy; computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import CoverageError, midnight
from billing.tariffs.rating import RatingError
from billing.tariffs.values import Context, Prices, Quality, Rating, Usage
from billing.tests.tariffs import BERLIN, KWH, bill, document, flat

FIRST, END = date(2026, 10, 25), date(2026, 10, 26)
SPOT = {"kind": "dynamic", "name": "spot", "series": "epex"}


def _prices(*hours: str, step_s: int = 3600) -> Context:
    starts = midnight(BERLIN, FIRST) + np.arange(len(hours)) * step_s
    return Context(prices={"epex": Prices(step_s, starts, tuple(map(Decimal, hours)))})


def _spot(context: Context, usage: Usage | None = None, **more: Any) -> Rating:
    of = document({**SPOT, **more})
    return bill(of, usage or flat(250_000, FIRST, END), FIRST, END, context=context)


def test_each_interval_has_the_price_of_its_hour_on_a_day_of_25_hours() -> None:
    # The hour from 2 to 3 is there twice; the second time energy costs less than nothing.
    made = _spot(_prices(*["0.10"] * 3, "-0.50", *["0.10"] * 21))

    assert [(line.quantity, line.amount) for line in made.lines] == [(Decimal(25), Decimal("1.90"))]
    assert made.lines[0].detail == {"mean_price": "0.076"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"factor": "1.19", "adder": "0.05"}, "3.5110"),
        ({"floor": 0}, "2.40"),
        ({"factor": 2, "adder": "0.10", "floor": "-0.10"}, "7.10"),
        ({"flow": "export"}, "0"),
    ],
)
def test_a_price_is_taken_from_the_series_as_the_tariff_says(
    more: dict[str, Any], expected: str
) -> None:
    made = _spot(_prices(*["0.10"] * 24, "-0.50"), **more)

    assert made.total == Decimal(expected).quantize(Decimal("0.01"))


@pytest.mark.parametrize(
    ("flow", "quantity", "cost"), [("export", "75", "-15"), ("net", "-50", "-10")]
)
def test_energy_given_at_a_dynamic_price_is_paid(flow: str, quantity: str, cost: str) -> None:
    usage = flat(250_000, FIRST, END)
    usage.exported[:] = 750_000

    made = _spot(_prices(*["0.20"] * 25), usage, flow=flow)

    assert [(line.quantity, line.amount) for line in made.lines] == [
        (Decimal(quantity), Decimal(cost))
    ]


@pytest.mark.parametrize(
    ("flow", "quantity", "estimated"),
    [("import", "25", "2"), ("export", "20", "1.6"), ("net", "5", "3.6")],
)
def test_no_more_is_estimated_than_the_line_has(flow: str, quantity: str, estimated: str) -> None:
    usage = flat(250_000, FIRST, END)
    usage.exported[:] = 200_000
    usage.quality[:8] = Quality.ESTIMATED

    line = _spot(_prices(*["0.20"] * 25), usage, flow=flow).lines[0]
    assert (line.quantity, line.estimated) == (Decimal(quantity), Decimal(estimated))

    usage.quality[:] = Quality.ESTIMATED
    line = _spot(_prices(*["0.20"] * 25), usage, flow=flow).lines[0]
    assert line.estimated == Decimal(quantity)


def test_a_series_that_does_not_cover_is_told_with_the_first_instant() -> None:
    with pytest.raises(CoverageError, match="no price in the series “epex” at 2026-10-25 23:00"):
        _spot(_prices(*["0.10"] * 24))
    with pytest.raises(CoverageError, match="2026-10-25 00:00"):
        _spot(_prices())
    with pytest.raises(RatingError, match="There are no prices “epex”"):
        _spot(Context())
    with pytest.raises(RatingError, match="change every 5 minutes"):
        _spot(_prices("1", step_s=300))


def _reactive(active: int, reactive: int | None) -> Usage:
    return Usage.of(
        900,
        np.array([midnight(BERLIN, date(2026, 4, 1))]),
        np.array([active * KWH]),
        reactive=None if reactive is None else np.array([reactive * KWH]),
    )


@pytest.mark.parametrize(
    ("surcharge", "reactive", "quantity", "cost"),
    [
        # 300 and 400: a power factor of 0.6, three tenths below.
        ({"percent": 2, "step": "0.1"}, 400, "6", "18"),
        ({"percent": 2, "step": "0.2"}, 400, "2", "6"),
        ("ratio", 400, "50", "150"),
        # A factor of 0.9 allows 300 × tan(arccos 0.9) = 145.296631… kvarh.
        ({"per_kvarh": "0.1"}, 400, "254.703369", "25.47"),
        ({"per_kvarh": "0.1"}, 145, None, None),
        ("ratio", 145, None, None),
        ("ratio", -400, None, None),
    ],
)
def test_reactive_energy_beyond_the_target_costs(
    surcharge: Any, reactive: int, quantity: str | None, cost: str | None
) -> None:
    of = document(
        {"kind": "energy", "name": "energy", "prices": 1},
        {
            "kind": "power_factor",
            "name": "reactive",
            "target": "0.9",
            "of": ["energy"],
            "surcharge": surcharge,
        },
    )

    made = bill(of, _reactive(300, reactive), date(2026, 4, 1), date(2026, 5, 1))

    expected = [] if quantity is None else [(Decimal(quantity), Decimal(cost or 0))]
    assert [(line.quantity, line.amount) for line in made.lines[1:]] == expected


def test_a_power_factor_needs_reactive_energy() -> None:
    of = document(
        {"kind": "power_factor", "name": "pf", "target": 1, "surcharge": {"per_kvarh": 1}}
    )

    with pytest.raises(RatingError, match="needs reactive energy"):
        bill(of, _reactive(300, None), date(2026, 4, 1), date(2026, 5, 1))
