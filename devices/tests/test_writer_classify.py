"""The rule of the sequence numbers: what is stored, what is a duplicate, what waits for a hole."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ingest import ledger
from devices.ingest.queue import BRIDGE_EVENT, ENVELOPE, Verdict
from devices.ingest.writer_classify import Classified, Cursors, Outcome, classify
from devices.protocol import MessageType

HOUR_US = 3_600_000_000


def cursors(*rows: tuple[int, int, int, int]) -> Cursors:
    """Rows (device, tenant, committed, latest arrival)."""
    return Cursors(*np.array(rows, np.int64).reshape(-1, 4).T)


def envelopes(*rows: dict[str, int]) -> Any:
    array = np.zeros(len(rows), ENVELOPE)
    for at, row in enumerate(rows):
        values = {"device_id": 1, "kind": MessageType.DATA, "received_us": 100 + at} | row
        for name, value in values.items():
            array[name][at] = value
    return array


def decide(rows: Any, at: Cursors, last: dict[int, int] | None = None) -> Classified:
    ends = rows["sequence"].astype(np.int64)
    for index, value in (last or {}).items():
        ends[index] = value
    return classify(rows, ends, at)


def names(classified: Classified) -> list[str]:
    return [Outcome(code).name for code in classified.outcome.tolist()]


def test_next_in_order_is_taken_by_kind_and_verdict() -> None:
    rows = envelopes(
        {"sequence": 5},
        {"sequence": 6, "verdict": Verdict.LIMIT},
        {"sequence": 7, "kind": MessageType.LOG},
        {"sequence": 8, "kind": MessageType.EVENT},
        {"sequence": 9, "kind": MessageType.RESULT},
        {"sequence": 10, "kind": MessageType.GAP},
        {"sequence": 21},
    )
    classified = decide(rows, cursors((1, 1, 4, 0)), {5: 20})
    assert names(classified) == [
        "STORED",
        "QUARANTINED",
        "OTHER",
        "OTHER",
        "OTHER",
        "SKIPPED",
        "STORED",
    ]
    assert classified.committed.tolist() == [21]
    assert classified.consumed.tolist() == [1, 1, 1, 1, 1, 11, 1]


def test_a_later_message_never_jumps_over_a_hole() -> None:
    rows = envelopes(*({"sequence": n} for n in (5, 6, 8, 9, 7, 8)))
    classified = decide(rows, cursors((1, 1, 4, 0)))
    assert names(classified) == ["STORED", "STORED", "HOLE", "HOLE", "STORED", "STORED"]
    assert classified.committed.tolist() == [8]


def test_a_gap_after_a_hole_is_not_taken_either() -> None:
    rows = envelopes({"sequence": 7, "kind": MessageType.GAP})
    classified = decide(rows, cursors((1, 1, 4, 0)), {0: 9})
    assert names(classified) == ["HOLE"]
    assert classified.committed.tolist() == [4]


def test_a_gap_over_committed_numbers_skips_only_the_rest() -> None:
    rows = envelopes({"sequence": 3, "kind": MessageType.GAP})
    classified = decide(rows, cursors((1, 1, 4, 0)), {0: 9})
    assert names(classified) == ["SKIPPED"]
    assert classified.consumed.tolist() == [5]
    assert classified.committed.tolist() == [9]


def test_sent_again_is_a_duplicate_and_read_again_is_a_repetition() -> None:
    """The latest arrival committed is 50: what arrived by then came out of the queue twice."""
    rows = envelopes(
        {"sequence": 4, "received_us": 50},
        {"sequence": 4, "received_us": 51},
        {"sequence": 5, "received_us": 52},
        {"sequence": 5, "received_us": 53},
    )
    classified = decide(rows, cursors((1, 1, 4, 50)))
    assert names(classified) == ["REPEATED", "DUPLICATE", "STORED", "DUPLICATE"]


def test_devices_do_not_touch_each_other() -> None:
    rows = envelopes(
        {"device_id": 9, "sequence": 1},
        {"device_id": 3, "sequence": 8},
        {"device_id": 5, "sequence": 1},
        {"device_id": 9, "sequence": 2},
        {"device_id": 3, "sequence": 7},
    )
    classified = decide(rows, cursors((3, 1, 6, 0), (9, 1, 0, 0)))
    assert names(classified) == ["STORED", "HOLE", "UNKNOWN", "STORED", "STORED"]
    assert classified.committed.tolist() == [7, 2]


def test_what_has_no_sequence_number_moves_no_cursor() -> None:
    rows = envelopes(
        {"kind": BRIDGE_EVENT},
        {"kind": BRIDGE_EVENT, "verdict": Verdict.UNREADABLE},
        {"sequence": 0, "verdict": Verdict.MALFORMED},
        {"sequence": -3},
        {"kind": BRIDGE_EVENT, "device_id": 77},
    )
    classified = decide(rows, cursors((1, 1, 4, 0)))
    assert names(classified) == ["EVENT", "UNTRUSTED", "UNTRUSTED", "UNTRUSTED", "UNKNOWN"]
    assert classified.committed.tolist() == [4]


def test_without_cursors_everything_is_unknown() -> None:
    classified = decide(envelopes({"sequence": 1}), cursors())
    assert names(classified) == ["UNKNOWN"]


def test_the_last_sequence_number_of_all_does_not_wrap() -> None:
    top = (1 << 63) - 1
    rows = envelopes({"sequence": 1, "kind": MessageType.GAP}, {"sequence": top}, {"sequence": 1})
    classified = decide(rows, cursors((1, 1, 0, 0)), {0: top})
    assert names(classified) == ["SKIPPED", "DUPLICATE", "DUPLICATE"]
    assert classified.committed.tolist() == [top]
    again = decide(envelopes({"sequence": 1}), cursors((1, 1, top, 0)))
    assert again.committed.tolist() == [top]


MESSAGE = st.tuples(
    st.integers(1, 3),  # device
    st.integers(0, 9),  # sequence
    st.integers(0, 3),  # length of a gap
    st.sampled_from([MessageType.DATA, MessageType.GAP, MessageType.LOG]),
    st.sampled_from([Verdict.SOUND, Verdict.SOUND, Verdict.LIMIT]),
    st.integers(0, 3 * HOUR_US),
)


@given(
    st.lists(MESSAGE, max_size=40),
    st.tuples(st.integers(0, 5), st.integers(0, 5)),
    st.integers(0, HOUR_US),
)
def test_arrays_decide_like_one_message_after_the_other(
    messages: list[tuple[int, int, int, int, int, int]], start: tuple[int, int], seen_us: int
) -> None:
    """The specification written as a loop; device 3 is unknown."""
    committed = {1: start[0], 2: start[1]}
    expected = []
    counts: Counter[tuple[int, int, str]] = Counter()
    ends = []
    for device, sequence, gap, kind, verdict, received_us in messages:
        is_gap = kind == MessageType.GAP and verdict == Verdict.SOUND
        last = sequence + gap if is_gap else sequence
        ends.append(last)
        if device not in committed:
            expected.append("UNKNOWN")
            continue
        if sequence == 0:
            expected.append("UNTRUSTED")
            continue
        consumed = 0
        if last <= committed[device]:
            outcome = "REPEATED" if received_us <= seen_us else "DUPLICATE"
        elif sequence > committed[device] + 1:
            outcome = "HOLE"
        else:
            consumed = last - committed[device]
            committed[device] = last
            outcome = {MessageType.DATA: "STORED", MessageType.GAP: "SKIPPED"}.get(
                MessageType(kind), "OTHER"
            )
            outcome = "QUARANTINED" if verdict else outcome
        expected.append(outcome)
        if outcome not in {"HOLE", "REPEATED"}:
            hour = received_us // HOUR_US * HOUR_US
            counts[device, hour, outcome] += consumed if outcome == "SKIPPED" else 1

    rows = envelopes(
        *(
            {
                "device_id": device,
                "sequence": sequence,
                "kind": kind,
                "verdict": verdict,
                "received_us": received_us,
                "values": 7,
            }
            for device, sequence, _, kind, verdict, received_us in messages
        )
    )
    at = cursors((1, 1, start[0], seen_us), (2, 1, start[1], seen_us))
    classified = classify(rows, np.array(ends, np.int64), at)

    assert names(classified) == expected
    assert classified.committed.tolist() == [committed[1], committed[2]]
    gained = ledger.increments(rows, classified)
    found = {
        (int(at.device_id[device]), hour, name.upper()): value
        for name in ("stored", "duplicate", "quarantined", "skipped", "other")
        for device, hour, value in zip(
            gained.device.tolist(),
            gained.hour_us.tolist(),
            getattr(gained, name).tolist(),
            strict=True,
        )
        if value
    }
    assert found == counts
    assert gained.stored_values.tolist() == (7 * gained.stored).tolist()


def totals(**changes: int) -> ledger.DeviceTotals:
    balanced: dict[str, int] = {
        "device_id": 4,
        "committed": 10,
        "produced": 12,
        "stored": 5,
        "duplicate": 3,
        "quarantined": 2,
        "skipped": 1,
        "other": 2,
        "frames": 5,
    }
    return ledger.DeviceTotals(**(balanced | changes))


def test_a_balanced_ledger_has_no_findings() -> None:
    assert ledger.check([totals()]) == []
    assert totals().under_way == 2
    assert totals().sent == 15


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"committed": 9}, ["9 committed, but 10 in the ledger"]),
        ({"quarantined": 3}, ["10 committed, but 11 in the ledger"]),
        ({"frames": 6}, ["5 stored in the ledger, but 6 frames"]),
        ({"produced": 9}, ["10 committed of 9 produced"]),
        (
            {"stored": 4},
            ["10 committed, but 9 in the ledger", "4 stored in the ledger, but 5 frames"],
        ),
    ],
)
def test_an_imbalance_is_named(changes: dict[str, int], problems: list[str]) -> None:
    found = ledger.check([totals(**changes)])
    assert found == [ledger.Imbalance(4, problem) for problem in problems]
