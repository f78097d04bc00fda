"""A device's way to the server: one TLS connection, kept alive, on top of the persistent buffer.

    buffer = Buffer(folder)
    client = DeviceClient(address=Address("localhost", 8883), tls=client_tls(ca), buffer=buffer,
                          identity=Identity(serial="M-1", secret=secret, device_type="meter-3p"))
    running = asyncio.create_task(client.run())
    client.append_data(Block(times, channels=(0, 1), values=values))

Appending never waits: a message is in the buffer when the call returns, and leaves it when the
server has committed it, however often link, device or server fail in between.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from devices.protocol import (
    MAX_BODY,
    Block,
    Command,
    Event,
    Live,
    Log,
    LogLevel,
    LogLine,
    MessageType,
    ProtocolError,
    Refuse,
    RefuseCode,
    Result,
    ResultStatus,
    Welcome,
    encode_data,
    encode_message,
    encode_sample,
    seal,
)
from devices.simulator.buffer import Buffer
from devices.simulator.clock import Clock
from devices.simulator.faults import NO_FAULTS, Faults, FaultyLink
from devices.simulator.session import Identity, Session, refusal

log = logging.getLogger("wattline.device")

# Full jitter (Brooker, "Exponential backoff and jitter"): a fleet that lost its server comes back
# evenly spread instead of all at once.
BACKOFF_BASE_S: Final = 1.0
BACKOFF_CAP_S: Final = 300.0
CONNECT_TIMEOUT_S: Final = 20.0
GREETING_TIMEOUT_S: Final = 20.0
PONG_TIMEOUT_S: Final = 15.0
# With messages waiting and no acknowledgement for this long, the device asks whether the server is
# still there. An answer means that it is slow, which is no reason to reconnect.
ACK_TIMEOUT_S: Final = 15.0
WATCH_S: Final = 5.0
USEFUL_S: Final = 60.0  # a connection that lasted so long starts the back-off afresh
NOT_ACCEPTED_RETRY_S: Final = 3_600.0
WRITE_BUFFER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Address:
    """Where the bridge listens."""

    host: str
    port: int


class TlsContext(Protocol):
    """What asyncio needs of a client's TLS context."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject: ...


def client_tls(ca_file: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """A context that trusts nobody but the pinned authority; shared by all devices of a process.

    `certificate` is a PEM file with the device's own certificate and key, for servers that ask.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


class _Resumable:
    """A context that offers the last TLS session again: asyncio has no parameter for it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.session: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self._context.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session or self.session,
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)


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


def backoff_s(attempt: int, chance: random.Random) -> float:
    """How long to wait before connection attempt number `attempt` (0 = the first retry)."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(attempt, 16))
    return chance.uniform(0, ceiling)


def retry_after_s(refused: Refuse, attempt: int, chance: random.Random) -> float:
    """How long to stay away after a REFUSE: what the server asks, spread against stampedes."""
    wait = float(refused.retry_after_s)
    if RefuseCode.CREDENTIALS <= refused.code < RefuseCode.MALFORMED:
        wait = max(wait, NOT_ACCEPTED_RETRY_S)
    return wait + backoff_s(attempt, chance)


class DeviceClient:
    """The device's end of the protocol over TLS; one event loop carries hundreds of them.

    `on_command` is called for every COMMAND, `on_live` when the lease begins (True) or ends
    (False), `on_welcome` with what the server wants reported. All are plain functions that must
    not block.
    """

    def __init__(
        self,
        *,
        address: Address,
        tls: ssl.SSLContext,
        identity: Identity,
        buffer: Buffer,
        clock: Clock | None = None,
        faults: Faults = NO_FAULTS,
        chance: random.Random | None = None,
    ) -> None:
        self.identity = identity
        self.buffer = buffer
        self.clock = clock or Clock(offset_ms=buffer.state.clock_offset_ms)
        self.counters = Counters()
        self.on_command: Callable[[Command], None] = self._reject
        self.on_live: Callable[[bool], None] = lambda _: None
        self.on_welcome: Callable[[Welcome], None] = lambda _: None
        self.live = False
        self.connected = asyncio.Event()  # set while a WELCOME is in force
        self._address = address
        self._tls = _Resumable(tls)
        self._faults = faults
        self._chance = chance or random.Random()  # noqa: S311 (spreads load, keeps no secret)
        self._link: _Link | None = None
        self._lease: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._complained = False

    @property
    def max_body(self) -> int:
        """The longest message body that the server takes, as far as it has told."""
        return self._link.session.max_body if self._link else MAX_BODY

    # What the device has to tell

    def append_data(self, *blocks: Block) -> int | None:
        """Keep a frame of readings and send it as soon as the link allows.

        Times are corrected times. Returns the frame's sequence number, None when the
        medium is full (counted as `unrecorded`). Raises ProtocolError for what no frame can hold.
        """
        sequence = self.buffer.next_sequence
        first = blocks[0]
        if len(blocks) == len(first.times) == 1 and first.present is None:
            values = first.values[:, 0].tolist()
            body = encode_sample(sequence, int(first.times[0]), first.channels, values)
        else:
            body = encode_data(sequence, blocks)
        return self._append(seal(MessageType.DATA, body))

    def append_log(self, level: LogLevel, text: str) -> int | None:
        """Keep one line of the firmware's log; returns as `append_data`."""
        line = LogLine(self.clock.now_ms(), level, text)
        return self._append(encode_message(Log(self.buffer.next_sequence, (line,))))

    def append_event(self, kind: str, data: Mapping[str, int | str] | None = None) -> int | None:
        """Keep an event such as `device.started`; returns as `append_data`."""
        event = Event(self.buffer.next_sequence, self.clock.now_ms(), kind, data or {})
        return self._append(encode_message(event))

    def append_result(
        self, command_id: bytes, status: ResultStatus, detail: str = ""
    ) -> int | None:
        """Keep what became of a command; returns as `append_data`."""
        now_ms = self.clock.now_ms()
        result = Result(self.buffer.next_sequence, command_id, now_ms, status, detail)
        return self._append(encode_message(result))

    def _append(self, message: bytes) -> int | None:
        try:
            sequence = self.buffer.append(message)
        except OSError as error:
            self.counters.unrecorded += 1
            if not self._complained:
                self._complained = True
                log.warning("%s cannot keep its readings: %s", self.identity.serial, error)
            return None
        self._complained = False
        if self._link is not None:
            self._link.pump()
        return sequence

    # Its connection

    async def run(self) -> None:
        """Keep a connection until `stop`; returns then."""
        attempt = 0
        while not self._stopping.is_set():
            link = await self._connect_once()
            refused = link.session.refused if link else None
            if link is not None and link.useful:
                attempt = 0
            wait = (
                retry_after_s(refused, attempt, self._chance)
                if refused
                else backoff_s(attempt, self._chance)
            )
            if refused:
                self.counters.refused += 1
                log.info(
                    "%s was refused (%s: %s), back in %.0f s",
                    self.identity.serial,
                    refused.name,
                    refused.text,
                    wait,
                )
            attempt += 1
            try:
                await asyncio.wait_for(self._stopping.wait(), wait)
            except TimeoutError:
                continue

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything kept is committed; False when it took longer than `timeout_s`."""
        if len(self.buffer):
            self._drained.clear()
            try:
                await asyncio.wait_for(self._drained.wait(), timeout_s)
            except TimeoutError:
                return False
        return True

    def stop(self) -> None:
        """Close the connection and let `run` return; what is not committed stays in the buffer."""
        self._stopping.set()
        if self._link is not None:
            self._link.close()

    def kill(self) -> None:
        """Break off as a power failure does: no goodbye, nothing more is written."""
        self._stopping.set()
        if self._link is not None:
            self._link.abort()

    def committed(self) -> None:
        """Called by the link when the buffer was freed further."""
        if not len(self.buffer):
            self._drained.set()

    def welcomed(self, welcome: Welcome) -> None:
        """Called by the link when the server knows the device."""
        self.connected.set()
        self.on_welcome(welcome)
        self.set_lease(welcome.live_lease_s)

    def set_lease(self, seconds: int) -> None:
        """Report every sample at once for so long; called by the link."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        if seconds:
            loop = asyncio.get_running_loop()
            self._lease = loop.call_later(seconds, self.set_lease, 0)
        if self.live != bool(seconds):
            self.live = bool(seconds)
            self.on_live(self.live)

    def remember_session(self, session: ssl.SSLSession | None) -> None:
        """Keep the TLS session for the next connection; called by the link."""
        if session is not None:
            self._tls.session = session

    async def _connect_once(self) -> _Link | None:
        loop = asyncio.get_running_loop()
        tls: Any = self._tls  # asyncio asks for SSLContext, but only calls wrap_bio
        link = _Link(self, FaultyLink(self._faults, self._chance))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(
                    lambda: link,
                    self._address.host,
                    self._address.port,
                    ssl=tls,
                    server_hostname=self._address.host,
                )
        except (OSError, TimeoutError) as error:
            # A session that the server no longer accepts must not fail for ever.
            self._tls.session = None
            log.debug("%s cannot connect: %s", self.identity.serial, error)
            return None
        self.counters.connections += 1
        self._link = link
        try:
            await link.closed
        finally:
            self._link = None
            self.connected.clear()
        return link

    def _reject(self, command: Command) -> None:
        self.append_result(
            command.command_id, ResultStatus.REJECTED, f"unknown command {command.kind}"
        )


class _Link(asyncio.Protocol):
    """One TLS connection: moves bytes between transport and session, and watches its health."""

    def __init__(self, client: DeviceClient, wire: FaultyLink) -> None:
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
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
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
                else:
                    self._client.on_command(message)
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

    def close(self) -> None:
        """Close in order: what was given to the transport is still sent."""
        if self._transport is not None:
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
