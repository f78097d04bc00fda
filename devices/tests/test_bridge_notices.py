"""The bridge's ear for notices on a connection that dies without a word."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis

from devices.ingest.bridge_notices import Notices
from devices.tests.bridge_devices import WAIT_S, Servers

pytestmark = pytest.mark.crash

QUIET_S = 0.2


class Killable(Protocol):
    """Servers of a test's own."""

    redis: Any

    def endpoints(self) -> Servers: ...


def test_a_redis_that_falls_silent_is_taken_as_lost(
    private_servers: Callable[[], Killable],
) -> None:
    own = private_servers()

    async def listen() -> None:
        heard, lost, restored = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with Redis.from_url(own.endpoints().redis_url, socket_timeout=None) as redis:
            notices = Notices(
                redis,
                {"news": lambda _: heard.set()},
                on_lost=lost.set,
                on_restored=restored.set,
                quiet_s=QUIET_S,
            )
            running = asyncio.create_task(notices.run())
            await asyncio.wait_for(notices.wait_listening(), WAIT_S)
            # Quiet is not silent: it answers when it is asked.
            await asyncio.sleep(5 * QUIET_S)
            await redis.publish("news", b"")
            await asyncio.wait_for(heard.wait(), WAIT_S)
            assert not lost.is_set()
            process = (await redis.info("server"))["process_id"]
            os.kill(process, signal.SIGSTOP)
            try:
                await asyncio.wait_for(lost.wait(), WAIT_S)
            finally:
                os.kill(process, signal.SIGCONT)
            await asyncio.wait_for(restored.wait(), WAIT_S)
            running.cancel()

    asyncio.run(listen())
