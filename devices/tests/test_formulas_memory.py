"""Formulas that remember: told part by part, they say what they say of the whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.formulas.columns import Column
from devices.formulas.formula import Formula
from devices.formulas.plans import Memory
from devices.telemetry.rollup_samples import reach_ms

UNITS = {"power": "W", "current": "A", "voltage": "V"}
STEP_MS = 2_000
HOUR_MS = 3_600_000
# Two hours before the clocks of Berlin were set: the day has 23 hours.
START_MS = int(datetime(2026, 3, 28, 22, tzinfo=UTC).timestamp()) * 1000
BATTERY = "state_of_charge(current, voltage, capacity=50 Ah, cells=6)"
FORMULAS = (
    "integral(power)",
    "today(max(power, 0))",
    "integral(power) + today(power)",
    BATTERY,
    BATTERY.replace("cells=6", "cells=6, start=70 %, efficiency=93 %"),
    "delta(integral(power))",
    f"if({BATTERY} > 50 %, integral(power), today(power))",
)


@st.composite
def _columns(draw: st.DrawFn) -> dict[str, Column]:
    """Hours of readings with distances that are usual, gaps of all lengths, and rests."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 300))
    distances = random.choice(
        [STEP_MS, 60_000, 119_000, 121_000, 600_000, 4 * HOUR_MS], count,
        p=[0.05, 0.75, 0.05, 0.05, 0.09, 0.01],
    )  # fmt: skip
    times = START_MS + np.cumsum(distances)
    rests = np.repeat(random.random(count // 70 + 1) < 0.5, 70)[:count]
    current = np.where(rests, 0.0, random.integers(-20, 20, count).astype(float))
    columns = {
        "power": random.integers(-3000, 3000, count).astype(float),
        "current": np.where(random.random(count) < 0.02, np.nan, current),
        "voltage": random.integers(115, 130, count) / 10,
    }
    return {name: Column(times, values, STEP_MS) for name, values in columns.items()}


def _slice(columns: dict[str, Column], start_ms: int, end_ms: int) -> dict[str, Column]:
    found = {}
    for name, column in columns.items():
        rows = slice(*np.searchsorted(column.times, (start_ms, end_ms)).tolist())
        found[name] = Column(column.times[rows], column.values[rows], column.step_ms)
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(FORMULAS),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    _columns(),
    st.lists(st.integers(1, 30 * HOUR_MS), max_size=8, unique=True),
)
def test_a_formula_told_in_parts_is_the_formula_told_at_once(
    text: str, zone: str, columns: dict[str, Column], cuts: list[int]
) -> None:
    formula = Formula.parse(text, UNITS)
    reach = formula.levels * reach_ms(STEP_MS)
    whole = formula.evaluate(columns, zone=ZoneInfo(zone))
    edges = sorted(START_MS + cut for cut in cuts)
    edges = [START_MS, *edges, START_MS + 1000 * HOUR_MS]
    states: dict[str, Any] = {}
    values: list[float] = []
    for begin, end in pairwise(edges):
        part, states = formula.go_on(
            # What lies before the beginning by the reach, and the delta of the first value by one.
            _slice(columns, begin - 2 * reach, end + reach),
            zone=ZoneInfo(zone),
            memory=Memory(begin - reach if begin > START_MS else begin, states),
            until_ms=end - reach,
        )
        states = json.loads(json.dumps(states, allow_nan=False))
        rows = slice(*np.searchsorted(part.times, (begin, end)).tolist())
        values += part.values[rows].tolist()
    assert values == pytest.approx(whole.values.tolist(), rel=1e-9, abs=1e-6, nan_ok=True)


def test_how_many_memories_lie_within_each_other_is_told() -> None:
    for text, memories in (
        ("power", 0),
        ("integral(power)", 1),
        ("today(rate(integral(power)))", 2),
    ):
        assert Formula.parse(text, UNITS).memories == memories
