"""One batch, one transaction: frames, quarantine, logs, events, cursors, ledger."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray

from devices.ingest import copy, ledger
from devices.ingest import writer_statements as statements
from devices.ingest.copy import NO_TIME, BigintArray, TimestampArray
from devices.ingest.queue import BRIDGE_EVENT, BridgeEvent, Verdict
from devices.ingest.writer_classify import Classified, Cursors, Outcome, classify
from devices.ingest.writer_messages import (
    Contents,
    EventRow,
    LinkRow,
    Messages,
    read_contents,
)

Int64 = NDArray[np.int64]

log = logging.getLogger("devices.ingest.writer")


@dataclass(frozen=True, slots=True)
class Stored:
    """A committed batch and what was decided about it."""

    messages: Messages
    classified: Classified
    cursors: Cursors


class Store:
    """The database side of a writer. Errors of psycopg go to the caller; nothing is kept then."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=5,
                application_name="wattline-writer",
                # Durable before it is acknowledged. And a writer that hangs does not hold the
                # cursors of its devices for ever.
                options="-c synchronous_commit=on -c lock_timeout=10s"
                " -c idle_in_transaction_session_timeout=30s",
            )
            copy.register(connection)
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Drop the connection; the next batch makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def commit(self, messages: Messages) -> Stored:
        """Store `messages` (n ≥ 1) in one transaction, durable on return."""
        contents = read_contents(messages)
        connection = self._connected()
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursors = _lock_cursors(cursor, messages)
            classified = classify(messages.envelopes, contents.last, cursors)
            batch = _Transaction(cursor, messages, contents, classified, cursors)
            batch.write()
        return Stored(messages, classified, cursors)


def _lock_cursors(cursor: psycopg.Cursor[Any], messages: Messages) -> Cursors:
    device_ids = np.unique(messages.envelopes["device_id"])
    rows = cursor.execute(statements.LOCK_CURSORS, [BigintArray(device_ids)]).fetchall()
    return Cursors(*np.array(rows, np.int64).reshape(-1, 4).T)


class _Transaction:
    """The statements of one batch."""

    def __init__(
        self,
        cursor: psycopg.Cursor[Any],
        messages: Messages,
        contents: Contents,
        classified: Classified,
        cursors: Cursors,
    ) -> None:
        self._cursor = cursor
        self._messages = messages
        self._envelopes = messages.envelopes
        self._contents = contents
        self._classified = classified
        self._cursors = cursors

    def write(self) -> None:
        outcome = self._classified.outcome
        self._copy_frames(np.flatnonzero(outcome == Outcome.STORED))
        rare = np.isin(outcome, (Outcome.QUARANTINED, Outcome.UNTRUSTED, Outcome.UNKNOWN))
        # What a bridge tells of a device that is gone has nobody to be kept for.
        rare &= ~((self._envelopes["kind"] == BRIDGE_EVENT) & (outcome == Outcome.UNKNOWN))
        if rare.any():
            self._quarantine(np.flatnonzero(rare))
        self._add_logs()
        self._add_events()
        self._update_links()
        if len(self._cursors.device_id):
            self._move_cursors()
            self._add_to_ledger()

    def _tenant(self, at: Int64) -> Int64:
        """The tenant of messages: of the device's row, or where there is none, as it arrived."""
        tenant: Int64 = self._envelopes["tenant_id"][at].astype(np.int64)
        known = self._classified.outcome[at] != Outcome.UNKNOWN
        tenant[known] = self._cursors.tenant_id[self._classified.device[at][known]]
        return tenant

    def _copy_frames(self, at: Int64) -> None:
        if not len(at):
            return
        rows = self._envelopes[at]
        offsets, bodies = self._messages.offsets, self._messages.bodies
        spans = zip(offsets[at].tolist(), offsets[at + 1].tolist(), strict=True)
        payload = copy.frame_rows(
            rows["received_us"],
            self._tenant(at),
            rows["device_id"],
            rows["sequence"],
            rows["start_ms"],
            rows["end_ms"],
            rows["values"],
            [bodies[start:end] for start, end in spans],
        )
        with self._cursor.copy(statements.COPY_FRAMES) as stream:
            stream.write(payload)

    def _heads(self, at: Int64) -> list[object]:
        """received_at, tenant_id, device_id, sequence of the messages `at`, as parameters."""
        rows = self._envelopes[at]
        return [
            TimestampArray(rows["received_us"]),
            BigintArray(self._tenant(at)),
            BigintArray(rows["device_id"]),
            BigintArray(rows["sequence"]),
        ]

    def _quarantine(self, at: Int64) -> None:
        details = self._messages.details
        reasons, sentences = [], []
        for index in at.tolist():
            code = int(self._envelopes["verdict"][index])
            # A newer bridge may know more verdicts.
            reason = _REASONS.get(code, f"verdict_{code}")
            sentence = details.get(index, "")
            if self._classified.outcome[index] == Outcome.UNKNOWN:
                reason = Verdict.UNKNOWN_DEVICE.reason
                sentence = sentence or "the device has no cursor: it was deleted meanwhile"
            elif code == Verdict.SOUND:
                reason = Verdict.MALFORMED.reason
                sentence = "a message without a sequence number"
            reasons.append(reason)
            sentences.append(sentence)
        bodies = [self._messages.body(index) for index in at.tolist()]
        self._cursor.execute(statements.QUARANTINE, [*self._heads(at), reasons, sentences, bodies])

    def _kept(self, indices: list[int], wanted: Outcome) -> NDArray[np.bool_]:
        kept: NDArray[np.bool_] = self._classified.outcome[np.array(indices, np.int64)] == wanted
        return kept

    def _add_logs(self) -> None:
        rows = self._contents.logs
        if not rows:
            return
        kept = self._kept([row.message for row in rows], Outcome.OTHER)
        rows = [row for row, keep in zip(rows, kept, strict=True) if keep]
        if not rows:
            return
        parameters = [
            TimestampArray([row.logged_ms * 1000 for row in rows]),
            [row.level for row in rows],
            [row.line for row in rows],
        ]
        heads = self._heads(np.array([row.message for row in rows]))
        self._cursor.execute(statements.ADD_LOG, [*heads, *parameters])

    def _add_events(self) -> None:
        """Events of the devices, and what the bridges report of their connections."""
        events = self._contents.events
        kept = self._kept([row.message for row in events], Outcome.OTHER)
        told = [row for row, keep in zip(events, kept, strict=True) if keep]
        self._add_to_inbox(told)
        rows = [(row.message, row.occurred_ms * 1000, row.kind, row.data) for row in told]
        rows += [
            (
                row.message,
                int(self._envelopes["received_us"][row.message]),
                row.kind,
                json.dumps(row.data),
            )
            for row in self._links()
            if row.kind != BridgeEvent.SEEN
        ]
        if not rows:
            return
        index, occurred_us, kinds, data = zip(*rows, strict=True)
        heads = self._heads(np.array(index))
        parameters = [TimestampArray(occurred_us), list(kinds), list(data)]
        self._cursor.execute(statements.ADD_EVENTS, [*heads, *parameters])

    def _add_to_inbox(self, told: list[EventRow]) -> None:
        """What the application must act on, in the order in which each device sent it."""
        rows = [(row, *row.inbox) for row in told if row.inbox is not None]
        if not rows:
            return
        events, topics, kinds = zip(*rows, strict=True)
        heads = self._heads(np.array([row.message for row in events]))
        parameters = [
            *heads[:3],
            list(topics),
            list(kinds),
            TimestampArray([row.occurred_ms * 1000 for row in events]),
            [row.data for row in events],
        ]
        self._cursor.execute(statements.ADD_TO_INBOX, parameters)

    def _links(self) -> list[LinkRow]:
        rows = self._contents.links
        kept = self._kept([row.message for row in rows], Outcome.EVENT)
        return [row for row, keep in zip(rows, kept, strict=True) if keep]

    def _update_links(self) -> None:
        folded: dict[int, dict[str, Any]] = {}
        for row in self._links():
            envelope = self._envelopes[row.message]
            connected = _CONNECTED.get(row.kind)
            if row.kind not in _CONNECTED:
                continue
            device, connection = int(envelope["device_id"]), int(envelope["connection"])
            state = folded.get(device)
            if state is not None and connection < state["connection"]:
                continue
            if state is None or connection > state["connection"]:
                state = folded[device] = {"connection": connection, "connected": None, "data": {}}
            state["data"] |= row.data
            state["index"] = row.message
            state["connected"] = state["connected"] if connected is None else connected
        if not folded:
            return
        states = list(folded.values())
        at = np.array([state["index"] for state in states])
        seen_at, tenant_id, device_id, _ = self._heads(at)
        bridges = [self._messages.bridges[i] for i in self._messages.bridge[at].tolist()]
        parameters = [
            device_id,
            tenant_id,
            [state["connected"] for state in states],
            BigintArray([state["connection"] for state in states]),
            bridges,
            seen_at,
            [state["data"].get("firmware_version") for state in states],
            *([state["data"].get(name) for state in states] for name in _TOLD),
        ]
        self._cursor.execute(statements.UPDATE_LINKS, parameters)

    def _move_cursors(self) -> None:
        m = len(self._cursors.device_id)
        outcome, device = self._classified.outcome, self._classified.device
        produced = self._classified.committed.copy()
        for row in self._links():
            at = device[row.message]
            produced[at] = max(int(produced[at]), row.data.get("produced", 0))
        received_us = np.full(m, NO_TIME, np.int64)
        durable = outcome <= Outcome.HOLE
        np.maximum.at(received_us, device[durable], self._envelopes["received_us"][durable])
        sample_us = np.full(m, NO_TIME, np.int64)
        stored = outcome == Outcome.STORED
        ends = self._envelopes["end_ms"][stored] * 1000
        np.maximum.at(sample_us, device[stored], ends)
        parameters = [
            BigintArray(self._cursors.device_id),
            BigintArray(self._classified.committed),
            BigintArray(produced),
            TimestampArray(received_us),
            TimestampArray(sample_us),
        ]
        self._cursor.execute(statements.MOVE_CURSORS, parameters)

    def _add_to_ledger(self) -> None:
        added = ledger.increments(self._envelopes, self._classified)
        if not len(added.device):
            return
        parameters = [
            BigintArray(self._cursors.device_id[added.device]),
            TimestampArray(added.hour_us),
            BigintArray(self._cursors.tenant_id[added.device]),
            BigintArray(added.stored),
            BigintArray(added.duplicate),
            BigintArray(added.quarantined),
            BigintArray(added.skipped),
            BigintArray(added.other),
            BigintArray(added.stored_values),
        ]
        self._cursor.execute(statements.ADD_TO_LEDGER, parameters)


# What a connection tells of a device, as columns of its link.
_TOLD: Final = (
    "clock_offset_ms",
    "capabilities",
    "hardware_revision",
    "boot_count",
    "image_sha256",
)
_REASONS: Final = {int(verdict): verdict.reason for verdict in Verdict}
_CONNECTED: Final[dict[str, bool | None]] = {
    BridgeEvent.CONNECTED: True,
    BridgeEvent.SEEN: None,
    BridgeEvent.DISCONNECTED: False,
}
