"""Estimates: nothing measured is touched, registers are agreed with, and guesses are refused."""

from __future__ import annotations

import gzip
import os
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.telemetry.estimates import (
    COMPLETE,
    HISTORY_MS,
    LEAST_DAYS,
    Estimates,
    Measured,
    Method,
    Refusal,
    by_period,
    estimate,
    register_counted,
)
from devices.telemetry.rollup import QUARTER_MS, Quarters

DATA = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")
VIENNA = ZoneInfo("Europe/Vienna")
# A Monday, midnight in Vienna.
START = int(datetime(2026, 2, 2, tzinfo=VIENNA).timestamp()) * 1000
DAY_MS = 86_400_000


def _measured(
    start_ms: int, energy: list[float] | np.ndarray, coverage: np.ndarray | None = None
) -> Measured:
    starts = start_ms + np.arange(len(energy), dtype=np.int64) * QUARTER_MS
    whole = np.ones(len(energy)) if coverage is None else coverage
    known = whole > 0
    return Measured(starts[known], np.asarray(energy, float)[known], whole[known])


def _weeks(days: int, wh_of_hour: list[float] | None = None) -> list[float]:
    """Days of four quarters an hour, each as many Wh as the hour says."""
    hours = wh_of_hour or [100.0 + hour for hour in range(24)]
    return [hours[quarter // 4 % 24] for quarter in range(96 * days)]


@st.composite
def _holed(draw: st.DrawFn) -> tuple[Measured, int, int]:
    """Four weeks and a few days of energy of which anything may be missing."""
    count = 96 * draw(st.integers(1, 31))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    energy = generator.normal(100, 80, count)
    coverage = np.ones(count)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, count - 1))
        length = draw(st.sampled_from([1, 3, 7, 8, 9, 40, 200]))
        coverage[at : at + length] = draw(st.sampled_from([0.0, 0.0, 0.3, 0.98]))
    first = draw(st.integers(0, count - 1))
    last = draw(st.integers(first + 1, count))
    return (
        _measured(START, energy * coverage, coverage),
        START + first * QUARTER_MS,
        START + last * QUARTER_MS,
    )


@given(_holed())
def test_exactly_what_is_missing_is_estimated_or_refused(case: tuple[Measured, int, int]) -> None:
    """Written out plainly: each quarter in the period is complete, in an estimated gap, or in one
    that says why it is not.
    """
    measured, start, end = case
    found = estimate(measured, start, end, VIENNA)
    coverage = dict(zip(measured.starts.tolist(), measured.coverage.tolist(), strict=True))
    estimated = dict(zip(found.starts.tolist(), found.share.tolist(), strict=True))
    for quarter in range(start, end, QUARTER_MS):
        (*gaps,) = [gap for gap in found.gaps if gap.start_ms <= quarter < gap.end_ms]
        if coverage.get(quarter, 0.0) >= COMPLETE:
            assert (gaps, quarter in estimated) == ([], False)
            continue
        (gap,) = gaps
        assert (gap.method is None) == (gap.reason is not None) == (quarter not in estimated)
        if gap.method is not None:
            assert estimated[quarter] == pytest.approx(1 - coverage.get(quarter, 0.0))
    assert sum(gap.wh for gap in found.gaps) == pytest.approx(found.wh.sum())
    assert np.isfinite(found.wh).all()


@given(_holed(), st.floats(-1e6, 1e6))
def test_the_sum_of_a_gap_is_what_its_register_counted(
    case: tuple[Measured, int, int], counted: float
) -> None:
    measured, start, end = case
    found = estimate(measured, start, end, VIENNA, counted=lambda *_: counted)
    for gap in found.gaps:
        inside = (found.starts >= gap.start_ms) & (found.starts < gap.end_ms)
        assert (gap.scaled, gap.reason) == (True, None)
        assert found.wh[inside].sum() == pytest.approx(counted, rel=1e-6, abs=1e-6)


@given(_holed(), st.data())
def test_what_comes_after_a_gap_changes_it_by_its_neighbour_alone(
    case: tuple[Measured, int, int], data: st.DataObject
) -> None:
    measured, start, end = case
    found = estimate(measured, start, end, VIENNA)
    if not found.gaps:
        return
    gap = data.draw(st.sampled_from(found.gaps))
    known = measured.starts <= gap.end_ms
    earlier = Measured(*(getattr(measured, name)[known] for name in measured.__slots__))
    alone = estimate(earlier, gap.start_ms, gap.end_ms, VIENNA)
    assert alone.gaps == (gap,)


@given(_holed(), st.lists(st.integers(1, 400), max_size=5))
def test_periods_add_up(case: tuple[Measured, int, int], cuts: list[int]) -> None:
    measured, start, end = case
    found = estimate(measured, start, end, VIENNA)
    inner = {start + cut * QUARTER_MS for cut in cuts if start + cut * QUARTER_MS < end}
    edges = np.array(sorted({start, *inner, end}), np.int64)
    periods = by_period(found, edges)
    assert periods.wh.sum() == pytest.approx(found.wh.sum())
    hours = (periods.ends - periods.starts) / 3_600_000
    assert (periods.share * hours).sum() == pytest.approx(found.share.sum() / 4)
    assert ((periods.share > 0) & (periods.share <= 1)).all()


def _gap(days: int, at: int, length: int, *, history: int | None = None) -> Estimates:
    """What is estimated of `length` quarters that are missing of the last of some days."""
    energy = _weeks(days)
    coverage = np.ones(len(energy))
    first = 96 * (days - 1) + at
    coverage[first : first + length] = 0
    if history is not None:
        coverage[: 96 * (days - 1 - history)] = 0
    start = START + first * QUARTER_MS
    measured = _measured(START, energy, coverage)
    return estimate(measured, start, start + length * QUARTER_MS, VIENNA)


def test_up_to_two_hours_are_interpolated() -> None:
    found = _gap(3, at=40, length=8)  # 10:00 to 12:00, between 109 and 112
    assert found.wh.tolist() == pytest.approx([109 + 3 * step / 9 for step in range(1, 9)])
    assert [gap.method for gap in found.gaps] == [Method.INTERPOLATED]


def test_longer_gaps_are_those_of_like_days() -> None:
    found = _gap(15, at=40, length=9)  # a Monday, after ten working days
    assert [gap.method for gap in found.gaps] == [Method.LIKE_DAYS]
    assert found.wh.tolist() == pytest.approx([110.0] * 4 + [111.0] * 4 + [112.0])


@pytest.mark.parametrize(("history", "method"), [(LEAST_DAYS, Method.LIKE_DAYS), (1, None)])
def test_with_too_little_history_nothing_is_estimated(history: int, method: Method | None) -> None:
    found = _gap(5, at=40, length=9, history=history)  # a Friday
    (gap,) = found.gaps
    assert gap.method is method
    assert gap.reason is (None if method else Refusal.TOO_LITTLE_HISTORY)
    assert len(found.wh) == (9 if method else 0)


def test_a_short_gap_without_an_end_needs_like_days() -> None:
    energy = _weeks(1)
    found = estimate(_measured(START, energy), START + DAY_MS, START + DAY_MS + QUARTER_MS, VIENNA)
    assert [gap.reason for gap in found.gaps] == [Refusal.TOO_LITTLE_HISTORY]


def test_saturdays_sundays_and_holidays_are_days_of_their_own() -> None:
    kinds = [10.0] * 5 + [50.0, 90.0]
    energy = [wh for _ in range(4) for wh in kinds for _ in range(96)]
    measured = _measured(START, energy)
    end = START + 28 * DAY_MS
    for day, expected in ((0, 10.0), (5, 50.0), (6, 90.0)):
        missing = (end + day * DAY_MS, end + (day + 1) * DAY_MS)
        found = estimate(measured, *missing, VIENNA)
        assert found.wh.tolist() == [expected] * 96
    holiday = (datetime(2026, 2, 2, tzinfo=VIENNA) + timedelta(days=28)).date()
    found = estimate(measured, end, end + DAY_MS, VIENNA, holidays=[holiday])
    assert found.wh.tolist() == [90.0] * 96
    assert holiday == date(2026, 3, 2)


def test_like_days_follow_the_clock_when_it_is_set() -> None:
    """The day of 23 hours in March: eight o'clock stays eight o'clock."""
    start = int(datetime(2026, 3, 2, tzinfo=VIENNA).timestamp()) * 1000
    hours = [0.0] * 8 + [400.0] + [0.0] * 15
    energy = _weeks(27, hours)[: 27 * 96]  # until Saturday night
    summer = int(datetime(2026, 3, 30, tzinfo=VIENNA).timestamp()) * 1000  # a Monday
    found = estimate(_measured(start, energy), summer, summer + DAY_MS, VIENNA)
    eight = datetime(2026, 3, 30, 8, tzinfo=VIENNA)
    at = found.starts == int(eight.timestamp()) * 1000
    assert found.wh[at].tolist() == [400.0]
    assert found.wh.sum() == 1600.0


def _register(reads: dict[int, tuple[float, float, float]]) -> Quarters:
    """Quarters by their number: first, last, energy."""
    starts = np.array([number * QUARTER_MS for number in reads], np.int64)
    first, last, energy = (np.array(column, float) for column in zip(*reads.values(), strict=True))
    zeros, ones = np.zeros(len(reads)), np.ones(len(reads))
    count = np.full(len(reads), 2, np.int64)
    return Quarters(
        np.zeros(len(reads), np.int64), starts, count, first, last, first, first, last, energy,
        zeros, ones,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((1150.0, 1200.0, 50.0), 50.0),  # 150 counted, 100 of it between
        ((90.0, 95.0, 5.0), None),  # set anew
        ((1050.0, 1051.0, 1.0), None),  # less than was measured between
    ],
)
def test_a_register_tells_what_was_not_measured(
    after: tuple[float, float, float], expected: float | None
) -> None:
    quarters = _register({4: (900.0, 1000.0, 100.0), 6: (1020.0, 1120.0, 100.0), 8: after})
    counted = register_counted(quarters, 1e6)
    assert counted(5 * QUARTER_MS, 8 * QUARTER_MS) == expected
    assert counted(1 * QUARTER_MS, 3 * QUARTER_MS) is None
    assert counted(9 * QUARTER_MS, 12 * QUARTER_MS) is None


def test_a_register_that_rolls_over_in_a_gap_is_followed() -> None:
    quarters = _register({4: (99_900.0, 99_990.0, 90.0), 8: (30.0, 40.0, 10.0)})
    assert register_counted(quarters, 100_000.0)(5 * QUARTER_MS, 8 * QUARTER_MS) == 40.0
    assert register_counted(quarters, 1e9)(5 * QUARTER_MS, 8 * QUARTER_MS) is None


def test_a_register_shapes_what_it_counted_by_like_days_or_evenly() -> None:
    energy = _weeks(15)
    coverage = np.ones(len(energy))
    first = 96 * 14 + 40
    coverage[first : first + 12] = 0
    measured = _measured(START, energy, coverage)
    period = (START + first * QUARTER_MS, START + (first + 12) * QUARTER_MS)
    plain = estimate(measured, *period, VIENNA)
    scaled = estimate(measured, *period, VIENNA, counted=lambda *_: 3000.0)
    assert scaled.wh.sum() == pytest.approx(3000)
    assert scaled.wh / scaled.wh.sum() == pytest.approx(plain.wh / plain.wh.sum())
    alone = _measured(START + (first - 1) * QUARTER_MS, [5.0])
    even = estimate(alone, *period, VIENNA, counted=lambda *_: 3000.0)
    assert even.wh.tolist() == pytest.approx([250.0] * 12)
    assert [gap.method for gap in even.gaps] == [Method.EVEN]


# --- Recordings -------------------------------------------------------------------------------


def _year(name: str) -> Measured:
    """A household's meter, a whole year of quarters (shared/data/meter-15min-at)."""
    path = DATA / "meter-15min-at" / f"{name}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
        next(lines)
        wh = [float(line.split(";")[1].replace(",", ".")) * 1000 for line in lines]
    start = int(datetime(2024, 1, 1, tzinfo=VIENNA).timestamp()) * 1000
    return _measured(start, wh)


def errors(measured: Measured, hours: int) -> tuple[float, float]:
    """Of stretches knocked out of a recording, every fifth day: mean absolute error of a quarter
    and of the whole, as parts of the mean use.
    """
    count = hours * 4
    quarter, whole = [], []
    for at in range(29 * 96 + 30, len(measured.starts) - count - 1, 5 * 96 + 7):
        begin = int(measured.starts[at])
        end = begin + count * QUARTER_MS
        near = (measured.starts >= begin - HISTORY_MS) & (measured.starts <= end)
        near &= (measured.starts < begin) | (measured.starts >= end)
        rest = Measured(*(getattr(measured, name)[near] for name in measured.__slots__))
        found = estimate(rest, begin, end, VIENNA)
        true = measured.energy[at : at + count]
        assert [gap.reason for gap in found.gaps] == [None]
        quarter.append(np.abs(found.wh - true).mean())
        whole.append(abs(found.wh.sum() - true.sum()) / count)
    mean = measured.energy.mean()
    return float(np.mean(quarter) / mean), float(np.mean(whole) / mean)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are absent: set WATTLINE_DATA")
@pytest.mark.parametrize(
    ("name", "hours", "quarter", "whole"),
    [
        ("consumption-2024", 2, 0.60, 0.50),
        ("consumption-2024", 24, 0.65, 0.40),
        ("feed-in-2024", 2, 0.35, 0.30),
        ("feed-in-2024", 24, 0.75, 0.55),
    ],
)
def test_stretches_knocked_out_of_a_recorded_year_come_near(
    name: str, hours: int, quarter: float, whole: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = errors(_year(name), hours)
    with capsys.disabled():
        print(f"\n{name} {hours} h: quarter {found[0]:.0%}, whole {found[1]:.0%} of the mean")
    assert found[0] < quarter
    assert found[1] < whole
