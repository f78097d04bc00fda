"""Hostile peers for the bridge's port: random, truncated and mutated bytes at every layer.

Strangers without TLS and with it, strangers who mutate HELLO, and devices with good credentials
that send mutated messages, with a wrong and with a right checksum. All are reproducible from the
seed, as far as the network's timing lets them be. They come from many addresses of the loopback
network, as they would in the world; the limits for one address are tested elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.series import encode_pool
from devices.protocol import (
    Capability,
    Event,
    Fetch,
    Gap,
    Hello,
    Log,
    LogLine,
    MessageReader,
    MessageType,
    Ping,
    ProtocolError,
    Refuse,
    Result,
    Welcome,
    decode_message,
    encode_message,
    seal,
)
from devices.protocol.varint import uvarint

# A peer that got no answer for this long is a failure of the bridge, or the machine is too slow.
ANSWER_S: Final = 30.0
# How long peers that only hold a connection, or do not read, go on before they vanish.
HOLD_S: Final = 1.0
# Within this time after the greeting, a firmware is offered: who fetches earlier gets none of it.
OFFERED_S: Final = 0.3
# Messages of one visit of a device with good credentials; most are sound, so that the state behind
# the greeting is reached in every way.
MESSAGES_PER_VISIT: Final = 40
# The most that a mutated length or a made-up body takes.
MAX_NOISE: Final = 4_096
# The update that is offered to them, so that they have something to fetch.
UPDATE_ID: Final = b"hostile update!!"
INTERESTING: Final = (0x00, 0x01, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF)


@dataclass(slots=True)
class AttackResult:
    """What hostile peers did and got. `answers`: REFUSE by name, `eof` without one."""

    connections: int = 0
    messages: int = 0
    bytes: int = 0
    unanswered: int = 0
    answers: Counter[str] = field(default_factory=Counter)


class Attack:
    """Peers that attack one port. `devices` have good credentials; one peer plays each of them."""

    def __init__(self, port: int, ca: str, devices: list[FleetDevice], seed: int) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=ca)
        self._devices = devices
        self._seed = seed
        self._blocks = encode_pool(seed, 8, 30, 2_000)[:40] + encode_pool(seed, 8, 1, 2_000)[:40]
        self.result = AttackResult()

    async def run(self, seconds: float) -> None:
        """Attack for a time, then end what is under way."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as peers:
            for number, device in enumerate(self._devices):
                peers.create_task(self._peer(random.Random(self._seed + number), device, until))

    async def _peer(self, rng: random.Random, device: FleetDevice, until: float) -> None:
        visits: list[tuple[int, Callable[[random.Random, FleetDevice], Awaitable[None]]]] = [
            (2, self._noise_without_tls),
            (2, self._noise_with_tls),
            (3, self._mutated_greeting),
            (1, self._silence),
            (12, self._mutated_messages),
            (1, self._deaf),
        ]
        weights = [weight for weight, _ in visits]
        while time.monotonic() < until:
            ((_, visit),) = rng.choices(visits, weights)
            self.result.connections += 1
            # The bridge may cut us off at any moment: that is its right.
            with contextlib.suppress(ConnectionError, ssl.SSLError, BrokenPipeError):
                await visit(rng, device)

    # --- Visits -------------------------------------------------------------------------------

    async def _noise_without_tls(self, rng: random.Random, _device: FleetDevice) -> None:
        reader, writer = await self._connect(rng, tls=False)
        # Half of it looks like the beginning of a TLS record.
        head = b"\x16\x03\x01" + rng.randbytes(2) if rng.random() < 0.5 else b""
        await self._write(writer, head + rng.randbytes(rng.randrange(1, MAX_NOISE)))
        await self._answer(reader, writer, half_close=True)

    async def _noise_with_tls(self, rng: random.Random, _device: FleetDevice) -> None:
        reader, writer = await self._connect(rng)
        kind = rng.choice(tuple(MessageType))
        noise = rng.randbytes(rng.randrange(1, MAX_NOISE))
        sealed = seal(rng.randrange(256) if rng.random() < 0.3 else kind, noise)
        await self._write(writer, rng.choice((noise, sealed, sealed[: rng.randrange(len(sealed))])))
        await self._answer(reader, writer, half_close=True)

    async def _mutated_greeting(self, rng: random.Random, device: FleetDevice) -> None:
        reader, writer = await self._connect(rng)
        body = mutated(rng, self._hello(rng, device).body())
        message = seal(MessageType.HELLO, body[:65_535])
        await self._write(writer, message if rng.random() < 0.8 else mutated(rng, message))
        await self._answer(reader, writer, half_close=True)

    async def _silence(self, rng: random.Random, device: FleetDevice) -> None:
        _, writer = await self._connect(rng, tls=rng.random() < 0.7)
        message = encode_message(self._hello(rng, device))
        await self._write(writer, message[: rng.randrange(len(message))])
        await asyncio.sleep(HOLD_S)
        writer.transport.abort()

    async def _deaf(self, rng: random.Random, device: FleetDevice) -> None:
        reader, writer = await self._connect(rng)
        welcome = await self._greet(rng, device, reader, writer)
        if welcome is not None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport, too
            gap = encode_message(Gap(welcome.resume_from, welcome.resume_from))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S):
                    for _ in range(100):
                        # Each is answered by an ACK, and some by PONG, that nobody reads.
                        await self._write(writer, gap * 100 + encode_message(Ping(1)))
                        await asyncio.sleep(0.01)
        writer.transport.abort()

    async def _mutated_messages(self, rng: random.Random, device: FleetDevice) -> None:
        reader, writer = await self._connect(rng)
        welcome = await self._greet(rng, device, reader, writer)
        if welcome is None:
            await self._answer(reader, writer)
            return
        if rng.random() < 0.5:
            await asyncio.sleep(OFFERED_S)
        sequence = welcome.resume_from
        for _ in range(rng.randrange(1, MESSAGES_PER_VISIT)):
            kind, body, sequence = self._message(rng, sequence)
            fate = rng.random()
            if fate < 0.7:
                message = seal(kind, body)
            elif fate < 0.9:
                message = seal(kind, mutated(rng, body)[:65_535])
            elif fate < 0.95:
                message = mutated(rng, seal(kind, body))
            else:
                message = seal(rng.randrange(256), rng.randbytes(rng.randrange(200)))
            self.result.messages += 1
            await self._write(writer, message)
        if rng.random() < 0.2:
            writer.transport.abort()
            return
        await self._answer(reader, writer, half_close=True)

    # --- What they say ------------------------------------------------------------------------

    def _hello(self, rng: random.Random, device: FleetDevice) -> Hello:
        produced = rng.randrange(1, 1 << rng.randrange(1, 62))
        return Hello(
            serial=device.serial,
            secret=bytes.fromhex(device.secret),
            device_type=device.device_type,
            hardware="x" * rng.randrange(20),
            firmware="1." + "0" * rng.randrange(20),
            boot_count=rng.getrandbits(63),
            clock_ms=rng.randrange(1 << rng.randrange(1, 48)),
            next_sequence=produced,
            oldest_sequence=rng.randrange(1, produced + 1),
            capabilities=Capability(rng.getrandbits(7)),
            image=rng.choice((b"", rng.randbytes(32))),
        )

    def _message(self, rng: random.Random, sequence: int) -> tuple[int, bytes, int]:
        """A sound message, now and then with a sequence number that is out of turn."""
        if rng.random() < 0.05:
            sequence = max(1, sequence + rng.randrange(-3, 4))
        now_ms = time.time_ns() // 1_000_000
        form = rng.random()
        if form < 0.8:
            start = now_ms - 60_000 if rng.random() < 0.9 else rng.getrandbits(48)
            body = uvarint(sequence) + uvarint(start) + rng.choice(self._blocks)
            return MessageType.DATA, body, sequence + 1
        text = "".join(
            chr(rng.choice((32, 0, 127, 0xE9, 0x1F4A1))) for _ in range(rng.randrange(9))
        )
        others = (
            Log(sequence, (LogLine(now_ms, rng.randrange(256), text),) * rng.randrange(1, 5)),
            Event(sequence, now_ms, "e" * rng.randrange(1, 9), {f"k{text}": rng.getrandbits(62)}),
            Result(sequence, rng.randbytes(16), now_ms, rng.randrange(5), text),
            Gap(sequence, sequence + rng.randrange(50), rng.randrange(256)),
            Ping(rng.getrandbits(64), sequence + 1, sequence),
            Fetch(
                UPDATE_ID if rng.random() < 0.8 else rng.randbytes(16),
                rng.getrandbits(rng.randrange(1, 33)),
                rng.randrange(1, 9_999),
            ),
        )
        message = rng.choice(others)
        if isinstance(message, Gap):
            return message.type, message.body(), message.last + 1
        return message.type, message.body(), sequence + (not isinstance(message, Ping | Fetch))

    # --- The connection -----------------------------------------------------------------------

    async def _connect(
        self, rng: random.Random, *, tls: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            ssl=self._context if tls else None,
            server_hostname="localhost" if tls else None,
            local_addr=(f"127.{rng.randrange(1, 255)}.{rng.randrange(256)}.1", 0),
        )

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if writer.transport.is_closing():
            raise ConnectionError("the bridge has closed")
        self.result.bytes += len(data)
        writer.write(data)
        await writer.drain()

    async def _greet(
        self,
        rng: random.Random,
        device: FleetDevice,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Welcome | None:
        """Say a good HELLO; None when the bridge does not answer it with WELCOME."""
        await self._write(writer, encode_message(self._hello(rng, device)))
        stream = MessageReader()
        async with asyncio.timeout(ANSWER_S):
            while data := await reader.read(65_536):
                stream.feed(data)
                for raw in stream:
                    message = decode_message(raw.type, raw.body)
                    self._count(message)
                    return message if isinstance(message, Welcome) else None
        return None

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        half_close: bool = False,
    ) -> None:
        """Read until the bridge closes; one that has no reason to is closed by us."""
        stream = MessageReader()
        refused = False
        try:
            async with asyncio.timeout(HOLD_S if half_close else ANSWER_S):
                while data := await reader.read(65_536):
                    with contextlib.suppress(ProtocolError):  # a TLS alert, seen without TLS
                        stream.feed(data)
                        for raw in stream:
                            message = decode_message(raw.type, raw.body)
                            refused = refused or isinstance(message, Refuse)
                            self._count(message)
            if not refused:
                self.result.answers["eof"] += 1
        except TimeoutError:
            # What was sent was no reason to close, or waits for more: nothing is wrong with that.
            self.result.unanswered += 1
        finally:
            writer.transport.abort()

    def _count(self, message: object) -> None:
        if isinstance(message, Refuse):
            self.result.answers[message.name] += 1


def mutated(rng: random.Random, data: bytes) -> bytes:
    """One to eight random changes: flipped, set, inserted, removed, cut, repeated."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.choice(INTERESTING)
            case 2:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                del out[at : at + rng.randrange(1, 9)]
            case 4:
                del out[at:]
            case _:
                out[at:at] = out[at : at + rng.randrange(1, 64)]
    return bytes(out)
