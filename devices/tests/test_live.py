"""Leases and the reader of the queue, against a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from devices.ingest import queue
from devices.ingest.heartbeat import alive
from devices.live import Leases, LiveReader
from devices.protocol.codes import MessageType


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with Redis.from_url(settings.REDIS_URL) as client:
        await client.flushdb()
        yield client


def entry(*messages: tuple[int, int, bytes, int, int]) -> dict[Any, Any]:
    """A stream entry of (device, sequence, body, kind, verdict)."""
    envelopes = np.zeros(len(messages), queue.ENVELOPE)
    for index, (device_id, sequence, body, kind, verdict) in enumerate(messages):
        envelopes[index]["device_id"] = device_id
        envelopes[index]["sequence"] = sequence
        envelopes[index]["length"] = len(body)
        envelopes[index]["kind"] = kind
        envelopes[index]["verdict"] = verdict
    fields = queue.encode_batch("bridge-1", envelopes, [message[2] for message in messages])
    return {**fields}


def data(device_id: int, sequence: int, body: bytes = b"frame") -> tuple[int, int, bytes, int, int]:
    return device_id, sequence, body, MessageType.DATA, queue.Verdict.SOUND


@asynccontextmanager
async def listening(
    redis: Redis, *channels: str
) -> AsyncIterator[asyncio.Queue[tuple[str, bytes]]]:
    """What is published on some channels, as a queue."""
    received: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(*channels)

        async def read() -> None:
            async for message in pubsub.listen():
                received.put_nowait((message["channel"].decode(), message["data"]))

        task = asyncio.create_task(read())
        try:
            yield received
        finally:
            task.cancel()


@asynccontextmanager
async def reading(redis: Redis) -> AsyncIterator[LiveReader]:
    stop = asyncio.Event()
    reader = LiveReader(redis, "test")
    task = asyncio.create_task(reader.run(stop))
    try:
        yield reader
    finally:
        stop.set()
        await task


async def take(received: asyncio.Queue[tuple[str, bytes]]) -> tuple[str, bytes]:
    return await asyncio.wait_for(received.get(), 5)


async def test_a_lease_opens_for_the_bridges_and_in_the_interest(redis: Redis) -> None:
    async with listening(redis, queue.LIVE_CHANNEL) as notices:
        await Leases(redis, "web-a").renew([7, 1 << 40])
        assert queue.decode_live((await take(notices))[1]) == (queue.LIVE_LEASE_S, [7, 1 << 40])
    members: Any = await redis.zrange(queue.INTEREST_KEY, 0, -1, withscores=True)
    scores = dict(members)
    assert sorted(scores) == [str(1 << 40).encode(), b"7"]
    assert all(25 < score - time.time() <= queue.LIVE_LEASE_S for score in scores.values())


async def test_a_lease_ends_with_the_last_process_that_watches(redis: Redis) -> None:
    first, second = Leases(redis, "web-a"), Leases(redis, "web-b")
    await first.renew([7, 8])
    await second.renew([8])
    async with listening(redis, queue.LIVE_CHANNEL) as notices:
        assert await first.end([7, 8]) == 1
        assert queue.decode_live((await take(notices))[1]) == (0, [7])
        assert await redis.zrange(queue.INTEREST_KEY, 0, -1) == [b"8"]
        assert await second.end([8]) == 1
        assert queue.decode_live((await take(notices))[1]) == (0, [8])
    assert await redis.keys("live:*") == []


async def test_the_lease_of_a_process_that_died_does_not_outlive_the_others(redis: Redis) -> None:
    dead, alive_one = Leases(redis, "web-dead"), Leases(redis, "web-b")
    await dead.renew([7])
    await alive_one.renew([7])
    await redis.zadd("live:watchers:7", {"web-dead": time.time() - 1})
    assert await alive_one.end([7]) == 1


async def test_ending_in_between_leaves_the_longest_lease_of_the_others(redis: Redis) -> None:
    first, second = Leases(redis, "web-a"), Leases(redis, "web-b")
    await second.renew([7])
    until = time.time() + 5
    await redis.zadd("live:watchers:7", {"web-b": until})
    await first.renew([7])
    await first.end([7])
    assert await redis.zscore(queue.INTEREST_KEY, "7") == pytest.approx(until, abs=0.001)


async def test_the_reader_publishes_sound_frames_of_watched_devices_only(redis: Redis) -> None:
    channels = [queue.live_channel(device_id) for device_id in (3, 4, 19)]
    async with listening(redis, *channels) as frames, reading(redis) as reader:
        await Leases(redis, "web-a").renew([3, 19])
        while len(reader._watched) != 2 or not reader._positions:
            await asyncio.sleep(0.01)
        log = (3, 11, b"a line", int(MessageType.LOG), int(queue.Verdict.SOUND))
        bad = (3, 12, b"too high", int(MessageType.DATA), int(queue.Verdict.LIMIT))
        link = (19, 0, b"{}", queue.BRIDGE_EVENT, int(queue.Verdict.SOUND))
        sent = entry(
            data(3, 10, b"one"), log, bad, data(4, 1), data(19, 5, b"two"), link, data(3, 13)
        )
        await redis.xadd(queue.stream_key(3), sent)
        got = [await take(frames) for _ in range(4)]
        assert frames.empty()
    assert [channel for channel, _ in got] == ["live:3", "live:19", "live:19", "live:3"]
    heads = [np.frombuffer(payload, queue.ENVELOPE, count=1)[0] for _, payload in got]
    assert [(head["sequence"], head["kind"]) for head in heads] == [
        (10, 0x10),
        (5, 0x10),
        (0, 0xF0),
        (13, 0x10),
    ]
    assert [payload[queue.ENVELOPE_BYTES :] for _, payload in got] == [
        b"one",
        b"two",
        b"{}",
        b"frame",
    ]


async def test_the_reader_passes_a_malformed_entry_over(redis: Redis) -> None:
    async with listening(redis, "live:3") as frames, reading(redis) as reader:
        await Leases(redis, "web-a").renew([3])
        while not reader._positions:
            await asyncio.sleep(0.01)
        await redis.xadd(queue.stream_key(3), {"b": b"bridge-1", "m": b"short", "f": b""})
        cut = entry(data(3, 1))
        await redis.xadd(queue.stream_key(3), {**cut, "f": cut["f"][:-1]})
        await redis.xadd(queue.stream_key(3), entry(data(3, 2)))
        _, payload = await take(frames)
        assert np.frombuffer(payload, queue.ENVELOPE, count=1)[0]["sequence"] == 2
        assert reader.counters["malformed"] == 2


async def test_the_reader_rests_while_nobody_watches(redis: Redis) -> None:
    async with reading(redis) as reader:
        lease = Leases(redis, "web-a")
        await lease.renew([3])
        while not reader._positions:
            await asyncio.sleep(0.01)
        await lease.end([3])
        while reader._positions:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)  # the question that is under way ends after one second
        await redis.xadd(queue.stream_key(3), entry(data(3, 1)))
        await asyncio.sleep(0.2)
        assert reader.counters["messages"] == 0


async def test_the_reader_goes_on_when_its_connections_break(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(redis, "live:3") as frames, reading(redis) as reader:
        await Leases(redis, "web-a").renew([3])
        while not reader._positions:
            await asyncio.sleep(0.01)
        me = await redis.client_id()
        for client in await redis.client_list():
            if int(client["id"]) != me and "subscribe" not in client["cmd"]:
                await redis.client_kill_filter(_id=client["id"])
        sequence = 0
        while frames.empty():
            sequence += 1
            await redis.xadd(queue.stream_key(3), entry(data(3, sequence)))
            await asyncio.sleep(0.05)
        _, payload = await take(frames)
        assert payload.endswith(b"frame")


async def test_the_reader_gives_signs_of_life(redis: Redis) -> None:
    with SyncRedis.from_url(settings.REDIS_URL) as client:
        async with reading(redis):
            while not (beats := alive(client)):
                await asyncio.sleep(0.01)
            assert [(beat.name, beat.instance) for beat in beats] == [("live", "test")]
        assert alive(client) == []


@pytest.fixture(autouse=True)
def no_lost_connections(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A program's own error ends the reader; it must not pass as a lost connection."""
    yield
    assert [r for r in caplog.records if "Traceback" in (r.exc_text or "")] == []
