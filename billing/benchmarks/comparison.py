"""A year of quarters of an hour by many tariffs, and with photovoltaics and a battery: what the
comparison of tariffs computes, without the reading of the use.
"""

from __future__ import annotations

import statistics
import time
from argparse import ArgumentParser, Namespace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from billing.dispatch.battery import Battery, with_battery, with_generation
from billing.dispatch.comparing import costs
from billing.dispatch.solar import Photovoltaics, generation
from billing.tariffs.document import read
from billing.tariffs.values import Period, Usage

_RUNS: Final = 5
_ZONE: Final = "Europe/Berlin"
_YEAR: Final = Period(date(2025, 1, 1), date(2026, 1, 1), _ZONE)


def add_arguments(parser: ArgumentParser) -> None:
    """How many tariffs."""
    parser.add_argument("--tariffs", type=int, default=20)


def run(options: Namespace) -> dict[str, object]:
    """`first_s` with nothing kept from before, `seconds` the median of those after; `panels_s` and
    `battery_s` what these take once.
    """
    usage = _usage()
    tariffs = [read(_document(number)) for number in range(options.tariffs)]
    seconds = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        for tariff in tariffs:
            costs([(date(2020, 1, 1), tariff)], usage, _YEAR)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    sunny = with_generation(
        usage, generation(Photovoltaics(10, 48.1, 11.6), usage.starts, usage.step_s)
    )
    panels_s = time.perf_counter() - began
    began = time.perf_counter()
    with_battery(sunny, Battery(10, 5))
    return {
        "tariffs": options.tariffs,
        "intervals": len(usage.starts),
        "first_s": round(seconds[0], 3),
        "seconds": round(statistics.median(seconds[1:]), 3),
        "panels_s": round(panels_s, 3),
        "battery_s": round(time.perf_counter() - began, 3),
        "ok": statistics.median(seconds[1:]) <= 2,
    }


def _usage() -> Usage:
    start = int(datetime(2024, 12, 31, 23, tzinfo=UTC).timestamp())
    starts = start + 900 * np.arange(365 * 96, dtype=np.int64)
    milliwh = np.random.default_rng(1).integers(0, 5_000_000, len(starts))
    return Usage.of(900, starts, milliwh)


def _document(number: int) -> dict[str, Any]:
    price = Decimal("0.20") + Decimal(number) / 1000
    days = ["mon", "tue", "wed", "thu", "fri"]
    return {
        "tariff": 1,
        "name": f"Tariff {number}",
        "currency": "EUR",
        "holidays": "DE-BY",
        "seasons": {"summer": ["04-01..09-30"], "winter": ["10-01..03-31"]},
        "schedules": {
            "use": [
                {"period": "peak", "days": days, "from": "08:00", "to": f"{18 + number % 4}:00"},
                {"period": "off", "days": days, "from": "00:00", "to": "08:00"},
                {"period": "off", "days": days, "from": f"{18 + number % 4}:00", "to": "24:00"},
                {"period": "off", "days": ["sat", "sun", "holiday"]},
            ]
        },
        "components": [
            {"name": "base", "kind": "standing", "amount": "12.50", "per": "month"},
            {
                "name": "energy",
                "kind": "energy",
                "schedule": "use",
                "tiers": {"per": "month"},
                "prices": {
                    "peak": [
                        {"up_to": 500, "price": str(price)},
                        {"up_to": 2000, "price": str(price - Decimal("0.02"))},
                        {"price": str(price - Decimal("0.04"))},
                    ],
                    "off": str(price / 2),
                },
            },
            {
                "name": "demand",
                "kind": "demand",
                "window_min": 15,
                "schedule": "use",
                "prices": {"peak": "9.50", "off": "2"},
            },
            {"name": "vat", "kind": "tax", "percent": 19, "of": "all"},
        ],
        "rounding": {"step": "0.01", "mode": "half_up", "at": "line"},
    }
