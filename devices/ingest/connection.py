"""One TLS connection of the bridge: moves bytes between the transport and the session.

All connections read into one buffer: the event loop asks for it and hands it back filled in one
step, so 10 000 idle devices hold no read buffers.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from enum import IntFlag
from typing import TYPE_CHECKING, Final, cast

from devices.ingest.authentication import Credential, Refusal
from devices.ingest.session import Admission, Phase, Session
from devices.ingest.tls import fingerprint
from devices.protocol.codes import RefuseCode
from devices.protocol.messages import Hello

if TYPE_CHECKING:
    from devices.ingest.roster import Roster

# A peer that does not read: beyond this much it is not read from either, and after SLOW_S the
# connection ends. Acks are cumulative, so a slow link needs little.
WRITE_HIGH_BYTES: Final = 32 * 1024
# What the kernel may hold for a connection that does not read.
SEND_BUFFER_BYTES: Final = 64 * 1024
# Messages down (commands, leases) that may wait for a slow link; beyond, the connection ends.
MAX_WAITING_BYTES: Final = 128 * 1024
SLOW_S: Final = 15.0
HELLO_S: Final = 10.0
# A device pings after `Policy.ping_s` of silence; so many missed pings and it is gone.
MISSED_PINGS: Final = 3


class Pause(IntFlag):
    """Why a connection is not read from."""

    BRIDGE = 1  # too much is under way, or Redis does not take messages
    ADMISSION = 2  # the device is being looked up
    SLOW = 4  # the peer does not read what we write
    RATE = 8  # it sent more bytes than it may


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one accepted connection."""

    def __init__(self, roster: Roster, address: str) -> None:
        self._roster = roster
        self.address = address
        self.session = Session(roster.number(), roster.policy)
        self.certificate_sha256: bytes | None = None
        self._transport: asyncio.Transport | None = None
        self._pauses = Pause(0)
        self._asked = False
        self._finished = False
        self._budget = roster.max_bytes_per_s
        self.opened_at = self.read_at = time.monotonic()
        self._slow_since = 0.0
        self.tls = ""
        # TLS was established: from then on the connection counts as one until `connection_lost`.
        self.established = False
        # When the device's last-seen time was moved last.
        self.seen_at = -math.inf

    # --- asyncio's side -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is established."""
        self.established = True
        # uvloop's TLS transport is a transport in all but its base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        ssl_object = transport.get_extra_info("ssl_object")
        self.certificate_sha256 = fingerprint(ssl_object)
        if ssl_object is not None:
            resumed = "resumed" if ssl_object.session_reused else "full"
            self.tls = f"{ssl_object.version()} {resumed}"
        self.opened_at = self.read_at = time.monotonic()
        self._roster.connected(self)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The shared buffer; it is handed back by `buffer_updated` before anybody else asks."""
        return self._roster.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """`nbytes` were read into the buffer."""
        self.read_at = time.monotonic()
        self.session.receive(bytes(self._roster.read_buffer[:nbytes]), time.time_ns() // 1000)
        if self._budget is not None:
            self._budget -= nbytes
            if self._budget <= 0:
                self.pause(Pause.RATE)
        self.attend()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._slow_since = time.monotonic()
        self.pause(Pause.SLOW)

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._slow_since = 0.0
        self.resume(Pause.SLOW)
        self.acknowledge()

    def eof_received(self) -> None:
        """The peer sends no more: the transport closes."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is over, for whatever reason."""
        self.session.lost(f"connection lost ({error})" if error else "closed by the device")
        self.attend()
        self._roster.disconnected(self)
        # Without this circle a closed connection is gone at once, and no collector has to find it.
        self._transport = None

    # --- Work ---------------------------------------------------------------------------------

    def attend(self) -> None:
        """Do what the session asks for after anything happened to it."""
        session = self.session
        if session.taken_bytes:
            self._roster.taken(self)
        if session.phase is Phase.ADMISSION and not self._asked:
            self._asked = True
            self.pause(Pause.ADMISSION)
            self._roster.gate.apply(self)
            return
        if session.seen_due:
            session.seen_due = False
            self._roster.seen(self)
        if session.outgoing:
            self._write()
        if session.grants is not None and session.grants.requests:
            self._roster.transfers.want(self)
        if session.closing is not None and not self._finished:
            self._finish()

    def acknowledge(self) -> None:
        """Send the ACK that is due, unless the peer is slow: then it goes once it has caught up."""
        if not self._slow_since:
            self.session.acknowledge()
            self.attend()

    def send_down(self, message: bytes) -> bool:
        """Send a sealed message; False when the device does not understand such messages."""
        understood = self.session.send_down(message)
        self.attend()
        return understood

    @property
    def drained(self) -> bool:
        """Whether the socket has taken all that was written: then it may have a chunk."""
        transport = self._transport
        return (
            transport is not None
            and not self._slow_since
            and not self.session.outgoing
            and transport.get_write_buffer_size() == 0
        )

    def send_chunk(self, message: bytes) -> None:
        """Send a sealed CHUNK."""
        self.session.outgoing.append(message)
        self._write()

    def _write(self) -> None:
        session, transport = self.session, self._transport
        if transport is None or transport.is_closing():
            session.outgoing.clear()
            return
        if self._slow_since and not session.closing:
            if sum(map(len, session.outgoing)) > MAX_WAITING_BYTES:
                session.outgoing.clear()
                self.refuse(RefuseCode.SLOW, "the device does not read what is sent to it")
            return
        outgoing = session.outgoing
        transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
        outgoing.clear()

    def _finish(self) -> None:
        self._finished = True
        self._roster.finished(self)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._slow_since:
            transport.abort()
        else:
            # The goodbye is written; a paused transport would not see the peer's answer to it.
            self.resume(~Pause(0))
            transport.close()

    def refuse(
        self, code: RefuseCode, text: str, *, retry_after_s: int = 0, spread_s: int = 0
    ) -> None:
        """End the connection with a REFUSE.

        The device is to come back after `retry_after_s` and up to a half more, or at any time
        within `spread_s`: devices that left together do not come back together.
        """
        if spread_s:
            after_s = random.randint(1, spread_s)  # noqa: S311
        else:
            after_s = round(retry_after_s * random.uniform(1.0, 1.5))  # noqa: S311
        self.session.refuse(code, text, retry_after_s=after_s)
        self.attend()

    def check(self, now: float) -> None:
        """What is due once a second: time-outs, and the allowance of bytes."""
        session = self.session
        if session.phase is Phase.GREETING:
            if not self._pauses and now - self.opened_at > HELLO_S:
                self.refuse(RefuseCode.HELLO_TIMEOUT, f"no HELLO within {HELLO_S:.0f} s")
        elif self._slow_since and now - self._slow_since > SLOW_S:
            self.refuse(RefuseCode.SLOW, "the device does not read what is sent to it")
        elif (
            session.phase is Phase.OPEN
            and not self._pauses
            and now - self.read_at > MISSED_PINGS * self._roster.policy.ping_s
        ):
            self.refuse(RefuseCode.IDLE, "nothing was heard of the device for too long")
        allowance = self._roster.max_bytes_per_s
        if self._budget is not None and allowance is not None:
            self._budget = min(allowance, self._budget + allowance)
            if self._budget > 0:
                self.resume(Pause.RATE)

    def hold(self) -> None:
        """The bridge reads from nobody."""
        self.pause(Pause.BRIDGE)

    def unhold(self) -> None:
        """The bridge reads again."""
        self.resume(Pause.BRIDGE)

    def pause(self, reason: Pause) -> None:
        """Stop reading for one more reason."""
        if not self._pauses and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._pauses |= reason

    def resume(self, reason: Pause) -> None:
        """A reason to stop reading is gone; reading goes on when it was the last one."""
        if not self._pauses:
            return
        self._pauses &= ~reason
        if not self._pauses:
            # What could not be heard while paused does not count as silence.
            self.read_at = self.opened_at = time.monotonic()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    # --- The gate's side ----------------------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """What the device said of itself."""
        assert self.session.hello is not None
        return self.session.hello

    @property
    def gone(self) -> bool:
        """Whether the connection was closed meanwhile."""
        return self.session.phase is Phase.CLOSED

    def accept(self, credential: Credential, committed: int, live_lease_s: int) -> None:
        """The device may come in."""
        self._roster.opening(self, credential)
        admission = Admission(
            device_id=credential.device_id,
            tenant_id=credential.tenant_id,
            limits=credential.limits,
            committed=committed,
            step_ms=credential.step_ms,
            samples=credential.samples,
            live_lease_s=live_lease_s,
            builder=self._roster.outflow.builder(credential.device_id),
        )
        self.session.open(admission, time.time_ns() // 1000)
        self.resume(Pause.ADMISSION)
        self.attend()

    def reject(self, refusal: Refusal, credential: Credential | None, *, record: bool) -> None:
        """The device is sent away."""
        if record and credential is not None:
            self._roster.rejected(self, credential, refusal)
        self.refuse(refusal.code, refusal.text, retry_after_s=refusal.retry_after_s)
