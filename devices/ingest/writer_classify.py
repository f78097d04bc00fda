"""What becomes of each message, decided from the cursors: pure, on arrays.

The rule of the sequence numbers (docs/architecture.md, section 9) in one place. The caller holds
the rows of `device_cursor` locked, so that what is decided here is what is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from devices.ingest.queue import BRIDGE_EVENT, Envelopes, Verdict
from devices.protocol import MessageType

Int64 = NDArray[np.int64]


class Outcome(IntEnum):
    """What happens to a message.

    The first four consume sequence numbers. DUPLICATE was sent again by the device; REPEATED is an
    arrival that was committed before and came out of the queue again (a writer or Redis died
    between commit and acknowledgement): nobody sent it twice, so it is not counted. HOLE follows a
    sequence number that is missing and is left to the device to send again. EVENT is the
    bridge's own; UNTRUSTED has no sequence number that could be believed; UNKNOWN is of a device
    that has no cursor (deleted meanwhile).
    """

    STORED = 0
    QUARANTINED = 1
    SKIPPED = 2
    OTHER = 3
    DUPLICATE = 4
    REPEATED = 5
    HOLE = 6
    EVENT = 7
    UNTRUSTED = 8
    UNKNOWN = 9


@dataclass(frozen=True, slots=True)
class Cursors:
    """Locked rows of `device_cursor`, shape (m,), ascending in `device_id`.

    `received_us` is the latest arrival (Unix µs) that was committed, 0 when there is none.
    """

    device_id: Int64
    tenant_id: Int64
    committed: Int64
    received_us: Int64


@dataclass(frozen=True, slots=True)
class Classified:
    """The decision for n messages of m devices.

    `outcome` (n,) holds `Outcome` codes; `device` (n,) is the index into the cursors (of no meaning
    where UNKNOWN); `consumed` (n,) the sequence numbers that a message consumes; `committed` (m,)
    the new value of each cursor.
    """

    outcome: NDArray[np.uint8]
    device: Int64
    consumed: Int64
    committed: Int64


def classify(envelopes: Envelopes, last: Int64, cursors: Cursors) -> Classified:
    """Decide over `envelopes` (n,) in the order of their arrival.

    `last` (n,) is the last sequence number of a message: of its range for a GAP, else its own.
    """
    n = len(envelopes)
    sequence = envelopes["sequence"].astype(np.int64)
    device, known = _find(envelopes["device_id"], cursors.device_id)
    outcome = _outcome_in_order(envelopes)
    own = envelopes["kind"] == BRIDGE_EVENT
    durable = known & ~own & (sequence > 0)
    outcome[~durable] = Outcome.UNTRUSTED
    outcome[own & (envelopes["verdict"] == Verdict.SOUND)] = Outcome.EVENT
    outcome[~known] = Outcome.UNKNOWN
    consumed = np.zeros(n, np.int64)
    committed = cursors.committed.copy()

    # Stable: the messages of a device stay in the order of their arrival.
    positions = np.flatnonzero(durable)
    order = positions[np.argsort(device[positions], kind="stable")]
    if len(order):
        starts, counts = _groups(device[order])
        group_device = device[order[starts]]
        expected = np.repeat(committed[group_device] + 1 - starts, counts) + np.arange(len(order))
        straight = (sequence[order] == expected) & (last[order] == expected)
        in_order = np.logical_and.reduceat(straight, starts)
        consumed[order[np.repeat(in_order, counts)]] = 1
        committed[group_device[in_order]] += counts[in_order]
        for group in np.flatnonzero(~in_order).tolist():
            members = order[starts[group] : starts[group] + counts[group]]
            at = int(group_device[group])
            committed[at] = _walk(
                members,
                (sequence, last, envelopes["received_us"]),
                (int(committed[at]), int(cursors.received_us[at])),
                outcome,
                consumed,
            )
    return Classified(outcome, device, consumed, committed)


def _find(wanted: Int64, sorted_ids: Int64) -> tuple[Int64, NDArray[np.bool_]]:
    """Index of each wanted id in `sorted_ids` and whether it is there."""
    if not len(sorted_ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    index = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return index, sorted_ids[index] == wanted


def _outcome_in_order(envelopes: Envelopes) -> NDArray[np.uint8]:
    """What a message becomes if its sequence number is the next one."""
    kind = envelopes["kind"]
    outcome = np.full(len(kind), Outcome.OTHER, np.uint8)
    outcome[kind == MessageType.DATA] = Outcome.STORED
    outcome[kind == MessageType.GAP] = Outcome.SKIPPED
    outcome[envelopes["verdict"] != Verdict.SOUND] = Outcome.QUARANTINED
    return outcome


def _groups(device: Int64) -> tuple[Int64, Int64]:
    """Start and length of each run of equal values."""
    starts = np.flatnonzero(np.concatenate(([True], device[1:] != device[:-1])))
    return starts, np.diff(np.append(starts, len(device)))


def _walk(
    members: Int64,
    columns: tuple[Int64, Int64, Int64],
    cursor: tuple[int, int],
    outcome: NDArray[np.uint8],
    consumed: Int64,
) -> int:
    """Decide one device's messages one after the other; returns its new committed number.

    For the few devices whose batch is not simply the next numbers in order: about 1 µs a message.
    """
    committed, seen_us = cursor
    for index, first, final, received_us in zip(
        members.tolist(), *(column[members].tolist() for column in columns), strict=True
    ):
        if final <= committed:
            repeated = received_us <= seen_us
            outcome[index] = Outcome.REPEATED if repeated else Outcome.DUPLICATE
        elif first > committed + 1:
            outcome[index] = Outcome.HOLE
        else:
            # A GAP may begin at or below the cursor: a part of what the device gave up for lost
            # had arrived, and its acknowledgement had not.
            consumed[index] = final - committed
            committed = final
    return committed
