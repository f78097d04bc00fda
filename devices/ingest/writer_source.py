"""The writer's side of the queue: leases, reading, acknowledging, trimming, signs of life."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError
from redis.retry import Retry

from devices.ingest import heartbeat
from devices.ingest.leases import RENEW_S, Leases
from devices.ingest.queue import (
    MAX_ENTRY_BYTES,
    MAX_POISON_ENTRIES,
    POISON_KEY,
    TRIM_AFTER_MS,
    WRITER_CONSUMER,
    WRITER_GROUP,
    stream_key,
)
from devices.ingest.writer_messages import Entry

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


@dataclass(slots=True)
class _Held:
    """What is known of the queue: it ends with the connection to Redis."""

    partitions: frozenset[int] = frozenset()
    # Partitions whose entries of a predecessor, read and not acknowledged, are read first.
    history: set[int] = field(default_factory=set)
    # The last entry acknowledged of each partition: what lies before it may be trimmed.
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    renewed_at: float = float("-inf")


class Source:
    """The queue as one writer sees it. Every method may raise redis.RedisError; then `reset`."""

    def __init__(self, redis_url: str, instance: str, wait: Callable[[float], bool]) -> None:
        """`wait` waits so many seconds or until the writer is told to stop."""
        self._instance = instance
        self._wait = wait
        # A command that was sent once may have been carried out: no silent second attempt.
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=10,
            socket_connect_timeout=5,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
        )
        # Lists as they come from the server instead of redis-py's dictionaries.
        self._redis.set_response_callback("XREADGROUP", _as_received)
        self._leases = Leases(self._redis, instance)
        self._held = _Held()
        self._entry_bytes = float(MAX_ENTRY_BYTES)
        self._beat_at = float("-inf")
        self._gathered_at = float("-inf")

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions that this writer reads."""
        return self._held.partitions

    def reset(self) -> None:
        """Forget everything: leases are taken anew, entries not acknowledged are read again."""
        self._held = _Held()
        self._redis.connection_pool.disconnect()

    def release(self) -> None:
        """Give the leases back and sign off."""
        self._leases.release()
        heartbeat.clear(self._redis, "writer", self._instance)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    # --- Leases, heartbeat, trimming --------------------------------------------------------

    def attend(self, counters: Mapping[str, float]) -> None:
        """Between two batches: what is due of leases, trimming and signs of life."""
        self._beat_if_due(counters)
        held, now = self._held, time.monotonic()
        if now - held.renewed_at < RENEW_S:
            return
        leased = self._leases.renew(make_groups=not held.partitions)
        held.renewed_at = now
        gained = leased.partitions - held.partitions
        if leased.partitions != held.partitions:
            names = ",".join(map(str, sorted(leased.partitions))) or "none"
            log.info("partitions held=%s", names)
        held.partitions = leased.partitions
        held.history = (held.history | gained) & leased.partitions
        self._trim(leased.now_ms)

    def keep(self, counters: Mapping[str, float]) -> None:
        """With a batch in hand: keep the leases, show signs of life, change nothing else.

        Should a partition be lost here, its next reader stores the same batch, and one of the two
        finds only what is committed.
        """
        self._beat_if_due(counters)
        if time.monotonic() - self._held.renewed_at >= RENEW_S:
            self._leases.renew()
            self._held.renewed_at = time.monotonic()

    def _beat_if_due(self, counters: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now - self._beat_at < heartbeat.INTERVAL_S:
            return
        self._beat_at = now
        try:
            heartbeat.beat(self._redis, "writer", self._instance, counters)
        except OutOfMemoryError as error:
            # Missing in the health check is what a person should see; reading on is what helps.
            log.warning("heartbeat_refused error=%r", str(error))

    def _trim(self, now_ms: int) -> None:
        """Drop what is acknowledged and older than the live reader needs."""
        pipeline = self._redis.pipeline(transaction=False)
        oldest = b"%d-0" % (now_ms - TRIM_AFTER_MS)
        for partition, last in self._held.acknowledged.items():
            if partition in self._held.partitions:
                before = min(oldest, last, key=_entry_order)
                pipeline.xtrim(stream_key(partition), minid=before, approximate=True)
        pipeline.execute()

    # --- Reading ----------------------------------------------------------------------------

    def read(self) -> list[Entry]:
        """The next entries, each partition's in order; empty when nothing comes for a while."""
        held = self._held
        if not held.partitions:
            self._wait(RENEW_S / 4)
            return []
        if held.history:
            entries = self._read_from(held.history, b"0", None)
            held.history &= {entry.partition for entry in entries}
            return entries
        early_s = self._gathered_at + GATHER_S - time.monotonic()
        if early_s > 0:
            self._wait(early_s)
        entries = self._read_from(held.partitions, b">", READ_BLOCK_MS)
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

    # --- Done -------------------------------------------------------------------------------

    def acknowledge(self, entries: Sequence[Entry], notices: Sequence[tuple[str, bytes]]) -> None:
        """Publish the notices about what is committed, then acknowledge the entries."""
        pipeline = self._redis.pipeline(transaction=False)
        for channel, payload in notices:
            pipeline.publish(channel, payload)
        by_partition: dict[int, list[bytes]] = {}
        for entry in entries:
            by_partition.setdefault(entry.partition, []).append(entry.entry_id)
        for partition, entry_ids in by_partition.items():
            pipeline.xack(stream_key(partition), WRITER_GROUP, *entry_ids)
        pipeline.execute()
        for partition, entry_ids in by_partition.items():
            self._held.acknowledged[partition] = entry_ids[-1]

    def bury(self, fields: Mapping[bytes, bytes], reason: str) -> None:
        """Put aside what can be neither stored nor quarantined, for a person to look at."""
        content: Any = {**fields, b"reason": reason.encode()}
        self._redis.xadd(POISON_KEY, content, maxlen=MAX_POISON_ENTRIES, approximate=False)


def _as_received(answer: Any, **_options: Any) -> Any:
    """redis-py's hook for an answer: what the server sent, with RESP3's map as pairs."""
    return list(answer.items()) if isinstance(answer, dict) else answer


def _entry_order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
