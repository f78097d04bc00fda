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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from devices.protocol import (
    MAX_BODY,
    Block,
    Command,
    Event,
    Log,
    LogLevel,
    LogLine,
    MessageType,
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
from devices.simulator.link import Counters, Link
from devices.simulator.session import REFUSED_FOR_GOOD, Firmware, Identity
from devices.simulator.tls import ResumableContext, client_tls

__all__ = ["Address", "Counters", "DeviceClient", "client_tls"]

log = logging.getLogger("wattline.device")

# Full jitter (Brooker, "Exponential backoff and jitter"): a fleet that lost its server comes back
# evenly spread instead of all at once.
BACKOFF_BASE_S: Final = 1.0
BACKOFF_CAP_S: Final = 300.0
CONNECT_TIMEOUT_S: Final = 20.0
NOT_ACCEPTED_RETRY_S: Final = 3_600.0
_LINES: Final = 32  # of the log in one message
BLIND_REFUSALS: Final = 3  # refusals in a row that do not name a message cost the oldest one


@dataclass(frozen=True, slots=True)
class Address:
    """Where the bridge listens."""

    host: str
    port: int


def backoff_s(attempt: int, chance: random.Random) -> float:
    """How long to wait before connection attempt `attempt`, 0 being the first of all."""
    ceiling = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** min(attempt, 16))
    return chance.uniform(0, ceiling)


def retry_after_s(refused: Refuse) -> float:
    """How long to stay away after a REFUSE, besides the back-off."""
    wait = float(refused.retry_after_s)
    if RefuseCode.CREDENTIALS <= refused.code < RefuseCode.MALFORMED:
        wait = max(wait, NOT_ACCEPTED_RETRY_S)
    return wait


class DeviceClient:
    """The device's end of the protocol over TLS; one event loop carries hundreds of them.

    `on_command` is called for every COMMAND, `on_firmware` for what offers, brings and withdraws
    firmware, `on_live` when the lease begins (True) or ends
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
        self.on_firmware: Callable[[Firmware], None] = lambda _: None
        self.on_live: Callable[[bool], None] = lambda _: None
        self.on_welcome: Callable[[Welcome], None] = lambda _: None
        self.live = False
        self.connected = asyncio.Event()  # set while a WELCOME is in force
        self._address = address
        self._tls = ResumableContext(tls)
        self._faults = faults
        self._chance = chance or random.Random()  # noqa: S311 (spreads load, keeps no secret)
        self._link: Link | None = None
        self._patience: asyncio.Timeout | None = None  # while it connects
        self._lease: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()
        self._complained = False
        self._refused_blindly = 0  # in a row, without a word of which message

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

    def append_lines(self, lines: Sequence[LogLine]) -> None:
        """Keep lines of the log as they were written, each with its own time."""
        for at in range(0, len(lines), _LINES):
            part = tuple(lines[at : at + _LINES])
            self._append(encode_message(Log(self.buffer.next_sequence, part)))

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

    def send_now(self, message: bytes) -> None:
        """Send a message that is not numbered and not kept; without a connection it is lost."""
        if self._link is not None:
            self._link.send_now(message)

    def drop_link(self) -> None:
        """Break the connection off; `run` makes another one."""
        if self._link is not None:
            self._link.abort()

    # Its connection

    async def run(self) -> None:
        """Keep a connection until `stop`; returns then."""
        attempt = 0
        retry_s = 0.0
        while not await self._stopped_within(retry_s + backoff_s(attempt, self._chance)):
            attempt += 1
            retry_s = 0.0
            link = await self._connect_once()
            if link is None:
                continue
            if link.useful:
                attempt = 0
                self._refused_blindly = 0
            refused = link.session.refused
            if refused is not None:
                retry_s = retry_after_s(refused)
                self._take_refusal(refused, retry_s)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _take_refusal(self, refused: Refuse, retry_s: float) -> None:
        self.counters.refused += 1
        log.info(
            "%s was refused (%s: %s), back in %.0f s",
            self.identity.serial,
            refused.name,
            refused.text,
            retry_s,
        )
        if refused.code in REFUSED_FOR_GOOD and not refused.sequence:
            # The server could not tell which message; sent first, the oldest is the likeliest.
            self._refused_blindly += 1
            if self._refused_blindly >= BLIND_REFUSALS and len(self.buffer):
                self.buffer.discard(self.buffer.oldest)
                self._refused_blindly = 0

    async def drain(self, timeout_s: float | None) -> bool:
        """Wait until everything kept is committed; False when it took longer than `timeout_s`."""
        if len(self.buffer):
            self._drained.clear()
            try:
                await asyncio.wait_for(self._drained.wait(), timeout_s)
            except TimeoutError:
                return False
        return True

    def stop(self) -> None:
        """Say goodbye and let `run` return; what is not committed stays in the buffer."""
        self._stopping.set()
        self._give_up_connecting()
        if self._link is not None:
            self._link.say_goodbye()

    def kill(self) -> None:
        """Break off as a power failure does: no goodbye, nothing more is written."""
        self._stopping.set()
        self._give_up_connecting()
        if self._link is not None:
            self._link.abort()

    def _give_up_connecting(self) -> None:
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(0)

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

    async def _connect_once(self) -> Link | None:
        loop = asyncio.get_running_loop()
        tls: Any = self._tls  # asyncio asks for SSLContext, but only calls wrap_bio
        link = Link(self, FaultyLink(self._faults, self._chance))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S) as self._patience:
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
        finally:
            self._patience = None
        self.counters.connections += 1
        self._link = link
        try:
            await link.closed
        finally:
            self._link = None
            self.connected.clear()
            self.set_lease(0)
        return link

    def _reject(self, command: Command) -> None:
        self.append_result(
            command.command_id, ResultStatus.REJECTED, f"unknown command {command.kind}"
        )
