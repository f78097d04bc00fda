"""Payloads of firmware updates on their way to the bridges: pieces in Redis, for a time.

Whoever drives roll-outs stages what running ones need, and stages it again when it is gone; the
bridges read pieces and never know a store. An artifact lies in one hash, named by the SHA-256 of
its bytes: the field `n` is piece n (a checksum, then up to `PIECE_BYTES` bytes), `size` the whole.
Redis is a queue before anything else, so what may lie here is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import google_crc32c
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

PIECE_BYTES: Final = 64 * 1024
# Artifacts staged at once, in all: what running roll-outs need together, beside the queue.
MAX_STAGED_BYTES: Final = 256 * 1024 * 1024
# The share of its memory that Redis may fill by staging; the rest is the queue's.
MAX_MEMORY_SHARE: Final = 0.5
# What one bridge keeps of pieces; all its connections share them.
MAX_CACHED_BYTES: Final = 16 * 1024 * 1024
# Pieces that one bridge asks Redis for at a time.
MAX_LOADS: Final = 8
# That an artifact is not there, or cannot be read, is believed for so long: a fleet asks Redis once
# and not ten thousand times.
UNAVAILABLE_S: Final = 1.0
# What a crash left of an artifact that was being written goes after this time.
_UNFINISHED_S: Final = 60

logger = logging.getLogger(__name__)

_CHECKSUM_BYTES: Final = 4
# Sorted set: digest → when it expires (Unix s); hash: digest → bytes.
_EXPIRY_KEY: Final = "firmware:staged"
_BYTES_KEY: Final = "firmware:staged:bytes"

# Counts an artifact in, unless there would be too much; answers with the bytes there are besides,
# negative when it was counted in. The clock is the server's.
_RESERVE: Final = """
local now = tonumber(redis.call('TIME')[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
local held = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[2])) do
  if field ~= ARGV[1] then held = held + tonumber(redis.call('HGET', KEYS[2], field)) end
end
if held + tonumber(ARGV[2]) > tonumber(ARGV[4]) then return held end
redis.call('ZADD', KEYS[1], 'GT', now + tonumber(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return -1 - held
"""

# Keeps an artifact that is there for at least as long as is asked for; 0 when it is not there.
# (EXPIRE knows GT from Redis 7.0 on.)
_KEEP: Final = """
if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
local now = tonumber(redis.call('TIME')[1])
local ttl = tonumber(ARGV[2])
if redis.call('TTL', KEYS[3]) < ttl then redis.call('EXPIRE', KEYS[3], ttl) end
redis.call('ZADD', KEYS[1], 'GT', now + ttl, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], redis.call('HGET', KEYS[3], 'size'))
return 1
"""

# Shows an artifact under its name, unless pieces of it have expired while others were written.
_FINISH: Final = """
if redis.call('HLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'size', ARGV[2])
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('EXPIRE', KEYS[2], tonumber(ARGV[3]))
return 1
"""


class StagingError(Exception):
    """An artifact cannot be staged now; the message says why and what to do."""


class ArtifactError(Exception):
    """What lies in Redis is not what was put there."""


def artifact_key(payload_sha256: bytes) -> str:
    """Where the pieces of an artifact lie."""
    return f"firmware:artifact:{payload_sha256.hex()}"


def stage(redis: Redis, payload_sha256: bytes, data: bytes, ttl_s: int) -> None:
    """Put an artifact where the bridges find it, for `ttl_s` seconds or longer.

    One that is there already is kept for longer instead. It appears whole or not at all. Raises
    ValueError when `data` has another digest, StagingError when too much is staged or Redis has
    no room, and RedisError when Redis cannot be asked.
    """
    if hashlib.sha256(data).digest() != payload_sha256:
        raise ValueError(f"the bytes of artifact {payload_sha256.hex()} have another digest")
    if keep(redis, payload_sha256, ttl_s):
        return
    if len(data) > MAX_STAGED_BYTES:
        raise StagingError(
            f"{len(data)} bytes are more than the {MAX_STAGED_BYTES} that can be staged at once:"
            " only devices that fetch over HTTP or DDI can have this payload"
        )
    _check_memory(redis, len(data))
    held = int(
        redis.eval(
            _RESERVE,
            2,
            _EXPIRY_KEY,
            _BYTES_KEY,
            payload_sha256.hex(),
            str(len(data)),
            str(ttl_s),
            str(MAX_STAGED_BYTES),
        )
    )
    if held >= 0:
        raise StagingError(
            f"{held} bytes of firmware are staged and {len(data)} more would exceed"
            f" {MAX_STAGED_BYTES}: let other roll-outs end, or pause them"
        )
    unfinished = f"{artifact_key(payload_sha256)}:{secrets.token_hex(8)}"
    try:
        for number, start in enumerate(range(0, len(data), PIECE_BYTES)):
            piece = data[start : start + PIECE_BYTES]
            with redis.pipeline(transaction=True) as together:
                together.hset(unfinished, str(number), _sealed(piece))
                together.expire(unfinished, _UNFINISHED_S)
                together.execute()
        whole = redis.eval(
            _FINISH,
            2,
            unfinished,
            artifact_key(payload_sha256),
            str(len(_numbers(0, len(data)))),
            str(len(data)),
            str(ttl_s),
        )
    except RedisError:
        drop(redis, payload_sha256, unfinished)
        raise
    if not whole:
        drop(redis, payload_sha256, unfinished)
        raise StagingError(
            f"writing {len(data)} bytes of firmware to Redis was held up for {_UNFINISHED_S} s:"
            " it is tried again"
        )


def is_staged(redis: Redis, payload_sha256: bytes) -> bool:
    """Whether the bridges find an artifact."""
    return bool(redis.exists(artifact_key(payload_sha256)))


def keep(redis: Redis, payload_sha256: bytes, ttl_s: int) -> bool:
    """Keep a staged artifact for at least `ttl_s` more seconds; False when it is not there."""
    arguments = payload_sha256.hex(), str(ttl_s)
    keys = _EXPIRY_KEY, _BYTES_KEY, artifact_key(payload_sha256)
    return bool(redis.eval(_KEEP, 3, *keys, *arguments))


def drop(redis: Redis, payload_sha256: bytes, *also: str) -> None:
    """Take an artifact out at once; one that is not there is no error."""
    with redis.pipeline(transaction=True) as together:
        together.delete(artifact_key(payload_sha256), *also)
        together.zrem(_EXPIRY_KEY, payload_sha256.hex())
        together.hdel(_BYTES_KEY, payload_sha256.hex())
        together.execute()


def _check_memory(redis: Redis, size: int) -> None:
    memory = redis.info("memory")
    limit = int(memory.get("maxmemory", 0))
    if limit and memory["used_memory"] + size > limit * MAX_MEMORY_SHARE:
        raise StagingError(
            f"Redis holds {memory['used_memory']} of {limit} bytes; {size} of firmware would take"
            " the room of the queue: raise `maxmemory`, or wait until the queue is shorter"
        )


def _sealed(piece: bytes) -> bytes:
    return int(google_crc32c.value(piece)).to_bytes(_CHECKSUM_BYTES, "little") + piece


def _opened(payload_sha256: bytes, number: int, stored: bytes) -> bytes:
    piece = stored[_CHECKSUM_BYTES:]
    if _sealed(piece) != stored:
        raise ArtifactError(f"piece {number} of artifact {payload_sha256.hex()} is damaged")
    return piece


@dataclass(slots=True)
class PieceCounters:
    """How often a piece was at hand, was read, was not there, or could not be had."""

    piece_hits: int = 0
    piece_loads: int = 0
    pieces_missing: int = 0
    piece_failures: int = 0


_Key = tuple[bytes, int]


class Pieces:
    """The pieces that one bridge has at hand, shared by its connections.

    The least recently used make room. A piece that several wait for is read once.
    """

    def __init__(self, redis: AsyncRedis, *, capacity: int = MAX_CACHED_BYTES) -> None:
        self._redis = redis
        self._capacity = capacity
        self._held: OrderedDict[_Key, bytes] = OrderedDict()
        self._loading: dict[_Key, asyncio.Task[bool]] = {}
        self._unavailable: dict[bytes, float] = {}
        self._loads = asyncio.Semaphore(MAX_LOADS)
        self.held_bytes = 0
        self.counters = PieceCounters()

    def lacking(self, payload_sha256: bytes, offset: int, length: int) -> int | None:
        """The first piece of the bytes `offset` … `offset + length` that is not at hand."""
        for number in _numbers(offset, length):
            if (payload_sha256, number) not in self._held:
                return number
        return None

    def take(self, payload_sha256: bytes, offset: int, length: int) -> bytes:
        """The bytes `offset` … `offset + length`, of which nothing is `lacking`."""
        parts = []
        for number in _numbers(offset, length):
            key = (payload_sha256, number)
            self._held.move_to_end(key)
            start = number * PIECE_BYTES
            parts.append(self._held[key][max(0, offset - start) : offset + length - start])
        self.counters.piece_hits += len(parts)
        return b"".join(parts)

    def unavailable(self, payload_sha256: bytes) -> bool:
        """Whether the artifact was found to be missing or unreadable a moment ago."""
        return self._unavailable.get(payload_sha256, 0.0) > asyncio.get_running_loop().time()

    async def load(self, payload_sha256: bytes, number: int) -> bool:
        """Read one piece; False when it cannot be had (then the artifact is `unavailable`)."""
        key = (payload_sha256, number)
        if key in self._held:
            return True
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(payload_sha256, number))
            task.add_done_callback(lambda _: self._loading.pop(key))
        # One who gives up waiting must not take the piece from the others.
        return await asyncio.shield(task)

    async def _load(self, payload_sha256: bytes, number: int) -> bool:
        try:
            async with self._loads:
                piece = await self._read(payload_sha256, number)
        except ArtifactError:
            # Whoever stages what is missing will stage it anew.
            logger.exception("artifact.damaged")
            self.counters.piece_failures += 1
        except (RedisError, OSError) as error:
            logger.warning("artifact.unreadable error=%s", error)
            self.counters.piece_failures += 1
        else:
            if piece is not None:
                self.counters.piece_loads += 1
                self._hold((payload_sha256, number), piece)
                return True
            self.counters.pieces_missing += 1
        now = asyncio.get_running_loop().time()
        self._unavailable = {key: end for key, end in self._unavailable.items() if end > now}
        self._unavailable[payload_sha256] = now + UNAVAILABLE_S
        return False

    async def _read(self, payload_sha256: bytes, number: int) -> bytes | None:
        name = artifact_key(payload_sha256)
        stored = await cast("Awaitable[bytes | None]", self._redis.hget(name, str(number)))
        if stored is None:
            return None
        try:
            return _opened(payload_sha256, number, stored)
        except ArtifactError:
            await self._redis.delete(name)
            raise

    def _hold(self, key: _Key, piece: bytes) -> None:
        self._held[key] = piece
        self.held_bytes += len(piece)
        while self.held_bytes > self._capacity and len(self._held) > 1:
            self.held_bytes -= len(self._held.popitem(last=False)[1])


def _numbers(offset: int, length: int) -> range:
    return range(offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES + 1)
