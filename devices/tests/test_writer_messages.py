"""Entries of the queue, flattened and decoded; what cannot be read is put aside by itself."""

from __future__ import annotations

import json

import pytest

from devices.ingest.queue import BRIDGE_EVENT, BatchBuilder, Verdict, encode_event
from devices.ingest.writer_messages import MAX_DETAIL, Entry, gather, read_contents
from devices.protocol import Event, Gap, Log, LogLine, MessageType, Result


def entry(number: int, *messages: tuple[int, bytes], bridge: str = "b", detail: str = "") -> Entry:
    builder = BatchBuilder(bridge)
    for kind, body in messages:
        verdict = Verdict.LIMIT if detail else Verdict.SOUND
        builder.add(1, 2, 3, 4, 5, 6, 7, 8, kind, verdict, body, detail)
    fields = {name.encode(): value for name, value in builder.take().items()}
    return Entry(number, b"%d-0" % number, fields)


def test_entries_become_one_run_in_order() -> None:
    entries = [
        entry(1, (0x10, b"first"), (0x10, b""), bridge="one"),
        entry(2, (0x10, b"third"), bridge="two", detail="too high"),
        entry(3, (0x10, b"4"), bridge="one"),
    ]
    messages, unreadable = gather(entries)
    assert unreadable == []
    assert [messages.body(i) for i in range(4)] == [b"first", b"", b"third", b"4"]
    assert [messages.bridges[i] for i in messages.bridge.tolist()] == ["one", "one", "two", "one"]
    assert messages.details == {2: "too high"}

    part = messages.part(1, 3)
    assert [part.body(i) for i in range(len(part))] == [b"", b"third"]
    assert part.details == {1: "too high"}
    part.condemn(0, Verdict.REFUSED, "no")
    assert messages.envelopes["verdict"].tolist() == [0, 0, Verdict.LIMIT, 0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (None, "trimmed before it was acknowledged"),
        ({}, "no field b'b'"),
        ({b"b": b"x", b"m": b"12", b"f": b""}, "2 bytes of envelopes"),
        ({b"b": b"x", b"m": bytes(66), b"f": b"long"}, "4 bytes of bodies"),
        ({b"b": b"\xff", b"m": bytes(66), b"f": b""}, "not UTF-8"),
        ({b"b": b"x", b"m": bytes(66), b"f": b"", b"d": b"["}, "not a JSON object"),
    ],
)
def test_an_unreadable_entry_does_not_take_its_neighbours_along(
    fields: dict[bytes, bytes] | None, reason: str
) -> None:
    bad = Entry(2, b"2-0", fields)
    messages, unreadable = gather([entry(1, (0x10, b"one")), bad, entry(3, (0x10, b"three"))])
    assert [messages.body(i) for i in range(len(messages))] == [b"one", b"three"]
    assert [found for found, _ in unreadable] == [bad]
    assert reason in unreadable[0][1]


def test_details_are_made_storable_and_short() -> None:
    messages, _ = gather([entry(1, (0x10, b""), detail="\0\ud800" + "x" * 2_000)])
    assert messages.details == {0: "\N{REPLACEMENT CHARACTER}?" + "x" * (MAX_DETAIL - 2)}


def test_only_unreadable_entries_leave_no_message() -> None:
    messages, unreadable = gather([Entry(2, b"2-0", {})])
    assert len(messages) == 0
    assert len(unreadable) == 1


def test_two_entries_with_wrong_lengths_that_add_up_are_both_found() -> None:
    first, second = entry(1, (0x10, b"abc")), entry(2, (0x10, b"abc"))
    assert first.fields is not None
    assert second.fields is not None
    first.fields[b"f"], second.fields[b"f"] = b"ab", b"abcd"
    messages, unreadable = gather([first, second])
    assert len(messages) == 0
    assert [found for found, _ in unreadable] == [first, second]


def test_contents_are_read_by_kind() -> None:
    messages, _ = gather(
        [
            entry(
                1,
                (MessageType.DATA, b"not looked at"),
                (MessageType.GAP, Gap(4, 9).body()),
                (MessageType.LOG, Log(4, (LogLine(1, 2, "a\0b"), LogLine(3, 4, "c"))).body()),
                (MessageType.EVENT, Event(4, 11, "relay.opened", {"n\0": 1, "s": "\0"}).body()),
                (MessageType.RESULT, Result(4, bytes(range(16)), 12, 1, "done").body()),
                (BRIDGE_EVENT, encode_event("connected", {"produced": 4})),
            )
        ]
    )
    contents = read_contents(messages)
    assert messages.envelopes["verdict"].tolist() == [0] * 6
    assert contents.last.tolist() == [4, 9, 4, 4, 4, 4]
    assert contents.logs == [(2, 1, 2, "a\N{REPLACEMENT CHARACTER}b"), (2, 3, 4, "c")]
    assert [(row.message, row.occurred_ms, row.kind) for row in contents.events] == [
        (3, 11, "relay.opened"),
        (4, 12, "command.result"),
    ]
    replacement = "\N{REPLACEMENT CHARACTER}"
    assert json.loads(contents.events[0].data) == {f"n{replacement}": 1, "s": replacement}
    assert json.loads(contents.events[1].data) == {
        "command": bytes(range(16)).hex(),
        "status": 1,
        "detail": "done",
    }
    assert contents.links == [(5, "connected", {"produced": 4})]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MessageType.GAP, b"\x80"),
        (MessageType.GAP, Gap(5, 9).body()),  # its envelope says 4
        (MessageType.LOG, b"\x04\x00"),
        (MessageType.EVENT, b"\x04"),
        (MessageType.RESULT, b"\x04"),
        (BRIDGE_EVENT, b"[]"),
        (BRIDGE_EVENT, encode_event("seen", {"produced": "many"})),
        (BRIDGE_EVENT, encode_event("seen", {"produced": -1})),
        (BRIDGE_EVENT, encode_event("seen", {"produced": 1 << 63})),
        (BRIDGE_EVENT, encode_event("connected", {"clock_offset_ms": True})),
        (BRIDGE_EVENT, encode_event("connected", {"firmware_version": 1})),
        (BRIDGE_EVENT, encode_event("connected", {"capabilities": -1})),
        (BRIDGE_EVENT, encode_event("connected", {"boot_count": 1 << 63})),
        (BRIDGE_EVENT, encode_event("connected", {"image_sha256": None})),
        (0x41, b""),
    ],
)
def test_a_body_that_does_not_decode_is_condemned(kind: int, body: bytes) -> None:
    messages, _ = gather([entry(1, (kind, body))])
    contents = read_contents(messages)
    assert messages.envelopes["verdict"].tolist() == [Verdict.UNREADABLE]
    assert messages.details[0]
    assert (contents.logs, contents.events, contents.links) == ([], [], [])
    assert contents.last.tolist() == [4]
