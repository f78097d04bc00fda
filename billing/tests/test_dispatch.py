"""Batteries and photovoltaics move energy and make none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.dispatch.battery import (
    Battery,
    BatteryError,
    lowest_peak,
    with_battery,
    with_generation,
)
from billing.dispatch.solar import PERFORMANCE_RATIO, Photovoltaics, SolarError, generation
from billing.tariffs.values import MILLIWH_PER_KWH, Usage, UsageError

_KWH = MILLIWH_PER_KWH
_BATTERY = Battery(capacity_kwh=2, power_kw=4, efficiency=0.5)


def _usage(drawn: Sequence[float], given_away: Sequence[float] | None = None) -> Usage:
    starts = np.arange(len(drawn), dtype=np.int64) * 900
    exported = np.array(given_away or [0.0] * len(drawn)) * _KWH
    return Usage.of(
        900, starts, (np.array(drawn) * _KWH).astype(np.int64), exported.astype(np.int64)
    )


def _kwh(column: np.ndarray) -> list[float]:
    return [float(value) / _KWH for value in column]


def test_a_battery_takes_what_would_be_given_away_and_gives_it_back() -> None:
    # 4 kW are 1 kWh a quarter; half of what is loaded is lost; 2 kWh are full.
    done = with_battery(_usage([0] * 6 + [0.5, 3, 3], [3] * 6 + [0] * 3), _BATTERY)
    assert _kwh(done.usage.exported) == [2, 2, 2, 2, 3, 3, 0, 0, 0]
    assert _kwh(done.usage.imported) == [0, 0, 0, 0, 0, 0, 0, 2, 2.5]
    assert (done.loaded, done.unloaded, done.lost, done.left) == (4 * _KWH, 2 * _KWH, 2 * _KWH, 0)


def test_a_battery_keeps_a_peak_down_and_loads_below_it() -> None:
    battery = Battery(capacity_kwh=2, power_kw=4, efficiency=1, peak_kw=4)
    done = with_battery(_usage([0.5, 0.5, 1.5, 1.5, 1.0]), battery)
    assert _kwh(done.usage.imported) == [1, 1, 1, 1, 1]
    assert done.left == 0


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=60),
    st.floats(0, 20),
    st.floats(0, 20),
    st.floats(0.1, 1),
    st.none() | st.floats(0, 20),
)
def test_no_energy_is_made(
    intervals: list[tuple[int, int]],
    capacity: float,
    power: float,
    efficiency: float,
    peak: float | None,
) -> None:
    drawn, given_away = [one[0] / 1000 for one in intervals], [one[1] / 1000 for one in intervals]
    usage = _usage(drawn, given_away)
    done = with_battery(usage, Battery(capacity, power, efficiency, peak))
    before = int(usage.imported.sum() - usage.exported.sum())
    after = int(done.usage.imported.sum() - done.usage.exported.sum())
    assert after - before == done.loaded - done.unloaded == done.lost + done.left
    assert min(done.loaded, done.unloaded, done.lost, done.left) >= 0
    assert done.left <= round(capacity * _KWH)
    assert (done.usage.imported >= 0).all()
    assert (done.usage.exported >= 0).all()
    assert (done.usage.exported <= usage.exported).all()
    if peak is not None:
        limit = np.maximum(usage.imported, round(peak * _KWH / 4))
        assert (done.usage.imported <= limit).all()


def test_the_lowest_peak_is_one_that_the_battery_can_keep() -> None:
    usage = _usage([0, 0, 0, 0, 2, 2, 0, 0])
    battery = Battery(capacity_kwh=2, power_kw=100, efficiency=1)
    lowest = lowest_peak(usage, battery)
    # 4 kWh in two quarters, 2 kWh of them from the battery: 4 kW remain of 8.
    assert lowest == pytest.approx(4, abs=0.08)
    assert lowest_peak(_usage([]), battery) == 0


def test_panels_cover_what_is_drawn_and_give_the_rest_away() -> None:
    done = with_generation(
        _usage([1, 1, 0], [0, 0.5, 0]), np.array([_KWH // 2, 2 * _KWH, _KWH], np.int64)
    )
    assert _kwh(done.imported) == [0.5, 0, 0]
    assert _kwh(done.exported) == [0, 1.5, 1]
    with pytest.raises(UsageError, match="2 values of generation for 1 intervals"):
        with_generation(_usage([1]), np.zeros(2, np.int64))


def test_panels_follow_the_sun() -> None:
    start = int(datetime(2025, 6, 21, tzinfo=UTC).timestamp())
    starts = start + np.arange(96, dtype=np.int64) * 900
    south = generation(Photovoltaics(10, 48.2, 16.4), starts, 900)
    east = generation(Photovoltaics(10, 48.2, 16.4, azimuth=90), starts, 900)
    none = generation(Photovoltaics(0, 48.2, 16.4), starts, 900)
    assert south[:8].sum() == 0  # night
    # The sun stands in the south at 16.4° east at 10:56 UTC (equation of time: -2 min).
    noon = float((south * starts).sum() / south.sum()) + 450 - start
    assert abs(noon / 3600 - 10.93) < 0.1
    assert int(east.argmax()) < int(south.argmax())
    assert none.sum() == 0
    assert generation(Photovoltaics(10, 48.2, 16.4), starts[:0], 900).tolist() == []
    # No interval gives more than the panels can under a sun of 1.2 kW/m².
    assert south.max() < 10 * 1.2 * PERFORMANCE_RATIO * _KWH / 4


def test_a_year_gives_what_such_panels_give() -> None:
    starts = np.arange(1704067200, 1704067200 + 35136 * 900, 900, dtype=np.int64)
    kwh = generation(Photovoltaics(1, 48.2, 16.4), starts, 900).sum() / _KWH
    assert 950 < kwh < 1200  # Vienna: PVGIS tells about 1 100 for 30° south


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Battery(-1, 1), "the capacity is -1: give a number from 0 to 1e+06"),
        (lambda: Battery(1, 1, 1.5), "the efficiency is 1.5: give a number from 0.1 to 1"),
        (lambda: Photovoltaics(1, 91, 0), "the latitude is 91: give a number from -90 to 90"),
    ],
)
def test_what_cannot_be_is_refused(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises((BatteryError, SolarError)) as refused:
        make()
    assert str(refused.value) == sentence
