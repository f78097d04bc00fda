"""Devices that bring given readings over the device protocol, as fast as acknowledgements allow.

What they send is encoded and sealed beforehand, so that a frame costs its sender next to nothing.
No Django: it runs in a process of its own (`python -m devices.benchmarks.replay`, options as JSON
on standard input, the result as one JSON object on standard output).
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import uvloop

from devices.benchmarks.fleet import CONNECT_S, FleetDevice, FleetError
from devices.protocol import (
    Ack,
    Hello,
    MessageReader,
    MessageType,
    Refuse,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
)

# Frames are written so many at once, as a device does that empties its buffer.
CHUNK: Final = 16
DRAIN_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """`files` has for each device a file that `write_messages` has made."""

    port: int
    ca: str
    devices: list[FleetDevice]
    files: list[str]


@dataclass(slots=True)
class ReplayResult:
    """Frames that were acknowledged, which means stored, and the seconds from the first one sent to
    the last acknowledgement; `cpu_s` of the sender, `sent_bytes` before TLS.
    """

    acknowledged: int = 0
    seconds: float = 0.0
    sent_bytes: int = 0
    cpu_s: float = 0.0


def write_messages(path: Path, messages: Sequence[bytes]) -> None:
    """Sealed DATA messages with the sequence numbers 1, 2, … for one device."""
    ends = np.cumsum([len(message) for message in messages], dtype=np.int64)
    path.write_bytes(len(ends).to_bytes(8, "little") + ends.tobytes() + b"".join(messages))


def read_messages(path: str) -> tuple[memoryview, list[int]]:
    """What `write_messages` wrote: all messages in a row, and where each ends, after a first 0."""
    data = memoryview(Path(path).read_bytes())
    count = int.from_bytes(data[:8], "little")
    head = 8 * (count + 1)
    return data[head:], [0, *np.frombuffer(data[8:head], np.int64).tolist()]


class _Device(asyncio.Protocol):
    """One device's connection; `done` is set when all of its frames are acknowledged."""

    def __init__(self, device: FleetDevice, file: str) -> None:
        loop = asyncio.get_running_loop()
        self._device = device
        self._payload, self._ends = read_messages(file)
        self._reader = MessageReader()
        self._transport: asyncio.Transport | None = None
        self._window = 1
        self._sent = 0
        self.committed = 0
        self.welcomed: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    @property
    def count(self) -> int:
        return len(self._ends) - 1

    @property
    def size(self) -> int:
        return self._ends[-1]

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
                self.committed = max(self.committed, Ack.decode(raw.body).sequence)
                if self.committed == self.count and not self.done.done():
                    self.done.set_result(None)
                self.pump()
            else:
                self._other(decode_message(raw.type, raw.body))

    def _other(self, message: object) -> None:
        if isinstance(message, Welcome):
            self._window = message.window
            self.welcomed.set_result(None)
        elif isinstance(message, Rewind):
            self._sent = message.sequence - 1
            self.pump()
        elif isinstance(message, Refuse):
            self._fail(f"{self._device.serial} was refused: {message.name} {message.text}")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._fail(f"{self._device.serial} lost its connection: {error}")

    def _fail(self, sentence: str) -> None:
        for waited in (self.welcomed, self.done):
            if not waited.done():
                waited.set_exception(FleetError(sentence))

    def pump(self) -> None:
        """Send what the window allows, in chunks."""
        until = min(self.committed + self._window, self.count)
        few = until - self._sent < CHUNK and until < self.count
        if self._transport is None or few or until <= self._sent:
            return
        self._transport.write(self._payload[self._ends[self._sent] : self._ends[until]])
        self._sent = until

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def run_replay(options: ReplayOptions) -> ReplayResult:
    """Connect all devices, then let all send everything; raises FleetError when one cannot."""
    context = ssl.create_default_context(cafile=options.ca)
    loop = asyncio.get_running_loop()
    devices = [
        _Device(device, file) for device, file in zip(options.devices, options.files, strict=True)
    ]
    async with asyncio.timeout(CONNECT_S):
        for device in devices:
            await loop.create_connection(
                lambda device=device: device,  # type: ignore[misc]
                "127.0.0.1",
                options.port,
                ssl=context,
                server_hostname="localhost",
            )
            await device.welcomed
    used, began = time.process_time(), time.monotonic()
    for device in devices:
        device.pump()
    async with asyncio.timeout(DRAIN_S):
        await asyncio.gather(*(device.done for device in devices))
    result = ReplayResult(
        acknowledged=sum(device.committed for device in devices),
        seconds=round(time.monotonic() - began, 3),
        sent_bytes=sum(device.size for device in devices),
        cpu_s=round(time.process_time() - used, 2),
    )
    for device in devices:
        device.close()
    return result


def main() -> int:
    """Options as JSON from standard input, the result as JSON to standard output."""
    content = json.load(sys.stdin)
    content["devices"] = [FleetDevice(**device) for device in content["devices"]]
    try:
        result = uvloop.run(run_replay(ReplayOptions(**content)))
    except (FleetError, OSError, TimeoutError) as error:
        print(f"replay: {error or 'not everything was stored in time'}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
