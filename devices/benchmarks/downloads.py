"""Devices that fetch firmware, many in one process over the real protocol.

Each takes the first OFFER that it gets, fetches its payload in chunks with `outstanding` requests
on the way, checks the digest and begins again, until its time is over. No Django: it runs in a
process of its own (`python -m devices.benchmarks.downloads`, options as JSON on standard input; a
line `ready` once all are connected, then the result as one JSON object on standard output).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final, cast

import uvloop

from devices.benchmarks.fleet import CONNECT_S, CONNECTING, FleetDevice
from devices.protocol import (
    Capability,
    Chunk,
    ChunkStatus,
    Fetch,
    Hello,
    MessageReader,
    MessageType,
    Offer,
    Refuse,
    Welcome,
    decode_message,
    encode_message,
)

FIRST_OFFER_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class DownloadOptions:
    """Who fetches, for how long from the first offer on, and how many FETCHes are out at once."""

    port: int
    ca: str
    devices: list[FleetDevice]
    seconds: float = 20.0
    outstanding: int = 2


@dataclass(slots=True)
class DownloadResult:
    """What came; `bytes` of payload, `whole` payloads with the right digest."""

    bytes: int = 0
    chunks: int = 0
    whole: int = 0
    wrong: int = 0
    not_now: int = 0
    gone: int = 0
    refused: int = 0
    lost: int = 0
    offered: int = 0
    slowest_s: float = 0.0
    cpu_s: float = 0.0


class _Device(asyncio.Protocol):
    """One device's connection."""

    def __init__(self, downloads: Downloads, device: FleetDevice) -> None:
        self._downloads = downloads
        self._device = device
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._offer: Offer | None = None
        self._digest = hashlib.sha256()
        self._asked = self._received = 0
        self._began = 0.0
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's TLS transport is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        hello = Hello(
            serial=self._device.serial,
            secret=bytes.fromhex(self._device.secret),
            device_type=self._device.device_type,
            hardware="bench",
            firmware="1.0.0",
            boot_count=1,
            clock_ms=time.time_ns() // 1_000_000,
            next_sequence=1,
            oldest_sequence=1,
            capabilities=Capability.FIRMWARE,
            image=bytes(32),
        )
        self._transport.write(encode_message(hello))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        for raw in self._reader:
            if raw.type == MessageType.CHUNK:
                self._take(Chunk.decode(raw.body))
                continue
            message = decode_message(raw.type, raw.body)
            if isinstance(message, Welcome):
                self.welcomed.set_result(None)
            elif isinstance(message, Offer):
                self._downloads.offered()
                if self._offer is None:
                    self._offer = message
                    self._begin()
            elif isinstance(message, Refuse):
                self._downloads.result.refused += 1

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if not self.welcomed.done():
            self.welcomed.set_exception(
                ConnectionError(f"{self._device.serial} was not let in: {error}")
            )
        elif not self._downloads.closing:
            self._downloads.result.lost += 1

    def _begin(self) -> None:
        self._asked = self._received = 0
        self._digest = hashlib.sha256()
        self._began = time.monotonic()
        for _ in range(self._downloads.options.outstanding):
            self._ask()

    def _ask(self) -> None:
        offer, transport = self._offer, self._transport
        if offer is None or transport is None or self._downloads.over:
            return
        if self._asked < offer.payload_size:
            transport.write(encode_message(Fetch(offer.update_id, self._asked, offer.chunk)))
            self._asked += offer.chunk

    def _take(self, chunk: Chunk) -> None:
        result = self._downloads.result
        if chunk.status == ChunkStatus.NOT_NOW:
            result.not_now += 1
            loop = asyncio.get_running_loop()
            loop.call_later(chunk.retry_after_s, self._again, chunk.offset)
            return
        if chunk.status != ChunkStatus.DATA or chunk.offset != self._received:
            result.gone += 1
            return
        self._digest.update(chunk.data)
        self._received += len(chunk.data)
        if not self._downloads.over:
            result.bytes += len(chunk.data)
            result.chunks += 1
        offer = self._offer
        if offer is not None and self._received >= offer.payload_size:
            right = self._digest.digest() == offer.payload_sha256
            result.whole += right
            result.wrong += not right
            result.slowest_s = max(result.slowest_s, time.monotonic() - self._began)
            self._begin()
        else:
            self._ask()

    def _again(self, offset: int) -> None:
        # What was asked for behind it comes in vain: only the next byte counts.
        if offset == self._received:
            self._asked = offset
            self._ask()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Downloads:
    """A fleet of them on the running event loop."""

    def __init__(self, options: DownloadOptions) -> None:
        self.options = options
        self.result = DownloadResult()
        self.over = False
        self.closing = False
        self._first_offer = asyncio.Event()
        self._devices: list[_Device] = []

    def offered(self) -> None:
        """A device got an OFFER."""
        self.result.offered += 1
        self._first_offer.set()

    async def connect(self) -> None:
        """Bring every device in; raises ConnectionError when one is not let in."""
        context = ssl.create_default_context(cafile=self.options.ca)
        places = asyncio.Semaphore(CONNECTING)
        loop = asyncio.get_running_loop()

        async def bring_in(device: FleetDevice) -> None:
            async with places:
                protocol = _Device(self, device)
                self._devices.append(protocol)
                await loop.create_connection(
                    lambda: protocol,
                    "127.0.0.1",
                    self.options.port,
                    ssl=context,
                    server_hostname="localhost",
                )
                await protocol.welcomed

        async with asyncio.timeout(CONNECT_S):
            await asyncio.gather(*map(bring_in, self.options.devices))

    async def fetch(self) -> None:
        """Fetch for `seconds` from the first offer on."""
        async with asyncio.timeout(FIRST_OFFER_S):
            await self._first_offer.wait()
        cpu_s = time.process_time()
        await asyncio.sleep(self.options.seconds)
        self.over = self.closing = True
        self.result.cpu_s = round(time.process_time() - cpu_s, 2)
        for device in self._devices:
            device.close()
        await asyncio.sleep(0.1)


async def run_downloads(options: DownloadOptions) -> DownloadResult:
    """Connect, say so, fetch, close."""
    downloads = Downloads(options)
    await downloads.connect()
    print("ready", flush=True)
    await downloads.fetch()
    return downloads.result


def main() -> int:
    """Options as JSON from standard input, the result as JSON to standard output."""
    content = json.load(sys.stdin)
    content["devices"] = [FleetDevice(**device) for device in content["devices"]]
    try:
        result = uvloop.run(run_downloads(DownloadOptions(**content)))
    except (OSError, TimeoutError) as error:
        print(f"downloads: {error or 'nothing was offered in time'}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
