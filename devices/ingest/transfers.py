"""Firmware on its way to the devices of a bridge: in turns, paced, behind everything else.

Each connection that waits for a chunk gets one when its turn comes, if its pace allows it and its
socket has taken what was written before. A turn is short, and after it the event loop is free for
three times as long: readings, acknowledgements and commands do not wait for firmware.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from devices.ingest.artifacts import Pieces
from devices.protocol.codes import ChunkStatus
from devices.protocol.firmware import Chunk
from devices.protocol.messages import encode_message

if TYPE_CHECKING:
    from devices.ingest.connection import Connection
    from devices.ingest.grants import Grants, Request

# How long chunks are served before all others have their turn, and for how many times as long. So
# live readings wait half as long again as without firmware (`manage.py bench transfer`); with turns
# of 2 ms, and as much for the others, it was four times.
TURN_S: Final = 0.0005
OTHERS: Final = 3
# Full sockets are looked at again after this, all together: with 20 000 timers of their own they
# made the collector of Python look through everything, 250 ms at a time.
FULL_S: Final = 0.2
# A request whose pace makes it wait for longer is answered with "not now": a device may give up an
# answer that does not come.
MAX_HOLD_S: Final = 20.0
# When to ask again for what is not staged: whoever drives the roll-out stages it meanwhile.
UNSTAGED_RETRY_S: Final = 15


@dataclass(slots=True)
class TransferCounters:
    """What was served since the start; bytes of payload."""

    chunks: int = 0
    chunk_bytes: int = 0
    chunks_not_now: int = 0


class Transfers:
    """Serves the requests of all connections of one bridge."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.counters = TransferCounters()
        # Connections whose turn comes; those that a timer, room in the socket or a piece will bring
        # back.
        self._ready: deque[Connection] = deque()
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self._full: list[Connection] = []
        self._waiting: dict[tuple[bytes, int], list[Connection]] = {}
        self._engaged: set[Connection] = set()
        self._work = asyncio.Event()
        self._loads: set[asyncio.Task[None]] = set()

    @property
    def engaged(self) -> int:
        """Connections that wait for a chunk."""
        return len(self._engaged)

    def want(self, connection: Connection) -> None:
        """The connection has requests; it is served when its turn comes."""
        if connection not in self._engaged:
            self._engaged.add(connection)
            self._queue(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is over."""
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
            self._engaged.discard(connection)

    async def run(self) -> None:
        """Serve for ever."""
        while True:
            await self._work.wait()
            began = time.perf_counter()
            while self._ready and time.perf_counter() - began < TURN_S:
                self._serve(self._ready.popleft())
            if not self._ready:
                self._work.clear()
            await asyncio.sleep(OTHERS * (time.perf_counter() - began))

    def _serve(self, connection: Connection) -> None:
        """One chunk for one connection, or a reason to come back to it."""
        grants = connection.session.grants
        if connection.gone or grants is None or not grants.requests:
            self._engaged.discard(connection)
            return
        wait_s = grants.pace.wait_s(time.monotonic())
        if wait_s > MAX_HOLD_S:
            self._answer(connection, grants, self._not_now(grants, math.ceil(wait_s)))
        elif wait_s:
            self._later(connection, wait_s)
        elif not connection.drained:
            self._wait_for_room(connection)
        else:
            self._send(connection, grants, grants.requests[0])

    def _send(self, connection: Connection, grants: Grants, request: Request) -> None:
        (update_id, payload_sha256, _), offset, length = request
        number = self.pieces.lacking(payload_sha256, offset, length)
        if number is None:
            data = self.pieces.take(payload_sha256, offset, length)
            grants.pace.spend(length, time.monotonic())
            self.counters.chunks += 1
            self.counters.chunk_bytes += length
            chunk = Chunk(update_id, ChunkStatus.DATA, offset, 0, data)
            self._answer(connection, grants, chunk)
        elif self.pieces.unavailable(payload_sha256):
            self._answer(connection, grants, self._not_now(grants, UNSTAGED_RETRY_S))
        else:
            self._load(connection, payload_sha256, number)

    def _not_now(self, grants: Grants, retry_after_s: int) -> Chunk:
        self.counters.chunks_not_now += 1
        (update_id, _, _), offset, _ = grants.requests[0]
        return Chunk(update_id, ChunkStatus.NOT_NOW, offset, retry_after_s)

    def _answer(self, connection: Connection, grants: Grants, chunk: Chunk) -> None:
        grants.requests.popleft()
        connection.send_chunk(encode_message(chunk))
        self._queue(connection)

    # --- Those who come back --------------------------------------------------------------------

    def _queue(self, connection: Connection) -> None:
        self._ready.append(connection)
        self._work.set()

    def _later(self, connection: Connection, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(wait_s, self._due, connection)

    def _wait_for_room(self, connection: Connection) -> None:
        if not self._full:
            asyncio.get_running_loop().call_later(FULL_S, self._look_again)
        self._full.append(connection)

    def _look_again(self) -> None:
        self._ready.extend(self._full)
        self._full.clear()
        self._work.set()

    def _due(self, connection: Connection) -> None:
        del self._timers[connection]
        self._queue(connection)

    def _load(self, connection: Connection, payload_sha256: bytes, number: int) -> None:
        key = (payload_sha256, number)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(connection)
            return
        self._waiting[key] = [connection]
        task = asyncio.create_task(self._bring(key))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)

    async def _bring(self, key: tuple[bytes, int]) -> None:
        await self.pieces.load(*key)
        # Before those whose turn comes anyway: by then others might have taken the piece's room.
        self._ready.extendleft(self._waiting.pop(key))
        self._work.set()
