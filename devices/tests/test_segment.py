"""Segments: the rules of merging in plain Python, and bytes that give back what went in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocol.data import Block
from devices.telemetry.segment import (
    HOUR_MS,
    Arrival,
    Readings,
    Summary,
    gathered,
    merged,
    summary_of,
)
from devices.telemetry.segment_codec import decode, encode, summaries
from devices.telemetry.segment_columns import SegmentError, pack, unpack

# 2026-03-29, 01:00 UTC: a full hour, when Europe's clocks change.
START = 1_774_746_000_000
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)

Message = tuple[int, list[Block]]
Plain = dict[int, dict[int, list[tuple[int, int, int]]]]  # hour: channel: (time, known, raw)


@st.composite
def _blocks(draw: st.DrawFn) -> list[Block]:
    """One message: one or two blocks of a few channels, times that overlap those of others."""
    blocks = []
    for channels in draw(st.sampled_from([((0, 1, 2),), ((0, 1),), ((1, 2),), ((0,), (1, 2))])):
        count = draw(st.integers(1, 6))
        begin = START + draw(st.integers(-3, 12)) * 1_000
        steps = draw(st.lists(st.sampled_from([0, 1_000, 2_000]), min_size=count, max_size=count))
        times = np.array(begin + np.cumsum(steps), np.int64)
        values = np.array(
            draw(
                st.lists(
                    st.lists(st.integers(-3, 3), min_size=count, max_size=count),
                    min_size=len(channels),
                    max_size=len(channels),
                )
            ),
            np.int64,
        )
        present = None
        if draw(st.booleans()):
            flat = draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size))
            present = np.array(flat, np.bool_).reshape(values.shape)
        blocks.append(Block(times, channels, values, present))
    return blocks


_MESSAGES = st.lists(st.tuples(st.integers(-2, 30), _blocks()), max_size=8)


def _arrivals(messages: list[Message]) -> list[Arrival]:
    return [Arrival(START // 1_000 + known, blocks) for known, blocks in messages]


def _expected(messages: list[Message]) -> Plain:
    """The rules one by one: by time, in the order of numbers, repetitions left out."""
    hours: Plain = {}
    for known, blocks in messages:
        for block in blocks:
            for row, channel in enumerate(block.channels):
                for at, time in enumerate(block.times.tolist()):
                    if block.present is not None and not block.present[row, at]:
                        continue
                    hour = hours.setdefault(time // HOUR_MS * HOUR_MS, {})
                    readings = hour.setdefault(channel, [])
                    same = [reading for reading in readings if reading[0] == time]
                    raw = int(block.values[row, at])
                    if not same or same[-1][2] != raw:
                        readings.append((time, START // 1_000 + known, raw))
    for hour in hours.values():
        for readings in hour.values():
            readings.sort(key=lambda reading: reading[0])
    return hours


def _plain(hours: dict[int, dict[int, Readings]]) -> Plain:
    return {
        start: {channel: _tuples(readings) for channel, readings in hour.items()}
        for start, hour in hours.items()
    }


def _tuples(readings: Readings) -> list[tuple[int, int, int]]:
    columns = (readings.times.tolist(), readings.known.tolist(), readings.raw.tolist())
    return list(zip(*columns, strict=True))


@settings(max_examples=300, deadline=None)
@given(_MESSAGES)
def test_gathering_follows_the_rules_in_plain_python(messages: list[Message]) -> None:
    assert _plain(gathered(_arrivals(messages))) == _expected(messages)


@settings(max_examples=300, deadline=None)
@given(_MESSAGES, st.lists(st.integers(0, 8), max_size=4))
def test_any_number_of_steps_gives_the_same_bytes(messages: list[Message], cuts: list[int]) -> None:
    at_once = {start: encode(start, hour) for start, hour in gathered(_arrivals(messages)).items()}
    kept: dict[int, bytes] = {}
    for begin, end in pairwise([0, *sorted(cuts), len(messages)]):
        for start, fresh in gathered(_arrivals(messages[begin:end])).items():
            before = decode(start, kept[start]) if start in kept else {}
            kept[start] = encode(start, merged(before, fresh))
    assert kept == at_once


@settings(max_examples=200, deadline=None)
@given(_MESSAGES)
def test_cutting_messages_into_smaller_ones_gives_the_same_bytes(messages: list[Message]) -> None:
    pieces = []
    for known, blocks in messages:
        for block in blocks:
            for at in range(len(block.times)):
                here = None if block.present is None else block.present[:, at : at + 1]
                one = slice(at, at + 1)
                piece = Block(block.times[one], block.channels, block.values[:, one], here)
                pieces.append((known, [piece]))
    whole = gathered(_arrivals(messages))
    cut = gathered(_arrivals(pieces))
    assert {start: encode(start, hour) for start, hour in cut.items()} == {
        start: encode(start, hour) for start, hour in whole.items()
    }


@settings(max_examples=200, deadline=None)
@given(_MESSAGES, st.integers(-2, 30))
def test_as_of_gives_what_was_known_then(messages: list[Message], instant: int) -> None:
    """Later messages change no answer as of an instant before they came."""
    messages.sort(key=lambda message: message[0])
    as_of = START // 1_000 + instant
    whole = gathered(_arrivals(messages))
    then = gathered(_arrivals([message for message in messages if message[0] <= instant]))
    for start, hour in whole.items():
        for channel, readings in hour.items():
            found = readings.counting(as_of)
            expected = then.get(start, {}).get(channel)
            if expected is None:
                assert len(found) == 0
            else:
                counting = expected.counting()
                assert found.times.tolist() == counting.times.tolist()
                assert found.raw.tolist() == counting.raw.tolist()


def _hour(*columns: tuple[int, list[int], list[int]]) -> dict[int, Readings]:
    return {
        channel: Readings(
            START + np.array(times, np.int64),
            np.full(len(times), START // 1_000, np.int64),
            np.array(raw, np.int64),
        )
        for channel, times, raw in columns
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(INT64, min_size=1, max_size=40))
def test_a_column_of_any_integers_comes_back(numbers: list[int]) -> None:
    column = np.array(numbers, np.int64)
    assert unpack(pack(column), len(numbers)).tolist() == numbers


def test_a_channel_without_some_readings_shares_the_times_of_the_others() -> None:
    times = list(range(0, 3_600_000, 2_000))
    noise = np.random.default_rng(1).integers(0, 50, len(times)).tolist()
    whole = _hour((0, times, noise), (3, [1, *times[1::7]], [5] * (len(times[1::7]) + 1)))
    odd = sorted({*times} - {*times[100:300]})
    hour = {**whole, **_hour((1, odd, noise[: len(odd)]))}
    hour = dict(sorted(hour.items()))
    found = decode(START, encode(START, hour))
    assert {channel: _tuples(readings) for channel, readings in found.items()} == {
        channel: _tuples(readings) for channel, readings in hour.items()
    }
    alone = len(encode(START, {1: hour[1]}))
    together = len(encode(START, hour)) - len(encode(START, whole))
    assert together < alone


def test_chosen_channels_and_their_summaries_are_read_alone() -> None:
    hour = _hour((0, [0, 2_000], [7, 9]), (4, [0, 2_000], [-(1 << 63), -(1 << 63)]))
    body = encode(START, hour)
    assert list(decode(START, body, [4])) == [4]
    assert summaries(body) == {
        0: Summary(2, 7, 9, 16, 7, 9),
        4: Summary(2, -(1 << 63), -(1 << 63), -(1 << 64), -(1 << 63), -(1 << 63)),
    }


def test_the_summary_tells_of_what_counts_alone() -> None:
    readings = Readings(
        np.array([START, START, START + 5]), np.array([1, 2, 3]), np.array([90, 10, 20])
    )
    assert summary_of(readings) == Summary(2, 10, 20, 30, 10, 20)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_bytes_are_refused_or_read_but_never_crash(data: st.DataObject) -> None:
    times = list(range(0, 200_000, 2_000))
    noise = np.random.default_rng(2).integers(0, 900, len(times)).tolist()
    body = bytearray(encode(START, _hour((0, times, noise), (1, times[:70], noise[:70]))))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        decode(START, bytes(body[:cut]))
    except SegmentError:
        return


@pytest.mark.parametrize("body", [b"", b"\x02", b"\x01", b"\x01\x01\x05"])
def test_what_is_no_segment_is_named(body: bytes) -> None:
    with pytest.raises(SegmentError, match="segment"):
        decode(START, body)
