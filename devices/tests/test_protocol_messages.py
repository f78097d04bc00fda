"""Bodies of all messages but DATA."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocol import (
    MAX_GAP,
    Ack,
    Capability,
    Command,
    Event,
    Gap,
    Hello,
    Live,
    Log,
    LogLine,
    MessageReader,
    MessageType,
    Ping,
    Pong,
    ProtocolError,
    RawMessage,
    Refuse,
    RefuseCode,
    Result,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
    read_sequence,
)
from devices.protocol.codes import (
    DEVICE_MAY_SEND,
    FIRMWARE_FAMILY,
    SEQUENCED,
    SERVER_MAY_SEND,
)
from devices.protocol.messages import MESSAGE_CLASSES
from devices.protocol.varint import I64_MAX

SEQUENCES = st.integers(1, (1 << 63) - 1)
TIMES = st.integers(0, 1 << 48)
BYTES = st.integers(0, 255)
NUMBERS = st.integers(0, (1 << 64) - 1)


def texts(minimum: int, maximum: int) -> st.SearchStrategy[str]:
    return st.text(min_size=minimum, max_size=maximum // 4)


ENTRIES = st.dictionaries(
    texts(1, 64), st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), texts(0, 1024)), max_size=32
)
IDS = st.binary(min_size=16, max_size=16)
PAIRS = st.tuples(SEQUENCES, SEQUENCES).map(sorted)
LOST = st.tuples(SEQUENCES, st.integers(0, MAX_GAP - 1)).map(
    lambda lost: (lost[0], min(I64_MAX, sum(lost)))
)
MESSAGES = st.one_of(
    PAIRS.flatmap(
        lambda pair: st.builds(
            Hello,
            serial=texts(1, 64),
            secret=st.binary(min_size=16, max_size=64),
            device_type=texts(1, 64),
            hardware=texts(0, 64),
            firmware=texts(0, 64),
            boot_count=NUMBERS,
            clock_ms=TIMES,
            next_sequence=st.just(pair[1]),
            oldest_sequence=st.just(pair[0]),
            capabilities=st.integers(0, 15).map(Capability),
            min_version=st.integers(0, 100),
            max_version=st.integers(100, 255),
        )
    ),
    st.builds(
        Welcome,
        server_ms=TIMES,
        clock_offset_ms=st.integers(-(1 << 63), (1 << 63) - 1),
        resume_from=SEQUENCES,
        window=st.integers(1, 65_535),
        max_body=st.integers(1, 65_535),
        ping_s=st.integers(1, 3_600),
        live_lease_s=st.integers(0, 3_600),
        step_ms=st.integers(1, 86_400_000),
        samples=st.integers(1, 3_600),
        version=BYTES,
    ),
    st.builds(Refuse, BYTES, st.integers(0, 604_800), st.just(0) | SEQUENCES, texts(0, 1024)),
    PAIRS.flatmap(lambda pair: st.builds(Ping, NUMBERS, st.just(pair[1]), st.just(pair[0]))),
    st.builds(Pong, NUMBERS, TIMES),
    st.builds(Ack, SEQUENCES),
    st.builds(Rewind, SEQUENCES),
    LOST.flatmap(lambda lost: st.builds(Gap, st.just(lost[0]), st.just(lost[1]), BYTES)),
    st.builds(
        Log,
        SEQUENCES,
        st.lists(st.builds(LogLine, TIMES, BYTES, texts(0, 1024)), min_size=1, max_size=64).map(
            tuple
        ),
    ),
    st.builds(Event, SEQUENCES, TIMES, texts(1, 64), ENTRIES),
    st.builds(Result, SEQUENCES, IDS, TIMES, BYTES, texts(0, 1024)),
    st.builds(Command, IDS, texts(1, 64), ENTRIES, TIMES),
    st.builds(Live, st.integers(0, 3_600)),
    st.builds(RawMessage, st.sampled_from(list(FIRMWARE_FAMILY)), st.binary(max_size=200)),
)


def received(wire: bytes) -> RawMessage:
    reader = MessageReader()
    reader.feed(wire)
    (raw,) = reader
    return raw


@given(MESSAGES)
def test_message_is_equal_after_a_round_trip(message: Any) -> None:
    raw = received(encode_message(message))
    assert raw.type == message.type
    assert decode_message(*raw) == message


@given(MESSAGES, st.binary(max_size=20))
def test_appended_fields_are_ignored(message: Any, appended: bytes) -> None:
    if isinstance(message, RawMessage):
        return
    assert decode_message(message.type, message.body() + appended) == message


@given(st.sampled_from(sorted(MESSAGE_CLASSES)), st.binary(max_size=200))
def test_any_body_raises_nothing_but_protocol_errors(message_type: int, body: bytes) -> None:
    try:
        message = decode_message(message_type, body)
    except ProtocolError:
        return
    assert message.type == message_type


@given(MESSAGES)
def test_cut_messages_are_truncated(message: Any) -> None:
    if isinstance(message, RawMessage):
        return
    body = message.body()
    for size in range(0, len(body), max(1, len(body) // 20)):
        with pytest.raises(ProtocolError) as caught:
            decode_message(message.type, body[:size])
        assert caught.value.code == "truncated"


@given(MESSAGES)
def test_sequenced_bodies_begin_with_their_sequence(message: Any) -> None:
    if message.type in SEQUENCED:
        assert read_sequence(message.body())[0] == message.sequence


def test_secret_is_not_in_the_representation() -> None:
    hello = Hello("a", b"0123456789abcdef", "t", "", "", 1, 0, 1, 1)
    assert "0123456789abcdef" not in repr(hello)


def test_refuse_has_a_name_for_known_and_unknown_codes() -> None:
    assert Refuse(RefuseCode.REPLACED).name == "replaced"
    assert Refuse(0x2A).name == "code 0x2a"


def test_every_type_has_a_direction() -> None:
    assert set(MessageType) == DEVICE_MAY_SEND | SERVER_MAY_SEND
    assert set(MESSAGE_CLASSES) | {MessageType.DATA} == set(MessageType)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (Hello("", bytes(32), "t", "", "", 1, 0, 1, 1), "text"),
        (Hello("a" * 65, bytes(32), "t", "", "", 1, 0, 1, 1), "text"),
        (Hello("a", bytes(15), "t", "", "", 1, 0, 1, 1), "text"),
        (Hello("\ud800", bytes(32), "t", "", "", 1, 0, 1, 1), "text"),
        (Hello("a", bytes(32), "t", "", "", 1, 0, 1, 2), "range"),
        (Hello("a", bytes(32), "t", "", "", 1, 0, 0, 0), "range"),
        (Hello("a", bytes(32), "t", "", "", -1, 0, 1, 1), "range"),
        (Welcome(0, 1 << 63, 1, 64), "range"),
        (Welcome(0, 0, 0, 64), "range"),
        (Welcome(0, 0, 1, 0), "range"),
        (Refuse(256), "range"),
        (Ack(-1), "range"),
        (Rewind(0), "range"),
        (Gap(5, 4), "range"),
        (Gap(5, 5 + MAX_GAP), "range"),
        (Log(1, ()), "count"),
        (Log(1, (LogLine(0, 1, "x" * 1025),)), "text"),
        (Event(1, 0, ""), "text"),
        (Event(1, 0, "a", {str(i): i for i in range(33)}), "count"),
        (Event(1, 0, "a", {"": 1}), "text"),
        (Event(1, 0, "a", {"b": 1 << 63}), "range"),
        (Result(1, bytes(15), 0, 0), "text"),
        (Command(bytes(17), "a"), "text"),
        (Live(3_601), "range"),
    ],
)
def test_field_outside_its_bounds_is_not_sent(message: Any, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_message(message)
    assert caught.value.code == code
