"""The device's side of one connection, without I/O: bytes in, messages for the device out.

The session owns what docs/protocol.md says a device must do by itself: where to go on after
WELCOME, the window, acknowledgements, REWIND, GAP, REFUSE and the clock. What asks for the rest of
the device (COMMAND, LIVE, firmware) is handed out by `receive`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from devices.protocol import (
    MAX_BODY,
    MAX_GAP,
    SERVER_MAY_SEND,
    Ack,
    Capability,
    Chunk,
    Command,
    Gap,
    GapReason,
    Hello,
    Live,
    MessageReader,
    Offer,
    Ping,
    Pong,
    ProtocolError,
    RawMessage,
    Refuse,
    RefuseCode,
    Rewind,
    Welcome,
    Withdraw,
    decode_message,
    encode_message,
    read_sequence,
    seal,
)
from devices.protocol.varint import uvarint
from devices.simulator.buffer import Buffer, Loss
from devices.simulator.clock import Clock

_GAP_REASONS = {
    Loss.FULL: GapReason.BUFFER_FULL,
    Loss.DAMAGED: GapReason.BUFFER_DAMAGED,
    Loss.REFUSED: GapReason.REFUSED,
    Loss.FORGOTTEN: GapReason.STATE_LOST,
}
# Refusals of one message for what it is: sending it again would be refused again, for ever.
REFUSED_FOR_GOOD = frozenset({RefuseCode.MALFORMED, RefuseCode.TOO_LONG, RefuseCode.UNSUPPORTED})


Firmware = Offer | Chunk | Withdraw

MIN_UNCERTAINTY_MS = 20  # corrections below are noise, and stamps must not wander


class UnexpectedMessageError(ProtocolError):
    """A well-formed message that the server may not send now."""

    code = "unexpected"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is: what its HELLO says besides its state. `image`: the digest of its firmware,
    where it can be updated.
    """

    serial: str
    secret: bytes = field(repr=False)
    device_type: str
    hardware: str = "simulated"
    firmware: str = "1.0.0"
    capabilities: Capability = Capability.LIVE | Capability.COMMANDS | Capability.LOG
    image: bytes = b""


class Session:
    """One connection of a device, from HELLO to the last byte.

    The owner sends `greeting()`, feeds what arrives to `receive`, answers it hands out, and sends
    what `outgoing()` and `replies()` yield. Both sides' clocks come from `clock`.
    """

    def __init__(self, *, identity: Identity, buffer: Buffer, clock: Clock) -> None:
        self.welcome: Welcome | None = None
        self.refused: Refuse | None = None
        self.cursor = buffer.committed + 1  # the next sequence number to send
        self._identity = identity
        self._buffer = buffer
        self._clock = clock
        self._reader = MessageReader()
        self._in_flight: deque[int] = deque()  # last sequence of each message not acknowledged
        self._replies: list[bytes] = []
        self._pings: dict[int, int] = {}  # token → device clock when it was sent
        self._token = 0
        self._greeted_ms = 0

    @property
    def in_flight(self) -> int:
        """Messages sent on this connection and not yet acknowledged."""
        return len(self._in_flight)

    @property
    def max_body(self) -> int:
        """The longest body that the server takes."""
        return self.welcome.max_body if self.welcome else MAX_BODY

    def greeting(self) -> bytes:
        """The first message of the connection."""
        identity = self._identity
        self._greeted_ms = self._clock.device_ms()
        return encode_message(
            Hello(
                serial=identity.serial,
                secret=identity.secret,
                device_type=identity.device_type,
                hardware=identity.hardware,
                firmware=identity.firmware,
                boot_count=self._buffer.state.boot_count,
                clock_ms=self._greeted_ms,
                next_sequence=self._buffer.next_sequence,
                oldest_sequence=self._buffer.oldest,
                capabilities=identity.capabilities,
                image=identity.image,
            )
        )

    def ping(self) -> bytes:
        """A PING that tells what the device holds; its PONG shows that the link is alive."""
        self._token += 1
        self._pings[self._token] = self._clock.device_ms()
        return encode_message(Ping(self._token, self._buffer.next_sequence, self._buffer.oldest))

    @property
    def unanswered_pings(self) -> int:
        """PINGs that still wait for their PONG."""
        return len(self._pings)

    def outgoing(self) -> Iterator[bytes]:
        """The messages that may be sent now, in order, until the window is full."""
        if self.welcome is None:
            return
        buffer = self._buffer
        while len(self._in_flight) < self.welcome.window and self.cursor < buffer.next_sequence:
            message = buffer.read(self.cursor)
            end = self.cursor + 1
            if message is None:
                end = min(buffer.first_kept(end), self.cursor + MAX_GAP)
                reason = _GAP_REASONS[buffer.loss(self.cursor)]
                message = encode_message(Gap(self.cursor, end - 1, reason))
            self._in_flight.append(end - 1)
            self.cursor = end
            yield message

    def replies(self) -> bytes:
        """What `receive` has to answer at once."""
        answer = b"".join(self._replies)
        self._replies.clear()
        return answer

    def receive(self, data: bytes) -> Iterator[Command | Live | Welcome | Firmware]:
        """Take bytes from the server; yields what the device itself must act on.

        Raises ProtocolError when the server breaks the protocol; `refusal` makes the answer.
        """
        self._reader.feed(data)
        for raw in self._reader:
            if raw.type not in SERVER_MAY_SEND:
                raise UnexpectedMessageError(f"a server may not send type {raw.type:#04x}")
            message = decode_message(raw.type, raw.body)
            if isinstance(message, Refuse):
                self._take_refusal(message)
                return
            if isinstance(message, Welcome):
                self._take_welcome(message)
                yield message
            elif self.welcome is None:
                raise UnexpectedMessageError(f"type {raw.type:#04x} came before WELCOME")
            elif isinstance(message, Ack):
                self._take_ack(message.sequence)
            elif isinstance(message, Rewind):
                self._take_rewind(message.sequence)
            elif isinstance(message, Ping):
                answer = Pong(message.token, self._clock.device_ms())
                self._replies.append(encode_message(answer))
            elif isinstance(message, Pong):
                self._take_pong(message)
            elif isinstance(message, Command | Live | Offer | Chunk | Withdraw):
                yield message

    def _take_welcome(self, welcome: Welcome) -> None:
        if self.welcome is not None:
            raise UnexpectedMessageError("a second WELCOME on one connection")
        self.welcome = welcome
        # HELLO may have taken all of the round trip to arrive, or nothing of it.
        self._correct_clock(welcome.clock_offset_ms, self._clock.device_ms() - self._greeted_ms)
        buffer = self._buffer
        resume_from = welcome.resume_from
        if resume_from > buffer.next_sequence:
            # The server has messages that this device forgot. Up to a window more may still be
            # under way to the database: their numbers must not be used for something else.
            buffer.jump(
                committed=resume_from - 1,
                next_sequence=resume_from + welcome.window,
                renumber=renumbered,
            )
        else:
            buffer.free(resume_from - 1)
        self.cursor = resume_from

    def _take_ack(self, sequence: int) -> None:
        # May exceed what this connection sent: an earlier one's messages are committed meanwhile.
        if sequence >= self._buffer.next_sequence:
            raise UnexpectedMessageError(f"ACK {sequence} of a message that was never produced")
        self._buffer.free(sequence)
        while self._in_flight and self._in_flight[0] <= sequence:
            self._in_flight.popleft()

    def _take_rewind(self, sequence: int) -> None:
        if sequence > self.cursor:
            raise UnexpectedMessageError(f"REWIND to {sequence}, which was not sent yet")
        self.cursor = sequence
        while self._in_flight and self._in_flight[-1] >= sequence:
            self._in_flight.pop()

    def _take_refusal(self, refusal: Refuse) -> None:
        self.refused = refusal
        if refusal.code not in REFUSED_FOR_GOOD:
            return
        waiting = self._buffer.committed < refusal.sequence < self._buffer.next_sequence
        if waiting:
            self._buffer.discard(refusal.sequence)

    def _take_pong(self, pong: Pong) -> None:
        sent_ms = self._pings.pop(pong.token, None)
        if sent_ms is None:
            return
        now_ms = self._clock.device_ms()
        half_ms = (now_ms - sent_ms) // 2
        self._correct_clock(pong.clock_ms - (sent_ms + half_ms), half_ms)

    def _correct_clock(self, offset_ms: int, uncertainty_ms: int) -> None:
        uncertainty_ms = max(MIN_UNCERTAINTY_MS, uncertainty_ms)
        moved = self._clock.correct(offset_ms, uncertainty_ms=uncertainty_ms)
        remembered = self._buffer.state.clock_offset_ms
        # A second is near enough for the first samples after a reboot, and spares the medium.
        if moved and (remembered is None or abs(remembered - offset_ms) > 1_000):
            self._buffer.set_clock_offset(offset_ms)


def renumbered(message: bytes, sequence: int) -> bytes:
    """A sealed message with another sequence number."""
    (raw,) = _messages_in(message)
    _, rest = read_sequence(raw.body)
    return seal(raw.type, uvarint(sequence) + raw.body[rest:])


def _messages_in(data: bytes) -> list[RawMessage]:
    reader = MessageReader()
    reader.feed(data)
    return list(reader)


def refusal(error: ProtocolError) -> bytes:
    """The last message to a server that broke the protocol."""
    codes = {"unexpected": RefuseCode.UNEXPECTED, "checksum": RefuseCode.CHECKSUM}
    code = codes.get(error.code, RefuseCode.MALFORMED)
    return encode_message(Refuse(code, text=f"{error.code}: {error}"))
