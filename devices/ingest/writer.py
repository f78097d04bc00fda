"""The writer: from the queue into TimescaleDB, in batches, each in one transaction.

Read a batch, commit it, and only then acknowledge it to the queue and tell the bridges what is
committed. Whatever dies in between, the batch is read again and `device_cursor` says that it is
there already: nothing is lost, nothing is doubled.

- Redis gone or wiped: everything in hand is dropped, leases and groups are made again, entries not
  acknowledged are read again.
- PostgreSQL gone: the batch stays in hand, nothing is acknowledged, retried with back-off.
- A row that the database refuses, an entry that cannot be read: isolated by halving, moved to
  quarantine or, when even that is refused, to the stream `ingest:poison`; the rest goes on.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

import numpy as np
import psycopg
from redis.exceptions import RedisError

from devices.ingest.queue import (
    BRIDGE_EVENT,
    COMMITTED,
    EVICT_CHANNEL,
    REWIND_FLAG,
    Verdict,
    committed_channel,
    encode_batch,
    encode_evict,
)
from devices.ingest.writer_classify import Outcome
from devices.ingest.writer_messages import Entry, Messages, gather
from devices.ingest.writer_source import Source
from devices.ingest.writer_store import Store, Stored

log = logging.getLogger("devices.ingest.writer")

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 5.0
# What a trigger raises (SQLSTATE class P0). With data exceptions and violated constraints it is
# what PostgreSQL says about rows; anything else (no table, no privilege, no disk) is a state of
# the server, and the batch waits for somebody to mend it.
_RAISED: Final = "P0"


@dataclass(frozen=True, slots=True)
class WriterOptions:
    """What a writer needs: `instance` is its name among all writers, unique in the Redis."""

    database_url: str
    redis_url: str
    instance: str


class StoppedError(Exception):
    """The writer was told to stop while it waited for a server; its batch stays in the queue."""


@dataclass(slots=True)
class Counters:
    """What a writer has done since its start, for its heartbeat."""

    batches: int = 0
    messages: int = 0
    stored: int = 0
    duplicate: int = 0
    repeated: int = 0
    quarantined: int = 0
    holes: int = 0
    poison: int = 0
    lag_ms: float = 0.0

    def add(self, stored: Stored) -> None:
        """Count a committed batch."""
        outcomes = np.bincount(stored.classified.outcome, minlength=len(Outcome)).tolist()
        self.batches += 1
        self.messages += len(stored.messages)
        self.stored += outcomes[Outcome.STORED]
        self.duplicate += outcomes[Outcome.DUPLICATE]
        self.repeated += outcomes[Outcome.REPEATED]
        self.quarantined += outcomes[Outcome.QUARANTINED] + outcomes[Outcome.UNTRUSTED]
        self.holes += outcomes[Outcome.HOLE]
        oldest_us = int(stored.messages.envelopes["received_us"].min())
        self.lag_ms = round(time.time() * 1000 - oldest_us / 1000, 1)

    def numbers(self) -> dict[str, float]:
        """All of them by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class Writer:
    """One writer; `run` returns after `stop` was called (from a signal handler or a thread)."""

    def __init__(self, options: WriterOptions) -> None:
        self._source = Source(options.redis_url, options.instance, self._wait)
        self._store = Store(options.database_url)
        self._stopping = False
        self._wakeup: SimpleQueue[None] = SimpleQueue()
        self.counters = Counters()

    def stop(self) -> None:
        """Finish the batch in hand, give the leases back, return from `run`.

        A signal may interrupt any instruction: a SimpleQueue is made for that, an Event is not.
        """
        self._stopping = True
        self._wakeup.put(None)

    def _wait(self, seconds: float) -> bool:
        """Wait so long or until `stop`; returns whether to stop."""
        if not self._stopping:
            with contextlib.suppress(Empty):
                self._wakeup.get(timeout=seconds)
        return self._stopping

    def run(self) -> None:
        """Serve until `stop`."""
        backoff = BACKOFF_FIRST_S
        while not self._stopping:
            try:
                self._source.attend(self._numbers())
                entries = self._source.read()
                if entries:
                    self._process(entries)
                backoff = BACKOFF_FIRST_S
            except StoppedError:
                break
            except RedisError as error:
                log.warning("redis_unavailable error=%r retry_in_s=%.1f", str(error), backoff)
                self._source.reset()
                self._wait(backoff)
                backoff = min(2 * backoff, BACKOFF_LAST_S)
        self._close()

    def _close(self) -> None:
        try:
            self._source.release()
        except RedisError as error:
            log.warning("leases_not_released error=%r", str(error))
        self._store.close()
        self._source.close()
        log.info("stopped stored=%d duplicate=%d", self.counters.stored, self.counters.duplicate)

    def _numbers(self) -> dict[str, float]:
        return self.counters.numbers() | {"partitions": len(self._source.partitions)}

    def _process(self, entries: list[Entry]) -> None:
        messages, unreadable = gather(entries)
        for entry, reason in unreadable:
            self._bury_entry(entry, reason)
        stored = self._commit(messages) if len(messages) else []
        for batch in stored:
            self.counters.add(batch)
        self._source.acknowledge(entries, [notice for batch in stored for notice in notices(batch)])

    def _commit(self, messages: Messages) -> list[Stored]:
        """Store all that can be stored, in the order of arrival, as few transactions as it takes.

        Waits for PostgreSQL as long as it takes; raises StoppedError when told to stop meanwhile.
        """
        backoff = BACKOFF_FIRST_S
        while True:
            try:
                return [self._store.commit(messages)]
            except (psycopg.DataError, psycopg.IntegrityError, ValueError, OverflowError) as error:
                # The last two: what cannot even be put into a statement.
                return self._isolate(messages, str(error))
            except psycopg.Error as error:
                if (error.sqlstate or "").startswith(_RAISED):
                    return self._isolate(messages, str(error))
                log.warning("database_unavailable error=%r retry_in_s=%.1f", str(error), backoff)
                self._store.close()
            if self._wait(backoff):
                raise StoppedError
            backoff = min(2 * backoff, BACKOFF_LAST_S)
            self._keep()

    def _keep(self) -> None:
        try:
            self._source.keep(self._numbers())
        except RedisError as error:
            log.warning("redis_unavailable error=%r", str(error))

    # --- What cannot be stored --------------------------------------------------------------

    def _isolate(self, messages: Messages, error: str) -> list[Stored]:
        """Find the message that the database refuses by halving, and put it aside."""
        n = len(messages)
        if n > 1:
            middle = n // 2
            return self._commit(messages.part(0, middle)) + self._commit(messages.part(middle, n))
        envelope = messages.envelopes[0]
        hopeless = envelope["kind"] == BRIDGE_EVENT or envelope["verdict"] == Verdict.REFUSED
        log.error(
            "message_refused device_id=%d sequence=%d kind=%#04x to=%s error=%r",
            envelope["device_id"],
            envelope["sequence"],
            envelope["kind"],
            "poison" if hopeless else "quarantine",
            error,
        )
        if hopeless:
            bridge = messages.bridges[int(messages.bridge[0])]
            fields = encode_batch(bridge, messages.envelopes, [messages.body(0)], {0: error})
            self._bury({name.encode(): value for name, value in fields.items()}, error)
            return []
        messages.condemn(0, Verdict.REFUSED, error)
        return self._commit(messages)

    def _bury_entry(self, entry: Entry, reason: str) -> None:
        what = "lost" if entry.fields is None else "unreadable"
        entry_id = entry.entry_id.decode()
        log.error("entry_%s partition=%d id=%s: %s", what, entry.partition, entry_id, reason)
        if entry.fields is not None:
            self._bury(entry.fields, reason)

    def _bury(self, fields: dict[bytes, bytes], reason: str) -> None:
        self.counters.poison += 1
        self._source.bury(fields, reason)


def notices(stored: Stored) -> list[tuple[str, bytes]]:
    """Channel and payload of every notice about a committed batch.

    Each connection that is in the batch hears its device's committed number, also for duplicates:
    an acknowledgement that got lost is repeated. Devices that are gone are evicted.
    """
    envelopes, classified = stored.messages.envelopes, stored.classified
    found: list[tuple[str, bytes]] = []
    durable = np.flatnonzero(classified.outcome <= Outcome.HOLE)
    if len(durable):
        # A connection belongs to one device and one bridge.
        connections, at, row = np.unique(
            envelopes["connection"][durable], return_index=True, return_inverse=True
        )
        rows = np.zeros(len(connections), COMMITTED)
        rows["connection"] = connections
        rows["device_id"] = envelopes["device_id"][durable[at]]
        rows["committed"] = classified.committed[classified.device[durable[at]]]
        rows["flags"][row[classified.outcome[durable] == Outcome.HOLE]] = REWIND_FLAG
        bridge = stored.messages.bridge[durable[at]]
        for index in np.unique(bridge).tolist():
            channel = committed_channel(stored.messages.bridges[index])
            found.append((channel, rows[bridge == index].tobytes()))
    gone = np.unique(envelopes["device_id"][classified.outcome == Outcome.UNKNOWN])
    found += [(EVICT_CHANNEL, encode_evict(device_id)) for device_id in gone.tolist()]
    return found
