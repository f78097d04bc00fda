"""Periods, curves and their thinning: the engine against the rules written out in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.simulator.recordings import read_recording
from devices.telemetry.periods import Reason, Resolution, chosen, edges
from devices.telemetry.rollup import QUARTER_MS, Quarters
from devices.telemetry.rollup_samples import Kind, Series
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.series import LEAST_POINTS, Curve, curve_of, put_together, thinned
from devices.tests.test_recordings import DATA, NEEDS_DATA

# Whole, half and quarter hours; clocks set by half an hour, at midnight, and over a whole day.
ZONES = (
    "UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe",
    "Asia/Beirut", "America/Havana", "America/Sao_Paulo", "Pacific/Apia", "Africa/Casablanca",
)  # fmt: skip
PERIODS = (Resolution.QUARTER, Resolution.HOUR, Resolution.DAY, Resolution.MONTH)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def _since(day: str) -> int:
    """Quarters of an hour from the beginning of 2008 to that of a day, UTC."""
    return (_ms(f"{day}T00:00Z") - _ms("2008-01-01T00:00Z")) // QUARTER_MS


def _local(at_ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))


# What stays the same within a period, and changes with the next one.
_SAME: dict[Resolution, Callable[[datetime], object]] = {
    Resolution.HOUR: lambda clock: (clock.date(), clock.hour, clock.utcoffset()),
    Resolution.DAY: lambda clock: clock.date(),
    Resolution.MONTH: lambda clock: (clock.year, clock.month),
}


def _plain_edges(resolution: Resolution, start: int, end: int, zone: str) -> list[int]:
    quarters = range(start, end, QUARTER_MS)
    if resolution is Resolution.QUARTER:
        return [*quarters, end]
    groups = groupby(quarters, lambda at: _SAME[resolution](_local(at, zone)))
    return [*(next(iter(group)) for _, group in groups), end]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(PERIODS),
    st.sampled_from(ZONES),
    st.integers(0, 20 * 365 * 96),
    st.integers(1, 40 * 96),
)
@example(
    Resolution.HOUR,
    "Europe/Berlin",
    _since("2026-03-28"),
    300,
)
@example(
    Resolution.HOUR,
    "Australia/Lord_Howe",
    _since("2026-04-03"),
    300,
)
@example(
    Resolution.HOUR,
    "Australia/Lord_Howe",
    _since("2026-10-02"),
    300,
)
@example(
    Resolution.DAY,
    "Pacific/Apia",
    _since("2011-12-28"),
    500,
)
@example(
    Resolution.DAY,
    "America/Sao_Paulo",
    _since("2018-11-01"),
    500,
)
def test_edges_are_where_the_local_calendar_changes(
    resolution: Resolution, zone: str, first: int, count: int
) -> None:
    start = _ms("2008-01-01T00:00Z") + first * QUARTER_MS
    end = start + count * QUARTER_MS
    found = edges(resolution, start, end, ZoneInfo(zone))
    assert found.tolist() == _plain_edges(resolution, start, end, zone)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 6, 1), 24),
        ("Asia/Kolkata", date(2026, 3, 29), 24),
        ("Australia/Lord_Howe", date(2026, 4, 5), 25),  # 24 h 30 min: one hour is a half
    ],
)
def test_days_have_as_many_hours_as_their_clock_shows(zone: str, day: date, hours: int) -> None:
    start, end = (
        int(datetime.combine(at, datetime.min.time(), ZoneInfo(zone)).timestamp()) * 1000
        for at in (day, day + timedelta(days=1))
    )
    assert len(edges(Resolution.HOUR, start, end, ZoneInfo(zone))) == hours + 1
    assert edges(Resolution.DAY, start, end, ZoneInfo(zone)).tolist() == [start, end]


def test_readings_have_no_periods() -> None:
    with pytest.raises(ValueError, match="raw has no periods"):
        edges(Resolution.RAW, 0, QUARTER_MS, ZoneInfo("UTC"))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(ZONES), st.integers(0, 96), st.integers(1, 400 * 96), st.integers(1, 3_000),
    st.booleans(),
)  # fmt: skip
def test_auto_is_the_coarsest_that_gives_the_points(
    zone: str, first: int, count: int, points: int, raw_is_quick: bool
) -> None:
    start = _ms("2025-06-01T00:00Z") + first * QUARTER_MS
    end = start + count * QUARTER_MS
    found, reason = chosen(start, end, ZoneInfo(zone), points=points, raw_is_quick=raw_is_quick)
    periods = {one: len(edges(one, start, end, ZoneInfo(zone))) - 1 for one in PERIODS}
    enough = [one for one in PERIODS if periods[one] >= points]
    if enough:
        assert (found, reason) == (enough[-1], Reason.ENOUGH_POINTS)
    elif raw_is_quick:
        assert (found, reason) == (Resolution.RAW, Reason.SHORT)
    else:
        assert (found, reason) == (Resolution.QUARTER, Reason.TOO_LONG_FOR_RAW)


# --- Periods from quarters ------------------------------------------------------------------------


@st.composite
def _quarters(draw: st.DrawFn) -> tuple[Quarters, int, int]:
    """Quarters of one channel with gaps, some into which only an earlier reading holds."""
    start = _ms("2026-03-01T00:00Z") + draw(st.integers(0, 32 * 96)) * QUARTER_MS
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 5, 97, 700]), max_size=60))
    starts = start + np.cumsum([draw(st.integers(0, 3)), *steps]) * QUARTER_MS
    count = len(starts)
    end = int(starts[-1]) + draw(st.integers(1, 3)) * QUARTER_MS
    value = st.floats(-1e5, 1e5)
    n = np.array(draw(st.lists(st.integers(0, 450), min_size=count, max_size=count)), np.int64)
    rows = draw(st.lists(st.tuples(*[value] * 6), min_size=count, max_size=count))
    columns = [np.array(column, float) for column in zip(*rows, strict=True)]
    for column in (columns[0], columns[1], columns[3], columns[4]):
        column[n == 0] = np.nan
    if draw(st.booleans()):
        columns[5][:] = np.nan  # no energy
    coverage = np.array(draw(st.lists(st.floats(0.001, 1), min_size=count, max_size=count)))
    minimum, maximum, mean, first_, last, energy = columns
    quarters = Quarters(
        np.zeros(count, np.int64), starts, n, minimum, maximum, mean, first_, last, energy,
        np.abs(energy), coverage,
    )  # fmt: skip
    return quarters, start, end


def _or_nan(values: list[float], of: Callable[[list[float]], float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return of(known) if known else math.nan


@settings(max_examples=200, deadline=None)
@given(_quarters(), st.sampled_from(PERIODS), st.sampled_from(ZONES))
def test_periods_equal_the_rules_in_plain_python(
    given_: tuple[Quarters, int, int], resolution: Resolution, zone: str
) -> None:
    quarters, start, end = given_
    borders = edges(resolution, start, end, ZoneInfo(zone))
    found = put_together(quarters, borders)
    rows: dict[int, list[int]] = defaultdict(list)
    for at, begin in enumerate(quarters.starts.tolist()):
        (period,) = (
            place
            for place in range(len(borders) - 1)
            if borders[place] <= begin < borders[place + 1]
        )
        rows[period].append(at)
    assert found.starts.tolist() == [borders[period] for period in rows]
    assert found.ends.tolist() == [borders[period + 1] for period in rows]
    before = [None, *rows][:-1]
    for at, (period, members) in enumerate(rows.items()):
        of = {
            name: [float(getattr(quarters, name)[member]) for member in members]
            for name in Quarters.__slots__
        }
        held = math.fsum(of["coverage"])
        weighted = math.fsum(
            mean * part for mean, part in zip(of["mean"], of["coverage"], strict=True)
        )
        length = (borders[period + 1] - borders[period]) / QUARTER_MS
        expected = {
            "n": sum(of["n"]),
            "minimum": _or_nan(of["minimum"], min),
            "maximum": _or_nan(of["maximum"], max),
            "mean": weighted / held,
            "first": _or_nan(of["first"], lambda known: known[0]),
            "last": _or_nan(of["last"], lambda known: known[-1]),
            "energy": _or_nan(of["energy"], math.fsum),
            "returned": _or_nan(of["returned"], math.fsum),
            "coverage": held / length,
            "gap_before": at > 0 and before[at] != period - 1,
        }
        for name, value in expected.items():
            assert getattr(found, name)[at] == pytest.approx(
                value, rel=1e-9, abs=1e-5, nan_ok=True
            ), name


@settings(max_examples=100, deadline=None)
@given(_quarters(), st.sampled_from(ZONES), st.data())
def test_energy_of_a_period_is_the_sum_of_its_parts(
    given_: tuple[Quarters, int, int], zone: str, data: st.DataObject
) -> None:
    quarters, start, end = given_
    cut = start + data.draw(st.integers(1, (end - start) // QUARTER_MS)) * QUARTER_MS
    whole = float(np.nansum(quarters.energy))
    for resolution in PERIODS:
        parts = 0.0
        for begin, finish in ((start, cut), (cut, end)):
            if begin < finish:
                some = quarters.only((quarters.starts >= begin) & (quarters.starts < finish))
                borders = edges(resolution, begin, finish, ZoneInfo(zone))
                parts += float(np.nansum(put_together(some, borders).energy))
        assert parts == pytest.approx(whole, rel=1e-9, abs=1e-3)


def test_no_quarters_are_no_periods() -> None:
    integers, floats = np.empty(0, np.int64), np.empty(0)
    nothing = Quarters(integers, integers, integers, *([floats] * 8))
    found = put_together(nothing, np.array([0, HOUR_MS]))
    assert (found.starts.tolist(), found.gap_before.tolist()) == ([], [])


# --- Curves ---------------------------------------------------------------------------------------


def _series(step_ms: int = 2_000) -> Series:
    return Series(7, 0, Decimal("0.1"), Kind.POWER, step_ms)


def _readings(times: list[int], raw: list[int]) -> Readings:
    at = np.array(times, np.int64)
    return Readings(at, at // 1000, np.array(raw, np.int64))


def test_a_curve_has_gaps_where_a_rollup_has() -> None:
    times = [0, 2_000, 4_000, 8_000, 10_000, 70_000, 72_000, 132_001]
    curve = curve_of(_readings(times, [2301, 1, 2, 3, 4, 5, 6, 7]), _series())
    assert curve.values.tolist() == [230.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert curve.gap_before.tolist() == [False, False, False, False, False, True, False, True]


def test_a_device_that_samples_slowly_has_no_gaps() -> None:
    times = list(range(0, 600_000, 60_000))
    assert not curve_of(_readings(times, times), _series()).gap_before.any()


@st.composite
def _curves(draw: st.DrawFn) -> Curve:
    """Hundreds of readings with steps, plateaus and gaps of all lengths."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 400))
    random = np.random.default_rng(seed)
    often = draw(st.sampled_from([0.0, 0.01, 0.3]))
    gaps = random.random(count) < often
    steps = np.where(gaps, random.integers(60_000, 10_000_000, count), 2_000)
    raw = random.integers(-50, 50, count).cumsum() * draw(st.sampled_from([0, 1, 1_000_000]))
    return curve_of(_readings(np.cumsum(steps).tolist(), raw.tolist()), _series())


@settings(max_examples=300, deadline=None)
@given(_curves(), st.integers(LEAST_POINTS, 120))
def test_a_thinned_curve_keeps_ends_extremes_and_gaps(curve: Curve, points: int) -> None:
    thin = thinned(curve, points)
    assert 1 <= len(thin.times) <= points
    assert (np.diff(thin.times) > 0).all()
    # Every point is one that was measured.
    rows = np.searchsorted(curve.times, thin.times)
    assert curve.times[rows].tolist() == thin.times.tolist()
    assert curve.values[rows].tolist() == thin.values.tolist()
    assert (rows[0], rows[-1]) == (0, len(curve.times) - 1)
    assert thin.values.min() == curve.values.min()
    assert thin.values.max() == curve.values.max()
    # Two points are joined where all between them are, and nowhere else.
    joined = [
        not curve.gap_before[before + 1 : after + 1].any()
        for before, after in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
    ]
    assert (~thin.gap_before[1:]).tolist() == joined
    # The longest gap keeps its edges.
    if curve.gap_before.any():
        at = max(
            np.flatnonzero(curve.gap_before),
            key=lambda row: curve.times[row] - curve.times[row - 1],
        )
        lengths = np.diff(thin.times)[thin.gap_before[1:]]
        assert curve.times[at] - curve.times[at - 1] in lengths.tolist()


def test_a_short_curve_stays_as_it_is() -> None:
    curve = curve_of(_readings([0, 2_000], [1, 2]), _series())
    assert thinned(curve, LEAST_POINTS) is curve


@NEEDS_DATA
def test_a_recorded_day_in_200_points_keeps_its_extremes_and_gaps() -> None:
    (device,) = read_recording(DATA / "house-ukdale-h1-6s/day-2013-02-09-19ch.csv.gz")
    for group in device.groups:
        once = np.append(np.diff(group.times) > 0, True)
        readings = _readings(group.times[once].tolist(), group.values[0][once].tolist())
        curve = curve_of(readings, _series(device.step_ms))
        thin = thinned(curve, 200)
        assert min(150, len(curve.times)) <= len(thin.times) <= 200
        assert (thin.values.min(), thin.values.max()) == (curve.values.min(), curve.values.max())
        assert thin.gap_before.any() == curve.gap_before.any()
