"""Live readings on their way from the queue to whoever watches.

Watching is a lease: a process that shows a device to somebody opens it and renews it. While any
process holds one, the device stands in the sorted set `live:interest`, its bridge keeps it in live
mode, and `LiveReader` publishes its frames on `live:{device_id}`. Nothing has to be cleaned up
after a process that died: its lease runs out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from devices.ending import end
from devices.ingest import queue
from devices.ingest.heartbeat import INTERVAL_S, beat_async, clear_async
from devices.protocol.codes import MessageType

logger = logging.getLogger(__name__)

_NAME: Final = "live"
# So often the reader looks up what is watched, in case that a notice got lost.
REFRESH_S: Final = 1.0
# Redis holds a reading connection so long when nothing arrives; only the answer to an empty
# stream waits for it, a message comes at once.
_BLOCK_MS: Final = 1_000
# Entries taken from each stream at a time: what a burst costs in memory is bounded by it
# (16 partitions of 16 entries of 256 KiB).
_ENTRIES_AT_ONCE: Final = 16
_RETRY_FIRST_S: Final = 0.1
_RETRY_LAST_S: Final = 2.0
# Arguments of one script call, so that thousands of devices do not hold Redis up.
_DEVICES_AT_ONCE: Final = 500

# The leases of a device by process: sorted set `live:watchers:{device_id}`, process → expiry
# (Unix s by the clock of Redis, which all processes share). Scripts, because the last one that
# leaves must not end the lease of one that comes in the same moment.
_OPEN_SCRIPT: Final = """
local lease = tonumber(ARGV[2])
local expiry = tonumber(redis.call('TIME')[1]) + lease
for i = 4, #ARGV do
  local watchers = 'live:watchers:' .. ARGV[i]
  redis.call('ZADD', watchers, expiry, ARGV[1])
  redis.call('EXPIRE', watchers, 2 * lease)
  redis.call('ZADD', KEYS[1], 'GT', expiry, ARGV[i])
end
redis.call('PUBLISH', KEYS[2], ARGV[3])
"""
_CLOSE_SCRIPT: Final = """
local now = tonumber(redis.call('TIME')[1])
local ended = {}
for i = 2, #ARGV, 2 do
  local watchers = 'live:watchers:' .. ARGV[i]
  redis.call('ZREM', watchers, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', watchers, '-inf', now)
  local longest = redis.call('ZRANGE', watchers, -1, -1, 'WITHSCORES')
  if #longest > 0 then
    redis.call('ZADD', KEYS[1], longest[2], ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
    ended[#ended + 1] = ARGV[i + 1]
  end
end
if #ended > 0 then
  redis.call('PUBLISH', KEYS[2], string.char(0, 0) .. table.concat(ended))
end
return #ended
"""


class Leases:
    """The live leases that one process holds; `watcher` is the process's name among all."""

    def __init__(self, redis: Redis, watcher: str) -> None:
        self._watcher = watcher
        self._open = redis.register_script(_OPEN_SCRIPT)
        self._close = redis.register_script(_CLOSE_SCRIPT)
        self._keys = [queue.INTEREST_KEY, queue.LIVE_CHANNEL]

    async def renew(self, device_ids: Iterable[int]) -> None:
        """Open or renew the leases of devices: each lasts `LIVE_LEASE_S` from now."""
        for part in _parts(device_ids):
            notice = queue.encode_live(queue.LIVE_LEASE_S, part)
            arguments: list[Any] = [self._watcher, queue.LIVE_LEASE_S, notice, *part]
            await self._open(keys=self._keys, args=arguments)

    async def end(self, device_ids: Iterable[int]) -> int:
        """Give leases back; the number of devices that nobody watches any more."""
        ended = 0
        for part in _parts(device_ids):
            arguments: list[Any] = [self._watcher]
            for device_id in part:
                arguments += [device_id, device_id.to_bytes(8, "little", signed=True)]
            ended += int(await self._close(keys=self._keys, args=arguments))
        return ended


def _parts(device_ids: Iterable[int]) -> list[list[int]]:
    ids = sorted(device_ids)
    return [ids[at : at + _DEVICES_AT_ONCE] for at in range(0, len(ids), _DEVICES_AT_ONCE)]


class LiveReader:
    """Reads the queue from its end and publishes what concerns watched devices.

    It reads every partition without a consumer group, so that it slows nobody down, and nothing at
    all while nobody watches. What it misses (while it was down, or fell behind the trimming of the
    stream) a page fetches from storage. Two readers side by side are harmless: a page drops what it
    has got already.
    """

    def __init__(self, redis: Redis, instance: str) -> None:
        self._redis = redis
        self._instance = instance
        self._watched: NDArray[np.int64] = np.empty(0, np.int64)
        self._somebody_watches = asyncio.Event()
        self._positions: dict[str, bytes] = {}
        self.counters = {"messages": 0, "published": 0, "malformed": 0}

    async def run(self, stop: asyncio.Event) -> None:
        """Read and publish until `stop` is set; survives the loss of Redis."""
        loops = (self._refresh, self._listen, self._read, self._beat)
        tasks = [asyncio.create_task(_persistent(loop)) for loop in loops]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a loop ends by an error only, which is one of the program
        finally:
            await end([*tasks, stopped])
        await clear_async(self._redis, _NAME, self._instance)

    async def _beat(self) -> None:
        while True:
            counters = {**self.counters, "watched": len(self._watched)}
            await beat_async(self._redis, _NAME, self._instance, counters)
            await asyncio.sleep(INTERVAL_S)

    async def _refresh(self) -> None:
        """Take over what is watched, each second."""
        while True:
            await self._look_up()
            await asyncio.sleep(REFRESH_S)

    async def _look_up(self) -> None:
        now = time.time()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.zremrangebyscore(queue.INTEREST_KEY, "-inf", now)
            pipe.zrangebyscore(queue.INTEREST_KEY, now, "+inf")
            _, members = await pipe.execute()
        self._set_watched(np.array(sorted(map(int, members)), np.int64))

    async def _listen(self) -> None:
        """Follow the notices of leases, so that a page need not wait for the next second."""
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(queue.LIVE_CHANNEL)
            async for message in pubsub.listen():
                if message["type"] != "message":
                    continue
                try:
                    lease_s, device_ids = queue.decode_live(message["data"])
                except queue.EntryError as error:
                    logger.warning("live.notice_malformed reason=%r", str(error))
                    continue
                if lease_s > 0:
                    self._set_watched(np.union1d(self._watched, np.array(device_ids, np.int64)))

    def _set_watched(self, device_ids: NDArray[np.int64]) -> None:
        self._watched = device_ids
        if len(device_ids):
            self._somebody_watches.set()
        elif self._somebody_watches.is_set():
            self._somebody_watches.clear()
            self._positions = {}  # the next one who watches starts from the end again

    async def _read(self) -> None:
        self._positions = {}
        while True:
            await self._somebody_watches.wait()
            if not self._positions:
                self._positions = await self._ends()
            positions = self._positions
            # In the order in which the server has them; a stream without news is left out.
            answer = await self._redis.xread(
                cast(dict[Any, Any], positions), count=_ENTRIES_AT_ONCE, block=_BLOCK_MS
            )
            if answer:
                await self._publish(positions, answer)

    async def _ends(self) -> dict[str, bytes]:
        """The last entry of every partition: `$` would be asked anew with every read, and what
        arrives in between be lost.
        """
        ends = {}
        for partition in range(queue.PARTITIONS):
            key = queue.stream_key(partition)
            try:
                ends[key] = (await self._redis.xinfo_stream(key))["last-generated-id"]
            except ResponseError:  # no such stream yet: everything in it will be new
                ends[key] = b"0-0"
        return ends

    async def _publish(self, positions: dict[str, bytes], answer: Any) -> None:
        streams = answer.items() if isinstance(answer, Mapping) else answer
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, entries in streams:
                for position, fields in _flat(entries):
                    positions[key.decode()] = position
                    self._select(pipe, fields)
            if len(pipe):
                await pipe.execute()

    def _select(self, pipe: Any, fields: Mapping[bytes, bytes]) -> None:
        try:
            envelopes = np.frombuffer(fields[b"m"], queue.ENVELOPE)
            self.counters["messages"] += len(envelopes)
            wanted = np.isin(envelopes["device_id"], self._watched)
            if not wanted.any():
                return
            batch = queue.decode_batch(fields)
        except (KeyError, ValueError) as error:  # an EntryError is a ValueError
            # The writer keeps the entry for a person to look at; here it is only passed over.
            self.counters["malformed"] += 1
            logger.warning("live.entry_malformed reason=%r", str(error))
            return
        kinds = envelopes["kind"]
        wanted &= (kinds == MessageType.DATA) | (kinds == queue.BRIDGE_EVENT)
        wanted &= envelopes["verdict"] == queue.Verdict.SOUND
        for index in np.flatnonzero(wanted):
            channel = queue.live_channel(int(envelopes["device_id"][index]))
            pipe.publish(channel, envelopes[index].tobytes() + batch.body(index))
            self.counters["published"] += 1


def _flat(entries: Any) -> Any:
    # Under RESP3 redis-py wraps the entries of a stream in one more list.
    return entries[0] if entries and isinstance(entries[0], list) else entries


async def _persistent(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop that talks to Redis; start it anew with a growing wait when Redis is away."""
    wait = _RETRY_FIRST_S
    while True:
        began = time.monotonic()
        try:
            await loop()
            raise RuntimeError(f"{loop.__name__} ended")
        except (RedisConnectionError, RedisError, OSError) as error:
            if time.monotonic() - began > _RETRY_LAST_S:
                wait = _RETRY_FIRST_S
            logger.warning("live.redis_lost loop=%s reason=%r", loop.__name__, str(error))
        await asyncio.sleep(wait)
        wait = min(_RETRY_LAST_S, wait * 2)
