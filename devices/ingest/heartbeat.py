"""Signs of life of the long-running processes.

Each process writes the key `heartbeat:{name}:{instance}` into Redis every `INTERVAL_S`; the key
expires after `EXPIRY_S`, so that a process that died or hangs is missing. `GET /health/ready` and
the benchmarks read them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

INTERVAL_S = 5
# Two beats may be missed, as a busy machine does, before a process counts as gone.
EXPIRY_S = 3 * INTERVAL_S


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last sign of life of one process; `counters` are what it tells of itself."""

    name: str
    instance: str
    at: float  # Unix seconds
    pid: int
    counters: Mapping[str, float]


def beat(
    redis: Redis, name: str, instance: str, counters: Mapping[str, float] | None = None
) -> None:
    """Say that process `name` (`bridge`, `writer` …), `instance` of it, is alive."""
    redis.set(_key(name, instance), _payload(counters), ex=EXPIRY_S)


async def beat_async(
    redis: AsyncRedis, name: str, instance: str, counters: Mapping[str, float] | None = None
) -> None:
    """`beat` for a process that lives on an event loop."""
    await redis.set(_key(name, instance), _payload(counters), ex=EXPIRY_S)


def clear(redis: Redis, name: str, instance: str) -> None:
    """Take the sign of life back: a process that stops by itself is gone at once."""
    redis.delete(_key(name, instance))


async def clear_async(redis: AsyncRedis, name: str, instance: str) -> None:
    """`clear` for a process that lives on an event loop."""
    await redis.delete(_key(name, instance))


def alive(redis: Redis) -> list[Heartbeat]:
    """Every process that is alive, by name and instance."""
    keys = sorted(redis.scan_iter(match="heartbeat:*", count=1000))
    found = []
    for key, value in zip(keys, redis.mget(keys) if keys else [], strict=True):
        if value is None:  # expired between the two questions
            continue
        _, name, instance = (key.decode() if isinstance(key, bytes) else key).split(":", 2)
        content = json.loads(value)
        found.append(Heartbeat(name, instance, content["at"], content["pid"], content["counters"]))
    return found


def _key(name: str, instance: str) -> str:
    return f"heartbeat:{name}:{instance}"


def _payload(counters: Mapping[str, float] | None) -> str:
    return json.dumps({"at": time.time(), "pid": os.getpid(), "counters": dict(counters or {})})
