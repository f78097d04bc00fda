"""Reading chosen channels of many frames at once: the same as reading all of each by itself."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocol.data import Block, decode_many, encode_data
from devices.protocol.errors import ProtocolError
from devices.protocol.piles import decode_piles, mask_of
from devices.telemetry.arrivals import Arrived, gathered_bodies
from devices.telemetry.rollup import gaps_before, held_until
from devices.telemetry.rollup_samples import Kind, Samples, Series
from devices.telemetry.segment import Arrival, Readings, gathered, joined, tidied

START = 1_774_746_000_000
SETS = (((0, 1, 2),), ((0, 1),), ((1, 2),), ((0,), (1, 2)), ((2,), (0, 1)), ((1,), (9, 200)))


@st.composite
def _blocks(draw: st.DrawFn) -> list[Block]:
    """A message: even and uneven times, constant, slow and wild columns, missing samples."""
    blocks = []
    for channels in draw(st.sampled_from(SETS)):
        n = draw(st.sampled_from([1, 2, 3, 30]))
        random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        steps = random.choice([0, 999, 2_000], n) if draw(st.booleans()) else np.full(n, 2_000)
        times = START + draw(st.integers(-20, 20)) * 180_000 + np.cumsum(steps)
        shape = (len(channels), n)
        wild = draw(st.sampled_from([0, 3, 1_000, 1 << 62]))
        values = random.integers(-wild, wild + 1, shape)
        if draw(st.booleans()):
            # A few leaps, which travel as patches.
            values[random.random(shape) < 0.1] += 1 << 40
        present = None
        if n > 1 and draw(st.booleans()):
            present = random.random(shape) < draw(st.sampled_from([0.0, 0.1, 0.8]))
            values = np.where(present, values, 0)
        blocks.append(Block(times.astype(np.int64), channels, values, present))
    return blocks


_MESSAGES = st.lists(_blocks(), max_size=8)
_WANTED = st.one_of(st.none(), st.sets(st.sampled_from([0, 1, 2, 9, 200, 255])))

Found = dict[tuple[int, int], list[tuple[int, int]]]  # (message, channel): (time, value)


def _one_by_one(bodies: list[bytes], wanted: set[int] | None) -> Found:
    found: Found = {}
    for message, data in enumerate(decode_many(bodies)):
        for block in data.blocks:
            for row, number in enumerate(block.channels):
                if wanted is None or number in wanted:
                    here = slice(None) if block.present is None else block.present[row]
                    found[message, number] = list(
                        zip(
                            block.times[here].tolist(), block.values[row, here].tolist(),
                            strict=True,
                        )
                    )  # fmt: skip
    return found


def _from_piles(bodies: list[bytes], wanted: set[int] | None) -> Found:
    found: Found = {}
    for pile in decode_piles((body, mask_of(wanted)) for body in bodies):
        for row, message in enumerate(pile.messages.tolist()):
            for column, number in enumerate(pile.channels):
                here = slice(None) if pile.present is None else pile.present[row, column]
                assert (message, number) not in found
                found[message, number] = list(
                    zip(
                        pile.times[row, here].tolist(),
                        pile.values[row, column, here].tolist(),
                        strict=True,
                    )
                )
                if pile.present is not None:
                    assert not pile.values[row, column, ~pile.present[row, column]].any()
    return found


@settings(max_examples=300, deadline=None)
@given(_MESSAGES, _WANTED)
def test_piles_hold_what_each_message_holds(
    messages: list[list[Block]], wanted: set[int] | None
) -> None:
    bodies = [encode_data(number, blocks) for number, blocks in enumerate(messages, start=1)]
    assert _from_piles(bodies, wanted) == _one_by_one(bodies, wanted)


@settings(max_examples=200, deadline=None)
@given(st.lists(_MESSAGES, min_size=1, max_size=3), st.data(), st.booleans())
def test_frames_of_many_devices_are_gathered_as_those_of_each(
    fleet: list[list[list[Block]]], data: st.DataObject, arrivals: bool
) -> None:
    wanted = {device: data.draw(_WANTED) for device in range(len(fleet))}
    frames: list[Arrived] = []
    expected: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for device, messages in enumerate(fleet):
        arrived = []
        for sequence, blocks in enumerate(messages, start=1):
            known = START // 1_000 + data.draw(st.integers(-2, 5_000))
            frames.append(Arrived(device, known, encode_data(sequence, blocks)))
            arrived.append(Arrival(known if arrivals else 0, blocks))
        numbers = wanted[device]
        hours = gathered(arrived)
        for start in sorted(hours):
            for number, readings in hours[start].items():
                if numbers is None or number in numbers:
                    expected.setdefault((device, number), []).extend(_tuples(readings))
    found = gathered_bodies(frames, wanted, arrivals=arrivals)
    assert {at: _tuples(readings) for at, readings in found.items()} == expected


def _tuples(readings: Readings) -> list[tuple[int, int, int]]:
    columns = (readings.times.tolist(), readings.known.tolist(), readings.raw.tolist())
    return list(zip(*columns, strict=True))


@settings(max_examples=200, deadline=None)
@given(_blocks(), st.data())
def test_a_body_that_ends_early_is_named_or_was_read_before_it_ends(
    blocks: list[Block], data: st.DataObject
) -> None:
    whole = encode_data(1, blocks)
    wanted = data.draw(_WANTED)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = _from_piles([cut], wanted)
    except ProtocolError:
        return
    assert found == _one_by_one([whole], wanted)


_PARTS = st.lists(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(_PARTS)
def test_tidy_parts_are_joined_as_if_all_had_come_at_once(
    parts: list[list[tuple[int, int]]],
) -> None:
    def readings(rows: list[tuple[int, int]]) -> Readings:
        times, raw = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        return Readings(times, np.zeros(len(rows), np.int64), raw)

    found = joined([tidied(readings(part)) for part in parts])
    expected: list[tuple[int, int]] = []
    for time, raw in (row for part in parts for row in part):
        before = [each for at, each in expected if at == time]
        if not before or before[-1] != raw:
            expected.append((time, raw))
    expected.sort(key=lambda row: row[0])
    assert list(zip(found.times.tolist(), found.raw.tolist(), strict=True)) == expected


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from([1, 1_999, 2_000, 4_000, 4_001, 59_999, 60_000, 60_001, 120_000, 130_000]),
        max_size=12,
    ),
    st.sampled_from([1, 1_000, 2_000, 60_000, 90_000]),
)
def test_gaps_are_where_no_sample_holds(distances: list[int], step_ms: int) -> None:
    times = np.cumsum([START, *distances]).astype(np.int64)
    nothing = np.zeros(len(times), np.int64)
    series = Series(1, 0, Decimal(1), Kind.NONE, step_ms)
    held = held_until(Samples(nothing, times, nothing, nothing), [series])
    expected = [False, *(held[:-1] < times[1:]).tolist()]
    assert gaps_before(times, step_ms).tolist() == expected


def test_of_no_samples_none_has_a_gap_before_it() -> None:
    assert gaps_before(np.empty(0, np.int64), 2_000).tolist() == []


def test_what_is_no_body_is_named() -> None:
    with pytest.raises(ProtocolError, match="ends within"):
        decode_piles([(b"\x01\x00\x01", 1)])
