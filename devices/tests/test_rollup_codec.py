"""Packed days of roll-ups: what goes in comes out, to the last bit, and few bytes lie between."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.telemetry.quarter_reads import overlaid
from devices.telemetry.rollup import QUARTER_MS, Quarters, roll
from devices.telemetry.rollup_codec import DAY_MS, NUMBERS, QUARTERS, Body, decode, encode
from devices.telemetry.rollup_samples import Kind, Samples, Series
from devices.telemetry.segment_columns import SegmentError, squeeze
from devices.telemetry.sums import keys

DAY = 1_774_742_400_000  # 2026-03-29, midnight UTC
COLUMNS = ("minimum", "maximum", "mean", "first", "last", "energy", "returned", "coverage")

# NaN as PostgreSQL gives it back; everything else that a double can be.
_DOUBLES = st.one_of(
    st.floats(allow_nan=False, width=64), st.just(float("nan")), st.sampled_from([0.0, -0.0])
)


def _rows(quarters: Quarters) -> list[tuple[Any, ...]]:
    """Each quarter with the bits of its doubles."""
    columns = [getattr(quarters, name).view(np.int64).tolist() for name in COLUMNS]
    keys = (quarters.series.tolist(), quarters.starts.tolist(), quarters.n.tolist())
    return list(zip(*keys, *columns, strict=True))


def _quarters(places: list[tuple[int, int]], n: list[int], columns: list[list[float]]) -> Quarters:
    series, starts = (np.array(column, np.int64) for column in zip(*places, strict=True))
    return Quarters(
        series,
        DAY + starts * QUARTER_MS,
        np.array(n, np.int64),
        *(np.array(column, np.float64) for column in columns),
    )


@st.composite
def _any_quarters(draw: st.DrawFn, most: int = 40) -> Quarters:
    """Quarters of some channels of one day, of any doubles at all."""
    place = st.tuples(st.sampled_from([0, 1, 7, 255]), st.integers(0, QUARTERS - 1))
    places = sorted(draw(st.lists(place, min_size=1, max_size=most, unique=True)))
    size = len(places)
    n = draw(st.lists(st.integers(0, 2**31 - 1), min_size=size, max_size=size))
    values = draw(st.sampled_from([_DOUBLES, st.integers(-9, 9).map(float), st.just(0.5)]))
    columns = [draw(st.lists(values, min_size=size, max_size=size)) for _ in COLUMNS]
    return _quarters(places, n, columns)


@given(_any_quarters(), st.sampled_from([(1, 1), (1, 10), (1, 1000), (5, 2), (10**9, 1)]))
def test_any_quarters_come_back_to_the_last_bit(quarters: Quarters, ratio: tuple[int, int]) -> None:
    body = encode(DAY, quarters.series, quarters, dict.fromkeys(range(NUMBERS), ratio))
    found = decode([Body(3, DAY, body)])
    expected = quarters.only(slice(None))
    assert _rows(found) == [(3 * NUMBERS + number, *rest) for number, *rest in _rows(expected)]
    measured = int.from_bytes(body[2:14], "little")
    slots = set(((quarters.starts - DAY) // QUARTER_MS).tolist())
    assert {slot for slot in range(QUARTERS) if measured >> slot & 1} == slots


@st.composite
def _rolled(draw: st.DrawFn) -> tuple[list[Series], Quarters]:
    """What the roller makes of samples: power, a register and a voltage, with gaps."""
    kinds = draw(st.lists(st.sampled_from(list(Kind)), min_size=1, max_size=3))
    series = [
        Series(0, number, Decimal(draw(st.sampled_from(["1", "0.1", "0.001", "2.5", "100"]))),
               kind, 2_000, Decimal(10**9))
        for number, kind in enumerate(kinds)
    ]  # fmt: skip
    parts = []
    for one in series:
        count = draw(st.integers(1, 60))
        steps = draw(
            st.lists(st.sampled_from([1_000, 2_000, 2_013, 61_000, 900_000, 3_600_000]),
                     min_size=count, max_size=count)
        )  # fmt: skip
        raw = draw(st.lists(st.integers(-50_000, 50_000), min_size=count, max_size=count))
        times = DAY + draw(st.integers(0, DAY_MS // 2)) + np.cumsum(steps)
        parts.append((np.full(count, one.number), times, np.zeros(count, np.int64), np.array(raw)))
    samples = Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    rolled = roll(samples, series)
    return series, rolled.only((rolled.starts >= DAY) & (rolled.starts < DAY + DAY_MS))


@given(_rolled())
def test_what_the_roller_made_comes_back_from_integers(
    given_: tuple[list[Series], Quarters],
) -> None:
    series, quarters = given_
    if not len(quarters.starts):
        return
    ratios = {one.number: one.resolution.as_integer_ratio() for one in series}
    body = encode(DAY, quarters.series, quarters, ratios)
    assert _rows(decode([Body(0, DAY, body)])) == _rows(quarters)


def test_a_day_of_a_meter_takes_few_bytes() -> None:
    """Power that changes all the time, a steady voltage and what they amount to."""
    draw = np.random.default_rng(4)
    times = DAY + np.arange(0, DAY_MS, 2_000)
    series = [
        Series(0, 0, Decimal(1), Kind.POWER, 2_000),
        Series(0, 1, Decimal("0.1"), Kind.NONE, 2_000),
    ]
    raw = np.concatenate(
        [draw.integers(0, 3_000, len(times)), draw.integers(2_290, 2_310, len(times))]
    )
    of, zeros = np.repeat([0, 1], len(times)), np.zeros(2 * len(times), np.int64)
    quarters = roll(Samples(of, np.tile(times, 2), zeros, raw), series)
    body = encode(DAY, quarters.series, quarters, {0: (1, 1), 1: (1, 10)})
    assert len(quarters.starts) == 2 * QUARTERS
    assert len(body) < 12 * len(quarters.starts)
    doubles = encode(DAY, quarters.series, quarters, {0: (1, 3), 1: (1, 7)})
    assert _rows(decode([Body(0, DAY, doubles)])) == _rows(quarters)
    assert len(body) < 0.9 * len(doubles)


@given(st.lists(_any_quarters(most=8), min_size=1, max_size=4), st.sets(st.integers(0, 9)))
def test_many_days_are_read_as_each_by_itself(days: list[Quarters], chosen: set[int]) -> None:
    bodies = []
    for at, quarters in enumerate(days):
        device, start_ms = divmod(at, 2)
        moved = Quarters(
            quarters.series,
            quarters.starts + start_ms * DAY_MS,
            *(getattr(quarters, name) for name in Quarters.__slots__[2:]),
        )
        body = encode(DAY + start_ms * DAY_MS, quarters.series, moved, {})
        bodies.append(Body(device, DAY + start_ms * DAY_MS, body))
    wanted = [device * NUMBERS + number for device in range(2) for number in (0, 1, 7, 255)]
    wanted = [one for place, one in enumerate(wanted) if place in chosen]
    found = decode(bodies, np.array(wanted, np.int64))
    alone = [row for body in bodies for row in _rows(decode([body])) if row[0] in wanted]
    assert _rows(found) == sorted(alone, key=lambda row: row[:2])


@given(_any_quarters(most=12), _any_quarters(most=12))
def test_rows_lie_over_packed_days(packed: Quarters, rows: Quarters) -> None:
    expected = {row[:2]: row for row in _rows(packed)}
    for row, coverage in zip(_rows(rows), rows.coverage.tolist(), strict=True):
        expected.pop(row[:2], None)
        if coverage > 0:
            expected[row[:2]] = row
    mixed = np.random.default_rng(len(rows.starts)).permutation(len(rows.starts))
    assert _rows(overlaid(packed, rows.only(mixed))) == [expected[key] for key in sorted(expected)]


def test_keys_sort_as_series_and_start() -> None:
    series = np.array([0, 0, 1, (1 << 40) - 1])
    starts = np.array([0, 4_102_444_800_000, 0, 4_102_444_800_000])
    assert (np.diff(keys(series, starts)) > 0).all()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x01\x01",
        b"\x02\x01" + bytes(12) + squeeze(bytes(400)),
        b"\x01\x01" + bytes(12) + b"no frame",
        b"\x01\x02" + bytes(12) + squeeze(bytes(4)),
        b"\x01\x01" + bytes(12) + squeeze(bytes(1_000)),
    ],
)
def test_what_is_no_packed_day_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(SegmentError):
        decode([Body(1, DAY, body)])
