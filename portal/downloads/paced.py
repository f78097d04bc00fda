"""An answer that is sent no faster than it may be, and is told of while it is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, cast

from channels.db import database_sync_to_async
from django.http import StreamingHttpResponse

from devices.ingest.limits import Pace

# What is sent at once: a second's worth, within these.
_LEAST: Final = 1_024
_MOST: Final = 64 * 1024
# How often it is told how far the answer is: not before so much more was sent, and so much later.
_TELL_SHARE: Final = 10
_TELL_S: Final = 10.0


def pace(
    response: StreamingHttpResponse,
    *,
    pace: Pace,
    size: int,
    tell: Callable[[int], None],
) -> None:
    """Send the content as `pace` allows, which other answers may share.

    `tell` is called now and then, and at the end, with how many bytes the server has taken of it;
    it may ask the database. `size` is that of the whole file, of which this may be a part.
    """
    # A proxy that takes the whole for itself would have it told as sent (nginx heeds this).
    response["X-Accel-Buffering"] = "no"
    parts = _Parts(pace, size, tell)
    content = response.streaming_content
    if response.is_async:
        response.streaming_content = parts.later(cast("AsyncIterator[bytes]", content))
    else:
        response.streaming_content = parts.now(cast("Iterator[bytes]", content))


class _Parts:
    """The pieces of a content, cut to what may be sent at once."""

    def __init__(self, pace: Pace, size: int, tell: Callable[[int], None]) -> None:
        self._pace = pace
        self._most = min(_MOST, max(_LEAST, pace.rate)) if pace.rate else _MOST
        self._share = size // _TELL_SHARE
        self._tell = tell
        self._total = self._told = 0
        self._told_at = time.monotonic()

    async def later(self, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        tell = database_sync_to_async(self._tell, thread_sensitive=False)
        async for piece in content:
            for part in self._cut(piece):
                await asyncio.sleep(self._pace.wait_s(time.monotonic()))
                yield self._spent(part)
                # The server asks for more once it has taken this: until then it was not sent.
                if self._due(part):
                    await tell(self._total)
        if self._total > self._told:
            await tell(self._total)

    def now(self, content: Iterator[bytes]) -> Iterator[bytes]:
        for piece in content:
            for part in self._cut(piece):
                time.sleep(self._pace.wait_s(time.monotonic()))
                yield self._spent(part)
                if self._due(part):
                    self._tell(self._total)
        if self._total > self._told:
            self._tell(self._total)

    def _cut(self, piece: bytes) -> Iterator[bytes]:
        for start in range(0, len(piece), self._most):
            yield piece[start : start + self._most]

    def _spent(self, part: bytes) -> bytes:
        self._pace.spend(len(part), time.monotonic())
        return part

    def _due(self, part: bytes) -> bool:
        self._total += len(part)
        now = time.monotonic()
        if self._total - self._told < self._share or now - self._told_at < _TELL_S:
            return False
        self._told, self._told_at = self._total, now
        return True
