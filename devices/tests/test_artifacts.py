"""Firmware payloads in Redis: staged whole or not at all, within bounds, checked when read."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from devices.ingest import artifacts
from devices.ingest.artifacts import (
    PIECE_BYTES,
    Pieces,
    StagingError,
    artifact_key,
    drop,
    is_staged,
    keep,
    stage,
)
from devices.tests.bridge_devices import Servers

PAYLOAD = bytes(range(251)) * 600  # three pieces, the last one short
DIGEST = hashlib.sha256(PAYLOAD).digest()
assert 2 * PIECE_BYTES < len(PAYLOAD) < 3 * PIECE_BYTES

Run = Callable[[Callable[[Pieces, AsyncRedis], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture
def run(servers: Servers, redis: Redis) -> Run:
    """Runs a test of a bridge's pieces against the real Redis."""

    def run(work: Callable[[Pieces, AsyncRedis], Coroutine[Any, Any, Any]]) -> Any:
        async def main() -> Any:
            async with AsyncRedis.from_url(servers.redis_url) as client:
                return await work(Pieces(client, capacity=2 * PIECE_BYTES), client)

        return asyncio.run(main())

    return run


async def read(pieces: Pieces, offset: int, length: int) -> bytes:
    while (number := pieces.lacking(DIGEST, offset, length)) is not None:
        assert await pieces.load(DIGEST, number)
    return pieces.take(DIGEST, offset, length)


def test_staged_artifact_is_read_back_at_every_cut(redis: Redis, run: Run) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)
    cuts = [
        (0, 1),
        (0, PIECE_BYTES),
        (PIECE_BYTES - 1, 1),
        (PIECE_BYTES - 1, 2),
        (PIECE_BYTES, 4_096),
        (2 * PIECE_BYTES - 7, 32_768 // 2),
        (len(PAYLOAD) - 1, 1),
    ]

    async def work(pieces: Pieces, _: AsyncRedis) -> list[bytes]:
        return [await read(pieces, offset, length) for offset, length in cuts]

    assert run(work) == [PAYLOAD[offset : offset + length] for offset, length in cuts]


def test_piece_is_read_once_however_many_wait_for_it(redis: Redis, run: Run) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)

    async def work(pieces: Pieces, _: AsyncRedis) -> tuple[list[bool], int]:
        found = await asyncio.gather(*(pieces.load(DIGEST, 0) for _ in range(100)))
        return found, pieces.counters.piece_loads

    assert run(work) == ([True] * 100, 1)


def test_piece_comes_for_the_others_when_one_gives_up(redis: Redis, run: Run) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)

    async def work(pieces: Pieces, _: AsyncRedis) -> tuple[bool, int]:
        first = asyncio.create_task(pieces.load(DIGEST, 0))
        second = asyncio.create_task(pieces.load(DIGEST, 0))
        await asyncio.sleep(0)
        first.cancel()
        return await second, pieces.counters.piece_loads

    assert run(work) == (True, 1)


def test_pieces_stay_within_their_memory_and_the_oldest_goes(redis: Redis, run: Run) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)

    async def work(pieces: Pieces, _: AsyncRedis) -> list[bool]:
        for number in (0, 1, 0, 2):
            await pieces.load(DIGEST, number)
            if number == 0:
                pieces.take(DIGEST, 0, 1)
        assert pieces.held_bytes <= 2 * PIECE_BYTES
        return [pieces.lacking(DIGEST, n * PIECE_BYTES, 1) is None for n in range(3)]

    assert run(work) == [True, False, True]


def test_missing_artifact_is_asked_for_once_by_a_fleet(redis: Redis, run: Run) -> None:
    async def work(pieces: Pieces, _: AsyncRedis) -> tuple[bool, bool, int]:
        found = await pieces.load(DIGEST, 0)
        return found, pieces.unavailable(DIGEST), pieces.counters.pieces_missing

    assert run(work) == (False, True, 1)


def test_damaged_piece_is_never_served_and_its_artifact_is_staged_anew(
    redis: Redis, run: Run
) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)
    stored = redis.hget(artifact_key(DIGEST), "1")
    assert isinstance(stored, bytes)
    redis.hset(artifact_key(DIGEST), "1", stored[:-1] + bytes([stored[-1] ^ 1]))

    async def work(pieces: Pieces, _: AsyncRedis) -> tuple[bool, int]:
        return await pieces.load(DIGEST, 1), pieces.counters.piece_failures

    assert run(work) == (False, 1)
    assert not is_staged(redis, DIGEST)
    stage(redis, DIGEST, PAYLOAD, 60)
    assert is_staged(redis, DIGEST)


def test_bytes_of_another_digest_are_not_staged(redis: Redis) -> None:
    with pytest.raises(ValueError, match="another digest"):
        stage(redis, DIGEST, PAYLOAD[:-1], 60)
    assert redis.keys("firmware:*") == []


def test_staging_again_only_prolongs(redis: Redis) -> None:
    stage(redis, DIGEST, PAYLOAD, 60)
    stage(redis, DIGEST, PAYLOAD, 600)
    assert redis.ttl(artifact_key(DIGEST)) > 500
    assert keep(redis, DIGEST, 5)
    assert redis.ttl(artifact_key(DIGEST)) > 500
    drop(redis, DIGEST)
    assert not keep(redis, DIGEST, 5)
    assert redis.keys("firmware:*") == []


def test_no_more_is_staged_than_fits(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_STAGED_BYTES", len(PAYLOAD) + 10)
    stage(redis, DIGEST, PAYLOAD, 60)
    other = b"another firmware"
    with pytest.raises(StagingError, match="let other roll-outs end"):
        stage(redis, hashlib.sha256(other).digest(), other, 60)
    drop(redis, DIGEST)
    stage(redis, hashlib.sha256(other).digest(), other, 60)


def test_artifact_that_can_never_be_staged_says_so(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_STAGED_BYTES", len(PAYLOAD) - 1)
    with pytest.raises(StagingError, match="fetch over HTTP or DDI"):
        stage(redis, DIGEST, PAYLOAD, 60)
    assert redis.keys("firmware:*") == []


def test_artifact_of_which_pieces_expired_while_it_was_written_is_not_shown(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if each piece took longer than what is unfinished is kept.
    monkeypatch.setattr(artifacts, "_UNFINISHED_S", 0)
    with pytest.raises(StagingError, match="tried again"):
        stage(redis, DIGEST, PAYLOAD, 60)
    assert redis.keys("firmware:*") == []


def test_what_expired_makes_room(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "MAX_STAGED_BYTES", len(PAYLOAD) + 10)
    stage(redis, DIGEST, PAYLOAD, 60)
    # As if its time were over: Redis drops the pieces by itself.
    redis.delete(artifact_key(DIGEST))
    redis.zadd("firmware:staged", {DIGEST.hex(): 1})
    other = b"another firmware"
    stage(redis, hashlib.sha256(other).digest(), other, 60)
    assert redis.hkeys("firmware:staged:bytes") == [hashlib.sha256(other).hexdigest().encode()]


def test_the_room_of_the_queue_is_not_taken(redis: Redis) -> None:
    limit = int(redis.info("memory")["maxmemory"])
    used = int(redis.info("memory")["used_memory"])
    try:
        redis.config_set("maxmemory", int(used * 1.5))
        with pytest.raises(StagingError, match="raise `maxmemory`"):
            stage(redis, DIGEST, PAYLOAD, 60)
    finally:
        redis.config_set("maxmemory", limit)
    assert not is_staged(redis, DIGEST)
