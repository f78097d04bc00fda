"""What writers, the portal and other bridges tell a bridge, over Redis pub/sub.

Notices may get lost with the connection: whoever listens again must assume that it missed some.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from devices.ingest.outflow import LOST
from devices.ingest.queue import EntryError

logger = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 5.0
# A quiet connection is asked for a sign of life, so that a silent death is seen.
QUIET_S: Final = 10.0

Handler = Callable[[bytes], None]


class Notices:
    """Listens for ever; `on_lost` and `on_restored` are called around each time it cannot."""

    def __init__(
        self,
        redis: Redis,
        handlers: Mapping[str, Handler],
        *,
        on_lost: Callable[[], None],
        on_restored: Callable[[], None],
        quiet_s: float = QUIET_S,
    ) -> None:
        """`quiet_s`: after this silence Redis is asked for a sign of life, and after as much more
        without one the connection counts as lost."""
        self._redis = redis
        self._handlers = {channel.encode(): handler for channel, handler in handlers.items()}
        self._on_lost = on_lost
        self._on_restored = on_restored
        self._quiet_s = quiet_s
        self._listening = asyncio.Event()

    async def wait_listening(self) -> None:
        """Return once every channel is subscribed."""
        await self._listening.wait()

    async def run(self) -> None:
        """Subscribe, dispatch, and subscribe again when the connection is lost."""
        wait_s = RETRY_FIRST_S
        lost = False
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(*self._handlers)
                    # The server has confirmed every subscription before anything is relied on.
                    for _ in self._handlers:
                        if await pubsub.get_message(timeout=self._quiet_s) is None:
                            raise RedisConnectionError("Redis confirmed no subscription")
                    wait_s = RETRY_FIRST_S
                    self._listening.set()
                    if lost:
                        lost = False
                        self._on_restored()
                    await self._listen(pubsub)
            except (RedisError, *LOST) as error:
                self._listening.clear()
                if not lost:
                    lost = True
                    self._on_lost()
                logger.warning("notices.lost error=%s", error)
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311
            wait_s = min(RETRY_MAX_S, wait_s * 2)

    async def _listen(self, pubsub) -> None:  # type: ignore[no-untyped-def]
        asked = False
        while True:
            message = await pubsub.get_message(timeout=self._quiet_s)
            if message is None:
                if asked:
                    raise RedisConnectionError("Redis gave no sign of life")
                await pubsub.ping()
            asked = message is None
            if message is not None and message["type"] == "message":
                try:
                    self._handlers[message["channel"]](message["data"])
                except EntryError as error:
                    logger.warning(
                        "notices.malformed channel=%s error=%s", message["channel"], error
                    )
