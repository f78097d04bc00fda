"""A bridge in a thread of its own on uvloop, and raw devices that say what a test wants."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import uvloop

from devices.ingest.bridge import Bridge, BridgeOptions
from devices.ingest.tls import TlsOptions
from devices.protocol import (
    Block,
    Capability,
    Data,
    Hello,
    Message,
    MessageReader,
    RawMessage,
    Refuse,
    Welcome,
    decode_message,
    encode_message,
)
from devices.tests.ingest_park import ParkDevice

WAIT_S = 20.0


class Servers(Protocol):
    """Where the servers of a test are."""

    @property
    def database_url(self) -> str:
        """As the owner."""

    @property
    def database_ingest_url(self) -> str:
        """As the role of bridges and writers."""

    @property
    def redis_url(self) -> str:
        """Redis, with its password."""


class RunningBridge:
    """A bridge that serves from construction to `stop`."""

    def __init__(self, options: BridgeOptions) -> None:
        self._options = options
        self._started: Future[Bridge] = Future()
        self._thread = threading.Thread(target=self._run, name="bridge")
        self._error: BaseException | None = None
        self._thread.start()
        self.bridge = self._started.result(WAIT_S)
        self.port = self.bridge.port

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:  # noqa: BLE001  # raised again in the test's thread
            self._error = error
            if not self._started.done():
                self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        bridge = Bridge(self._options)
        ready = asyncio.Event()
        life = asyncio.ensure_future(bridge.run(ready))
        listening = asyncio.ensure_future(ready.wait())
        await asyncio.wait([life, listening], return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            self._started.set_result(bridge)
        listening.cancel()
        await life

    def call(self, function: Callable[[], None]) -> None:
        """Run a function on the bridge's event loop."""
        self._loop.call_soon_threadsafe(function)

    def counters(self) -> dict[str, float]:
        """The bridge's counters as of now."""
        answer: Future[dict[str, float]] = Future()
        self.call(lambda: answer.set_result(self.bridge.counters()))
        return answer.result(WAIT_S)

    def wait(self, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """The counters once they fulfil a condition."""
        deadline = time.monotonic() + WAIT_S
        while not condition(counters := self.counters()):
            assert time.monotonic() < deadline, counters
            time.sleep(0.02)
        return counters

    def stop(self) -> None:
        """Stop as SIGTERM does; raises what the bridge died of."""
        if self._thread.is_alive():
            self.call(self.bridge.stop)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


def bridge_options(
    servers: Servers, certificate: tuple[Path, Path], **changes: Any
) -> BridgeOptions:
    """Options of a bridge on a free port of loopback."""
    tls = changes.pop("tls", {})
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "tls": TlsOptions(certificate=certificate[0], key=certificate[1], **tls),
        "database_url": servers.database_ingest_url,
        "redis_url": servers.redis_url,
    }
    return BridgeOptions(**(options | changes))


class RawDevice:
    """A device without a mind: blocking, sends what it is told, shows what it gets."""

    def __init__(
        self,
        port: int,
        ca: Path,
        *,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        context = context or ssl.create_default_context(cafile=ca)
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(WAIT_S)
        raw.connect(("127.0.0.1", port))
        self.tls = context.wrap_socket(raw, server_hostname="localhost", session=session)
        self._reader = MessageReader()

    def send(self, *messages: Message | RawMessage | bytes) -> None:
        """Send messages, or bytes as they are."""
        self.tls.sendall(
            b"".join(
                message if isinstance(message, bytes) else encode_message(message)
                for message in messages
            )
        )

    def receive(self, timeout_s: float = WAIT_S) -> Message | RawMessage | None:
        """The next message; None when the bridge closed. TimeoutError when nothing comes."""
        self.tls.settimeout(timeout_s)
        while True:
            for raw in self._reader:
                return decode_message(raw.type, raw.body)
            try:
                data = self.tls.recv(65_536)
            except (ssl.SSLEOFError, ConnectionResetError):
                return None
            if not data:
                return None
            self._reader.feed(data)

    def greet(self, device: ParkDevice, **changes: Any) -> Message | RawMessage | None:
        """Say HELLO; the answer."""
        self.send(hello(device, **changes))
        return self.receive()

    def join(self, device: ParkDevice, **changes: Any) -> Welcome:
        """Say HELLO and be welcomed."""
        welcome = self.greet(device, **changes)
        assert isinstance(welcome, Welcome), welcome
        return welcome

    def refused(self) -> Refuse:
        """The REFUSE that must come next, after which the bridge closes."""
        refuse = self.receive()
        assert isinstance(refuse, Refuse), refuse
        assert self.receive() is None
        return refuse

    def close(self) -> None:
        """Vanish."""
        self.tls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hello(device: ParkDevice, **changes: Any) -> Hello:
    """The HELLO of a device with an empty buffer."""
    values: dict[str, Any] = {
        "serial": device.serial,
        "secret": device.secret,
        "device_type": device.device_type,
        "hardware": "r1",
        "firmware": "1.2.3",
        "boot_count": 7,
        "clock_ms": round(time.time() * 1000),
        "next_sequence": 1,
        "oldest_sequence": 1,
        "capabilities": Capability.LIVE | Capability.COMMANDS,
    }
    return Hello(**(values | changes))


def damaged(message: Message) -> bytes:
    """The bytes of a message whose last one is another: of a frame, a checksum that never fits."""
    sound = encode_message(message)
    return sound[:-1] + bytes([sound[-1] ^ 0xFF])


def frame(
    sequence: int,
    *,
    start_ms: int | None = None,
    channels: int = 3,
    samples: int = 5,
    value: int = 0,
) -> Data:
    """A sound frame that ends now, every value the same plus its index."""
    if start_ms is None:
        start_ms = round(time.time() * 1000) - (samples - 1) * 2_000
    times = start_ms + np.arange(samples, dtype=np.int64) * 2_000
    values = value + np.arange(channels * samples, dtype=np.int64).reshape(channels, samples)
    return Data(sequence, (Block(times, tuple(range(channels)), values),))


def fingerprint_of(certificate: Path) -> bytes:
    """SHA-256 of a PEM certificate in DER."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate.read_text())).digest()
