"""A viewer: what the page of a facility or device does with its socket, without drawing.

For the benchmark and for tests against real processes. It follows the rules of the page
(`static/js/wattline/sequences.js` and `fills.js`): a frame is taken once, and the holes between
sequence numbers are asked for from storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from portal.feed.records import Kind, Record, decode

# As in the browser: a hole that is only a late frame closes by itself.
ASK_AFTER_S: Final = 0.7
ASK_AGAIN_S: Final = 1.0


@dataclass
class DeviceFrames:
    """What has come of one device: bodies by sequence, and what is known to be missing."""

    bodies: dict[int, bytes] = field(default_factory=dict)
    arrivals: Counter[int] = field(default_factory=Counter)
    highest: int | None = None
    missing: set[int] = field(default_factory=set)
    asked_at: float = 0.0
    missing_since: float = 0.0

    def take(self, record: Record) -> bool:
        """Whether the frame is new; a live one that jumps leaves a hole."""
        sequence = record.sequence
        self.arrivals[sequence] += 1
        if self.highest is not None and sequence <= self.highest:
            if sequence not in self.missing:
                return False
            self.missing.discard(sequence)
        else:
            if record.kind is Kind.LIVE and self.highest is not None:
                hole = range(self.highest + 1, sequence)
                if hole and not self.missing:
                    self.missing_since = time.monotonic()
                self.missing.update(hole)
            self.highest = sequence
        self.bodies[sequence] = record.body
        return True


@dataclass
class Viewer:
    """One socket; `on_frame` is called for every frame that is new."""

    socket: ClientConnection
    on_frame: Callable[[Record], None] | None = None
    devices: dict[int, DeviceFrames] = field(default_factory=dict)
    description: dict[str, Any] = field(default_factory=dict)
    lost: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Receive until the socket closes."""
        with contextlib.suppress(ConnectionClosed):
            async for message in self.socket:
                if isinstance(message, bytes):
                    self._records(message)
                else:
                    self._message(json.loads(message))

    def _records(self, message: bytes) -> None:
        for record in decode(message):
            if record.kind is Kind.LINK:
                continue
            if self.devices[record.device_id].take(record) and self.on_frame is not None:
                self.on_frame(record)

    def _message(self, message: dict[str, Any]) -> None:
        if "description" in message:
            self.description = message["description"]
            for device in self.description["devices"]:
                self.devices.setdefault(device["id"], DeviceFrames())
        elif "backfilled" in message:
            for name, committed in message["backfilled"].items():
                frames = self.devices[int(name)]
                frames.highest = max(frames.highest or 0, committed)
            self.ready.set()
        elif "filled" in message:
            answer = message["filled"]
            frames = self.devices[answer["device"]]
            frames.missing.difference_update(range(answer["from"], answer["to"] + 1))
        elif "lost" in message:
            self.lost = message["lost"]

    async def ask(self) -> None:
        """Ask for the holes that have been open for a while; call it again and again."""
        now = time.monotonic()
        for device_id, frames in self.devices.items():
            open_long = frames.missing and now - frames.missing_since > ASK_AFTER_S
            if open_long and now - frames.asked_at > ASK_AGAIN_S:
                frames.asked_at = now
                wanted = {"from": min(frames.missing), "to": max(frames.missing)}
                await self.socket.send(json.dumps({"fill": {"device": device_id, **wanted}}))


@contextlib.asynccontextmanager
async def viewing(
    port: int,
    cookie: str,
    target: dict[str, int],
    on_frame: Callable[[Record], None] | None = None,
) -> AsyncIterator[Viewer]:
    """A viewer signed in by a session cookie (`name=value`) on the web process at `port`."""
    url = f"ws://127.0.0.1:{port}/ws/live/"
    headers = {"Cookie": cookie}
    async with connect(
        url, origin=Origin(f"http://127.0.0.1:{port}"), additional_headers=headers, compression=None
    ) as socket:
        viewer = Viewer(socket, on_frame)
        await socket.send(json.dumps({"watch": target}))
        task = asyncio.create_task(viewer.run())
        try:
            yield viewer
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
