"""One reader of Redis in each web process, which hands live frames on to the process's sockets.

A device's channel is subscribed while at least one socket of the process watches the device, and
its live lease is held as long. A socket that is slower than the frames come keeps the newest frame
of each device and loses the others; it counts them, and the page fetches them from storage.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import RedisError

from devices.ending import end
from devices.ingest import queue
from devices.live import Leases
from portal.feed import records

logger = logging.getLogger(__name__)

# A device is kept watched so long after its last socket has gone: whoever opens the next page or
# reloads this one does not make the device change its mode twice.
LINGER_S: Final = 3.0
_TICK_S: Final = 0.5
_RETRY_FIRST_S: Final = 0.1
_RETRY_LAST_S: Final = 2.0
# How long a socket waits for Redis to confirm that a device's channel is subscribed. After that it
# goes on: what was missed until then is fetched from storage.
_SUBSCRIBE_TIMEOUT_S: Final = 3.0


@dataclass(eq=False)
class Watcher:
    """What waits for one socket: at most one frame and one link event of each device."""

    device_ids: frozenset[int] = frozenset()
    pending: dict[tuple[int, int], bytes] = field(default_factory=dict)
    lost: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, device_id: int, kind: records.Kind, record: bytes) -> None:
        """Leave a record for the socket; the one of the same device and kind that still waits is
        lost.
        """
        key = (device_id, kind)
        # Taken out and put in again, so that the order stays that of arrival.
        if self.pending.pop(key, None) is not None and kind is records.Kind.LIVE:
            self.lost += 1
        self.pending[key] = record
        self.wake.set()

    def take(self) -> bytes:
        """All that waits, as one message."""
        message = b"".join(self.pending.values())
        self.pending.clear()
        self.wake.clear()
        return message


class Hub:
    """The watched devices of one process; lives on one event loop."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._leases = Leases(redis, f"web-{secrets.token_hex(8)}")
        self._watchers: dict[int, set[Watcher]] = {}
        self._confirmed: dict[int, asyncio.Event] = {}
        self._lingering: dict[int, float] = {}  # device → when its last watcher went (monotonic)
        self._pubsub: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._renewed_at = 0.0
        # Opening and ending go one after the other: an end that overtook an opening would leave a
        # watched device without its lease.
        self._leasing = asyncio.Lock()
        self.sockets: Counter[int] = Counter()  # sockets by user

    async def watch(self, watcher: Watcher, device_ids: Iterable[int]) -> None:
        """Let `watcher` have the live frames of these devices, and of no others.

        Returns when Redis has confirmed the subscriptions: a frame that is not in storage by then
        comes live.
        """
        self._start()
        wanted = frozenset(device_ids)
        self._forget(watcher, watcher.device_ids - wanted)
        fresh = []
        for device_id in wanted - watcher.device_ids:
            if device_id not in self._watchers:
                self._watchers[device_id] = set()
                self._confirmed[device_id] = asyncio.Event()
                fresh.append(device_id)
            self._lingering.pop(device_id, None)
            self._watchers[device_id].add(watcher)
        watcher.device_ids = wanted
        confirmed = [self._confirmed[device_id] for device_id in wanted]
        try:
            async with asyncio.timeout(_SUBSCRIBE_TIMEOUT_S):
                if fresh:
                    await self._subscribe(fresh)
                    async with self._leasing:
                        await self._leases.renew(fresh)
                for event in confirmed:
                    await event.wait()
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("live.subscribe_late devices=%d reason=%r", len(fresh), str(error))

    def unwatch(self, watcher: Watcher) -> None:
        """The socket has gone."""
        self._forget(watcher, watcher.device_ids)
        watcher.device_ids = frozenset()

    async def close(self) -> None:
        """Give back every lease: the process stops."""
        await end(self._tasks)
        self._tasks = []
        watched = list(self._watchers)
        self._watchers.clear()
        try:
            await self._leases.end(watched)
        except (RedisError, OSError) as error:
            logger.warning("live.leases_left devices=%d reason=%r", len(watched), str(error))
        await self._redis.aclose()

    def _forget(self, watcher: Watcher, device_ids: Iterable[int]) -> None:
        for device_id in device_ids:
            watchers = self._watchers[device_id]
            watchers.discard(watcher)
            if not watchers:
                self._lingering[device_id] = time.monotonic()
            for kind in records.Kind:
                watcher.pending.pop((device_id, kind), None)

    def _start(self) -> None:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read(), name="live-hub-read"),
                asyncio.create_task(self._keep(), name="live-hub-keep"),
            ]

    async def _subscribe(self, device_ids: Iterable[int]) -> None:
        if self._pubsub is not None:  # else the reader subscribes to everything when it connects
            await self._pubsub.subscribe(*map(queue.live_channel, device_ids))

    async def _read(self) -> None:
        """Read what Redis publishes, for as long as the process lives."""
        wait = _RETRY_FIRST_S
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    # The notices keep the connection subscribed while nobody watches anything.
                    known = set(self._watchers)
                    await pubsub.subscribe(queue.LIVE_CHANNEL, *map(queue.live_channel, known))
                    self._pubsub = pubsub
                    if late := self._watchers.keys() - known:
                        await self._subscribe(late)
                    async for message in pubsub.listen():
                        wait = _RETRY_FIRST_S
                        self._receive(message)
            except (RedisError, OSError) as error:
                logger.warning("live.redis_lost reason=%r", str(error))
            finally:
                self._pubsub = None
            for confirmed in self._confirmed.values():
                confirmed.clear()
            await asyncio.sleep(wait)
            wait = min(_RETRY_LAST_S, wait * 2)

    def _receive(self, message: dict[str, Any]) -> None:
        channel: bytes = message["channel"]
        prefix, _, name = channel.partition(b":")
        if prefix != b"live":
            return
        device_id = int(name)
        if message["type"] == "subscribe":
            if confirmed := self._confirmed.get(device_id):
                confirmed.set()
        elif message["type"] == "message" and (watchers := self._watchers.get(device_id)):
            payload: bytes = message["data"]
            envelope = np.frombuffer(payload, queue.ENVELOPE, count=1)[0]
            is_link = envelope["kind"] == queue.BRIDGE_EVENT
            kind = records.Kind.LINK if is_link else records.Kind.LIVE
            record = records.encode(
                kind,
                device_id,
                int(envelope["connection" if is_link else "sequence"]),
                int(envelope["received_us"]),
                time.time_ns() // 1000,
                payload[queue.ENVELOPE_BYTES :],
            )
            for watcher in watchers:
                watcher.offer(device_id, kind, record)

    async def _keep(self) -> None:
        """Renew the leases, and end those of devices that nobody watches here any more."""
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            try:
                if now - self._renewed_at >= queue.LIVE_RENEW_S:
                    async with self._leasing:
                        await self._leases.renew(self._watchers)
                    self._renewed_at = now
                gone = [
                    device_id
                    for device_id, since in self._lingering.items()
                    if now - since >= LINGER_S
                ]
                if gone:
                    await self._end(gone)
            except (RedisError, OSError) as error:
                logger.warning("live.leases_late reason=%r", str(error))

    async def _end(self, device_ids: list[int]) -> None:
        for device_id in device_ids:
            del self._lingering[device_id], self._watchers[device_id], self._confirmed[device_id]
        if self._pubsub is not None:
            await self._pubsub.unsubscribe(*map(queue.live_channel, device_ids))
        async with self._leasing:
            await self._leases.end(set(device_ids) - self._watchers.keys())


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of this process (of the running event loop)."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub(Redis.from_url(settings.REDIS_URL))
    return _hubs[loop]


async def close_hub() -> None:
    """Stop the hub of the running event loop, if there is one, and end its leases.

    Those of a process that is just ended run out by themselves: its pages come back within seconds,
    and their devices shall not change their mode twice.
    """
    if found := _hubs.pop(asyncio.get_running_loop(), None):
        await found.close()
