"""The codec of DATA: identity over arbitrary columns, and bounded cost over arbitrary bytes."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from devices.protocol import (
    MAX_SAMPLES,
    MAX_STEP_MS,
    MAX_TIME_MS,
    Block,
    ProtocolError,
    data_body,
    decode_data,
    decode_many,
    encode_blocks,
    encode_data,
    encode_sample,
    scan_data,
)
from devices.protocol.layout import column_values, read_layout
from devices.protocol.varint import read_svarint, read_uvarint, svarint, uvarint

START = 1_767_225_600_000
I64 = (-(1 << 63), (1 << 63) - 1)
NO_LIMITS = dict.fromkeys(range(256), I64)


def block(
    values: Any,
    *,
    times: Any = None,
    channels: tuple[int, ...] | None = None,
    present: Any = None,
    start_ms: int = START,
) -> Block:
    rows = np.array(values, dtype=np.int64)
    if times is None:
        times = start_ms + np.arange(rows.shape[1]) * 2_000
    return Block(
        np.array(times, dtype=np.int64),
        channels or tuple(range(len(rows))),
        rows,
        None if present is None else np.array(present, dtype=np.bool_),
    )


def assert_same(one: Block, other: Block) -> None:
    assert one.channels == other.channels
    assert one.times.tolist() == other.times.tolist()
    here = presence(one)
    assert here.tolist() == presence(other).tolist()
    assert one.values[here].tolist() == other.values[here].tolist()


def presence(item: Block) -> NDArray[np.bool_]:
    return np.ones(item.values.shape, np.bool_) if item.present is None else item.present


# Columns as meters make them, and columns as an adversary would: noise around a level, steps,
# registers near both ends of 64 bits, spikes, anything.
LEVELS = st.sampled_from([0, 1, -7, 2300, 10**9, I64[0], I64[0] + 5, I64[1], I64[1] - 5])
STEPS = st.one_of(
    st.just(0),
    st.integers(-3, 3),
    st.integers(-5_000, 5_000),
    st.sampled_from([1 << 40, -(1 << 62), 1 << 62]),
)


@st.composite
def columns(draw: st.DrawFn, n: int) -> list[int]:
    kind = draw(st.sampled_from(["any", "level", "register"]))
    if kind == "any":
        return draw(st.lists(st.integers(*I64), min_size=n, max_size=n))
    level = draw(LEVELS)
    steps = draw(st.lists(STEPS, min_size=n, max_size=n))
    total = 0
    values = []
    for step in steps:
        total = total + step if kind == "register" else step
        values.append((level + total + (1 << 63)) % (1 << 64) - (1 << 63))
    return values


@st.composite
def blocks(draw: st.DrawFn, channels: tuple[int, ...], start_ms: int) -> Block:
    n = draw(st.integers(1, 40))
    values = [draw(columns(n)) for _ in channels]
    if draw(st.booleans()):
        unit = draw(st.sampled_from([1, 7, 1_000, 60_000, MAX_STEP_MS]))
        gaps = draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))
        times = [start_ms + unit * sum(gaps[: i + 1]) for i in range(n)]
    else:
        step = draw(st.integers(1, MAX_STEP_MS + 10))
        times = [start_ms + step * i for i in range(n)]
    present = None
    if n > 1 and draw(st.booleans()):
        present = [
            draw(st.lists(st.booleans(), min_size=n, max_size=n)) for _ in range(len(channels))
        ]
    return block(values, times=times, channels=channels, present=present)


@st.composite
def frames(draw: st.DrawFn) -> list[Block]:
    numbers = draw(st.lists(st.integers(0, 255), min_size=1, max_size=9, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, len(numbers)), max_size=3)) | {len(numbers)})
    made = []
    previous = 0
    for cut in cuts:
        group = tuple(sorted(numbers[previous:cut]))
        offset = draw(st.sampled_from([0, 0, 1, 1_500, 86_400_000]))
        made.append(draw(blocks(group, START + offset)))
        previous = cut
    return made


@given(frames(), st.integers(1, I64[1]))
def test_decoding_gives_back_what_was_encoded(frame: list[Block], sequence: int) -> None:
    data = decode_data(encode_data(sequence, frame))
    assert data.sequence == sequence
    assert len(data.blocks) == len(frame)
    for one, other in zip(data.blocks, frame, strict=True):
        assert_same(one, other)


@given(st.lists(frames(), min_size=1, max_size=4))
def test_decoding_many_is_decoding_each(batch: list[list[Block]]) -> None:
    bodies = [encode_data(index + 1, frame) for index, frame in enumerate(batch)]
    for data, body in zip(decode_many(bodies), bodies, strict=True):
        alone = decode_data(body)
        assert data.sequence == alone.sequence
        for one, other in zip(data.blocks, alone.blocks, strict=True):
            assert_same(one, other)


@given(frames())
def test_plain_python_reads_the_same_columns(frame: list[Block]) -> None:
    body = encode_data(1, frame)
    for layout, item in zip(read_layout(body).blocks, decode_data(body).blocks, strict=True):
        for row, column in enumerate(layout.columns):
            assert column_values(body, column) == item.values[row][presence(item)[row]].tolist()


@given(frames())
def test_scan_sums_up_the_frame(frame: list[Block]) -> None:
    scan = scan_data(encode_data(5, frame), NO_LIMITS)
    assert scan.sequence == 5
    assert scan.start_ms == min(int(item.times[0]) for item in frame)
    assert scan.end_ms == max(int(item.times[-1]) for item in frame)
    assert scan.samples == sum(len(item.times) for item in frame)
    assert scan.values == sum(int(presence(item).sum()) for item in frame)
    assert scan.channels == sum(1 << channel for item in frame for channel in item.channels)
    assert scan.verdict is None


@given(frames(), st.integers(*I64), st.integers(*I64))
def test_scan_agrees_with_decoding_on_limits(frame: list[Block], one: int, other: int) -> None:
    limits = dict.fromkeys(range(256), (min(one, other), max(one, other)))
    verdict = scan_data(encode_data(5, frame), limits).verdict
    outside = {
        channel
        for item in frame
        for row, channel in enumerate(item.channels)
        for value in item.values[row][presence(item)[row]].tolist()
        if not limits[channel][0] <= value <= limits[channel][1]
    }
    assert (verdict is not None) == bool(outside)
    if verdict is not None:
        assert verdict.reason == "limit"
        assert verdict.channel in outside


@given(frames())
def test_scan_is_exact_at_the_edge_of_the_limits(frame: list[Block]) -> None:
    body = encode_data(5, frame)
    tight = {}
    for item in frame:
        for row, channel in enumerate(item.channels):
            values = item.values[row][presence(item)[row]].tolist()
            tight[channel] = (min(values), max(values)) if values else (0, 0)
    assert scan_data(body, tight).verdict is None
    for channel, (low, high) in tight.items():
        if low < high:
            below = scan_data(body, tight | {channel: (low + 1, high)}).verdict
            above = scan_data(body, tight | {channel: (low, high - 1)}).verdict
            assert below == ("limit", channel, low)
            assert above == ("limit", channel, high)


@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_protocol_errors(body: bytes) -> None:
    assert outcome(scan_data, body, NO_LIMITS) == outcome(decode_data, body)


@given(frames(), st.data())
def test_mutated_frames_scan_as_they_decode(frame: list[Block], data: st.DataObject) -> None:
    body = bytearray(encode_data(5, frame))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if change == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif change == "insert":
            body[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        elif at:
            del body[at:]
    assert outcome(scan_data, bytes(body), NO_LIMITS) == outcome(decode_data, bytes(body))


def outcome(read: Any, *arguments: Any) -> str:
    try:
        read(*arguments)
    except ProtocolError as error:
        return error.code
    return "sound"


@pytest.mark.parametrize(
    "values",
    [
        [[230] * MAX_SAMPLES] * 18,
        [list(range(MAX_SAMPLES))] * 18,
        [[0, 1] * (MAX_SAMPLES // 2)] * 18,
    ],
    ids=["constant", "register", "alternating"],
)
def test_largest_frame_costs_bounded_memory(values: list[list[int]]) -> None:
    body = encode_data(1, [block(values)])
    tracemalloc.start()
    try:
        assert decode_data(body).blocks[0].values.tolist() == values
        _, decoding = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        scan_data(body, dict.fromkeys(range(18), (0, MAX_SAMPLES)))
        _, scanning = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 65 536 values of eight bytes are half a megabyte; the working arrays are a few of those
    # (the list of the comparison above is counted too).
    assert decoding < 16 << 20
    assert scanning < 16 << 20


def test_claim_of_many_values_is_refused_before_any_memory_is_taken() -> None:
    head = uvarint(1) + uvarint(START) + b"\x01"
    bomb = head + b"\x02" + uvarint(MAX_SAMPLES) + uvarint(1_000) + b"\x20" + b"\xff" * 32
    bomb += b"\xc0\x00" * 256
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError) as caught:
            decode_data(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == "count"
    assert peak < 100_000


def test_sample_is_encoded_as_a_block_of_one() -> None:
    body = encode_sample(7, START, (0, 3, 200), (1, -5, 1 << 40))
    expected = encode_data(7, [block([[1], [-5], [1 << 40]], channels=(0, 3, 200))])
    assert body == expected


def test_blocks_encoded_once_may_be_sent_with_another_sequence() -> None:
    frame = [block([[1, 5, 9]])]
    assert data_body(9, START, encode_blocks(START, frame)) == encode_data(9, frame)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ([], "count"),
        ([block([[1]], channels=(i,)) for i in range(65)], "count"),
        ([block([[1]]), block([[2]])], "channel"),
        ([block([[1], [2]], channels=(3, 3))], "channel"),
        ([block([[1], [2]], channels=(4, 3))], "channel"),
        ([block([[1]], channels=(256,))], "channel"),
        ([block([[1, 2]], channels=(1, 2))], "count"),
        ([block(np.zeros((1, 0)))], "count"),
        ([block(np.zeros((1, MAX_SAMPLES + 1)))], "count"),
        ([block(np.zeros((19, MAX_SAMPLES)))], "count"),
        ([block([[1, 2]], times=[5, 4])], "time"),
        ([block([[1]], times=[-1])], "time"),
        ([block([[1]], times=[MAX_TIME_MS + 1])], "time"),
        ([block([[1]], present=[[False]])], "count"),
    ],
)
def test_encoder_names_the_rule_that_is_broken(frame: list[Block], code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_data(1, frame)
    assert caught.value.code == code


@pytest.mark.parametrize("sequence", [0, -1, 1 << 63])
def test_sequence_outside_its_range_is_not_encoded(sequence: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_data(sequence, [block([[1]])])
    assert caught.value.code == "range"


def test_unknown_channel_is_a_verdict() -> None:
    body = encode_data(1, [block([[1, 2], [3, 4]], channels=(0, 9))])
    verdict = scan_data(body, {0: (0, 5)}).verdict
    assert verdict is not None
    assert verdict == ("unknown_channel", 9, None)
    assert str(verdict) == "channel 9 is not a channel of this device type"


def test_first_finding_is_the_verdict() -> None:
    body = encode_data(1, [block([[1, 9], [8, 4]])])
    assert scan_data(body, {0: (0, 5), 1: (0, 5)}).verdict == ("limit", 0, 9)


def test_column_without_a_sample_is_within_any_limits() -> None:
    body = encode_data(1, [block([[0, 0]], present=[[False, False]])])
    scan = scan_data(body, {0: (5, 6)})
    assert (scan.values, scan.verdict) == (0, None)


@given(st.integers(0, (1 << 64) - 1))
def test_uvarint_round_trip(value: int) -> None:
    encoded = uvarint(value)
    assert read_uvarint(b"\xff" + encoded + b"\x00", 1) == (value, 1 + len(encoded))


@given(st.integers(*I64))
def test_svarint_round_trip(value: int) -> None:
    encoded = svarint(value)
    assert read_svarint(encoded, 0) == (value, len(encoded))


@given(st.binary(min_size=1, max_size=12))
def test_varints_have_one_encoding_each(data: bytes) -> None:
    try:
        value, end = read_uvarint(data, 0)
    except ProtocolError:
        return
    assert uvarint(value) == data[:end]
