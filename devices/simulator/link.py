"""One TLS connection of a device: moves bytes between transport and session, watches its health."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from devices.protocol import (
    Command,
    Live,
    ProtocolError,
    Refuse,
    RefuseCode,
    Welcome,
    encode_message,
)
from devices.simulator.buffer import Buffer
from devices.simulator.clock import Clock
from devices.simulator.faults import FaultyLink
from devices.simulator.session import Firmware, Identity, Session, refusal

log = logging.getLogger("wattline.device")

GREETING_TIMEOUT_S: Final = 20.0
PONG_TIMEOUT_S: Final = 15.0
# With messages waiting and no acknowledgement for this long, the device asks whether the server is
# still there. An answer means that it is slow, which is no reason to reconnect.
ACK_TIMEOUT_S: Final = 15.0
WATCH_S: Final = 5.0
USEFUL_S: Final = 60.0  # a connection that lasted so long starts the back-off afresh
WRITE_BUFFER_BYTES: Final = 65_536


@dataclass(slots=True)
class Counters:
    """What a device did since it was started."""

    connections: int = 0
    resumed: int = 0
    refused: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    unrecorded: int = 0  # messages that found no room on a full medium

    def add(self, other: Counters) -> None:
        """Sum up over several devices."""
        for name in Counters.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class LinkOwner(Protocol):
    """What a link needs of the device that it belongs to."""

    identity: Identity
    buffer: Buffer
    clock: Clock
    counters: Counters
    on_command: Callable[[Command], None]
    on_firmware: Callable[[Firmware], None]

    def welcomed(self, welcome: Welcome) -> None:
        """The server knows the device."""

    def set_lease(self, seconds: int) -> None:
        """A live lease begins, goes on or (0) ends."""

    def committed(self) -> None:
        """The buffer was freed further."""

    def remember_session(self, session: ssl.SSLSession | None) -> None:
        """A TLS session for the next connection."""


class Link(asyncio.Protocol):
    """One connection, from TLS to the last byte."""

    def __init__(self, client: LinkOwner, wire: FaultyLink) -> None:
        self.session = Session(identity=client.identity, buffer=client.buffer, clock=client.clock)
        self.useful = False  # something was committed over this connection, or it lasted
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = client
        self._wire = wire
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._timers: list[asyncio.TimerHandle] = []
        self._loop = asyncio.get_running_loop()
        self._made_at = self._loop.time()
        self._last_received = self._made_at
        self._last_progress = self._last_received
        self._pinged_at: float | None = None
        self._committed = client.buffer.committed
        self._free_at = 0.0  # when a slow link has carried everything given to it

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is one in all but its class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.session_reused:
            self._client.counters.resumed += 1
        self._send(self.session.greeting())
        self._later(GREETING_TIMEOUT_S, self._expect_welcome)
        life_s = self._wire.life_s()
        if life_s is not None:
            self._later(life_s, self.abort)

    def data_received(self, data: bytes) -> None:
        self._last_received = self._loop.time()
        self._client.counters.received_bytes += len(data)
        try:
            for message in self.session.receive(data):
                if isinstance(message, Welcome):
                    self._welcomed(message)
                elif isinstance(message, Live):
                    self._client.set_lease(message.lease_s)
                elif isinstance(message, Command):
                    self._client.on_command(message)
                else:
                    self._client.on_firmware(message)
        except ProtocolError as error:
            log.warning(
                "%s: the server broke the protocol: %s", self._client.identity.serial, error
            )
            self._send(refusal(error))
            self.close()
            return
        if self.session.refused is not None:
            self.close()
            return
        if not self.session.unanswered_pings:
            self._pinged_at = None
        if self._client.buffer.committed > self._committed:
            self._committed = self._client.buffer.committed
            self._last_progress = self._last_received
            self.useful = True
            self._client.committed()
        replies = self.session.replies()
        if replies:
            self._send(replies)
        self.pump()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            log.debug("%s lost its link: %s", self._client.identity.serial, exc)
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    # For the client

    def pump(self) -> None:
        """Send what the window and the transport allow."""
        if self._paused or self._transport is None or self._transport.is_closing():
            return
        if self._free_at > self._loop.time() + 1:  # a slow link is busy for a second and more
            return
        counters = self._client.counters
        for message in self.session.outgoing():
            counters.sent_messages += 1
            self._send(message)
            if self._paused or self._transport.is_closing():
                return

    def send_now(self, message: bytes) -> None:
        """Send what is not numbered; without a link that carries it, it is lost."""
        if self.session.welcome is not None:
            self._send(message)

    def say_goodbye(self) -> None:
        """Tell the server that the device leaves on purpose, and close."""
        if self.session.refused is None:
            self._send(encode_message(Refuse(RefuseCode.CLOSING, text="switched off")))
        self.close()

    def close(self) -> None:
        """Close in order: what was given to the transport is still sent."""
        if self._transport is not None and not self._transport.is_closing():
            self._remember_session()
            self._transport.close()

    def abort(self) -> None:
        """Break off at once."""
        if self._transport is not None:
            self._transport.abort()

    # Inside

    def _send(self, message: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        faults = self._wire.faults
        data, cut = self._wire.pass_on(message)
        self._client.counters.sent_bytes += len(data)
        if faults.bytes_per_s:
            now = self._loop.time()
            self._free_at = max(now, self._free_at) + len(data) / faults.bytes_per_s
            self._later(self._free_at - now, self._carry, data, cut)
        else:
            self._carry(data, cut)

    def _carry(self, data: bytes, cut: bool) -> None:
        assert self._transport is not None
        if self._transport.is_closing():
            return
        if data:
            self._transport.write(data)
        if cut:
            # Closing flushes what the cut let through; the peer sees a message end in its middle.
            self._transport.close()
        elif self._wire.faults.bytes_per_s:
            self.pump()

    def _welcomed(self, welcome: Welcome) -> None:
        self._remember_session()
        self._later(WATCH_S, self._watch, float(welcome.ping_s))
        self._client.welcomed(welcome)

    def _remember_session(self) -> None:
        assert self._transport is not None
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None:
            self._client.remember_session(tls.session)

    def _expect_welcome(self) -> None:
        if self.session.welcome is None:
            log.debug("%s got no WELCOME", self._client.identity.serial)
            self.abort()

    def _watch(self, ping_s: float) -> None:
        """Now and then: is the server silent, or are acknowledgements overdue?"""
        now = self._loop.time()
        if self._pinged_at is not None and now - self._pinged_at > PONG_TIMEOUT_S:
            log.info("%s: no answer, the link is dead", self._client.identity.serial)
            self.abort()
            return
        silent = now - self._last_received >= ping_s
        overdue = self.session.in_flight > 0 and now - self._last_progress > ACK_TIMEOUT_S
        if (silent or overdue) and self._pinged_at is None:
            self._pinged_at = now
            self._send(self.session.ping())
        if not self.session.in_flight:
            self._last_progress = now
        self.useful |= now - self._made_at > USEFUL_S
        self._later(WATCH_S, self._watch, ping_s)

    def _later(self, delay_s: float, call: Callable[..., None], *arguments: object) -> None:
        if len(self._timers) > 8:
            now = self._loop.time()
            self._timers = [
                timer for timer in self._timers if timer.when() > now and not timer.cancelled()
            ]
        self._timers.append(self._loop.call_later(delay_s, call, *arguments))
