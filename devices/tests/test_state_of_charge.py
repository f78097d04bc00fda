"""The state of charge: its rules, and recordings of batteries whose own gauges were recorded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.benchmarks import formulas as bench
from devices.formulas import Formula, column_of
from devices.formulas.state_of_charge import CHEMISTRIES, REST_MS, Battery, state_of_charge
from devices.tests.test_recordings import DATA, NEEDS_DATA

BEGIN = 1_774_745_700_000
MINUTE = 60_000
UNITS = {"current": "A", "voltage": "V"}


def _soc(
    current: list[float], voltage: list[float], battery: Battery, step_ms: int = MINUTE
) -> list[float]:
    times = BEGIN + step_ms * np.arange(len(current), dtype=np.int64)
    found = state_of_charge(times, times + step_ms, np.array(current), np.array(voltage), battery)
    return [float(value) for value in found]


def test_charge_is_counted() -> None:
    # 10 A out of 100 Ah is 10 % an hour.
    found = _soc([-10.0] * 121, [12.0] * 121, Battery(100, 6, start=80))
    assert found[0] == 80
    assert found[60] == pytest.approx(70)
    assert found[120] == pytest.approx(60)


def test_what_flows_in_counts_by_its_efficiency_alone() -> None:
    battery = Battery(100, 6, start=50, efficiency=0.9)
    assert _soc([10.0] * 61, [13.0] * 61, battery)[-1] == pytest.approx(59)
    assert _soc([-10.0] * 61, [12.0] * 61, battery)[-1] == pytest.approx(40)


@pytest.mark.parametrize("chemistry", CHEMISTRIES)
def test_the_voltage_at_rest_tells_the_state(chemistry: str) -> None:
    battery = Battery(100, 4, chemistry)
    table = CHEMISTRIES[chemistry]
    assert list(table) == sorted(set(table))
    for tenth, cell in enumerate(table):
        found = _soc([0.0] * 61, [4 * cell] * 61, battery)
        assert all(math.isnan(value) for value in found[:60])
        assert found[60] == pytest.approx(10 * tenth)
    assert battery.at_rest(np.array([0.0, 99.0, math.nan]))[:2].tolist() == [0, 100]


def test_a_curve_of_the_battery_itself_comes_first() -> None:
    battery = Battery(100, 6, curve=((1.9, 0.0), (2.1, 100.0)))
    assert _soc([0.0] * 61, [12.0] * 61, battery)[-1] == pytest.approx(50)


def test_rest_corrects_gently_and_only_after_an_hour() -> None:
    half = 6 * CHEMISTRIES["lead_acid"][5]
    found = _soc([0.0] * 301, [half] * 301, Battery(100, 6, start=90))
    assert found[59] == 90
    assert found[59] > found[60] > found[61] > 50
    assert found[119] == pytest.approx(50 + 40 * math.exp(-1))
    assert found[300] == pytest.approx(50, abs=1)


def test_current_or_a_gap_ends_the_rest() -> None:
    half = 6 * CHEMISTRIES["lead_acid"][5]
    current = [0.0] * 50 + [-5.0] + [0.0] * 60
    assert all(math.isnan(value) for value in _soc(current, [half] * 111, Battery(100, 6)))


def test_after_an_hour_without_current_it_is_unknown_until_the_next_rest() -> None:
    half = 6 * CHEMISTRIES["lead_acid"][5]
    current = [-10.0] * 10 + [math.nan] * 70 + [-10.0] * 10 + [0.0] * 61
    found = _soc(current, [half] * len(current), Battery(100, 6, start=80))
    assert not any(math.isnan(value) for value in found[:70])
    assert all(math.isnan(value) for value in found[71:150])
    assert found[150] == pytest.approx(50)
    # A short one costs what flowed in it, and no more.
    current = [-10.0] * 10 + [math.nan] * 30 + [-10.0] * 10
    found = _soc(current, [half] * 50, Battery(100, 6, start=80))
    assert found[-1] == pytest.approx(80 - 19 / 6)


_currents = st.lists(st.floats(-300, 300) | st.just(0.0) | st.just(math.nan), max_size=150)


@settings(deadline=None)
@given(
    _currents,
    st.floats(0, 60) | st.just(math.nan),
    st.floats(1, 1_000),
    st.none() | st.floats(0, 100),
    st.sampled_from(sorted(CHEMISTRIES)),
)
def test_it_lies_within_its_bounds_and_follows_the_sign(
    current: list[float], voltage: float, capacity: float, start: float | None, chemistry: str
) -> None:
    battery = Battery(capacity, 6, chemistry, start)
    found = _soc(current, [voltage] * len(current), battery)
    assert all(math.isnan(value) or 0 <= value <= 100 for value in found)
    if start is None and len(current) * MINUTE <= REST_MS:
        assert all(math.isnan(value) for value in found)
    for index in range(1, min(len(found), REST_MS // MINUTE)):
        flow = current[index - 1]
        if start is not None and flow == flow:
            change = found[index] - found[index - 1]
            assert change == 0 or (change > 0) == (flow > 0)


@settings(deadline=None)
@given(_currents, st.integers(1, 20))
def test_it_depends_on_current_by_capacity_alone(current: list[float], factor: int) -> None:
    voltage = [12.2] * len(current)
    one = _soc(current, voltage, Battery(100, 6, start=50))
    many = _soc([value * factor for value in current], voltage, Battery(100 * factor, 6, start=50))
    np.testing.assert_allclose(many, one, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_the_formula_takes_units_and_its_own_axes() -> None:
    units = {"current": "mA", "voltage": "V"}
    formula = Formula.parse(
        "state_of_charge(current, voltage, capacity=10000 mAh, cells=6, start=50 %)",
        units,
    )
    times = BEGIN + MINUTE * np.arange(31)
    columns = {
        "current": column_of(times, np.full(31, -1_000.0), MINUTE),
        "voltage": column_of(times[::3] + 500, np.full(11, 12.1), 3 * MINUTE),
    }
    result = formula.evaluate(columns)
    assert len(result.times) == 42
    assert formula.unit == "%"
    assert result.values[-2] == pytest.approx(45, abs=0.2)


# --- Recordings ---------------------------------------------------------------------------------


@NEEDS_DATA
def test_the_consumed_charge_of_a_battery_monitor_is_counted_again() -> None:
    found = bench.monitor_error(DATA)
    # The monitor shows what it counted in steps of a milliampere-hour, of 59 in all.
    assert found["rows"] == 1_483
    assert found["monitor_ah"] == 0.059
    assert found["mean_error_ah"] < 0.01
    assert found["mean_error_percent"] < 0.02


@NEEDS_DATA
def test_a_controller_that_reads_voltage_is_followed_at_rest_by_its_own_curve() -> None:
    found = bench.controller_error(DATA)
    assert found["rows"] == 384
    # Learnt from the other recording: at night both read the same voltage.
    assert found["mean_error_at_rest_own_curve"] < 2.5
    # By the table of flooded cells the same voltages mean far more: the battery is another kind.
    assert found["mean_error_own_curve"] < found["mean_error_lead_acid"]
