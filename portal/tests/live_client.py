"""The page's side of `/ws/live/` in the test's own process, through the whole ASGI application."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings
from redis.asyncio import Redis

from devices.ingest import queue
from portal.asgi import application
from portal.benchmarks.live import session_cookie
from portal.feed.hub import close_hub
from portal.feed.records import Record, decode
from tenants.models import User

TIMEOUT_S = 5


P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that uses the database; its connection is given back afterwards."""
    call = database_sync_to_async(function, thread_sensitive=False)
    result: R = await call(*args, **kwargs)
    return result


class Page:
    """One open socket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, message: object) -> None:
        """Send a JSON message."""
        await self.send_text(json.dumps(message))

    async def send_text(self, text: str) -> None:
        """Send any text."""
        await self._socket.send_input({"type": "websocket.receive", "text": text})

    async def send_bytes(self, content: bytes) -> None:
        """Send a binary message."""
        await self._socket.send_input({"type": "websocket.receive", "bytes": content})

    async def receive(self) -> Any:
        """The next message: a JSON value, the list of records of a binary one, or `closed CODE`."""
        output = await self._socket.receive_output(TIMEOUT_S)
        if output["type"] == "websocket.close":
            return f"closed {output['code']}"
        if output.get("text") is not None:
            return json.loads(output["text"])
        return list(decode(output["bytes"]))

    async def until(self, key: str) -> tuple[Any, list[Record]]:
        """The value of the first JSON message with `key`, and all records before it."""
        records: list[Record] = []
        while True:
            message = await self.receive()
            if isinstance(message, list):
                records += message
            elif key in message:
                return message[key] if isinstance(message, dict) else message, records

    async def records(self, count: int) -> list[Record]:
        """The next records, at least `count`."""
        records: list[Record] = []
        while len(records) < count:
            message = await self.receive()
            if isinstance(message, list):
                records += message
        return records

    async def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes for a while."""
        return bool(await self._socket.receive_nothing(timeout=seconds))


async def open_socket(
    headers: list[tuple[bytes, bytes]], path: str = "/ws/live/"
) -> tuple[Any, bool]:
    """A socket by its handshake's headers, and whether it was accepted."""
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "subprotocols": [],
    }
    socket: Any = ApplicationCommunicator(application, scope)  # type: ignore[no-untyped-call]
    await socket.send_input({"type": "websocket.connect"})
    answer = await socket.receive_output(TIMEOUT_S)
    return socket, answer["type"] == "websocket.accept"


@asynccontextmanager
async def page(user: User | None, *, session_key: str | None = None) -> AsyncIterator[Page]:
    """An open socket of a signed-in user (None: of nobody), or of one session."""
    headers = [(b"origin", b"http://localhost")]
    if session_key is not None:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={session_key}".encode()))
    elif user is not None:
        cookie = await in_thread(session_cookie, user)
        headers.append((b"cookie", cookie.encode()))
    socket, accepted = await open_socket(headers)
    assert accepted
    try:
        yield Page(socket)
    finally:
        await socket.send_input({"type": "websocket.disconnect", "code": 1001})
        await socket.wait(TIMEOUT_S)


async def publish(
    redis: Redis,
    device_id: int,
    sequence: int,
    body: bytes,
    kind: int = 0x10,
    connection: int = 1,
) -> None:
    """What the live reader publishes for one message."""
    envelope = np.zeros(1, queue.ENVELOPE)
    envelope["device_id"] = device_id
    envelope["sequence"] = sequence
    envelope["connection"] = connection
    envelope["received_us"] = time.time_ns() // 1000
    envelope["length"] = len(body)
    envelope["kind"] = kind
    await redis.publish(queue.live_channel(device_id), envelope.tobytes() + body)


@asynccontextmanager
async def own_hub() -> AsyncIterator[Redis]:
    """An empty Redis, and the hub of this event loop closed at the end."""
    async with Redis.from_url(settings.REDIS_URL) as redis:
        await redis.flushdb()
        try:
            yield redis
        finally:
            await close_hub()
            await asyncio.sleep(0)
