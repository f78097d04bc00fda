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
from collections.abc import Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError
from redis.retry import Retry

from devices.ingest import heartbeat
from devices.ingest.leases import RENEW_S, Leases
from devices.ingest.queue import (
    BRIDGE_EVENT,
    COMMITTED,
    EVICT_CHANNEL,
    MAX_ENTRY_BYTES,
    MAX_POISON_ENTRIES,
    POISON_KEY,
    REWIND_FLAG,
    TRIM_AFTER_MS,
    WRITER_CONSUMER,
    WRITER_GROUP,
    Verdict,
    committed_channel,
    encode_batch,
    encode_evict,
    stream_key,
)
from devices.ingest.writer_classify import Outcome
from devices.ingest.writer_messages import Entry, Messages, gather
from devices.ingest.writer_store import Store, Stored

log = logging.getLogger("devices.ingest.writer")

# How long a read waits for something to come; bounds how late a lease or a stop is noticed.
READ_BLOCK_MS: Final = 500
# A batch is about so large at most: COPY gains nothing from more, and it stands in memory a few
# times over. Redis counts entries and not bytes, hence the number of entries to ask for follows
# from the size of the last ones; an unknown size is taken as the largest.
BATCH_BYTES: Final = 16 * 1024 * 1024
READ_COUNT: Final = 256
MIN_ENTRY_BYTES: Final = 256
# At most this often a transaction when there is little to do: messages gather meanwhile. It bounds
# what an idle writer costs (400 devices with a frame every 2 s: 5 % of a core) for an ACK that
# comes that much later; live charts do not wait for it. Under load the transaction itself takes
# longer, and batches grow by themselves.
GATHER_S: Final = 0.05
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_LAST_S: Final = 5.0
# What PostgreSQL says about the rows rather than about itself: data exception, integrity
# constraint, raised by a trigger. Anything else (no table, no privilege, no disk) is a state of
# the server, and the batch waits for somebody to mend it.
_REFUSALS: Final = ("22", "23", "P0")


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
    partitions: int = 0

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


@dataclass(slots=True)
class _Reading:
    """What the writer holds: it ends with the connection to Redis."""

    partitions: frozenset[int] = frozenset()
    # Partitions whose entries of a predecessor, read and not acknowledged, are read first.
    history: set[int] = field(default_factory=set)
    # The last entry acknowledged of each partition: what lies before it may be trimmed.
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    renewed_at: float = float("-inf")


class Writer:
    """One writer; `run` returns after `stop` was called (from a signal handler or a thread)."""

    def __init__(self, options: WriterOptions) -> None:
        self._instance = options.instance
        # A command that was sent once may have been carried out: no silent second attempt.
        self._redis = Redis.from_url(
            options.redis_url,
            socket_timeout=10,
            socket_connect_timeout=5,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
        )
        # Lists as they come from the server instead of redis-py's dictionaries.
        self._redis.set_response_callback("XREADGROUP", _as_received)
        self._store = Store(options.database_url)
        self._leases = Leases(self._redis, options.instance)
        self._reading = _Reading()
        self._stopping = False
        self._wakeup: SimpleQueue[None] = SimpleQueue()
        self._entry_bytes = float(MAX_ENTRY_BYTES)
        self._beat_at = float("-inf")
        self._gathered_at = float("-inf")
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
                self._serve_once()
                backoff = BACKOFF_FIRST_S
            except StoppedError:
                break
            except RedisError as error:
                log.warning("redis_unavailable error=%r retry_in_s=%.1f", str(error), backoff)
                self._reading = _Reading()
                self._redis.connection_pool.disconnect()
                self._wait(backoff)
                backoff = min(2 * backoff, BACKOFF_LAST_S)
        self._close()

    def _close(self) -> None:
        try:
            self._leases.release()
            heartbeat.clear(self._redis, "writer", self._instance)
        except RedisError as error:
            log.warning("leases_not_released error=%r", str(error))
        self._store.close()
        self._redis.close()
        log.info("stopped stored=%d duplicate=%d", self.counters.stored, self.counters.duplicate)

    def _serve_once(self) -> None:
        self._tick()
        entries = self._read()
        if entries:
            self._process(entries)

    # --- Leases, heartbeat, trimming --------------------------------------------------------

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= heartbeat.INTERVAL_S:
            self._beat_at = now
            self._beat()
        reading = self._reading
        if now - reading.renewed_at < RENEW_S:
            return
        held = self._leases.renew(make_groups=not reading.partitions)
        reading.renewed_at = now
        gained = held.partitions - reading.partitions
        if held.partitions != reading.partitions:
            log.info("partitions held=%s", ",".join(map(str, sorted(held.partitions))) or "none")
        reading.partitions = held.partitions
        reading.history = (reading.history | gained) & held.partitions
        self.counters.partitions = len(held.partitions)
        self._trim(held.now_ms)

    def _beat(self) -> None:
        try:
            heartbeat.beat(self._redis, "writer", self._instance, _numbers(self.counters))
        except OutOfMemoryError as error:
            # Missing in the health check is what a person should see; reading on is what helps.
            log.warning("heartbeat_refused error=%r", str(error))

    def _trim(self, now_ms: int) -> None:
        """Drop what is acknowledged and older than the live reader needs."""
        pipeline = self._redis.pipeline(transaction=False)
        oldest = b"%d-0" % (now_ms - TRIM_AFTER_MS)
        for partition, last in self._reading.acknowledged.items():
            if partition in self._reading.partitions:
                before = min(oldest, last, key=_entry_order)
                pipeline.xtrim(stream_key(partition), minid=before, approximate=True)
        pipeline.execute()

    # --- Reading ----------------------------------------------------------------------------

    def _read(self) -> list[Entry]:
        reading = self._reading
        if not reading.partitions:
            self._wait(RENEW_S / 4)
            return []
        if reading.history:
            entries = self._read_from(reading.history, b"0", None)
            reading.history &= {entry.partition for entry in entries}
            return entries
        early_s = self._gathered_at + GATHER_S - time.monotonic()
        if early_s > 0:
            self._wait(early_s)
        entries = self._read_from(reading.partitions, b">", READ_BLOCK_MS)
        self._gathered_at = time.monotonic()
        return entries

    def _read_from(
        self, partitions: Iterable[int], start: bytes, block_ms: int | None
    ) -> list[Entry]:
        keys = [stream_key(partition) for partition in sorted(partitions)]
        count = min(READ_COUNT, max(1, int(BATCH_BYTES / self._entry_bytes / len(keys))))
        block = () if block_ms is None else ("BLOCK", block_ms)
        answer: Any = self._redis.execute_command(  # type: ignore[no-untyped-call]
            *("XREADGROUP", "GROUP", WRITER_GROUP, WRITER_CONSUMER, "COUNT", count, *block),
            *("STREAMS", *keys, *[start] * len(keys)),
        )
        entries = [
            Entry(
                int(key.rpartition(b":")[2]),
                entry_id,
                None if pairs is None else dict(zip(pairs[::2], pairs[1::2], strict=True)),
            )
            for key, rows in answer or ()
            for entry_id, pairs in rows
        ]
        if entries:
            size = sum(entry.size for entry in entries)
            self._entry_bytes = max(size / len(entries), MIN_ENTRY_BYTES)
        return entries

    # --- Storing ----------------------------------------------------------------------------

    def _process(self, entries: list[Entry]) -> None:
        messages, unreadable = gather(entries)
        for entry, reason in unreadable:
            self._bury_entry(entry, reason)
        stored = self._commit(messages) if len(messages) else []
        for batch in stored:
            self.counters.add(batch)
        self._acknowledge(entries, stored)

    def _commit(self, messages: Messages) -> list[Stored]:
        """Store all that can be stored, in the order of arrival, as few transactions as it takes.

        Waits for PostgreSQL as long as it takes; raises StoppedError when told to stop meanwhile.
        """
        backoff = BACKOFF_FIRST_S
        while True:
            try:
                return [self._store.commit(messages)]
            except psycopg.Error as error:
                if (error.sqlstate or "").startswith(_REFUSALS):
                    return self._isolate(messages, str(error))
                log.warning("database_unavailable error=%r retry_in_s=%.1f", str(error), backoff)
                self._store.close()
            if self._wait(backoff):
                raise StoppedError
            backoff = min(2 * backoff, BACKOFF_LAST_S)
            self._keep_alive()

    def _isolate(self, messages: Messages, error: str) -> list[Stored]:
        """Find the message that the database refuses by halving, and put it aside."""
        n = len(messages)
        if n > 1:
            middle = n // 2
            return self._commit(messages.part(0, middle)) + self._commit(messages.part(middle, n))
        envelope = messages.envelopes[0]
        hopeless = envelope["kind"] == BRIDGE_EVENT or envelope["verdict"] != Verdict.SOUND
        log.error(
            "message_refused device_id=%d sequence=%d kind=%#04x to=%s error=%r",
            envelope["device_id"],
            envelope["sequence"],
            envelope["kind"],
            "poison" if hopeless else "quarantine",
            error,
        )
        if hopeless:
            details = {0: error}
            bridge = messages.bridges[int(messages.bridge[0])]
            fields = encode_batch(bridge, messages.envelopes, [messages.body(0)], details)
            self._bury({name.encode(): value for name, value in fields.items()}, error)
            return []
        messages.condemn(0, Verdict.REFUSED, error)
        return self._commit(messages)

    def _keep_alive(self) -> None:
        """Keep the leases and show signs of life while the database is away.

        What else is held is left alone: a batch is in hand. Should a partition be lost here, its
        next reader stores the same batch, and one of the two finds only what is committed.
        """
        try:
            if time.monotonic() - self._reading.renewed_at >= RENEW_S:
                self._leases.renew()
                self._reading.renewed_at = time.monotonic()
            self._beat()
        except RedisError as error:
            log.warning("redis_unavailable error=%r", str(error))

    def _bury_entry(self, entry: Entry, reason: str) -> None:
        if entry.fields is None:
            # There is nothing to keep; the devices were not acknowledged and send it again.
            log.error("entry_lost partition=%d id=%s", entry.partition, entry.entry_id.decode())
            return
        log.error(
            "entry_unreadable partition=%d id=%s reason=%r",
            entry.partition,
            entry.entry_id.decode(),
            reason,
        )
        self._bury(entry.fields, reason)

    def _bury(self, fields: dict[bytes, bytes], reason: str) -> None:
        self.counters.poison += 1
        content: Any = {**fields, b"reason": reason.encode()}
        self._redis.xadd(POISON_KEY, content, maxlen=MAX_POISON_ENTRIES, approximate=False)

    # --- Acknowledging ----------------------------------------------------------------------

    def _acknowledge(self, entries: list[Entry], stored: list[Stored]) -> None:
        """Tell the bridges what is committed, then the queue."""
        pipeline = self._redis.pipeline(transaction=False)
        for batch in stored:
            for channel, payload in notices(batch):
                pipeline.publish(channel, payload)
        by_partition: dict[int, list[bytes]] = {}
        for entry in entries:
            by_partition.setdefault(entry.partition, []).append(entry.entry_id)
        for partition, entry_ids in by_partition.items():
            pipeline.xack(stream_key(partition), WRITER_GROUP, *entry_ids)
        pipeline.execute()
        for partition, entry_ids in by_partition.items():
            self._reading.acknowledged[partition] = entry_ids[-1]


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


def _numbers(counters: Counters) -> dict[str, float]:
    return {name: getattr(counters, name) for name in Counters.__slots__}


def _as_received(answer: Any, **_options: Any) -> Any:
    """redis-py's hook for an answer: what the server sent, with RESP3's map as pairs."""
    return list(answer.items()) if isinstance(answer, dict) else answer


def _entry_order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
