"""Bodies of all messages but DATA."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocol import (
    MAX_CHUNK,
    MAX_GAP,
    MAX_MANIFEST,
    MAX_PAYLOAD,
    MIN_CHUNK,
    Ack,
    Capability,
    Chunk,
    ChunkStatus,
    Command,
    Event,
    Fetch,
    Gap,
    Hello,
    Live,
    Log,
    LogLine,
    Manifest,
    MessageReader,
    MessageType,
    Offer,
    OfferFlag,
    Ping,
    Pong,
    ProtocolError,
    RawMessage,
    Refuse,
    RefuseCode,
    Result,
    Rewind,
    Welcome,
    Withdraw,
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
DIGESTS = st.binary(min_size=32, max_size=32)
RESERVED = sorted(set(FIRMWARE_FAMILY) - set(MESSAGE_CLASSES))
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
            image=DIGESTS,
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
    st.builds(
        Offer,
        update_id=IDS,
        manifest=st.binary(min_size=1, max_size=300),
        signature=st.binary(min_size=64, max_size=64),
        payload_sha256=DIGESTS,
        payload_size=st.integers(1, MAX_PAYLOAD),
        payload_kind=BYTES,
        base_sha256=st.just(b"") | DIGESTS,
        rate=st.integers(0, 1 << 40),
        chunk=st.integers(MIN_CHUNK, MAX_CHUNK),
        confirm_within_s=st.integers(1, 604_800),
        flags=NUMBERS.map(OfferFlag),
        url=texts(0, 1_024),
    ),
    st.builds(Fetch, IDS, st.integers(0, MAX_PAYLOAD), st.integers(1, MAX_CHUNK)),
    st.builds(
        Chunk,
        IDS,
        BYTES,
        st.integers(0, MAX_PAYLOAD),
        st.integers(0, 604_800),
        st.binary(max_size=500),
    ),
    st.builds(Withdraw, IDS, texts(0, 1_024)),
    st.builds(RawMessage, st.sampled_from(RESERVED), st.binary(max_size=200)),
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
    # A greeting that ends before the digest of the image is one of an older device.
    whole = {len(body) - 33} if isinstance(message, Hello) else set()
    for size in set(range(0, len(body), max(1, len(body) // 20))) - whole:
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


def an_offer(**changes: Any) -> Offer:
    values: dict[str, Any] = {
        "update_id": bytes(16),
        "manifest": b"m",
        "signature": bytes(64),
        "payload_sha256": bytes(32),
        "payload_size": 1,
    }
    return Offer(**(values | changes))


def test_chunk_has_a_name_for_known_and_unknown_statuses() -> None:
    assert Chunk(bytes(16), ChunkStatus.NOT_NOW, 0).name == "not_now"
    assert Chunk(bytes(16), 9, 0).name == "status 9"


MANIFESTS = st.builds(
    Manifest,
    texts(1, 64),
    st.lists(texts(1, 64), max_size=24).map(tuple),
    texts(1, 64),
    DIGESTS,
    st.integers(1, MAX_PAYLOAD),
)


@given(MANIFESTS, st.binary(max_size=20))
def test_manifest_is_equal_after_a_round_trip(manifest: Manifest, appended: bytes) -> None:
    assert Manifest.decode(manifest.encode() + appended) == manifest
    assert len(manifest.encode()) <= MAX_MANIFEST


@given(st.binary(max_size=200))
def test_any_manifest_raises_nothing_but_protocol_errors(content: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Manifest.decode(content)


def test_manifest_outside_its_bounds_is_not_written() -> None:
    with pytest.raises(ProtocolError):
        Manifest("t", ("r",) * 25, "1.0.0", bytes(32), 1).encode()
    with pytest.raises(ProtocolError):
        Manifest("t", (), "1.0.0", bytes(31), 1).encode()


def test_manifest_without_revisions_is_for_every_hardware() -> None:
    assert Manifest("t", (), "1.0.0", bytes(32), 1).fits_hardware("rev A")
    bound = Manifest("t", ("rev B",), "1.0.0", bytes(32), 1)
    assert (bound.fits_hardware("rev A"), bound.fits_hardware("rev B")) == (False, True)


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
        (Hello("a", bytes(32), "t", "", "", 1, 0, 1, 1, image=bytes(31)), "text"),
        (an_offer(update_id=bytes(15)), "text"),
        (an_offer(manifest=b""), "text"),
        (an_offer(manifest=bytes(2_049)), "text"),
        (an_offer(signature=bytes(63)), "text"),
        (an_offer(payload_sha256=bytes(31)), "text"),
        (an_offer(payload_size=0), "range"),
        (an_offer(payload_size=MAX_PAYLOAD + 1), "range"),
        (an_offer(base_sha256=bytes(31)), "text"),
        (an_offer(rate=-1), "range"),
        (an_offer(chunk=MIN_CHUNK - 1), "range"),
        (an_offer(chunk=MAX_CHUNK + 1), "range"),
        (an_offer(confirm_within_s=0), "range"),
        (an_offer(url="x" * 1_025), "text"),
        (Fetch(bytes(17), 0, 1), "text"),
        (Fetch(bytes(16), 0, 0), "range"),
        (Fetch(bytes(16), MAX_PAYLOAD + 1, 1), "range"),
        (Chunk(bytes(16), 256, 0), "range"),
        (Chunk(bytes(16), 0, 0, 0, bytes(MAX_CHUNK + 1)), "text"),
        (Withdraw(bytes(16), "x" * 1_025), "text"),
    ],
)
def test_field_outside_its_bounds_is_not_sent(message: Any, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_message(message)
    assert caught.value.code == code
