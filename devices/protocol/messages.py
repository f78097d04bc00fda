"""All messages but DATA as values, and their bodies.

Every class knows its `type`, writes its `body()` and reads itself back with `decode(body)`. Unknown
bytes after the last field are ignored: a later version may append fields. Every string, list and
number is capped, so a decoded message is never larger than a few times its body.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from devices.protocol import fields
from devices.protocol.codes import FIRMWARE_FAMILY, Capability, GapReason, MessageType, RefuseCode
from devices.protocol.data import Data, decode_data
from devices.protocol.errors import RangeError, TypeCodeError
from devices.protocol.fields import (
    COMMAND_ID_BYTES,
    MAX_NAME,
    MAX_RETRY_S,
    MAX_TEXT,
    FieldReader,
    Value,
)
from devices.protocol.firmware import (
    Chunk,
    Fetch,
    Offer,
    Withdraw,
    digest_or_none,
    read_digest_or_none,
)
from devices.protocol.framing import MAX_BODY, VERSION, RawMessage, seal
from devices.protocol.layout import MAX_SAMPLES, MAX_STEP_MS, MAX_TIME_MS
from devices.protocol.varint import I64_MAX, svarint, uvarint

MIN_SECRET = 16
MAX_SECRET = 64
MAX_LOG_LINES = 64
MAX_LEASE_S = 3_600
MAX_WINDOW = 65_535
# A GAP moves a device's numbering for good: a range that no device can have lost, such as a field
# of a firmware that was never set, must not use up all numbers there are. A message every
# millisecond fills this in 49 days.
MAX_GAP = 1 << 32
NO_CAPABILITY = Capability(0)


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a device: who it is, its clock (ms) and what it holds in its buffer.

    `next_sequence` is the number its next new message will get, `oldest_sequence` the oldest one
    that it can still send (equal to `next_sequence` when the buffer is empty). `image` is the
    SHA-256 of the firmware image that runs; devices without firmware updates leave it out.
    """

    type: ClassVar[MessageType] = MessageType.HELLO
    serial: str
    secret: bytes = field(repr=False)
    device_type: str
    hardware: str
    firmware: str
    boot_count: int
    clock_ms: int
    next_sequence: int
    oldest_sequence: int
    capabilities: Capability = NO_CAPABILITY
    min_version: int = VERSION
    max_version: int = VERSION
    image: bytes = b""

    def body(self) -> bytes:
        return b"".join(
            (
                fields.byte(self.min_version),
                fields.byte(self.max_version),
                fields.text(self.serial, 1, MAX_NAME),
                fields.blob(self.secret, MIN_SECRET, MAX_SECRET),
                fields.text(self.device_type, 1, MAX_NAME),
                fields.text(self.hardware, 0, MAX_NAME),
                fields.text(self.firmware, 0, MAX_NAME),
                uvarint(self.boot_count),
                fields.number(self.clock_ms, MAX_TIME_MS),
                fields.sequence(self.next_sequence),
                fields.number(self.oldest_sequence, self.next_sequence, 1),
                uvarint(self.capabilities),
                # Appended later: left out it means none, as older devices send it.
                digest_or_none(self.image) if self.image else b"",
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        min_version = read.byte()
        max_version = read.byte()
        if min_version > max_version:
            raise RangeError(f"versions {min_version} … {max_version} are no range")
        serial = read.text(1, MAX_NAME)
        secret = read.blob(MIN_SECRET, MAX_SECRET)
        device_type = read.text(1, MAX_NAME)
        hardware = read.text(0, MAX_NAME)
        firmware = read.text(0, MAX_NAME)
        boot_count = read.number()
        clock_ms = read.number(MAX_TIME_MS)
        next_sequence = read.sequence()
        oldest_sequence = read.number(next_sequence, 1)
        return cls(
            serial,
            secret,
            device_type,
            hardware,
            firmware,
            boot_count,
            clock_ms,
            next_sequence,
            oldest_sequence,
            Capability(read.number()),
            min_version,
            max_version,
            b"" if read.ended else read_digest_or_none(read),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to HELLO: the device is known; `resume_from` is the first sequence not committed.

    `clock_offset_ms` is server minus device; `window` the most messages that may wait for their
    ACK; `max_body` the longest body that the server takes; `live_lease_s` the rest of a live
    lease (0 = none); `step_ms` and `samples` how the device shall report outside a lease.
    """

    type: ClassVar[MessageType] = MessageType.WELCOME
    server_ms: int
    clock_offset_ms: int
    resume_from: int
    window: int
    max_body: int = MAX_BODY
    ping_s: int = 60
    live_lease_s: int = 0
    step_ms: int = 2_000
    samples: int = 30
    version: int = VERSION

    def body(self) -> bytes:
        return b"".join(
            (
                fields.byte(self.version),
                fields.number(self.server_ms, MAX_TIME_MS),
                svarint(self.clock_offset_ms),
                fields.sequence(self.resume_from),
                fields.number(self.window, MAX_WINDOW, 1),
                fields.number(self.max_body, MAX_BODY, 1),
                fields.number(self.ping_s, MAX_LEASE_S, 1),
                fields.number(self.live_lease_s, MAX_LEASE_S),
                fields.number(self.step_ms, MAX_STEP_MS, 1),
                fields.number(self.samples, MAX_SAMPLES, 1),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        version = read.byte()
        return cls(
            read.number(MAX_TIME_MS),
            read.signed(),
            read.sequence(),
            read.number(MAX_WINDOW, 1),
            read.number(MAX_BODY, 1),
            read.number(MAX_LEASE_S, 1),
            read.number(MAX_LEASE_S),
            read.number(MAX_STEP_MS, 1),
            read.number(MAX_SAMPLES, 1),
            version,
        )


@dataclass(frozen=True, slots=True)
class Refuse:
    """The last message of either side before it closes, with the reason.

    `code` is a `RefuseCode` or, from a newer peer, any number of the same ranges. `sequence` is
    the message that gave the reason, 0 when there is none.
    """

    type: ClassVar[MessageType] = MessageType.REFUSE
    code: int
    retry_after_s: int = 0
    sequence: int = 0
    text: str = ""

    def body(self) -> bytes:
        return b"".join(
            (
                fields.byte(self.code),
                fields.number(self.retry_after_s, MAX_RETRY_S),
                fields.number(self.sequence, I64_MAX),
                fields.text(self.text, 0, MAX_TEXT),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(
            read.byte(),
            read.number(MAX_RETRY_S),
            read.number(I64_MAX),
            read.text(0, MAX_TEXT),
        )

    @property
    def name(self) -> str:
        """The code in words, e.g. `replaced`; `code 0x2a` for one that is not known here."""
        try:
            return RefuseCode(self.code).name.lower()
        except ValueError:
            return f"code {self.code:#04x}"


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? A device tells what it holds, as in HELLO; a server sends zeros."""

    type: ClassVar[MessageType] = MessageType.PING
    token: int
    next_sequence: int = 0
    oldest_sequence: int = 0

    def body(self) -> bytes:
        return (
            uvarint(self.token)
            + fields.number(self.next_sequence, I64_MAX)
            + fields.number(self.oldest_sequence, self.next_sequence)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        token = read.number()
        next_sequence = read.number(I64_MAX)
        return cls(token, next_sequence, read.number(next_sequence))


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to PING: its token and the clock of the answering side (ms)."""

    type: ClassVar[MessageType] = MessageType.PONG
    token: int
    clock_ms: int

    def body(self) -> bytes:
        return uvarint(self.token) + fields.number(self.clock_ms, MAX_TIME_MS)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(read.number(), read.number(MAX_TIME_MS))


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to and including `sequence` is committed to the database (0: nothing yet)."""

    type: ClassVar[MessageType] = MessageType.ACK
    sequence: int

    def body(self) -> bytes:
        return fields.number(self.sequence, I64_MAX)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(FieldReader(body).number(I64_MAX))


@dataclass(frozen=True, slots=True)
class Rewind:
    """Send again from `sequence` on."""

    type: ClassVar[MessageType] = MessageType.REWIND
    sequence: int

    def body(self) -> bytes:
        return fields.sequence(self.sequence)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(FieldReader(body).sequence())


@dataclass(frozen=True, slots=True)
class Gap:
    """The messages `sequence` … `last` are lost, at most `MAX_GAP`; the GAP stands for them.

    `reason`: `GapReason`.
    """

    type: ClassVar[MessageType] = MessageType.GAP
    sequence: int
    last: int
    reason: int = GapReason.BUFFER_FULL

    def body(self) -> bytes:
        return (
            fields.sequence(self.sequence)
            + fields.number(self.last, self._largest(self.sequence), self.sequence)
            + fields.byte(self.reason)
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        sequence = read.sequence()
        return cls(sequence, read.number(cls._largest(sequence), sequence), read.byte())

    @staticmethod
    def _largest(sequence: int) -> int:
        return min(I64_MAX, sequence + MAX_GAP - 1)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the firmware's log; `level` is a `LogLevel`."""

    time_ms: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Log:
    """Lines of the firmware's log, in any order of time."""

    type: ClassVar[MessageType] = MessageType.LOG
    sequence: int
    lines: tuple[LogLine, ...]

    def body(self) -> bytes:
        parts = [fields.sequence(self.sequence), fields.count(len(self.lines), 1, MAX_LOG_LINES)]
        for line in self.lines:
            parts += (
                fields.number(line.time_ms, MAX_TIME_MS),
                fields.byte(line.level),
                fields.text(line.text, 0, MAX_TEXT),
            )
        return b"".join(parts)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        sequence = read.sequence()
        count = read.count(1, MAX_LOG_LINES)
        lines = tuple(
            LogLine(read.number(MAX_TIME_MS), read.byte(), read.text(0, MAX_TEXT))
            for _ in range(count)
        )
        return cls(sequence, lines)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at `time_ms`: a `kind` such as `relay.opened`, with named values."""

    type: ClassVar[MessageType] = MessageType.EVENT
    sequence: int
    time_ms: int
    kind: str
    data: Mapping[str, Value] = field(default_factory=dict)

    def body(self) -> bytes:
        return b"".join(
            (
                fields.sequence(self.sequence),
                fields.number(self.time_ms, MAX_TIME_MS),
                fields.text(self.kind, 1, MAX_NAME),
                fields.entries(self.data),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(
            read.sequence(),
            read.number(MAX_TIME_MS),
            read.text(1, MAX_NAME),
            read.entries(),
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a command; `status` is a `ResultStatus`."""

    type: ClassVar[MessageType] = MessageType.RESULT
    sequence: int
    command_id: bytes
    time_ms: int
    status: int
    detail: str = ""

    def body(self) -> bytes:
        return b"".join(
            (
                fields.sequence(self.sequence),
                fields.command_id(self.command_id),
                fields.number(self.time_ms, MAX_TIME_MS),
                fields.byte(self.status),
                fields.text(self.detail, 0, MAX_TEXT),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        return cls(
            read.sequence(),
            read.raw(COMMAND_ID_BYTES),
            read.number(MAX_TIME_MS),
            read.byte(),
            read.text(0, MAX_TEXT),
        )


@dataclass(frozen=True, slots=True)
class Command:
    """Do something; not after `expires_ms` (0: no limit). The same id twice is one command."""

    type: ClassVar[MessageType] = MessageType.COMMAND
    command_id: bytes
    kind: str
    arguments: Mapping[str, Value] = field(default_factory=dict)
    expires_ms: int = 0

    def body(self) -> bytes:
        return b"".join(
            (
                fields.command_id(self.command_id),
                fields.text(self.kind, 1, MAX_NAME),
                fields.number(self.expires_ms, MAX_TIME_MS),
                fields.entries(self.arguments),
            )
        )

    @classmethod
    def decode(cls, body: bytes) -> Self:
        read = FieldReader(body)
        command_id = read.raw(COMMAND_ID_BYTES)
        kind = read.text(1, MAX_NAME)
        expires_ms = read.number(MAX_TIME_MS)
        return cls(command_id, kind, read.entries(), expires_ms)


@dataclass(frozen=True, slots=True)
class Live:
    """Report every sample at once for the next `lease_s` seconds; 0 ends it."""

    type: ClassVar[MessageType] = MessageType.LIVE
    lease_s: int

    def body(self) -> bytes:
        return fields.number(self.lease_s, MAX_LEASE_S)

    @classmethod
    def decode(cls, body: bytes) -> Self:
        return cls(FieldReader(body).number(MAX_LEASE_S))


# All but DATA, whose class is `data.Data`.
OtherMessage = (
    Hello
    | Welcome
    | Refuse
    | Ping
    | Pong
    | Ack
    | Rewind
    | Gap
    | Log
    | Event
    | Result
    | Command
    | Live
    | Offer
    | Fetch
    | Chunk
    | Withdraw
)
Message = Data | OtherMessage

MESSAGE_CLASSES: dict[int, type[OtherMessage]] = {
    kind.type: kind
    for kind in (
        Hello,
        Welcome,
        Refuse,
        Ping,
        Pong,
        Ack,
        Rewind,
        Gap,
        Log,
        Event,
        Result,
        Command,
        Live,
        Offer,
        Fetch,
        Chunk,
        Withdraw,
    )
}


def encode_message(message: Message | RawMessage) -> bytes:
    """The bytes on the wire; raises the ProtocolError of the first rule that a field breaks."""
    if isinstance(message, RawMessage):
        return seal(message.type, message.body)
    return seal(message.type, message.body())


def decode_message(message_type: int, body: bytes) -> Message | RawMessage:
    """The message of a type and body; reserved ones of firmware as they are (RawMessage)."""
    if message_type == MessageType.DATA:
        return decode_data(body)
    kind = MESSAGE_CLASSES.get(message_type)
    if kind is not None:
        return kind.decode(body)
    if message_type in FIRMWARE_FAMILY:
        return RawMessage(message_type, body)
    raise TypeCodeError(f"message type {message_type:#04x} is not defined")
