"""From the bridge into the queue: batches by partition, flushed together, with back-pressure.

Messages wait here for a few milliseconds, then one round trip carries the batches of all
partitions. What Redis refuses (out of memory) stays here and goes again. When the connection to
Redis was lost, the messages of devices are forgotten instead, since nobody can know which of them
arrived or whether Redis still has anything: the devices hold all of them and send them again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from devices.ingest.queue import (
    BRIDGE_EVENT,
    MAX_ENTRY_BYTES,
    MAX_IN_FLIGHT_BYTES,
    PARTITIONS,
    BatchBuilder,
    encode_event,
    partition_of,
    stream_key,
)

logger = logging.getLogger(__name__)

# Messages wait this long for others: short against the 250 ms from sensor to screen, long enough
# that a round trip to Redis carries many.
FLUSH_S: Final = 0.005
RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
# Events of the bridge itself (connected, refused …) survive an outage of Redis, up to this many:
# no device sends them again. Beyond, new ones are dropped and counted.
MAX_EVENTS: Final = 20_000

LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class Event(NamedTuple):
    """An event of the bridge about one device (`kind` and `data`: see `queue.BridgeEvent`)."""

    device_id: int
    tenant_id: int
    connection: int
    at_us: int
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class OutflowCounters:
    """What the heartbeat tells of the way into the queue."""

    entries: int = 0
    refusals: int = 0
    outages: int = 0
    events_dropped: int = 0


class Outflow:
    """The bridge's way into the queue.

    `under_way_bytes` counts the bodies that were taken and are not committed; the bridge adds and
    subtracts. `on_blocked` is called when Redis stops to take messages, with True when the
    connection is lost, `on_flowing` when it takes them again.
    """

    def __init__(
        self,
        redis: Redis,
        bridge: str,
        *,
        on_blocked: Callable[[bool], None],
        on_flowing: Callable[[], None],
    ) -> None:
        self._redis = redis
        self._on_blocked = on_blocked
        self._on_flowing = on_flowing
        self._builders = [BatchBuilder(bridge) for _ in range(PARTITIONS)]
        # Closed batches in order; what a flush could not deliver stays at the left.
        self._entries: deque[tuple[str, dict[str, bytes]]] = deque()
        # Events that wait, and those in the entries that are being delivered.
        self._events: deque[Event] = deque()
        self._delivering: list[Event] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._lost = False
        self.under_way_bytes = 0
        self.counters = OutflowCounters()

    @property
    def full(self) -> bool:
        """Whether as much is under way as may be."""
        return self.under_way_bytes >= MAX_IN_FLIGHT_BYTES

    @property
    def half_empty(self) -> bool:
        """Whether there is room enough to read on after having been full."""
        return self.under_way_bytes <= MAX_IN_FLIGHT_BYTES // 2

    def builder(self, device_id: int) -> BatchBuilder:
        """The batch that the device's messages go into; tell `added` after adding."""
        return self._builders[partition_of(device_id)]

    def added(self, device_id: int) -> None:
        """Messages of this device were added to its batch."""
        partition = partition_of(device_id)
        builder = self._builders[partition]
        if builder.size >= MAX_ENTRY_BYTES:
            self._entries.append((stream_key(partition), builder.take()))
        if not self._wake.is_set():
            self._wake.set()

    def event(self, event: Event) -> None:
        """Record an event of the bridge about a device."""
        if len(self._events) >= MAX_EVENTS:
            self.counters.events_dropped += 1
            return
        self._events.append(event)
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`, then what is left, as far as Redis takes it at once."""
        while not self._stopping:
            await self._wake.wait()
            await asyncio.sleep(FLUSH_S)
            self._wake.clear()
            self._close_batches()
            if not await self._deliver():
                await self._recover()
        self._close_batches()
        if not await self._deliver():
            logger.warning("queue.left_behind entries=%d", len(self._entries))

    def stop(self) -> None:
        """Let `run` deliver what there is and end."""
        self._stopping = True
        self._wake.set()

    def _close_batches(self) -> None:
        while self._events:
            event = self._events.popleft()
            at_ms = event.at_us // 1000
            self.builder(event.device_id).add(
                event.device_id, event.tenant_id, event.connection, 0, event.at_us, at_ms, at_ms,
                0, BRIDGE_EVENT, 0, encode_event(event.kind, event.data),
            )  # fmt: skip
            self._delivering.append(event)
        for partition, builder in enumerate(self._builders):
            if builder.count:
                self._entries.append((stream_key(partition), builder.take()))

    async def _deliver(self) -> bool:
        """One round trip with every closed batch; False when some or all of them are still here."""
        if not self._entries:
            return True
        entries = list(self._entries)
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key, fields in entries:
                    pipeline.xadd(key, fields)  # type: ignore[arg-type]  # invariant dict of bytes
                answers = await pipeline.execute(raise_on_error=False)
        except LOST as error:
            self._forget(error)
            return False
        # Batches that were closed during the round trip are behind the ones sent.
        behind = list(self._entries)[len(entries) :]
        failed = [
            (entry, answer)
            for entry, answer in zip(entries, answers, strict=True)
            if isinstance(answer, Exception)
        ]
        self._entries = deque([entry for entry, _ in failed] + behind)
        self.counters.entries += len(entries) - len(failed)
        if not failed:
            self._delivering.clear()
            return True
        answer = failed[0][1]
        if isinstance(answer, ResponseError):
            self.counters.refusals += 1
            logger.warning("queue.refused entries=%d error=%s", len(failed), answer)
        else:
            self._forget(answer)
        return False

    def _forget(self, error: Exception) -> None:
        """The connection is lost: keep our own events, let the devices send the rest again."""
        self.counters.outages += 1
        logger.warning("queue.lost error=%s", error)
        self._lost = True
        self._drop_messages()

    def _drop_messages(self) -> None:
        self._entries.clear()
        for builder in self._builders:
            builder.take()
        self._events.extendleft(reversed(self._delivering))
        self._delivering.clear()

    async def _recover(self) -> None:
        """Redis does not take messages: hold everything back and try again until it does."""
        told_lost = self._lost
        self._on_blocked(told_lost)
        wait_s = RETRY_FIRST_S
        while not self._stopping:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(RETRY_MAX_S, wait_s * 2)
            if self._lost:
                # Sockets are paused, yet what was read already may have come in.
                self._drop_messages()
                try:
                    await self._redis.ping()
                except (ResponseError, *LOST) as error:
                    logger.info("queue.still_lost error=%s", error)
                    continue
            self._close_batches()
            if await self._deliver():
                self._lost = False
                self._on_flowing()
                return
            if self._lost and not told_lost:
                told_lost = True
                self._on_blocked(True)
