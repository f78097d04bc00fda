"""The live readings of one facility or one device for one browser page: what every live socket is
made of. Who looks, and what that one may watch, is the affair of the door that derives from it.

The page sends JSON: `{"watch": {"facility": id}}` or `{"watch": {"device": id}}`, after a reconnect
with `"have": {device: sequence}`; `{"fill": {"device": id, "from": a, "to": b}}` for sequence
numbers that it misses; `{"ping": t}`. The answers: a description of the devices and channels, the
backfill as binary messages (`records.py`), `{"backfilled": {device: sequence}}` with the sequence
up to which storage has been read, and from then on live frames; `{"filled": …}` with the range
covered; `{"pong": t, "server_ms": …}`; `{"lost": n}` when the socket was too slow for n frames.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer

from devices.ending import end
from portal.charts.window import MAX_DEVICES
from portal.feed import records, watching
from portal.feed.hub import Hub, Watcher, hub
from portal.feed.notices import user_group

logger = logging.getLogger(__name__)

# Close codes (4000 to 4999 are the application's own, RFC 6455 section 7.4.2).
BAD_MESSAGE: Final = 4400
NOT_SIGNED_IN: Final = 4401
NOT_ALLOWED: Final = 4403
TOO_MANY: Final = 4429
FAILED: Final = 1011

# A page needs one socket; a person with many tabs open some more.
MAX_SOCKETS_PER_USER: Final = 24
# The longest message is a watch with the sequences of 64 devices.
MAX_MESSAGE_BYTES: Final = 16 * 1024
# Requests that may wait while one is worked on: a page asks for one range of each device at most.
MAX_WAITING: Final = 2 * MAX_DEVICES
# Authorisation is looked at again this often, besides at every change of a membership, so that a
# session that ended or a notice that got lost does not leave a socket open.
RECHECK_S: Final = 30.0
# After the end of a permission, so that the clock of the look itself is past it.
_LATE_S: Final = 0.05
# Records of the backfill go out in messages of about this size.
_CHUNK_BYTES: Final = 64 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# By default all sockets of a process would share one thread, and wait for each other's queries.
in_thread = partial(database_sync_to_async, thread_sensitive=False)


class MessageError(ValueError):
    """A message of the page that is not one of those above; the text says what is wrong."""


class FeedSocket(AsyncWebsocketConsumer):
    """One socket. Requests are worked off in order by one task; another sends live frames."""

    _watching: watching.Watching | None = None
    _hub: Hub | None = None
    _end: asyncio.TimerHandle | None = None
    _other_group: str | None = None

    async def identify(self) -> int | None:
        """The user behind the handshake; None for nobody."""
        raise NotImplementedError

    def describe(self, user_id: int, target: watching.Target) -> watching.Watching:
        """What the user may watch of `target` at this moment; raises `watching.Refused`.

        Called in a thread, at first and again whenever the authorisation is looked at.
        """
        raise NotImplementedError

    async def connect(self) -> None:
        """Accept a signed-in user; others get a close code, which a refused handshake has not."""
        await self.accept()
        user_id = await self.identify()
        if user_id is None:
            await self.close(NOT_SIGNED_IN)
            return
        shared = hub()
        if shared.sockets[user_id] >= MAX_SOCKETS_PER_USER:
            await self.close(TOO_MANY)
            return
        self._user_id = user_id
        # The last thing that may fail; after it, `disconnect` gives everything back.
        await self.channel_layer.group_add(user_group(self._user_id), self.channel_name)
        self._hub = shared
        shared.sockets[self._user_id] += 1
        self._watcher = Watcher()
        self._ready = asyncio.Event()
        self._requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_WAITING)
        self._tasks = [
            asyncio.create_task(self._work(), name="live-socket-work"),
            asyncio.create_task(self._send_live(), name="live-socket-send"),
            asyncio.create_task(self._recheck_often(), name="live-socket-recheck"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def disconnect(self, code: int) -> None:
        """Give back what the socket holds, whichever side closed it and why."""
        del code
        if self._hub is None:
            return
        await end(self._tasks)
        self._hub.unwatch(self._watcher)
        self._hub.sockets[self._user_id] -= 1
        self._hub.sockets += Counter()  # drops who has none left
        self._hub = None
        if self._end is not None:
            self._end.cancel()
        await self._leave_other_group()
        await self.channel_layer.group_discard(user_group(self._user_id), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take one message of the page; the answer to all but a ping is made by the worker."""
        if self._hub is None:  # what still comes after the socket was closed
            return
        try:
            request = _parse(text_data or bytes_data or b"")
            if "ping" in request:
                answer = {"pong": request["ping"], "server_ms": time.time_ns() / 1e6}
                await self.send(text_data=json.dumps(answer))
            else:
                self._requests.put_nowait(request)
        except MessageError as error:
            logger.info("live.bad_message user=%d reason=%r", self._user_id, str(error))
            await self.close(BAD_MESSAGE)
        except asyncio.QueueFull:
            await self.close(TOO_MANY)

    async def membership_changed(self, event: dict[str, Any]) -> None:
        """A message of the channel layer: look at the authorisation now."""
        del event
        self._recheck_soon()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("live.socket_failed task=%s", task.get_name(), exc_info=error)
        self._closing = asyncio.create_task(self.close(FAILED))  # the page comes back by itself

    async def _recheck_often(self) -> None:
        while True:
            # Spread, so that the sockets of a restarted process do not all ask in one instant.
            await asyncio.sleep(RECHECK_S * random.uniform(0.75, 1.25))  # noqa: S311
            await self._requests.put({"recheck": True})

    async def _work(self) -> None:
        while True:
            request = await self._requests.get()
            try:
                if "watch" in request:
                    await self._watch(request["watch"])
                elif self._watching is None:
                    continue
                elif "fill" in request:
                    await self._fill(request["fill"])
                else:
                    await self._recheck()
            except watching.Refused as refused:
                code = NOT_ALLOWED if refused.signed_in else NOT_SIGNED_IN
                await self.send(text_data=json.dumps({"refused": str(refused)}))
                await self.close(code)
                return

    async def _describe(self, target: watching.Target) -> watching.Watching:
        return await in_thread(self.describe)(self._user_id, target)

    async def _watch(self, request: dict[str, Any]) -> None:
        """Subscribe first, then read storage, then let live frames through: no seam."""
        target = watching.Target(request["kind"], request["id"])
        self._watching = None
        self._watching = await self._describe(target)
        await self._heed(self._watching)
        await self._show(self._watching, self._watching.device_ids, request["have"])

    async def _heed(self, described: watching.Watching) -> None:
        """Look again at the moment when the permission ends, and when the other user's changes."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if described.until is not None:
            left = (described.until - datetime.now(UTC)).total_seconds()
            loop = asyncio.get_running_loop()
            self._end = loop.call_later(max(0.0, left) + _LATE_S, self._recheck_soon)
        wanted = None if described.acts_as is None else user_group(described.acts_as)
        if wanted != self._other_group:
            await self._leave_other_group()
            if wanted is not None:
                await self.channel_layer.group_add(wanted, self.channel_name)
            self._other_group = wanted

    async def _leave_other_group(self) -> None:
        if self._other_group is not None:
            await self.channel_layer.group_discard(self._other_group, self.channel_name)
            self._other_group = None

    def _recheck_soon(self) -> None:
        if self._hub is not None and not self._requests.full():
            self._requests.put_nowait({"recheck": True})

    async def _recheck(self) -> None:
        assert self._watching is not None
        former, current = self._watching, await self._describe(self._watching.target)
        if current == former:
            return
        self._watching = current
        fresh = set(current.device_ids) - set(former.device_ids)
        await self._show(current, sorted(fresh), {})

    async def _show(
        self, described: watching.Watching, fresh: Iterable[int], have: dict[int, int]
    ) -> None:
        """Describe, subscribe to what is described, and send what storage has of `fresh`."""
        assert self._hub is not None
        self._ready.clear()
        await self._hub.watch(self._watcher, described.device_ids)
        await self.send(text_data=json.dumps({"description": described.description}))
        stored = await in_thread(watching.backfill)(
            scope=described.scope, device_ids=list(fresh), have=have
        )
        await self._send_frames(records.Kind.BACKFILL, stored.frames)
        await self.send(text_data=json.dumps({"backfilled": stored.committed}))
        self._ready.set()

    async def _fill(self, request: dict[str, int]) -> None:
        assert self._watching is not None
        device_id = request["device"]
        if device_id not in self._watching.device_ids:
            return  # it was removed while the request was under way
        stored = await in_thread(watching.fill)(
            scope=self._watching.scope,
            device_id=device_id,
            first=request["from"],
            last=request["to"],
        )
        await self._send_frames(records.Kind.FILL, stored.frames)
        covered = min(request["to"], stored.committed.get(device_id, 0))
        answer = {"device": device_id, "from": request["from"], "to": covered}
        await self.send(text_data=json.dumps({"filled": answer}))

    async def _send_frames(self, kind: records.Kind, frames: Iterable[watching.Frame]) -> None:
        chunk: list[bytes] = []
        size = 0
        for frame in frames:
            record = records.encode(
                kind,
                frame.device_id,
                frame.sequence,
                _microseconds(frame.received_at),
                time.time_ns() // 1000,
                frame.body,
            )
            chunk.append(record)
            size += len(record)
            if size >= _CHUNK_BYTES:
                await self.send(bytes_data=b"".join(chunk))
                chunk, size = [], 0
        if chunk:
            await self.send(bytes_data=b"".join(chunk))

    async def _send_live(self) -> None:
        told = 0
        while True:
            await self._watcher.wake.wait()
            await self._ready.wait()
            if message := self._watcher.take():
                await self.send(bytes_data=message)
            if self._watcher.lost != told:
                told = self._watcher.lost
                await self.send(text_data=json.dumps({"lost": told}))


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _parse(text: str | bytes) -> dict[str, Any]:
    """The request in a message of the page; MessageError when it is none."""
    if len(text) > MAX_MESSAGE_BYTES or isinstance(text, bytes):
        raise MessageError(f"a message of {len(text)} {type(text).__name__}")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):  # or thousands of brackets, one in the other
        raise MessageError("a message that is not JSON") from None
    match message:
        case {"ping": int() | float() as sent_at} if len(message) == 1:
            return {"ping": sent_at}
        case {"fill": {"device": int(), "from": int(), "to": int()} as fill}:
            if not 0 < fill["from"] <= fill["to"] < 1 << 63 or not 0 < fill["device"] < 1 << 63:
                raise MessageError("a fill of an impossible range")
            return {"fill": fill}
        case {"watch": {"facility": int() as id_, **rest}}:
            kind = watching.TargetKind.FACILITY
        case {"watch": {"device": int() as id_, **rest}}:
            kind = watching.TargetKind.DEVICE
        case _:
            raise MessageError("a message that is neither watch, fill nor ping")
    if not 0 < id_ < 1 << 63:
        raise MessageError("a watch of an impossible id")
    return {"watch": {"kind": kind, "id": id_, "have": _parse_have(rest.get("have", {}))}}


def _parse_have(have: object) -> dict[int, int]:
    if not isinstance(have, dict):
        raise MessageError("a `have` that is no object")
    try:
        parsed = {int(device_id): sequence for device_id, sequence in have.items()}
    except ValueError:
        raise MessageError("a `have` with a key that is no device") from None
    if not all(type(value) is int and 0 <= value < 1 << 63 for value in parsed.values()):
        raise MessageError("a `have` with a value that is no sequence number")
    return parsed
