"""Messages on a byte stream."""

import random

import pytest

from devices.protocol import (
    MAX_BODY,
    OVERHEAD_BYTES,
    MessageReader,
    ProtocolError,
    RawMessage,
    seal,
)


def read_in_pieces(stream: bytes, size: int) -> list[RawMessage]:
    reader = MessageReader()
    messages = []
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
        messages += list(reader)
    assert reader.buffered == 0
    return messages


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 64, 1000, 100_000])
def test_reader_cuts_messages_whatever_the_pieces(size: int) -> None:
    rng = random.Random(size)
    expected = [
        RawMessage(rng.randrange(256), rng.randbytes(rng.choice([0, 1, 5, 200, 900])))
        for _ in range(50)
    ]
    stream = b"".join(seal(*message) for message in expected)
    assert read_in_pieces(stream, size) == expected


def test_longest_message_passes() -> None:
    body = bytes(MAX_BODY)
    message = seal(0x10, body)
    assert len(message) == MAX_BODY + OVERHEAD_BYTES
    assert read_in_pieces(message, 1_500) == [RawMessage(0x10, body)]


def test_longer_body_is_not_sealed() -> None:
    with pytest.raises(ProtocolError, match="send fewer samples") as caught:
        seal(0x10, bytes(MAX_BODY + 1))
    assert caught.value.code == "length"


def test_messages_before_a_malformed_one_are_yielded_first() -> None:
    bad = bytearray(seal(0x06, b"\x07"))
    bad[4] ^= 0x10
    reader = MessageReader()
    reader.feed(seal(0x06, b"\x05") + seal(0x06, b"\x06") + bytes(bad))
    seen: list[RawMessage] = []
    with pytest.raises(ProtocolError) as caught:
        seen.extend(reader)
    assert [message.body for message in seen] == [b"\x05", b"\x06"]
    assert caught.value.code == "checksum"
    assert reader.rest() == bytes(bad)


def test_reader_yields_what_is_fed_while_it_is_iterated() -> None:
    reader = MessageReader()
    second = seal(0x06, b"\x02")
    reader.feed(seal(0x06, b"\x01") + second[:3])
    bodies = []
    for message in reader:
        bodies.append(message.body)
        if len(bodies) == 1:
            reader.feed(second[3:])
            reader.feed(seal(0x06, b"\x03"))
    assert bodies == [b"\x01", b"\x02", b"\x03"]


def test_limit_of_the_body_may_be_raised_after_the_greeting() -> None:
    reader = MessageReader(max_body=10)
    reader.feed(seal(0x01, bytes(10)))
    assert len(list(reader)) == 1
    reader.max_body = 20
    reader.feed(seal(0x10, bytes(20)))
    assert len(list(reader)) == 1
    reader.feed(seal(0x10, bytes(21))[:4])
    with pytest.raises(ProtocolError) as caught:
        list(reader)
    assert caught.value.code == "length"


def test_reader_holds_no_more_than_one_incomplete_message() -> None:
    reader = MessageReader()
    whole = seal(0x10, bytes(500))
    reader.feed(whole * 40 + whole[:100])
    assert len(list(reader)) == 40
    assert reader.buffered == len(reader.rest()) == 100


@pytest.mark.parametrize("version", [0, 2, 22, 255])
def test_other_version_is_refused_by_its_first_byte(version: int) -> None:
    reader = MessageReader()
    reader.feed(bytes([version]) + seal(0x06, b"\x01")[1:])
    with pytest.raises(ProtocolError) as caught:
        list(reader)
    assert caught.value.code == "version"


def test_every_single_bit_error_is_found() -> None:
    message = seal(0x10, random.Random(4).randbytes(40))
    for bit in range(8, len(message) * 8):
        if 16 <= bit < 32:
            continue  # the length: the reader waits for more, or reads a checksum elsewhere
        broken = bytearray(message)
        broken[bit // 8] ^= 1 << bit % 8
        reader = MessageReader()
        reader.feed(bytes(broken))
        with pytest.raises(ProtocolError):
            list(reader)
