"""A server for tests of the device side: real TLS, the real codec, a memory for a database."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from devices.protocol import (
    SEQUENCED,
    Ack,
    Chunk,
    ChunkStatus,
    Data,
    Fetch,
    Gap,
    Hello,
    Message,
    MessageReader,
    Ping,
    Pong,
    ProtocolError,
    RawMessage,
    Refuse,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
)


@dataclass
class DeviceServer:
    """Commits what devices send, in order, as docs/protocol.md demands of a server.

    `committing` False keeps acknowledgements back; `answer` may return a REFUSE in place of
    WELCOME; `clock_offset_ms` sets the server's clock apart from this machine's.
    """

    window: int = 64
    samples: int = 30
    step_ms: int = 2_000
    live_lease_s: int = 0
    ping_s: int = 60
    committing: bool = True
    clock_offset_ms: int = 0
    answer: Callable[[Hello], Refuse | None] = lambda _: None
    port: int = 0
    committed: dict[str, int] = field(default_factory=dict)
    stored: dict[str, dict[int, Message | RawMessage]] = field(default_factory=dict)
    hellos: list[Hello] = field(default_factory=list)
    pings: list[Ping] = field(default_factory=list)
    errors: list[ProtocolError] = field(default_factory=list)
    refusals: list[Refuse] = field(default_factory=list)
    duplicates: int = 0
    rewinds: int = 0
    resumed: int = 0
    most_in_flight: int = 0
    writers: dict[str, asyncio.StreamWriter] = field(default_factory=dict)
    payloads: dict[bytes, bytes] = field(default_factory=dict)  # by update id, for FETCH
    fetched: int = 0  # bytes

    def frames(self, serial: str) -> list[Data]:
        """The DATA stored of a device, in order of sequence."""
        return [message for message in self.messages(serial) if isinstance(message, Data)]

    def messages(self, serial: str) -> list[Message | RawMessage]:
        """All that is stored of a device, in order of sequence."""
        return [message for _, message in sorted(self.stored.get(serial, {}).items())]

    def send(self, serial: str, message: Message) -> None:
        """Send a message down to a connected device."""
        self.writers[serial].write(encode_message(message))

    def commit(self, serial: str) -> None:
        """Acknowledge everything stored."""
        last = max(self.stored.get(serial, {0: None}))
        gap = self.stored.get(serial, {}).get(last)
        self.committed[serial] = gap.last if isinstance(gap, Gap) else last
        self.send(serial, Ack(self.committed[serial]))

    def now_ms(self) -> int:
        return round(time.time() * 1_000) + self.clock_offset_ms

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        self.resumed += bool(tls.session_reused)
        try:
            await self._converse(reader, writer)
        except ProtocolError as error:
            self.errors.append(error)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = MessageReader()
        hello: Hello | None = None
        expected = 0
        while data := await reader.read(65_536):
            stream.feed(data)
            for raw in stream:
                message = decode_message(raw.type, raw.body)
                if hello is None:
                    assert isinstance(message, Hello)
                    hello = message
                    self.hellos.append(hello)
                    refused = self.answer(hello)
                    if refused:
                        writer.write(encode_message(refused))
                        return
                    expected = self.committed.get(hello.serial, 0) + 1
                    self.writers[hello.serial] = writer
                    writer.write(encode_message(self._welcome(hello)))
                elif isinstance(message, Ping):
                    self.pings.append(message)
                    writer.write(encode_message(Pong(message.token, self.now_ms())))
                elif isinstance(message, Fetch):
                    writer.write(encode_message(self._chunk(message)))
                elif isinstance(message, Refuse):
                    self.refusals.append(message)
                elif raw.type in SEQUENCED:
                    expected = self._take(hello.serial, message, expected, writer)

    def _chunk(self, fetch: Fetch) -> Chunk:
        payload = self.payloads.get(fetch.update_id)
        if payload is None:
            return Chunk(fetch.update_id, ChunkStatus.GONE, fetch.offset)
        data = payload[fetch.offset : fetch.offset + fetch.length]
        self.fetched += len(data)
        return Chunk(fetch.update_id, ChunkStatus.DATA, fetch.offset, data=data)

    def _welcome(self, hello: Hello) -> Welcome:
        now_ms = self.now_ms()
        return Welcome(
            server_ms=now_ms,
            clock_offset_ms=now_ms - hello.clock_ms,
            resume_from=self.committed.get(hello.serial, 0) + 1,
            window=self.window,
            ping_s=self.ping_s,
            live_lease_s=self.live_lease_s,
            step_ms=self.step_ms,
            samples=self.samples,
        )

    def _take(
        self,
        serial: str,
        message: Message | RawMessage,
        expected: int,
        writer: asyncio.StreamWriter,
    ) -> int:
        assert not isinstance(message, RawMessage)
        sequence: int = getattr(message, "sequence")  # noqa: B009 (one of five classes)
        if sequence > expected:
            self.rewinds += 1
            writer.write(encode_message(Rewind(expected)))
            return expected
        if sequence < expected:
            self.duplicates += 1
            return expected
        self.stored.setdefault(serial, {})[sequence] = message
        expected = (message.last if isinstance(message, Gap) else sequence) + 1
        waiting = expected - 1 - self.committed.get(serial, 0)
        self.most_in_flight = max(self.most_in_flight, waiting)
        if self.committing:
            self.committed[serial] = expected - 1
            writer.write(encode_message(Ack(expected - 1)))
        return expected


def make_certificate(folder: Path, subject: str = "localhost") -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file = folder / "server.pem"
    key_file = folder / "server.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@contextlib.asynccontextmanager
async def running(server: DeviceServer, folder: Path) -> AsyncIterator[Path]:
    """Serve on `server.port` (a free one when 0) inside the block; yields the CA's file."""
    certificate, key = folder / "server.pem", folder / "server.key"
    if not certificate.exists():
        make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", server.port, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield certificate
    finally:
        listener.close()
        for writer in server.writers.values():
            # A TLS transport of Python 3.11.2 that was closed twice has forgotten its protocol.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()
        await asyncio.sleep(0.05)
