"""Tasks end, even those that a library lets overhear the first request."""

from __future__ import annotations

import asyncio

from django.conf import settings
from redis.asyncio import Redis

from devices.ending import end


async def test_a_task_that_has_just_sent_to_redis_ends() -> None:
    redis = Redis.from_url(settings.REDIS_URL, socket_timeout=5.0)
    await redis.ping()

    async def publish_and_wait() -> None:
        await redis.publish("nobody", b"")
        await asyncio.Event().wait()

    for turns in range(12):
        task = asyncio.create_task(publish_and_wait())
        for _ in range(turns):
            await asyncio.sleep(0)
        (outcome,) = await asyncio.wait_for(end([task]), 10.0)
        assert isinstance(outcome, asyncio.CancelledError)
    await redis.aclose()


async def test_what_tasks_came_to_is_told_in_their_order() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> None:
        raise LookupError

    async def wait() -> None:
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(work) for work in (answer(), wait(), fail())]
    await asyncio.wait(tasks, timeout=0.01)
    first, second, third = await end(tasks)
    assert first == 7
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, LookupError)
    assert await end([]) == []
