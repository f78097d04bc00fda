"""Formulas over time: joining of axes, energy as the roll-ups count it, days, and the seam."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.formulas import Column, EvaluationError, Formula, column_of
from devices.formulas.columns import Axis, joined
from devices.formulas.over_time import day_starts
from devices.protocol.data import Block
from devices.telemetry.rollup import QUARTER_MS, roll
from devices.telemetry.rollup_samples import Kind, Series, reach_ms, samples_of

# 2026-03-29, 00:55 UTC: five minutes before a full quarter, and before Europe's clocks change.
BEGIN = 1_774_745_700_000
STEP = 2_000
UNITS = {"power": "W", "voltage": "V", "current": "A"}
BERLIN = ZoneInfo("Europe/Berlin")

_values = st.floats(-1e4, 1e4, width=32) | st.just(math.nan)
# Mostly the usual step, with gaps of every length.
_steps = st.sampled_from([STEP, STEP, STEP, 2_001, 10_000, 59_000, 61_000, 125_000, 400_000])


@st.composite
def _columns(draw: st.DrawFn, least: int = 0) -> Column:
    steps = draw(st.lists(_steps, min_size=least, max_size=40))
    times = BEGIN + draw(st.integers(0, 5_000)) + np.cumsum(np.array(steps, np.int64))
    values = draw(st.lists(_values, min_size=len(steps), max_size=len(steps)))
    return column_of(times, values, STEP)


def _evaluate(text: str, **columns: Column) -> Column:
    return Formula.parse(text, UNITS).evaluate(columns)


# --- Joining ------------------------------------------------------------------------------------


def _held_ms(times: list[int], index: int) -> int:
    """How long a reading holds, by the rules in the docstring of `rollup.py`, for one step."""
    usual = [b - a if b - a <= 60_000 else 0 for a, b in pairwise(times)]
    own = max(STEP, usual[index - 1] if index else 0)
    if index == len(times) - 1:
        return own
    distance = times[index + 1] - times[index]
    follows = usual[index + 1] if index + 2 < len(times) else 0
    return distance if distance <= 2 * max(own, follows) else min(own, distance)


@settings(deadline=None)
@given(_columns(), st.lists(st.integers(0, 900_000), max_size=30))
def test_a_reading_holds_as_in_the_rollups(column: Column, offsets: list[int]) -> None:
    asked = np.unique(np.array([BEGIN + offset for offset in offsets], np.int64))
    times = column.times.tolist()
    expected = []
    for at in asked.tolist():
        before = [index for index, time in enumerate(times) if time <= at]
        known = before and at < times[before[-1]] + _held_ms(times, before[-1])
        expected.append(column.values[before[-1]] if known else math.nan)
    np.testing.assert_array_equal(joined(column, asked), np.array(expected, float))


@settings(deadline=None)
@given(_columns(), _columns())
def test_the_axis_is_the_union_and_both_sides_hold(power: Column, voltage: Column) -> None:
    result = _evaluate("power / voltage", power=power, voltage=voltage)
    union = sorted({*power.times.tolist(), *voltage.times.tolist()})
    assert result.times.tolist() == union
    times = np.array(union, np.int64)
    with np.errstate(all="ignore"):
        quotient = joined(power, times) / joined(voltage, times)
    np.testing.assert_array_equal(
        result.values, np.where(np.isfinite(quotient), quotient, math.nan)
    )


def test_a_slow_channel_holds_beside_a_quick_one_and_not_across_its_gap() -> None:
    quick = column_of(BEGIN + STEP * np.arange(200), np.full(200, 10.0), STEP)
    slow = column_of(BEGIN + np.array([0, 60_000, 120_000, 300_000]), [1.0, 2.0, 3.0, 4.0], 60_000)
    result = _evaluate("power * (voltage / 1 V)", power=quick, voltage=slow)
    at = ((result.times - BEGIN) // 1_000).tolist()
    known = dict(zip(at, result.values.tolist(), strict=True))
    assert [known[s] for s in (0, 58, 60, 118, 120, 178)] == [10, 10, 20, 20, 30, 30]
    assert all(math.isnan(known[s]) for s in range(180, 300, 2))
    assert known[300] == known[358] == 40


# --- The value before ---------------------------------------------------------------------------


@settings(deadline=None)
@given(_columns())
def test_change_is_told_from_one_reading_to_the_next(power: Column) -> None:
    times, values = power.times.tolist(), power.values.tolist()
    before, change, rates = [], [], []
    for index, value in enumerate(values):
        follows = index and times[index - 1] + _held_ms(times, index - 1) == times[index]
        before.append(values[index - 1] if follows else math.nan)
        change.append(value - before[-1])
        rates.append(
            change[-1] / (times[index] - times[index - 1]) * 1_000 if follows else math.nan
        )
    np.testing.assert_array_equal(_evaluate("previous(power)", power=power).values, before)
    np.testing.assert_array_equal(_evaluate("delta(power)", power=power).values, change)
    np.testing.assert_allclose(
        _evaluate("rate(power)", power=power).values, rates, rtol=1e-12, equal_nan=True
    )


def test_what_another_channel_reports_in_between_does_not_matter() -> None:
    power = column_of(BEGIN + STEP * np.arange(4), [1.0, 5.0, 7.0, 4.0], STEP)
    voltage = column_of(BEGIN + 500 + STEP * np.arange(4), [2.0] * 4, STEP)
    result = _evaluate("delta(power) * (voltage / 1 V)", power=power, voltage=voltage)
    on_power = result.values[::2].tolist()
    on_voltage = result.values[1::2].tolist()
    assert on_power[1:] == [8.0, 4.0, -6.0]
    assert on_voltage[1:] == [8.0, 4.0, -6.0]
    assert math.isnan(on_power[0])


# --- Energy -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(_steps, st.integers(-5_000, 5_000)), min_size=1, max_size=60),
)
def test_energy_is_that_of_the_rollups(readings: list[tuple[int, int]]) -> None:
    times = BEGIN + np.cumsum(np.array([step for step, _ in readings], np.int64))
    raw = np.array([value for _, value in readings], np.int64)
    series = Series(7, 0, Decimal("0.1"), Kind.POWER, STEP)
    quarters = roll(
        samples_of([(7, [(1, Block(times, (0,), raw[None, :]))])], {(7, 0): 0}), [series]
    )
    column = column_of(times, raw / 10, STEP)
    sums = Formula.parse("integral(power)", UNITS, "Wh").evaluate({"power": column})
    last = (
        float(sums.values[-1])
        + float(raw[-1]) / 10 * _held_ms(times.tolist(), len(raw) - 1) / 3.6e6
    )
    assert last == pytest.approx(float(quarters.energy.sum()), rel=1e-9, abs=1e-9)


def test_energy_counts_what_was_measured() -> None:
    power = column_of(
        BEGIN + 900_000 * np.arange(5), [1_000.0, math.nan, 2_000.0, 0.0, 400.0], 900_000
    )
    assert _evaluate("integral(power)", power=power).values.tolist() == [0, 250, 250, 750, 750]


# --- Days ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", 23), ("2026-07-01", 24), ("2026-10-25", 25)]
)
def test_a_day_of_changing_clocks_has_its_hours(day: str, hours: int) -> None:
    midnight = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN)
    begin = int(midnight.timestamp()) * 1_000 - 3_600_000
    count = (hours + 2) * 4
    power = column_of(begin + 900_000 * np.arange(count), np.full(count, 1_000.0), 900_000)
    result = Formula.parse("today(power)", UNITS, "kWh").evaluate({"power": power}, zone=BERLIN)
    assert result.values[:4].tolist() == [0, 0.25, 0.5, 0.75]
    assert result.values[4] == 0
    assert result.values[4 + hours * 4 - 1] == pytest.approx(hours - 0.25)
    assert result.values[4 + hours * 4] == 0


def test_a_reading_that_holds_across_midnight_is_shared() -> None:
    midnight = BEGIN - BEGIN % 86_400_000 + 86_400_000
    power = column_of([midnight - 600_000, midnight + 300_000], [4_000.0, 0.0], 900_000)
    result = Formula.parse("today(power)", UNITS, "Wh").evaluate(
        {"power": power}, zone=ZoneInfo("UTC")
    )
    assert result.values.tolist() == [0.0, pytest.approx(4_000 * 300 / 3_600)]


def test_a_day_that_began_before_the_readings_is_unknown_when_that_is_told() -> None:
    midnight = BEGIN - BEGIN % 86_400_000 + 86_400_000
    power = column_of(midnight + 3_600_000 * np.arange(-2, 3), [60.0] * 5, 3_600_000)
    formula = Formula.parse("today(power)", UNITS, "Wh")
    told = formula.evaluate({"power": power}, since_ms=midnight - 7_200_000).values.tolist()
    assert told[2:] == [0, 60, 120]
    assert all(math.isnan(value) for value in told[:2])
    whole = formula.evaluate({"power": power}, since_ms=midnight - 86_400_000).values.tolist()
    assert whole == [0, 60, 0, 60, 120]


@settings(deadline=None)
@given(
    st.integers(0, 4_000_000_000_000),
    st.integers(0, 30 * 86_400_000),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Africa/Cairo",
                     "Pacific/Apia", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_days_begin_with_their_first_instant(first: int, length: int, name: str) -> None:
    zone = ZoneInfo(name)
    starts = day_starts(first, first + length, zone).tolist()

    def date_at(ms: int) -> str:
        return datetime.fromtimestamp(ms // 1_000, zone).date().isoformat()

    assert starts[0] <= first
    assert sorted(set(starts)) == starts
    assert date_at(starts[-1]) == date_at(first + length)
    assert all(date_at(start - 1_000) < date_at(start) for start in starts)


def test_a_date_that_a_zone_left_out_has_no_midnight() -> None:
    apia = ZoneInfo("Pacific/Apia")
    thursday = int(datetime(2011, 12, 29, 12, tzinfo=apia).timestamp()) * 1_000
    starts = day_starts(thursday, thursday + 36 * 3_600_000, apia)
    dates = [datetime.fromtimestamp(ms // 1_000, apia).day for ms in starts.tolist()]
    assert dates == [29, 31, 1]


def test_days_of_an_impossible_clock_are_refused() -> None:
    with pytest.raises(EvaluationError, match="at most 40000 of them: ask for a shorter period"):
        day_starts(0, 1 << 48, BERLIN)
    with pytest.raises(EvaluationError, match="up to the year 9998"):
        day_starts((1 << 48) - 1, 1 << 48, BERLIN)


# --- The seam -----------------------------------------------------------------------------------


@settings(deadline=None)
@given(_columns(2), _columns(2), st.floats(0, 1))
def test_a_divided_period_gives_the_same_away_from_the_seam(
    power: Column, voltage: Column, where: float
) -> None:
    columns = {"power": power, "voltage": voltage}
    times = Axis.of(columns, columns).times
    seam = int(times[0]) + int(where * int(times[-1] - times[0]))
    reach = 2 * reach_ms(STEP)
    for text in (
        "power / voltage",
        "if(power > 0, power, previous(power))",
        "delta(power) + power * rate(voltage) / (1 V / 1 s)",
    ):
        whole = Formula.parse(text, UNITS).evaluate(columns)
        for before in (True, False):
            part = {}
            for name, each in columns.items():
                kept = (each.times < seam) == before
                part[name] = column_of(each.times[kept], each.values[kept], STEP)
            found = Formula.parse(text, UNITS).evaluate(part)
            away = np.abs(found.times - seam) > reach
            same = np.isin(whole.times, found.times[away])
            np.testing.assert_array_equal(found.values[away], whole.values[same])


@settings(deadline=None)
@given(_columns(2), st.integers(1, 30))
def test_energy_of_a_period_is_the_sum_of_its_parts(power: Column, cut: int) -> None:
    cut = min(cut, len(power.times) - 1)
    formula = Formula.parse("integral(power)", UNITS)
    whole = formula.evaluate({"power": power}).values
    # The part that ends at the seam knows by its last reading how long the one before held.
    first = formula.evaluate(
        {"power": column_of(power.times[: cut + 1], power.values[: cut + 1], STEP)}
    ).values
    assert first[:cut].tolist() == whole[:cut].tolist()
    later = power.times > power.times[cut] + reach_ms(STEP)
    if later.sum() > 1:
        second = formula.evaluate(
            {"power": column_of(power.times[cut:], power.values[cut:], STEP)}
        ).values
        tail = later[cut:]
        np.testing.assert_allclose(
            np.diff(second[tail]), np.diff(whole[later]), rtol=1e-9, atol=1e-9
        )


def test_the_quarter_of_the_rollups_is_the_day_of_the_formula_in_small() -> None:
    # Four quarters of a day: what `today` says at the end of each is the sum of the roll-ups.
    midnight = BEGIN - BEGIN % 86_400_000
    times = midnight + STEP * np.arange(4 * QUARTER_MS // STEP, dtype=np.int64)
    raw = (np.arange(len(times)) % 977).astype(np.int64)
    series = Series(7, 0, Decimal(1), Kind.POWER, STEP)
    quarters = roll(
        samples_of([(7, [(1, Block(times, (0,), raw[None, :]))])], {(7, 0): 0}), [series]
    )
    result = _evaluate("today(power)", power=column_of(times, raw.astype(float), STEP))
    ends = np.searchsorted(times, midnight + QUARTER_MS * np.arange(1, 4))
    np.testing.assert_allclose(result.values[ends], np.cumsum(quarters.energy)[:3], rtol=1e-12)
