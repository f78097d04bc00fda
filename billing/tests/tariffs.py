"""Tariffs and use for tests of the engine."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from billing.tariffs.calendar import midnight
from billing.tariffs.document import read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Rating, Usage

BERLIN = "Europe/Berlin"
KWH = 1_000_000


def document(*components: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A tariff of some components."""
    return {"tariff": 1, "name": "T", "currency": "EUR", "components": list(components), **more}


def flat(milliwh: int, first: date, end: date, *, step_s: int = 900, zone: str = BERLIN) -> Usage:
    """The same energy in every interval of some days."""
    starts = np.arange(midnight(zone, first), midnight(zone, end), step_s)
    return Usage.of(step_s, starts, np.full(len(starts), milliwh))


def bill(
    of: dict[str, Any],
    usage: Usage,
    first: date,
    end: date,
    *,
    context: Context | None = None,
    zone: str = BERLIN,
    kw: str | None = None,
) -> Rating:
    """What a tariff makes of use in some days."""
    terms = [Terms(first, end, read(of), None if kw is None else Decimal(kw))]
    return rate(terms, usage, Period(first, end, zone), context or Context())


def told(rating: Rating) -> list[tuple[str, str, int, Decimal, Decimal]]:
    """Component, period, tier, quantity and amount of each line."""
    return [
        (line.component, line.period, line.tier, line.quantity, line.amount)
        for line in rating.lines
    ]


ENERGY = {"kind": "energy", "name": "energy", "prices": "0.30"}
NIGHT = {
    "schedules": {
        "hours": [
            {"period": "night", "to": "06:00"},
            {"period": "day", "from": "06:00", "to": "22:00"},
            {"period": "night", "from": "22:00"},
        ]
    }
}
HOURS = {
    "kind": "energy",
    "name": "energy",
    "schedule": "hours",
    "prices": {"day": "0.40", "night": "0.20"},
}
