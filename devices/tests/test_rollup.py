"""Roll-ups of a quarter of an hour: the engine against the rules written out in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocol.data import Block
from devices.telemetry.rollup import QUARTER_MS, Quarters, roll
from devices.telemetry.rollup_samples import (
    LONGEST_STEP_MS,
    Kind,
    Series,
    bridge_ms,
    reach_ms,
    samples_of,
)

# 2026-03-29, 00:55 UTC: five minutes before a full quarter, and before Europe's clocks change.
BEGIN = 1_774_745_700_000
STEP = 2_000


def _series(kind: Kind = Kind.POWER, step_ms: int = STEP, **changes: object) -> Series:
    values: dict[str, object] = {
        "device_id": 7,
        "number": 0,
        "resolution": Decimal("0.1"),
        "kind": kind,
        "step_ms": step_ms,
        "maximum": Decimal("99999.9"),
        "most_w": 20_000.0,
    }
    return Series(**(values | changes))  # type: ignore[arg-type]


def _block(start_ms: int, values: list[int], step_ms: int = STEP) -> Block:
    times = start_ms + np.arange(len(values), dtype=np.int64) * step_ms
    return Block(times, (0,), np.array([values], np.int64))


def _roll(blocks: list[tuple[int, Block]], series: Series) -> Quarters:
    return roll(samples_of([(7, blocks)], {(7, 0): 0}), [series])


# --- The rules in plain Python ----------------------------------------------------------------


@dataclass
class _Row:
    n: int = 0
    minimum: float = math.nan
    maximum: float = math.nan
    first: float = math.nan
    last: float = math.nan
    held: int = 0
    weighted: int = 0
    back: int = 0
    counted: float = 0.0


def _reference(blocks: list[tuple[int, Block]], series: Series) -> dict[int, _Row]:
    samples: dict[int, tuple[int, int]] = {}  # time: sequence, raw
    for sequence, block in blocks:
        for at, (time, raw) in enumerate(
            zip(block.times.tolist(), block.values[0].tolist(), strict=True)
        ):
            if block.present is not None and not block.present[0, at]:
                continue
            if time not in samples or samples[time][0] <= sequence:
                samples[time] = (sequence, raw)
    longest = max(series.step_ms, LONGEST_STEP_MS)
    times = sorted(samples)
    usual = [d if d <= longest else None for d in (b - a for a, b in pairwise(times))]
    rows: dict[int, _Row] = defaultdict(_Row)
    for at, time in enumerate(times):
        raw = samples[time][1]
        following = times[at + 1] if at + 1 < len(times) else None
        step = max(series.step_ms, (usual[at - 1] or 0) if at else 0)
        row = rows[time // QUARTER_MS]
        value = raw * series.resolution
        row.first = float(value) if row.n == 0 else row.first
        row.last = float(value)
        row.minimum = float(value) if row.n == 0 else min(row.minimum, float(value))
        row.maximum = float(value) if row.n == 0 else max(row.maximum, float(value))
        row.n += 1
        end = time + step
        if following is not None:
            distance = following - time
            after = (usual[at + 1] or 0) if at + 1 < len(usual) else 0
            end = time + (distance if distance <= 2 * max(step, after) else min(step, distance))
        for quarter in range(time // QUARTER_MS, (end - 1) // QUARTER_MS + 1):
            held = min(end, (quarter + 1) * QUARTER_MS) - max(time, quarter * QUARTER_MS)
            rows[quarter].held += held
            rows[quarter].weighted += held * raw
            rows[quarter].back += held * max(0, -raw)
        if following is not None and following - time <= bridge_ms(series.step_ms):
            step_up = _counted(raw, samples[following][1], following - time, series)
            for quarter in range(time // QUARTER_MS, (following - 1) // QUARTER_MS + 1):
                part = min(following, (quarter + 1) * QUARTER_MS) - max(time, quarter * QUARTER_MS)
                rows[quarter].counted += step_up * part / (following - time)
    return dict(rows)


def _counted(before: int, after: int, lasted_ms: int, series: Series) -> int:
    step = after - before
    modulus = series.modulus
    if step < 0 and before > 0.9 * modulus and after < 0.1 * modulus:
        step += modulus
    assert series.most_w is not None
    most = 1.2 * series.most_w * lasted_ms / 3_600_000 / float(series.resolution)
    return step if 0 <= step <= most + 1 else 0


def _assert_equal(found: Quarters, expected: dict[int, _Row], series: Series) -> None:
    assert found.starts.tolist() == [quarter * QUARTER_MS for quarter in sorted(expected)]
    scale = float(series.resolution)
    for at, quarter in enumerate(sorted(expected)):
        row = expected[quarter]
        assert found.n[at] == row.n
        pairs = [
            (found.minimum[at], row.minimum),
            (found.maximum[at], row.maximum),
            (found.first[at], row.first),
            (found.last[at], row.last),
            (found.coverage[at], row.held / QUARTER_MS),
            (found.mean[at], row.weighted * scale / row.held),
        ]
        if series.kind is Kind.POWER:
            pairs.append((found.energy[at], row.weighted * scale / 3_600_000))
            pairs.append((found.returned[at], row.back * scale / 3_600_000))
        else:
            pairs.append((found.energy[at], row.counted * scale))
            pairs.append((found.returned[at], math.nan))
        for value, wanted in pairs:
            assert value == pytest.approx(wanted, rel=1e-9, abs=1e-6, nan_ok=True)


# --- Properties -------------------------------------------------------------------------------


@st.composite
def _frames(draw: st.DrawFn, *, register: bool) -> list[tuple[int, Block]]:
    """Frames with gaps, overlaps, steps of other lengths, missing samples and resets."""
    frames = []
    time = BEGIN
    reading = draw(st.integers(0, 999_999))
    for sequence in range(1, draw(st.integers(1, 8)) + 1):
        time += draw(
            st.sampled_from([0, STEP, 2 * STEP, 5_001, 59_000, 119_999, 120_001, 700_000, -30_000])
        )
        step = draw(st.sampled_from([500, STEP, 3_000, 60_000, 90_000]))
        count = draw(st.integers(1, 12))
        if register:
            values = []
            for _ in range(count):
                # Mostly on, now and then over the end, set anew or replaced.
                reading += draw(st.sampled_from([0, 1, 3, 60, 0, 2, -reading, -1, 900_000]))
                reading %= 1_000_000
                values.append(reading)
        else:
            values = draw(st.lists(st.integers(-200_000, 200_000), min_size=count, max_size=count))
        if draw(st.booleans()):
            times = time + np.arange(count, dtype=np.int64) * step
        else:
            gaps = draw(st.lists(st.integers(0, 200_000), min_size=count - 1, max_size=count - 1))
            times = time + np.cumsum([0, *gaps])
        present = None
        if count > 1 and draw(st.booleans()):
            present = np.array(
                [draw(st.lists(st.booleans(), min_size=count, max_size=count))], np.bool_
            )
        frames.append((sequence, Block(times, (0,), np.array([values], np.int64), present)))
        time = int(times[-1])
    return frames


@settings(max_examples=300, deadline=None)
@given(_frames(register=False), st.sampled_from([STEP, 1_000, 60_000, 900_000]))
def test_power_equals_the_rules_in_plain_python(
    frames: list[tuple[int, Block]], step_ms: int
) -> None:
    series = _series(Kind.POWER, step_ms)
    _assert_equal(_roll(frames, series), _reference(frames, series), series)


@settings(max_examples=300, deadline=None)
@given(_frames(register=True), st.sampled_from([STEP, 60_000]))
def test_registers_equal_the_rules_in_plain_python(
    frames: list[tuple[int, Block]], step_ms: int
) -> None:
    series = _series(Kind.REGISTER, step_ms)
    _assert_equal(_roll(frames, series), _reference(frames, series), series)


@settings(max_examples=100, deadline=None)
@given(_frames(register=False), st.integers(0, 2**32), st.booleans())
def test_rows_are_the_same_whatever_the_order_of_arrival_and_the_company(
    frames: list[tuple[int, Block]], seed: int, doubled: bool
) -> None:
    series = _series()
    other = _series(device_id=8)
    alone = _roll(frames, series)
    shuffled = list(frames) + (frames[:2] if doubled else [])
    np.random.default_rng(seed).shuffle(shuffled)
    together = roll(
        samples_of(
            [(8, [(1, _block(BEGIN, [5] * 900))]), (7, shuffled)],
            {(8, 0): 0, (7, 0): 1},
        ),
        [other, series],
    )
    ours = together.only(together.series == 1)
    for name in Quarters.__slots__[1:]:
        assert np.array_equal(getattr(ours, name), getattr(alone, name), equal_nan=True), name


@settings(max_examples=100, deadline=None)
@given(_frames(register=False))
def test_a_quarter_needs_no_frame_beyond_its_reach(frames: list[tuple[int, Block]]) -> None:
    series = _series()
    reach = reach_ms(series.step_ms)
    whole = _roll(frames, series)
    for start in whole.starts.tolist():
        near = [
            (sequence, block)
            for sequence, block in frames
            if block.times[0] < start + QUARTER_MS + reach and block.times[-1] >= start - reach
        ]
        part = _roll(near, series)
        one, other = whole.only(whole.starts == start), part.only(part.starts == start)
        for name in Quarters.__slots__:
            assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True), name


@settings(max_examples=100, deadline=None)
@given(_frames(register=False), st.sampled_from([STEP, 60_000]))
def test_how_samples_were_cut_into_frames_does_not_matter(
    frames: list[tuple[int, Block]], step_ms: int
) -> None:
    series = _series(step_ms=step_ms)
    pieces = [
        (
            sequence,
            Block(
                block.times[at : at + 1],
                block.channels,
                block.values[:, at : at + 1],
                None if block.present is None else block.present[:, at : at + 1],
            ),
        )
        for sequence, block in frames
        for at in range(len(block.times))
    ]
    whole, cut = _roll(frames, series), _roll(pieces, series)
    for name in Quarters.__slots__:
        assert np.array_equal(getattr(whole, name), getattr(cut, name), equal_nan=True), name


# --- Examples ---------------------------------------------------------------------------------


def test_a_kilowatt_for_an_hour_is_a_kilowatt_hour() -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    rolled = _roll([(1, _block(start, [10_000] * 1_800))], _series())
    assert rolled.energy.tolist() == [250.0] * 4
    assert rolled.coverage.tolist() == [1.0] * 4
    assert rolled.n.tolist() == [450] * 4
    assert rolled.mean.tolist() == [1_000.0] * 4


def test_power_that_flows_back_is_told_apart() -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    rolled = _roll([(1, _block(start, [20_000] * 225 + [-10_000] * 225))], _series())
    assert rolled.energy.tolist() == [125.0]
    assert rolled.returned.tolist() == [125.0]


def test_a_gap_is_not_bridged() -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    rolled = _roll(
        [(1, _block(start, [10_000] * 30)), (2, _block(start + 600_000, [10_000] * 30))], _series()
    )
    assert rolled.coverage.tolist() == [120_000 / QUARTER_MS]
    assert rolled.energy.tolist() == [pytest.approx(1_000 * 120 / 3_600)]


def test_a_register_rolls_over_at_the_end_of_its_range() -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    values = [999_970, 999_980, 999_990, 0, 10, 20]
    rolled = _roll([(1, _block(start, values, 60_000))], _series(Kind.REGISTER))
    assert rolled.energy.tolist() == [5.0]


@pytest.mark.parametrize(
    "values",
    [
        [500_000, 500_010, 500_020, 0, 10, 20],  # set to zero
        [500_000, 500_010, 500_020, 900_000, 900_010, 900_020],  # replaced by another meter
        [500_000, 500_010, 500_020, 400_000, 400_010, 400_020],
    ],
)
def test_a_register_that_was_set_anew_counts_what_is_known(values: list[int]) -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    rolled = _roll([(1, _block(start, values, 60_000))], _series(Kind.REGISTER))
    assert rolled.energy.tolist() == [4.0]


def test_a_register_shares_a_step_among_the_quarters_that_it_spans() -> None:
    start = BEGIN // QUARTER_MS * QUARTER_MS
    rolled = _roll(
        [(1, _block(start + QUARTER_MS - 15_000, [100, 200], 60_000))], _series(Kind.REGISTER)
    )
    assert rolled.energy.tolist() == [2.5, 7.5]


@pytest.mark.parametrize(
    ("maximum", "resolution", "modulus"),
    [
        ("99999.9", "0.1", 1_000_000),
        ("1000000", "1", 1_000_000),
        ("4294967295", "1", 2**32),
    ],
)
def test_the_range_of_a_register_follows_from_its_end(
    maximum: str, resolution: str, modulus: int
) -> None:
    series = _series(Kind.REGISTER, maximum=Decimal(maximum), resolution=Decimal(resolution))
    assert series.modulus == modulus


def test_nothing_rolls_up_to_nothing() -> None:
    rolled = _roll([], _series())
    assert rolled.starts.tolist() == []
