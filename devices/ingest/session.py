"""The bridge's side of one connection: bytes in, messages and envelopes out. No I/O, no clock.

A session goes GREETING → ADMISSION → OPEN → CLOSED (docs/protocol.md, "Life of a connection"). The
transport feeds it what it read, writes `outgoing`, looks the device up when `hello` appears, and
closes when `closing` is set. Sound messages go straight into the batch of the device's partition.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from devices.ingest.grants import Grants
from devices.ingest.queue import BatchBuilder, Verdict
from devices.protocol.codes import (
    DEVICE_MAY_SEND,
    FIRMWARE_FAMILY,
    SEQUENCED,
    Capability,
    MessageType,
    RefuseCode,
)
from devices.protocol.errors import (
    ChecksumError,
    LengthError,
    ProtocolError,
    TypeCodeError,
    VersionError,
)
from devices.protocol.firmware import Fetch, Offer, Withdraw
from devices.protocol.framing import (
    CHECKSUM_BYTES,
    HEAD_BYTES,
    MAX_GREETING_BODY,
    VERSION,
    MessageReader,
    seal,
)
from devices.protocol.layout import read_sequence
from devices.protocol.messages import (
    Gap,
    Hello,
    Log,
    Message,
    Ping,
    Pong,
    Refuse,
    Rewind,
    Welcome,
    decode_message,
    encode_message,
)
from devices.protocol.scan import LIMIT, UNKNOWN_CHANNEL, scan_data
from devices.protocol.varint import I64_MAX, uvarint

# A frame that ends later than this ahead of our clock was stamped by a clock that is wrong, one
# that starts before 2020 or further back than any device buffers, too.
CLOCK_AHEAD_MS: Final = 5 * 60_000
OLDEST_START_MS: Final = 1_577_836_800_000
MAX_AGE_MS: Final = 400 * 86_400_000
# A hole that the writer reports again and again is answered once: what the device sends anew may
# still be under way behind messages that the writer refuses for the same hole.
REWIND_AGAIN_S: Final = 5.0
# What a device may have sent before it saw our REWIND, in windows: one that goes on is deaf.
REWIND_PATIENCE: Final = 2

# What a device may send before it is welcomed: two reads of the transport.
MAX_EARLY_BYTES: Final = 128 * 1024

# PINGs a device may send at once, and then one every second: answering costs us more than asking
# costs it. A device has a reason for one in a ping interval.
PINGS_AT_ONCE: Final = 20
PING_EVERY_US: Final = 1_000_000

_DEFINED = frozenset(MessageType)
_LIVE = Capability.LIVE
# What a device must have said in HELLO to be sent a message of these types.
_CAPABILITY: Mapping[int, Capability] = {
    MessageType.LIVE: Capability.LIVE,
    MessageType.COMMAND: Capability.COMMANDS,
    MessageType.OFFER: Capability.FIRMWARE,
    MessageType.WITHDRAW: Capability.FIRMWARE,
}
_CONTENT = {UNKNOWN_CHANNEL: Verdict.UNKNOWN_CHANNEL, LIMIT: Verdict.LIMIT}
_REFUSE_CODES: Mapping[type[ProtocolError], RefuseCode] = {
    VersionError: RefuseCode.VERSION,
    LengthError: RefuseCode.TOO_LONG,
    ChecksumError: RefuseCode.CHECKSUM,
    TypeCodeError: RefuseCode.UNSUPPORTED,
}


class Phase(IntEnum):
    """Where a session is in its life."""

    GREETING = 0
    ADMISSION = 1
    OPEN = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """What every device is told in WELCOME.

    `window`: messages that may wait for their ACK; `max_body`: longest body (bytes), which with the
    window bounds what one device can put under way; `ping_s`: after this silence a device pings.
    """

    window: int = 256
    max_body: int = 16_384
    ping_s: int = 60


@dataclass(frozen=True, slots=True)
class Admission:
    """What authentication found out about a device, and the batch that its messages go into.

    `limits` maps each channel to its smallest and largest raw integer; `committed` is the last
    sequence number in the database; `live_lease_s` the rest of a live lease (0: nobody watches).
    """

    device_id: int
    tenant_id: int
    limits: Mapping[int, tuple[int, int]]
    committed: int
    step_ms: int
    samples: int
    live_lease_s: int
    builder: BatchBuilder


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a session ends: our last message (None: there is nobody to tell) and what to record.

    `code` is the word for log lines and events; `evidence` are bytes that cannot be trusted, for
    the quarantine.
    """

    refuse: Refuse | None
    code: str
    text: str
    evidence: bytes = b""


class Session:
    """One connection of a device. `number` orders the connections of a device in time."""

    __slots__ = (
        "_builder", "_expected", "_limits", "_ping_due_us", "_policy", "_reader", "_rewound",
        "_skipped", "_waiting", "ack_due", "admission", "closing", "committed", "grants", "hello",
        "messages", "number", "outgoing", "phase", "produced", "seen_due", "taken_bytes",
        "taken_messages", "under_way",
    )  # fmt: skip

    def __init__(self, number: int, policy: Policy) -> None:
        self.number = number
        self.phase = Phase.GREETING
        self.hello: Hello | None = None
        self.admission: Admission | None = None
        self.closing: Closing | None = None
        # Sealed messages to write, in order.
        self.outgoing: list[bytes] = []
        self.committed = 0
        self.ack_due = False
        # The highest sequence number that the device says it has produced.
        self.produced = 0
        self.seen_due = False
        self.messages = 0
        # Messages and bytes put into the batch since the transport last looked.
        self.taken_messages = 0
        self.taken_bytes = 0
        # (sequence, bytes) of every message that was passed on and is not yet committed.
        self.under_way: deque[tuple[int, int]] = deque()
        # What the device may fetch and has asked for, once a firmware was offered to it.
        self.grants: Grants | None = None
        self._policy = policy
        self._reader = MessageReader(MAX_GREETING_BODY)
        self._expected = 1
        self._waiting = False
        self._skipped = 0
        self._rewound = (0, 0.0)
        self._ping_due_us = 0

    # --- What the device sends --------------------------------------------------------------

    def receive(self, data: bytes, now_us: int) -> None:
        """Take bytes in pieces of any size; `now_us` is their arrival (µs since the Unix epoch)."""
        if self.phase is Phase.CLOSED:
            return
        self._reader.feed(data)
        try:
            if self.phase is Phase.OPEN:
                self._take(now_us)
            elif self.phase is Phase.GREETING:
                self._greet()
            elif self._reader.buffered > MAX_EARLY_BYTES:
                self.refuse(RefuseCode.UNEXPECTED, "a device waits for WELCOME before it sends")
        except LengthError as error:
            rest = self._reader.rest()
            self._malformed(error, rest, claimed_sequence(rest[1], rest[HEAD_BYTES:]))
        except ProtocolError as error:
            self._malformed(error, self._reader.rest())

    def _greet(self) -> None:
        message = next(iter(self._reader), None)
        if message is None:
            return
        if message.type != MessageType.HELLO:
            self.refuse(RefuseCode.UNEXPECTED, "the first message of a device is HELLO")
            return
        hello = Hello.decode(message.body)
        if not hello.min_version <= VERSION <= hello.max_version:
            self.refuse(RefuseCode.VERSION, f"this side speaks version {VERSION} alone")
            return
        self.hello = hello
        self.produced = hello.next_sequence - 1
        self.phase = Phase.ADMISSION

    def open(self, admission: Admission, now_us: int) -> None:
        """The device is who it says it is: greet it and take what it has sent meanwhile."""
        hello = self.hello
        assert hello is not None
        policy = self._policy
        self.admission = admission
        self._builder = admission.builder
        self._limits = admission.limits
        self.committed = admission.committed
        self._expected = admission.committed + 1
        if admission.committed == I64_MAX:
            self.refuse(
                RefuseCode.SEQUENCE, "the device has used up its sequence numbers", sequence=I64_MAX
            )
            return
        self.phase = Phase.OPEN
        self._send(
            Welcome(
                server_ms=now_us // 1000,
                clock_offset_ms=now_us // 1000 - hello.clock_ms,
                resume_from=self._expected,
                window=policy.window,
                max_body=policy.max_body,
                ping_s=policy.ping_s,
                live_lease_s=admission.live_lease_s if hello.capabilities & _LIVE else 0,
                step_ms=admission.step_ms,
                samples=admission.samples,
            )
        )
        self._reader.max_body = policy.max_body
        self.receive(b"", now_us)

    def _take(self, now_us: int) -> None:
        """The hot path: every complete message of the reader."""
        limits = self._limits
        data_type = int(MessageType.DATA)
        for kind, body in self._reader:
            if kind != data_type:
                self._take_other(kind, body, now_us)
                if self.phase is Phase.CLOSED:
                    return
                continue
            try:
                sequence, start_ms, end_ms, _, values, _, finding = scan_data(body, limits)
            except ProtocolError as error:
                self._malformed(error, body, claimed_sequence(kind, body))
                return
            if sequence == self._expected and not self._waiting:
                self._expected = sequence + 1
            elif not self._in_turn(sequence, sequence):
                if self.phase is Phase.CLOSED:
                    return
                continue
            verdict, detail = 0, ""
            if finding is not None:
                verdict, detail = _CONTENT[finding.reason], str(finding)
            elif end_ms * 1000 > now_us + CLOCK_AHEAD_MS * 1000:
                verdict = Verdict.CLOCK_AHEAD
                detail = f"ends {end_ms - now_us // 1000} ms ahead of the server's clock"
            elif start_ms < OLDEST_START_MS or start_ms * 1000 < now_us - MAX_AGE_MS * 1000:
                verdict = Verdict.CLOCK_BEHIND
                detail = f"starts {now_us // 1000 - start_ms} ms behind the server's clock"
            if not self._pass_on(
                kind, body, sequence, now_us, start_ms, end_ms, values, verdict, detail
            ):
                return

    def _take_other(self, kind: int, body: bytes, now_us: int) -> None:
        if kind not in _DEFINED or (kind in FIRMWARE_FAMILY and not self._updates):
            self.refuse(RefuseCode.UNSUPPORTED, f"messages of type {kind:#04x} are not served here")
            return
        if kind not in DEVICE_MAY_SEND or kind == MessageType.HELLO:
            self.refuse(
                RefuseCode.UNEXPECTED, f"a device does not send {MessageType(kind).name} now"
            )
            return
        try:
            message = decode_message(kind, body)
        except ProtocolError as error:
            self._malformed(error, body, claimed_sequence(kind, body))
            return
        if kind in SEQUENCED:
            self._take_sequenced(kind, body, message, now_us)
        elif isinstance(message, Ping):
            # Generic cell rate algorithm (ITU-T I.371): when the last PING was due, had all come
            # evenly.
            self._ping_due_us = max(self._ping_due_us, now_us) + PING_EVERY_US
            if self._ping_due_us - now_us > PINGS_AT_ONCE * PING_EVERY_US:
                self.refuse(RefuseCode.RATE, "too many PINGs", retry_after_s=PINGS_AT_ONCE)
                return
            self._send(Pong(message.token, now_us // 1000))
            if message.next_sequence:
                self.produced = max(self.produced, message.next_sequence - 1)
            self.seen_due = True
        elif isinstance(message, Fetch):
            self._take_fetch(message, now_us)
        elif isinstance(message, Refuse):
            self._close(Closing(None, f"device_{message.name.replace(' ', '_')}", message.text))

    def _take_sequenced(self, kind: int, body: bytes, message: object, now_us: int) -> None:
        sequence: int = message.sequence  # type: ignore[attr-defined]  # every SEQUENCED message
        last = message.last if isinstance(message, Gap) else sequence
        if not self._in_turn(sequence, last):
            return
        if isinstance(message, Log):
            times = [line.time_ms for line in message.lines]
        else:
            times = [getattr(message, "time_ms", now_us // 1000)]
        self._pass_on(kind, body, sequence, now_us, min(times), max(times), 0, 0, "")

    @property
    def _updates(self) -> bool:
        """Whether the device has said that it takes firmware."""
        return self.hello is not None and Capability.FIRMWARE in self.hello.capabilities

    def _take_fetch(self, fetch: Fetch, now_us: int) -> None:
        if self.grants is None:
            self.grants = Grants()
        answer = self.grants.asked(fetch)
        if answer is None:
            return
        if self.grants.tolerates_refusal(now_us):
            self._send(answer)
        else:
            self.refuse(RefuseCode.RATE, "too many FETCHes that cannot be served", retry_after_s=30)

    def _in_turn(self, first: int, last: int) -> bool:
        """Whether a message that occupies `first` … `last` is taken; moves what is expected.

        What was sent before is taken once more: the writer counts it as a duplicate, and its ACK
        is repeated. What comes too early is not taken, and REWIND names what is missing.
        """
        expected = self._expected
        if first > expected:
            if not self._waiting:
                self._waiting = True
                self._skipped = 0
                self._send(Rewind(expected))
            self._skipped += 1
            if self._skipped > REWIND_PATIENCE * self._policy.window:
                self.refuse(
                    RefuseCode.SEQUENCE, f"{first} came, {expected} was asked for", sequence=first
                )
            return False
        if last >= expected:
            self._expected = last + 1
            self._waiting = False
        return True

    def _pass_on(
        self,
        kind: int,
        body: bytes,
        sequence: int,
        now_us: int,
        start_ms: int,
        end_ms: int,
        values: int,
        verdict: int,
        detail: str,
    ) -> bool:
        under_way = self.under_way
        if len(under_way) >= self._policy.window:
            self.refuse(
                RefuseCode.WINDOW,
                f"more than {self._policy.window} messages without ACK",
                sequence=sequence,
            )
            return False
        admission = self.admission
        assert admission is not None
        size = len(body)
        self._builder.add(
            admission.device_id, admission.tenant_id, self.number, sequence, now_us, start_ms,
            end_ms, values, kind, verdict, body, detail,
        )  # fmt: skip
        under_way.append((sequence, size))
        self.taken_bytes += size
        self.taken_messages += 1
        return True

    # --- What comes back ----------------------------------------------------------------------

    def commit(self, committed: int) -> int:
        """The database holds everything up to `committed`; the bytes that are no longer under way.

        The ACK is due even when nothing new is committed: a device that sends something again has
        not seen the first one.
        """
        if committed > self.committed:
            self.committed = committed
            if self._expected <= committed:
                self._expected = committed + 1
                self._waiting = False
        self.ack_due = True
        return release(self.under_way, committed)

    def rewind(self, committed: int, now: float) -> int:
        """The writer refused what came after a hole: ask for it again (`now` in seconds).

        Returns the bytes that are no longer under way.
        """
        hole, at = self._rewound
        if committed < self.committed or (hole == committed + 1 and now - at < REWIND_AGAIN_S):
            return 0
        self._rewound = (committed + 1, now)
        self._expected = committed + 1
        self._waiting = True
        self._skipped = 0
        self._send(Rewind(self._expected))
        freed = sum(size for _, size in self.under_way)
        self.under_way.clear()
        return freed

    def acknowledge(self) -> None:
        """Put the ACK of everything committed into `outgoing`, when one is due."""
        if self.ack_due and self.phase is Phase.OPEN:
            self.ack_due = False
            self.outgoing.append(seal(MessageType.ACK, uvarint(self.committed)))

    def send_down(self, message: bytes) -> bool:
        """Send a sealed message (COMMAND, LIVE, OFFER, WITHDRAW) to the device; False when it has
        not said that it understands such messages, or the message itself is malformed.

        An OFFER that passes lets the device fetch what it offers; a WITHDRAW ends that.
        """
        kind = message[1]
        wanted = _CAPABILITY.get(kind)
        if self.hello is None or (wanted is not None and not self.hello.capabilities & wanted):
            return False
        if kind in FIRMWARE_FAMILY and not self._grant(kind, message[HEAD_BYTES:-CHECKSUM_BYTES]):
            return False
        self.outgoing.append(message)
        return True

    def _grant(self, kind: int, body: bytes) -> bool:
        try:
            message = decode_message(kind, body)
        except ProtocolError:
            return False
        if self.grants is None:
            self.grants = Grants()
        if isinstance(message, Offer):
            void = self.grants.offered(message)
        elif isinstance(message, Withdraw):
            void = self.grants.withdrawn(message.update_id)
        else:
            return False
        for answer in void:
            self._send(answer)
        return True

    # --- The end ------------------------------------------------------------------------------

    def refuse(
        self, code: RefuseCode, text: str, *, retry_after_s: int = 0, sequence: int = 0
    ) -> None:
        """End the session with a REFUSE; nothing that comes afterwards is looked at."""
        refuse = Refuse(code, retry_after_s, sequence, text)
        self._close(Closing(refuse, code.name.lower(), text))

    def lost(self, text: str) -> None:
        """The connection is gone without a goodbye."""
        self._close(Closing(None, "lost", text))

    def _malformed(self, error: ProtocolError, evidence: bytes, sequence: int = 0) -> None:
        code = _REFUSE_CODES.get(type(error), RefuseCode.MALFORMED)
        refuse = Refuse(code, 0, sequence, f"{error.code}: {error}")
        self._close(Closing(refuse, error.code, str(error), evidence))

    def _close(self, closing: Closing) -> None:
        if self.phase is Phase.CLOSED:
            return
        self.acknowledge()
        self.phase = Phase.CLOSED
        self.closing = closing
        if closing.refuse is not None:
            self.outgoing.append(encode_message(closing.refuse))

    def _send(self, message: Message) -> None:
        if self.phase is Phase.OPEN:
            self.outgoing.append(encode_message(message))


def claimed_sequence(kind: int, body: bytes) -> int:
    """The sequence number at the head of a body that is otherwise malformed; 0 when it has none.

    The device learns by it which message to give up (GAP), instead of sending it for ever.
    """
    if kind not in SEQUENCED:
        return 0
    try:
        return read_sequence(body)[0]
    except ProtocolError:
        return 0


def release(under_way: deque[tuple[int, int]], committed: int) -> int:
    """Take what is committed from the left; its bytes."""
    freed = 0
    while under_way and under_way[0][0] <= committed:
        freed += under_way.popleft()[1]
    return freed
