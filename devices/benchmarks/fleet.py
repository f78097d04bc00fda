"""A load generator: many devices in one process over the real protocol, cheap for the sender.

Frames of a seeded physical series are encoded once; only sequence number, time and checksum are new
in each message. Two ways to send: as much as the acknowledgements allow (a backlog that devices
bring after an outage), or one frame each interval (live). No Django: it runs in a process of its
own (`python -m devices.benchmarks.fleet`, options as JSON on standard input, the result as one JSON
object on standard output), or on a given event loop by `Fleet`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final, cast

import numpy as np
import uvloop

from devices.benchmarks.series import CHANNELS, POOL, encode_pool
from devices.protocol import (
    Ack,
    Hello,
    MessageReader,
    MessageType,
    Ping,
    Pong,
    Refuse,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
    seal,
)
from devices.protocol.varint import uvarint

# Messages are written so many at once, as a device does that empties its buffer.
CHUNK: Final = 16
CONNECTING: Final = 32
CONNECT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class FleetDevice:
    """What one device needs to be let in; `secret` in hexadecimal."""

    serial: str
    secret: str
    device_type: str


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What to send. `interval_s` None: as much as `window` messages without ACK allow.

    `backlog_ms`: how far back the first frame lies; each frame follows the one before it. With an
    interval, frames carry the time of their sending instead.
    """

    port: int
    ca: str
    devices: list[FleetDevice]
    channels: int = len(CHANNELS)
    samples: int = 30
    seconds: float = 20.0
    step_ms: int = 2_000
    window: int = 64
    interval_s: float | None = None
    backlog_ms: int = 30 * 86_400_000
    seed: int = 1
    drain_s: float = 60.0


@dataclass(slots=True)
class FleetResult:
    """What was sent and acknowledged; times are Unix seconds, sizes bytes of whole messages.

    `acknowledged` counts messages whose number an ACK has covered. `ack_ms` are percentiles of the
    time from a message's sending to its ACK.
    """

    sent: int = 0
    sent_again: int = 0
    sent_bytes: int = 0
    acknowledged: int = 0
    rewinds: int = 0
    refused: int = 0
    lost: int = 0
    first_sent_at: float = 0.0
    last_sent_at: float = 0.0
    last_ack_at: float = 0.0
    ack_ms: dict[str, float] | None = None
    cpu_s: float = 0.0


class FleetError(Exception):
    """A device was not let in; the message has the server's words."""


class _Device(asyncio.Protocol):
    """One device's connection."""

    def __init__(self, fleet: Fleet, device: FleetDevice, number: int) -> None:
        self._fleet = fleet
        self._device = device
        self._place = number * 37
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self.welcomed: asyncio.Future[None] = fleet.loop.create_future()
        self.next_sequence = 1
        self.highest = 0
        self.committed = 0
        self.start_committed = 0
        self._window = fleet.options.window
        self._sent_at: deque[tuple[int, float]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        hello = Hello(
            serial=self._device.serial,
            secret=bytes.fromhex(self._device.secret),
            device_type=self._device.device_type,
            hardware="bench",
            firmware="1.0",
            boot_count=1,
            clock_ms=time.time_ns() // 1_000_000,
            next_sequence=1,
            oldest_sequence=1,
        )
        self._transport.write(encode_message(hello))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        for raw in self._reader:
            if raw.type == MessageType.ACK:
                self._acknowledged(Ack.decode(raw.body).sequence)
            else:
                self._other(decode_message(raw.type, raw.body))

    def _other(self, message: object) -> None:
        if isinstance(message, Welcome):
            self.committed = self.start_committed = message.resume_from - 1
            self.next_sequence = message.resume_from
            self._window = min(self._window, message.window)
            self.welcomed.set_result(None)
        elif isinstance(message, Rewind):
            self._fleet.result.rewinds += 1
            self.next_sequence = message.sequence
            self.pump()
        elif isinstance(message, Refuse):
            self._fleet.result.refused += 1
            if not self.welcomed.done():
                sentence = f"{self._device.serial} was refused: {message.name} {message.text}"
                self.welcomed.set_exception(FleetError(sentence))
        elif isinstance(message, Ping) and self._transport is not None:
            pong = Pong(message.token, time.time_ns() // 1_000_000)
            self._transport.write(encode_message(pong))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.welcomed.done():
            sentence = f"{self._device.serial} lost its connection: {error}"
            self.welcomed.set_exception(FleetError(sentence))
        elif not self._fleet.closing:
            self._fleet.result.lost += 1

    def _acknowledged(self, sequence: int) -> None:
        if sequence <= self.committed:
            return
        now = time.monotonic()
        self._fleet.acknowledged(sequence - self.committed, now)
        self.committed = sequence
        sent_at = self._sent_at
        while sent_at and sent_at[0][0] <= sequence:
            self._fleet.delays.append(now - sent_at.popleft()[1])
        self.pump()

    def pump(self) -> None:
        """Send what the window allows, in chunks."""
        fleet = self._fleet
        if not fleet.sending or fleet.options.interval_s is not None:
            return
        room = self.committed + self._window + 1 - self.next_sequence
        if room >= min(CHUNK, self._window):
            start_ms = fleet.start_ms + (self.next_sequence - 1) * fleet.frame_ms
            self.send(room, start_ms)

    def send(self, count: int, start_ms: int) -> None:
        """Send `count` frames, the first one starting at `start_ms`."""
        if self._transport is None:
            return
        fleet, pool, at = self._fleet, self._fleet.pool, self.next_sequence
        messages = [
            seal(
                MessageType.DATA,
                uvarint(at + i)
                + uvarint(start_ms + i * fleet.frame_ms)
                + pool[(self._place + at + i) % POOL],
            )
            for i in range(count)
        ]
        payload = b"".join(messages)
        self._transport.write(payload)
        self.next_sequence = last = at + count
        fresh = max(0, last - 1 - max(self.highest, at - 1))
        self.highest = max(self.highest, last - 1)
        self._sent_at.append((last - 1, time.monotonic()))
        fleet.result.sent += fresh
        fleet.result.sent_again += count - fresh
        fleet.result.sent_bytes += len(payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Fleet:
    """A fleet on the running event loop."""

    def __init__(self, options: FleetOptions) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.pool = encode_pool(options.seed, options.channels, options.samples, options.step_ms)
        self.frame_ms = options.samples * options.step_ms
        self.start_ms = time.time_ns() // 1_000_000 - options.backlog_ms
        self.result = FleetResult()
        self.delays: deque[float] = deque(maxlen=1_000_000)
        self.sending = False
        self.closing = False
        self._last_ack = 0.0
        self._connected_cpu_s = 0.0
        self._drained = asyncio.Event()
        self._devices: list[_Device] = []

    async def connect(self) -> None:
        """Bring every device in; raises FleetError when one is not let in."""
        context = ssl.create_default_context(cafile=self.options.ca)
        places = asyncio.Semaphore(CONNECTING)

        async def bring_in(number: int, device: FleetDevice) -> None:
            async with places:
                protocol = _Device(self, device, number)
                self._devices.append(protocol)
                await self.loop.create_connection(
                    lambda: protocol,
                    "127.0.0.1",
                    self.options.port,
                    ssl=context,
                    server_hostname="localhost",
                )
                await protocol.welcomed

        async with asyncio.timeout(CONNECT_S):
            await asyncio.gather(
                *map(bring_in, range(len(self.options.devices)), self.options.devices)
            )

    async def send(self) -> None:
        """Send for `seconds`, then wait until everything is acknowledged, `drain_s` at most."""
        self._connected_cpu_s = time.process_time()
        begun = time.monotonic()
        self.result.first_sent_at = time.time()
        self.sending = True
        if self.options.interval_s is None:
            for device in self._devices:
                device.pump()
            await asyncio.sleep(self.options.seconds)
        else:
            await self._send_at_intervals(self.options.interval_s, begun + self.options.seconds)
        self.sending = False
        self.result.last_sent_at = time.time()
        self.acknowledged(0, self._last_ack)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.options.drain_s):
                await self._drained.wait()
        self.result.last_ack_at = self.result.first_sent_at + self._last_ack - begun

    def acknowledged(self, count: int, now: float) -> None:
        """`count` more messages are committed, heard at `now` (monotonic)."""
        self.result.acknowledged += count
        self._last_ack = now
        if not self.sending and self.result.acknowledged >= self.result.sent:
            self._drained.set()

    async def _send_at_intervals(self, interval_s: float, until: float) -> None:
        """Each device once an interval, the fleet spread evenly over it."""
        n = len(self._devices)
        started = time.monotonic()
        turn = 0
        while (due := started + turn * interval_s / n) < until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            span_ms = (self.options.samples - 1) * self.options.step_ms
            self._devices[turn % n].send(1, time.time_ns() // 1_000_000 - span_ms)
            turn += 1

    async def close(self) -> None:
        """Close all connections and complete the result."""
        self.closing = True
        for device in self._devices:
            device.close()
        await asyncio.sleep(0.1)
        if self.delays:
            p50, p99 = np.percentile(np.fromiter(self.delays, float), (50, 99)) * 1_000
            self.result.ack_ms = {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}
        self.result.cpu_s = round(time.process_time() - self._connected_cpu_s, 2)


async def run_fleet(options: FleetOptions) -> FleetResult:
    """Connect, send, drain, close."""
    fleet = Fleet(options)
    await fleet.connect()
    await fleet.send()
    await fleet.close()
    return fleet.result


def main() -> int:
    """Options as JSON from standard input, the result as JSON to standard output."""
    content = json.load(sys.stdin)
    content["devices"] = [FleetDevice(**device) for device in content["devices"]]
    try:
        result = uvloop.run(run_fleet(FleetOptions(**content)))
    except (FleetError, OSError, TimeoutError) as error:
        print(f"fleet: {error or 'the devices were not let in in time'}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
