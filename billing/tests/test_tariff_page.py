"""The examples of docs/tariffs.md are true."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from billing.tariffs import form
from billing.tariffs.calendar import midnight
from billing.tariffs.check import check
from billing.tariffs.document import load, read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Line, Peak, Period, Prices, Usage

PAGE = Path(__file__).parents[2] / "docs" / "tariffs.md"
EXAMPLE = re.compile(
    r"```yaml\n((?:(?!```).)*)```\n\n\| Line .*?\n\|---.*?\n((?:\|.*?\n)*)", re.DOTALL
)
USUAL = re.compile(r"these hold:\n\n```yaml\n(.*?)```", re.DOTALL)
BERLIN, FIRST, END = "Europe/Berlin", date(2026, 4, 1), date(2026, 5, 1)
CONTRACTED = Decimal(30)


def _use() -> Usage:
    starts = np.arange(midnight(BERLIN, FIRST), midnight(BERLIN, END), 900)
    local = [datetime.fromtimestamp(one, ZoneInfo(BERLIN)) for one in starts.tolist()]
    hours = np.array([one.hour for one in local])
    drawn = np.select([hours == 8, hours == 22], [1_500_000, 1_000_000], 0)
    drawn[next(n for n, one in enumerate(local) if f"{one:%d %H:%M}" == "15 10:00")] = 3_500_000
    given = np.where(hours == 12, 2_000_000, 0)
    return Usage.of(900, starts, drawn, given, reactive=drawn // 2)


def _context(components: list[dict[str, Any]]) -> Context:
    starts = np.arange(midnight(BERLIN, FIRST), midnight(BERLIN, END), 3600)
    hours = [datetime.fromtimestamp(one, ZoneInfo(BERLIN)).hour for one in starts.tolist()]
    prices = [
        "0.10" if 6 <= hour < 12 else "-0.02" if 12 <= hour < 14 else "0.16" for hour in hours
    ]
    peaks = tuple(Peak(one["name"], "", date(2026, 3, 1), Decimal(40)) for one in components)
    series = Prices(3600, starts, tuple(map(Decimal, prices)))
    return Context(prices={"spot": series}, peaks=peaks)


def _row(line: Line) -> str:
    tier = f"tier {line.tier}" if line.tier else ""
    name = ", ".join(part for part in (line.component, line.period, tier) if part)
    unit = f" {line.unit}" if line.unit else ""
    return f"| {name} | {line.quantity.normalize():f}{unit} | {line.amount:f} |"


def _rows(text: str) -> list[str]:
    """What the page should have below an example."""
    usual = USUAL.search(PAGE.read_text())
    assert usual is not None
    whole: dict[str, Any] = (
        {"tariff": 1, "name": "Example", "currency": "EUR"} | load(usual[1]) | load(text)
    )
    tariff = read(whole)
    check(tariff, zone=BERLIN, first=FIRST, end=date(2027, 4, 1))
    terms = [Terms(FIRST, END, tariff, CONTRACTED)]
    made = rate(terms, _use(), Period(FIRST, END, BERLIN), _context(whole["components"]))
    return [_row(line) for line in made.lines]


EXAMPLES = EXAMPLE.findall(PAGE.read_text())


@pytest.mark.parametrize(("text", "rows"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_billed_as_the_page_says(text: str, rows: str) -> None:
    assert rows.splitlines() == _rows(text)


def test_every_kind_of_component_has_an_example() -> None:
    kinds = {one["kind"] for text, _rows in EXAMPLES for one in load(text)["components"]}

    assert kinds == set(form.COMPONENTS)
