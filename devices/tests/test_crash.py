"""kill -9 in the middle of a load: every reading is stored once, and the ledger balances."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from devices.tests.crash_spine import PrivateServers, Spine
from devices.tests.ingest_park import imbalances, rows, totals

DEVICES = 24
BEFORE_S = 2.0
AWAY_S = 1.0
AFTER_S = 2.0

pytestmark = [pytest.mark.crash, pytest.mark.django_db(databases=[])]


@pytest.fixture
def spine(private_servers: Callable[[], PrivateServers], tmp_path: Path) -> Iterator[Spine]:
    spine = Spine(private_servers(), tmp_path)
    spine.register(DEVICES)
    spine.launch("writer")
    spine.launch("bridge")
    try:
        spine.wait_ready()
        yield spine
    finally:
        spine.kill_all()


async def kill_bridge(spine: Spine) -> None:
    spine.kill("bridge")


async def kill_writer(spine: Spine) -> None:
    spine.kill("writer")


async def kill_writer_before_it_acknowledges(spine: Spine) -> None:
    await spine.commit_without_acknowledgement()
    await spine.kill_writer_and_forget_its_words()


async def kill_redis(spine: Spine) -> None:
    spine.servers.redis.kill()


async def kill_redis_before_it_hears_of_a_commit(spine: Spine) -> None:
    await spine.commit_without_acknowledgement()
    spine.servers.redis.kill()


async def kill_and_wipe_redis(spine: Spine) -> None:
    spine.servers.redis.kill()
    spine.servers.wipe_redis()


async def lose_the_queue(spine: Spine) -> None:
    await spine.lose_the_queue()


async def kill_postgres(spine: Spine) -> None:
    await asyncio.to_thread(spine.kill_postgres)


async def kill_everything(spine: Spine) -> None:
    """A power cut of the whole server."""
    spine.kill("bridge")
    spine.kill("writer")
    spine.servers.redis.kill()
    await asyncio.to_thread(spine.kill_postgres)


def bring_back(spine: Spine) -> None:
    """Start what is down, from the main thread: servers end with the thread that starts them."""
    postgres, redis = spine.servers.postgres, spine.servers.redis
    if postgres.server is None:
        postgres.clear_stale_pid()
        postgres.launch()
    if redis.server is None:
        redis.launch()
    for name in ("writer", "bridge"):
        if name not in spine.processes:
            spine.launch(name)


@pytest.mark.parametrize(
    "crash",
    [
        kill_bridge,
        kill_writer,
        kill_writer_before_it_acknowledges,
        kill_redis,
        kill_redis_before_it_hears_of_a_commit,
        kill_and_wipe_redis,
        lose_the_queue,
        kill_postgres,
        kill_everything,
    ],
)
def test_every_reading_is_stored_exactly_once(
    spine: Spine, crash: Callable[[Spine], Awaitable[None]]
) -> None:
    async def scenario() -> None:
        running = spine.connect_devices()
        measuring = asyncio.create_task(spine.measure(BEFORE_S + AWAY_S + AFTER_S))
        await asyncio.sleep(BEFORE_S)
        while not spine.under_way():
            await asyncio.sleep(0.001)
        await crash(spine)
        await asyncio.sleep(AWAY_S)
        bring_back(spine)
        await measuring
        await spine.drain()
        for client in spine.clients:
            client.stop()
        await asyncio.gather(*running)
        for client in spine.clients:
            client.buffer.close()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(scenario())

    spine.stop()
    with psycopg.connect(spine.endpoints.database_url, autocommit=True) as owner:
        stored = spine.stored(owner)
        assert len(stored) == len(spine.produced)
        assert sorted(stored) == sorted(spine.produced)
        ticks = "SELECT device_id, sequence FROM device_event WHERE kind = 'tick' ORDER BY 1, 2"
        assert rows(owner, ticks) == sorted(spine.events)
        assert imbalances(owner) == []
        assert [row.quarantined + row.skipped + row.under_way for row in totals(owner)] == [
            0
        ] * DEVICES
