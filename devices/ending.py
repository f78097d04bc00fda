"""The end of tasks on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

# How long a task may take to end before it is asked again.
_AGAIN_S: Final = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> list[Any]:
    """Cancel tasks until they are over; what each returned or raised, in their order.

    Once is not enough: before Python 3.12 `asyncio.wait_for` forgets a cancellation that comes
    while its result is there already, and redis-py sends each command by it. Such a task would go
    on, and whoever waits for its end would wait for ever.
    """
    everything = list(tasks)
    running = {task for task in everything if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_S)
    return await asyncio.gather(*everything, return_exceptions=True)
