"""Simulated devices that really run, beside a test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from devices.simulator.device import SimulatedDevice

WAIT_S = 60.0


@dataclass
class Devices:
    """Simulated devices on an event loop of their own."""

    devices: dict[str, SimulatedDevice]
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of them, within the block."""

        async def live() -> None:
            await asyncio.gather(*(device.run() for device in self.devices.values()))

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(live()))
        thread.start()
        try:
            yield
        finally:
            for device in self.devices.values():
                asyncio.run_coroutine_threadsafe(device.stop(0.5), self._loop)
            thread.join(WAIT_S)
            self._loop.close()
        assert not thread.is_alive()

    def versions(self) -> dict[str, str]:
        """What runs now, by case."""
        return {
            name: client.identity.firmware if (client := device.client) else ""
            for name, device in self.devices.items()
        }


def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for a condition; when it does not come, fail and say `what` is there instead."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, repr(what())
        time.sleep(0.1)
