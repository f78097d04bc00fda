"""Devices that report, obey and update themselves, thousands in one process over the real protocol.

Each sends a frame of readings now and then, takes an OFFER that is signed with the right key,
fetches the payload, checks its digest, goes away for a moment, and comes back as the new firmware,
which confirms itself. A COMMAND it does once and answers each time. What it must not lose (frames,
events, answers) it keeps until the server has committed it. No flash memory and no image behind it:
`devices.simulator` has those. No Django: it runs in a process of its own
(`python -m devices.benchmarks.updates`, options as JSON in the first line of standard input; a line
`ready` once all are connected; the result as one JSON object once standard input is closed).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import ssl
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final, cast

import uvloop
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.benchmarks.fleet import CONNECTING, FleetDevice
from devices.benchmarks.series import CHANNELS, POOL, encode_pool
from devices.protocol import (
    Ack,
    Capability,
    Chunk,
    ChunkStatus,
    Command,
    Event,
    Fetch,
    Hello,
    Manifest,
    MessageReader,
    MessageType,
    Offer,
    Ping,
    Pong,
    Refuse,
    Result,
    ResultStatus,
    Rewind,
    Welcome,
    Withdraw,
    decode_message,
    encode_message,
    seal,
    signed_bytes,
)
from devices.protocol.varint import uvarint
from devices.simulator.fleet import allow_open_files
from devices.simulator.tls import ResumableContext

CONNECT_S: Final = 600.0
RETRY_S: Final = 2.0
CAPABILITIES: Final = Capability.LIVE | Capability.COMMANDS | Capability.FIRMWARE


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """Who reports and updates. `key`, `image`: the public key and the digest of the first image,
    in hexadecimal. `report_s`: between two frames of a device, of `samples`; `restart_s`: how long
    an update keeps it away.
    """

    port: int
    ca: str
    devices: list[FleetDevice]
    key: str
    image: str
    version: str = "1.0.0"
    hardware: str = "bench"
    report_s: float = 60.0
    samples: int = 30
    restart_s: float = 2.0
    seed: int = 1


@dataclass(slots=True)
class UpdateResult:
    """What the devices did; `bytes` of payloads, times in Unix seconds."""

    frames: int = 0
    bytes: int = 0
    chunks: int = 0
    offered: int = 0
    confirmed: int = 0
    wrong: int = 0
    unsigned: int = 0
    not_now: int = 0
    refused: int = 0
    lost: int = 0
    twice: int = 0
    obeyed: int = 0
    obeyed_again: int = 0
    waiting: int = 0
    first_offer_at: float = 0.0
    last_confirmed_at: float = 0.0
    cpu_s: float = 0.0
    refused_for: dict[str, int] = field(default_factory=dict)


class _Device(asyncio.Protocol):
    """A device over all its connections."""

    def __init__(self, fleet: Fleet, device: FleetDevice, number: int) -> None:
        self._fleet = fleet
        self._device = device
        self._place = number * 37
        self._tls = ResumableContext(fleet.context)
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._version, self._image = fleet.options.version, bytes.fromhex(fleet.options.image)
        self._boots = 1
        self._next = 1
        self._kept: deque[tuple[int, bytes]] = deque()  # not acknowledged, by number
        self._offer: Offer | None = None
        self._manifest: Manifest | None = None
        self._received = 0
        self._digest = hashlib.sha256()
        self._obeyed: set[bytes] = set()
        self._restarting = False
        self._down = False  # it restarts, and comes back by itself
        self._up = False  # WELCOME has come over this connection
        self.welcomed: asyncio.Future[None] = fleet.loop.create_future()

    @property
    def waiting(self) -> int:
        """Messages that are not acknowledged."""
        return len(self._kept)

    # The connection

    async def connect(self) -> None:
        """Connect once; raises OSError."""
        self._reader = MessageReader()
        tls: Any = self._tls
        await self._fleet.loop.create_connection(
            lambda: self,
            "127.0.0.1",
            self._fleet.options.port,
            ssl=tls,
            server_hostname="localhost",
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        hello = Hello(
            serial=self._device.serial,
            secret=bytes.fromhex(self._device.secret),
            device_type=self._device.device_type,
            hardware=self._fleet.options.hardware,
            firmware=self._version,
            boot_count=self._boots,
            clock_ms=time.time_ns() // 1_000_000,
            next_sequence=self._next,
            oldest_sequence=self._kept[0][0] if self._kept else self._next,
            capabilities=CAPABILITIES,
            image=self._image,
        )
        self._transport.write(encode_message(hello))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        for raw in self._reader:
            if raw.type == MessageType.CHUNK:
                self._take_chunk(Chunk.decode(raw.body))
            elif raw.type == MessageType.ACK:
                self._acknowledged(Ack.decode(raw.body).sequence)
            else:
                self._take(decode_message(raw.type, raw.body))

    def connection_lost(self, error: Exception | None) -> None:
        self._transport, self._up = None, False
        if not self.welcomed.done():
            sentence = f"{self._device.serial} was not let in: {error}"
            self.welcomed.set_exception(ConnectionError(sentence))
        elif not self._down and not self._fleet.closing:
            self._fleet.result.lost += 1
            self._later(RETRY_S, self._come_back)

    def _take(self, message: object) -> None:
        if isinstance(message, Welcome):
            self._welcome(message)
        elif isinstance(message, Offer):
            self._take_offer(message)
        elif isinstance(message, Withdraw):
            self._offer = None
            self._tell("withdrawn", message.update_id, code="withdrawn")
        elif isinstance(message, Command):
            self._obey(message)
        elif isinstance(message, Rewind):
            self._send_from(message.sequence)
        elif isinstance(message, Refuse):
            self._fleet.result.refused += 1
            reasons, reason = self._fleet.result.refused_for, f"{message.name}: {message.text}"
            reasons[reason] = reasons.get(reason, 0) + 1
        elif isinstance(message, Ping):
            self._write(encode_message(Pong(message.token, time.time_ns() // 1_000_000)))

    def _welcome(self, welcome: Welcome) -> None:
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        if tls is not None and tls.session is not None:
            self._tls.session = tls.session
        self._up = True
        self._next = max(self._next, welcome.resume_from)
        self._acknowledged(welcome.resume_from - 1)
        self._send_from(welcome.resume_from)
        if self._restarting:
            self._restarting = False
            self._confirm()
        if not self.welcomed.done():
            self.welcomed.set_result(None)

    # What it keeps until it is committed

    def _acknowledged(self, sequence: int) -> None:
        while self._kept and self._kept[0][0] <= sequence:
            self._kept.popleft()

    def _send_from(self, sequence: int) -> None:
        self._write(b"".join(message for number, message in self._kept if number >= sequence))

    def _keep(self, message: bytes) -> None:
        self._kept.append((self._next, message))
        self._next += 1
        self._write(message)

    def _write(self, data: bytes) -> None:
        if self._up and self._transport is not None and data:
            self._transport.write(data)

    def report(self) -> None:
        """A frame of readings that ends now."""
        fleet = self._fleet
        if not self.welcomed.done() or self._restarting:
            return
        start_ms = time.time_ns() // 1_000_000 - (fleet.options.samples - 1) * 2_000
        block = fleet.pool[(self._place + self._next) % POOL]
        body = uvarint(self._next) + uvarint(start_ms) + block
        fleet.result.frames += 1
        self._keep(seal(MessageType.DATA, body))

    def _obey(self, command: Command) -> None:
        result = self._fleet.result
        if command.command_id in self._obeyed:
            result.obeyed_again += 1
        else:
            self._obeyed.add(command.command_id)
            result.obeyed += 1
        now_ms = time.time_ns() // 1_000_000
        answer = Result(self._next, command.command_id, now_ms, ResultStatus.DONE)
        self._keep(encode_message(answer))

    # Its update

    def _take_offer(self, offer: Offer) -> None:
        fleet = self._fleet
        fleet.result.offered += 1
        fleet.result.first_offer_at = fleet.result.first_offer_at or time.time()
        manifest = fleet.verified(offer)
        if manifest is None:
            fleet.result.unsigned += 1
            self._tell("rejected", offer.update_id, code="signature")
        elif manifest.image_sha256 == self._image:
            fleet.result.twice += 1
            self._tell("confirmed", offer.update_id)
        elif self._offer is None or self._offer.update_id != offer.update_id:
            self._offer, self._manifest = offer, manifest
            self._received, self._digest = 0, hashlib.sha256()
            self._tell("accepted", offer.update_id, offset=0, size=offer.payload_size)
            self._fetch()
        else:
            self._fetch()

    def _fetch(self) -> None:
        offer = self._offer
        if offer is not None and not self._restarting:
            length = min(offer.chunk, offer.payload_size - self._received)
            self._write(encode_message(Fetch(offer.update_id, self._received, length)))

    def _take_chunk(self, chunk: Chunk) -> None:
        offer, result = self._offer, self._fleet.result
        if offer is None or chunk.update_id != offer.update_id:
            return
        if chunk.status == ChunkStatus.NOT_NOW:
            result.not_now += 1
            self._later(max(1, chunk.retry_after_s), self._fetch)
        if chunk.status != ChunkStatus.DATA or chunk.offset != self._received:
            return
        self._digest.update(chunk.data)
        self._received += len(chunk.data)
        result.bytes += len(chunk.data)
        result.chunks += 1
        if self._received < offer.payload_size:
            self._fetch()
        elif self._digest.digest() == offer.payload_sha256:
            self._install(offer)
        else:
            result.wrong += 1
            self._offer = None
            self._tell("failed", offer.update_id, code="digest")

    def _install(self, offer: Offer) -> None:
        size = offer.payload_size
        self._tell("downloaded", offer.update_id, offset=size, size=size)
        self._tell("installing", offer.update_id)
        self._restarting = self._down = True
        self._later(self._fleet.options.restart_s / 2, self._restart)

    def _restart(self) -> None:
        assert self._manifest is not None
        self._version, self._image = self._manifest.version, self._manifest.image_sha256
        self._boots += 1
        if self._transport is not None:
            self._transport.abort()
        self._later(self._fleet.options.restart_s * self._fleet.chance.random(), self._come_back)

    def _come_back(self) -> None:
        self._down = False
        self._fleet.begin(self._connect_again())

    async def _connect_again(self) -> None:
        async with self._fleet.places:
            try:
                await self.connect()
            except (OSError, TimeoutError):
                self._later(RETRY_S, self._come_back)

    def _confirm(self) -> None:
        assert self._offer is not None
        result = self._fleet.result
        self._tell("confirmed", self._offer.update_id)
        self._offer = None
        result.confirmed += 1
        result.last_confirmed_at = time.time()

    def _tell(self, kind: str, update_id: bytes, **entries: int | str) -> None:
        said = {"update": update_id.hex(), "version": self._version, "image": self._image.hex()}
        now_ms = time.time_ns() // 1_000_000
        event = Event(self._next, now_ms, f"firmware.{kind}", {**said, **entries})
        self._keep(encode_message(event))

    def _later(self, seconds: float, call: Any) -> None:
        if not self._fleet.closing:
            self._fleet.loop.call_later(seconds, call)

    def close(self) -> None:
        """Break off for good."""
        if self._transport is not None:
            self._transport.close()


class Fleet:
    """A fleet of them on the running event loop."""

    def __init__(self, options: UpdateOptions) -> None:
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.result = UpdateResult()
        self.context = ssl.create_default_context(cafile=options.ca)
        self.pool = encode_pool(options.seed, len(CHANNELS), options.samples, 2_000)
        self.places = asyncio.Semaphore(CONNECTING)
        self.chance = random.Random(options.seed)
        self.closing = False
        self._key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(options.key))
        self._verified: dict[tuple[bytes, bytes], Manifest | None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._devices = [
            _Device(self, device, number) for number, device in enumerate(options.devices)
        ]

    def verified(self, offer: Offer) -> Manifest | None:
        """The manifest of an offer when its signature holds; each one is verified once."""
        known = (offer.manifest, offer.signature)
        if known not in self._verified:
            try:
                self._key.verify(offer.signature, signed_bytes(offer.manifest))
                self._verified[known] = Manifest.decode(offer.manifest)
            except InvalidSignature:
                self._verified[known] = None
        return self._verified[known]

    def begin(self, work: Any) -> None:
        """Run a coroutine that nobody waits for."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def connect(self) -> None:
        """Bring every device in; raises ConnectionError when one is not let in."""
        allow_open_files(len(self._devices) + 64)

        async def bring_in(device: _Device) -> None:
            async with self.places:
                await self._let_in(device)
                await device.welcomed

        async with asyncio.timeout(CONNECT_S):
            await asyncio.gather(*map(bring_in, self._devices))

    async def _let_in(self, device: _Device) -> None:
        """Connect as soon as the bridge has time for the handshake."""
        while True:
            try:
                return await device.connect()
            except OSError:
                await asyncio.sleep(RETRY_S)

    async def report(self) -> None:
        """Each device once in `report_s`, the fleet spread evenly over it; for ever."""
        started, turn, count = time.monotonic(), 0, len(self._devices)
        while not self.closing:
            due = started + turn * self.options.report_s / count
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._devices[turn % count].report()
            turn += 1

    async def close(self) -> None:
        """End; completes the result."""
        self.closing = True
        self.result.waiting = sum(device.waiting for device in self._devices)
        for device in self._devices:
            device.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(0.2)


async def run_updates(options: UpdateOptions) -> UpdateResult:
    """Connect, say so, report and update until standard input is closed."""
    fleet = Fleet(options)
    await fleet.connect()
    print("ready", flush=True)
    cpu_s = time.process_time()
    reporting = asyncio.create_task(fleet.report())
    await asyncio.to_thread(sys.stdin.read)
    fleet.result.cpu_s = round(time.process_time() - cpu_s, 2)
    reporting.cancel()
    await fleet.close()
    return fleet.result


def main() -> int:
    """Options as JSON from standard input, the result as JSON to standard output."""
    content = json.loads(sys.stdin.readline())
    content["devices"] = [FleetDevice(**device) for device in content["devices"]]
    try:
        result = uvloop.run(run_updates(UpdateOptions(**content)))
    except (OSError, TimeoutError) as error:
        print(f"updates: {str(error) or 'the devices were not let in in time'}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
