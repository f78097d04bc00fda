"""What lies in the queue: bytes that bridges, writers and the live reader agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ingest import queue

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
MESSAGE = st.tuples(
    st.tuples(I64, I64, I64, I64, I64, I64, I64),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=300),
    st.text(max_size=20),
)


def as_read(fields: dict[str, bytes]) -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in fields.items()}


@given(st.lists(MESSAGE, min_size=1, max_size=20))
def test_batch_builder_and_decoder_agree(messages: list[tuple]) -> None:  # type: ignore[type-arg]
    builder = queue.BatchBuilder("bridge-ä")
    for head, values, kind, verdict, body, detail in messages:
        arguments: tuple[Any, ...] = (*head, values, kind, verdict, body, detail)
        builder.add(*arguments)
    assert builder.count == len(messages)
    size = builder.size
    fields = builder.take()
    assert (builder.count, builder.size) == (0, 0)
    assert size == len(fields["m"]) + len(fields["f"])

    batch = queue.decode_batch(as_read(fields))

    assert batch.bridge == "bridge-ä"
    assert [
        (tuple(row)[:7], row["values"], row["kind"], row["verdict"], batch.body(i))
        for i, row in enumerate(batch.envelopes)
    ] == [message[:5] for message in messages]
    assert batch.details == {i: m[5] for i, m in enumerate(messages) if m[5]}
    bodies = [message[4] for message in messages]
    assert queue.encode_batch("bridge-ä", batch.envelopes, bodies, batch.details) == fields


def test_envelope_layout_is_the_documented_one() -> None:
    builder = queue.BatchBuilder("b")
    builder.add(1, 2, 3, 4, 5, 6, 7, 8, 0x10, 2, b"xyz")
    assert builder.take()["m"].hex() == (
        "".join(f"{n:02x}" + "00" * 7 for n in range(1, 8)) + "08000000" + "03000000" + "10" + "02"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({b"b": None}, "no field b'b'"),
        ({b"m": None}, "no field b'm'"),
        ({b"f": None}, "no field b'f'"),
        ({b"b": b"\xff"}, "not UTF-8"),
        ({b"m": b""}, "0 bytes of envelopes"),
        ({b"m": b"123"}, "3 bytes of envelopes"),
        ({b"f": b"xy"}, "2 bytes of bodies where the envelopes say 3"),
        ({b"d": b"[1]"}, "not a JSON object"),
        ({b"d": b"{"}, "not a JSON object"),
    ],
)
def test_malformed_entry_is_named(change: dict[bytes, bytes | None], sentence: str) -> None:
    builder = queue.BatchBuilder("b")
    builder.add(1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0, b"xyz")
    fields = as_read(builder.take()) | change
    with pytest.raises(queue.EntryError, match=sentence):
        queue.decode_batch({name: value for name, value in fields.items() if value is not None})


def test_encode_batch_refuses_lengths_that_do_not_add_up() -> None:
    with pytest.raises(queue.EntryError, match="do not add up"):
        queue.encode_batch("b", np.zeros(1, queue.ENVELOPE), [b"x"])


def test_partition_keeps_a_device_together() -> None:
    assert [queue.partition_of(n) for n in (0, 15, 16, 33)] == [0, 15, 0, 1]


def test_notices_round_trip() -> None:
    assert queue.decode_downlink(queue.encode_downlink(7, b"message")) == (7, b"message")
    assert queue.decode_live(queue.encode_live(30, [1, 2**40])) == (30, [1, 2**40])
    assert queue.decode_live(queue.encode_live(0, [])) == (0, [])
    evict = queue.decode_rows(queue.encode_evict(5), queue.EVICT)
    assert evict.tolist() == [(5, queue.EVERY_CONNECTION)]
    assert queue.decode_event(queue.encode_event("connected", {"produced": 3})) == (
        "connected",
        {"produced": 3},
    )


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"kind": 1, "data": {}}', b"\xff"])
def test_malformed_event_is_named(body: bytes) -> None:
    with pytest.raises(queue.EntryError, match="bridge's event"):
        queue.decode_event(body)


def test_cut_notices_are_named() -> None:
    with pytest.raises(queue.EntryError, match="cut"):
        queue.decode_live(b"\x01\x00abc")
    with pytest.raises(queue.EntryError, match="no message"):
        queue.decode_downlink(b"12345678")
    with pytest.raises(queue.EntryError, match="rows of 25"):
        queue.decode_rows(b"123", queue.COMMITTED)
