"""Who is connected to this bridge, and what notices mean for them.

Connections report here what happens to them; notices of writers, other bridges and the portal are
carried out here. Everything runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from devices.ingest.authentication import Credential, CredentialCache, Refusal, state_refusal
from devices.ingest.limits import (
    LOG_LINES_BURST,
    LOG_LINES_EVERY_S,
    MALFORMED_PER_DEVICE,
    MALFORMED_PER_DEVICE_EVERY_S,
    BucketTable,
    ConnectionCounter,
    Flapping,
)
from devices.ingest.outflow import Event, Outflow
from devices.ingest.queue import (
    COMMITTED,
    EVERY_CONNECTION,
    EVICT,
    REWIND_FLAG,
    BridgeEvent,
    Verdict,
    decode_downlink,
    decode_live,
    decode_rows,
    encode_evict,
)
from devices.ingest.session import Policy, release
from devices.protocol.codes import RefuseCode
from devices.protocol.messages import Live, encode_message
from devices.protocol.varint import I64_MAX

if TYPE_CHECKING:
    from devices.ingest.admission import Gate
    from devices.ingest.connection import Connection
    from devices.ingest.transfers import Transfers

logger = logging.getLogger(__name__)

# What one connection may bring in one turn of the event loop: about 20 ms of work at most.
READ_BYTES: Final = 64 * 1024
# When a bridge stops or its queue was lost, its devices come back spread over this time: a second
# for so many connections, at least the minimum.
RECONNECTS_PER_S: Final = 200
MIN_SPREAD_S: Final = 2
# What a closed connection left under way is counted until it is committed, at most so long.
LINGER_S: Final = 600.0
# Bytes kept of what cannot be trusted.
MAX_EVIDENCE: Final = 4_096
# A device's PING moves its last-seen time at most this often.
SEEN_EVERY_S: Final = 30.0
# Connection numbers: 42 bits of ms (until 2109), 8 bits of count, 13 bits of the bridge.
TAG_BITS: Final = 13
_COUNT_BITS: Final = 8


@dataclass(slots=True)
class RosterCounters:
    """What became of connections and messages since the start."""

    welcomed: int = 0
    closed: int = 0
    messages: int = 0
    bytes: int = 0
    acks: int = 0
    rewinds: int = 0
    replaced: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Roster:
    """The connections of one bridge. `tag` (13 bits) is unique among the bridges that live."""

    def __init__(
        self,
        *,
        bridge: str,
        tag: int,
        policy: Policy,
        max_bytes_per_s: int | None,
        limits: ConnectionCounter,
        outflow: Outflow,
        cache: CredentialCache,
        gate: Gate,
        transfers: Transfers,
    ) -> None:
        self.bridge = bridge
        self.policy = policy
        self.max_bytes_per_s = max_bytes_per_s
        self.outflow = outflow
        self.gate = gate
        self.transfers = transfers
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.counters = RosterCounters()
        self.connections: set[Connection] = set()
        # Why nobody is read from: `under_way`, `redis`; empty in ordinary times.
        self.pauses: set[str] = set()
        self.stopping = False
        # Evictions to announce to the other bridges, and devices whose state is in doubt.
        self.evictions: list[bytes] = []
        # (True: its record changed, False: notices may have been lost).
        self.doubted: dict[int, bool] = {}
        self.errands = asyncio.Event()
        self._tag = tag
        self._limits = limits
        self._cache = cache
        self._by_device: dict[int, Connection] = {}
        # What closed connections left under way, by the number of the connection.
        self._lingering: dict[int, tuple[float, deque[tuple[int, int]]]] = {}
        self._due: list[Connection] = []
        self._flapping = Flapping()
        self._evidence = BucketTable(MALFORMED_PER_DEVICE, MALFORMED_PER_DEVICE_EVERY_S)
        self._log_lines = BucketTable(LOG_LINES_BURST, LOG_LINES_EVERY_S)
        self._suppressed: Counter[str] = Counter()
        self._last_number = 0
        self._empty = asyncio.Event()

    def number(self) -> int:
        """A number for a new connection, higher than all before it."""
        lowest = (time.time_ns() // 1_000_000) << _COUNT_BITS
        self._last_number = max(self._last_number + 1, lowest)
        return self._last_number << TAG_BITS | self._tag

    @property
    def devices(self) -> list[int]:
        """The devices that are connected."""
        return list(self._by_device)

    def spread_s(self) -> int:
        """Over how many seconds the devices of this bridge shall come back."""
        return max(MIN_SPREAD_S, len(self._by_device) // RECONNECTS_PER_S)

    def say(self, event: str, line: str) -> None:
        """Log an event that devices or strangers can cause at will: a few lines a second of each
        kind, the rest is counted."""
        if self._log_lines.take(event, time.monotonic()):
            more = self._suppressed.pop(event, 0)
            logger.info("%s %s%s", event, line, f" suppressed={more}" if more else "")
        else:
            self._suppressed[event] += 1

    # --- What connections report ----------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """TLS is established."""
        self.connections.add(connection)
        if self.stopping:
            connection.refuse(RefuseCode.CLOSING, "the bridge stops", spread_s=self.spread_s())
        elif self.pauses:
            connection.hold()

    def opening(self, connection: Connection, credential: Credential) -> None:
        """A device is let in: an older connection of it ends, here and at other bridges."""
        device_id = credential.device_id
        older = self._by_device.get(device_id)
        if older is not None:
            self._replace(older, device_id)
        self._by_device[device_id] = connection
        self._announce(device_id, connection.session.number)
        self.counters.welcomed += 1
        session, hello = connection.session, connection.hello
        now_ms = time.time_ns() // 1_000_000
        self._record(
            credential.device_id,
            credential.tenant_id,
            connection,
            BridgeEvent.CONNECTED,
            {
                "bridge": self.bridge,
                "tls": connection.tls,
                "firmware_version": hello.firmware,
                "hardware_revision": hello.hardware,
                # A device may say any number; the column has 63 bits.
                "boot_count": min(hello.boot_count, I64_MAX),
                "capabilities": int(hello.capabilities) & I64_MAX,
                # Of a firmware that tells which image runs (docs/protocol.md, HELLO).
                "image_sha256": hello.image.hex(),
                "clock_offset_ms": now_ms - hello.clock_ms,
                "produced": session.produced,
                "oldest": hello.oldest_sequence,
            },
        )

    def rejected(self, connection: Connection, credential: Credential, refusal: Refusal) -> None:
        """A device is sent away at the gate."""
        self._record(
            credential.device_id,
            credential.tenant_id,
            connection,
            BridgeEvent.REFUSED,
            {"code": refusal.code.name.lower(), "text": refusal.text},
        )

    def taken(self, connection: Connection) -> None:
        """Messages of the connection were added to its batch."""
        session = connection.session
        admission = session.admission
        assert admission is not None
        outflow = self.outflow
        outflow.under_way_bytes += session.taken_bytes
        self.counters.bytes += session.taken_bytes
        self.counters.messages += session.taken_messages
        session.messages += session.taken_messages
        session.taken_bytes = session.taken_messages = 0
        outflow.added(admission.device_id)
        if outflow.full and "under_way" not in self.pauses:
            logger.warning("bridge.full under_way_bytes=%d", outflow.under_way_bytes)
            self.hold("under_way")

    def seen(self, connection: Connection) -> None:
        """The device sent a PING."""
        admission = connection.session.admission
        now = time.monotonic()
        if admission is None or now - connection.seen_at < SEEN_EVERY_S:
            return
        connection.seen_at = now
        self._record(
            admission.device_id,
            admission.tenant_id,
            connection,
            BridgeEvent.SEEN,
            {"produced": connection.session.produced},
        )

    def finished(self, connection: Connection) -> None:
        """The session is closed; its goodbye is written or there is nobody to read it."""
        session, admission = connection.session, connection.session.admission
        closing = session.closing
        assert closing is not None
        self.transfers.forget(connection)
        if closing.refuse is not None:
            self.counters.refused[closing.code] += 1
        self.say(
            "connection.closed" if closing.refuse is None else "connection.refused",
            f"connection={session.number} address={connection.address}"
            f" device={admission.device_id if admission else None} code={closing.code}"
            f" messages={session.messages} text={closing.text!r}",
        )
        if admission is None:
            return
        self.counters.closed += 1
        device_id, tenant_id = admission.device_id, admission.tenant_id
        if self._by_device.get(device_id) is connection:
            del self._by_device[device_id]
        if session.under_way:
            self._lingering[session.number] = (time.monotonic() + LINGER_S, session.under_way)
        if closing.evidence and self._evidence.take(str(device_id), time.monotonic()):
            now_us = time.time_ns() // 1000
            admission.builder.add(
                device_id, tenant_id, session.number, 0, now_us, now_us // 1000, now_us // 1000,
                0, 0, Verdict.MALFORMED, closing.evidence[:MAX_EVIDENCE],
                f"{closing.code}: {closing.text}",
            )  # fmt: skip
            self.outflow.added(device_id)
        self._record(
            device_id,
            tenant_id,
            connection,
            BridgeEvent.DISCONNECTED,
            {
                "code": closing.code,
                "text": closing.text,
                "refused": closing.refuse is not None,
                "messages": session.messages,
            },
        )

    def disconnected(self, connection: Connection) -> None:
        """The transport is gone."""
        self.connections.discard(connection)
        self._limits.leave(connection.address)

        if not self.connections:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Return once the last connection is gone."""
        if self.connections:
            self._empty.clear()
            await self._empty.wait()

    def _record(
        self,
        device_id: int,
        tenant_id: int,
        connection: Connection,
        kind: str,
        data: dict[str, Any],
    ) -> None:
        self.outflow.event(
            Event(
                device_id,
                tenant_id,
                connection.session.number,
                time.time_ns() // 1000,
                kind,
                {
                    **{name: _storable(value) for name, value in data.items()},
                    "address": connection.address,
                },
            )
        )

    # --- Notices --------------------------------------------------------------------------------

    def on_committed(self, payload: bytes) -> None:
        """A writer committed messages of devices of this bridge."""
        freed = 0
        now = time.monotonic()
        due = self._due
        for device_id, number, committed, flags in decode_rows(payload, COMMITTED).tolist():
            connection = self._by_device.get(device_id)
            if connection is not None:
                session = connection.session
                if not session.ack_due:
                    due.append(connection)
                freed += session.commit(committed)
                if flags & REWIND_FLAG and number == session.number:
                    freed += session.rewind(committed, now)
                    self.counters.rewinds += 1
            if number in self._lingering:
                left = self._lingering[number][1]
                freed += release(left, committed)
                if not left or flags & REWIND_FLAG:
                    freed += sum(size for _, size in left)
                    del self._lingering[number]
        if due:
            asyncio.get_running_loop().call_soon(self._acknowledge)
        self._freed(freed)

    def _acknowledge(self) -> None:
        # Once for all notices of this turn of the event loop: acks are cumulative.
        due, self._due = self._due, []
        for connection in due:
            connection.acknowledge()
        self.counters.acks += len(due)

    def _freed(self, size: int) -> None:
        outflow = self.outflow
        outflow.under_way_bytes -= size
        if "under_way" in self.pauses and outflow.half_empty:
            self.release("under_way")

    def on_evict(self, payload: bytes) -> None:
        """A device has a newer connection somewhere, or something about it changed."""
        for device_id, number in decode_rows(payload, EVICT).tolist():
            connection = self._by_device.get(device_id)
            if number == EVERY_CONNECTION:
                self._cache.evict(device_id)
                if connection is not None:
                    self.doubted[device_id] = True
                    self.errands.set()
            elif connection is not None and connection.session.number < number:
                self._replace(connection, device_id)

    def on_downlink(self, payload: bytes) -> None:
        """A message for a device, which may be connected here."""
        device_id, message = decode_downlink(payload)
        connection = self._by_device.get(device_id)
        if connection is not None and not connection.send_down(message):
            self.say("downlink.unsupported", f"device={device_id} type={message[1:2].hex()}")

    def on_live(self, payload: bytes) -> None:
        """Live leases of devices, some of which may be connected here."""
        lease_s, device_ids = decode_live(payload)
        for device_id in device_ids:
            connection = self._by_device.get(device_id)
            if connection is not None:
                connection.send_down(encode_message(Live(lease_s)))

    def _replace(self, connection: Connection, device_id: int) -> None:
        self.counters.replaced += 1
        connection.refuse(
            RefuseCode.REPLACED,
            "the device has a newer connection",
            retry_after_s=self._flapping.retry_after_s(device_id, time.monotonic()),
        )

    def _announce(self, device_id: int, number: int) -> None:
        self.evictions.append(encode_evict(device_id, number))
        self.errands.set()

    # --- After a doubt --------------------------------------------------------------------------

    def doubt_everything(self) -> None:
        """Notices may have been lost: revoked and replaced devices must be found again."""
        self._cache.clear()
        self.doubted = {**dict.fromkeys(self._by_device, False), **self.doubted}
        for device_id, connection in self._by_device.items():
            self._announce(device_id, connection.session.number)
        self.errands.set()

    def judge(self, states: Mapping[int, str], doubted: Mapping[int, bool]) -> None:
        """The states of devices that were in doubt: who is not active goes for long. One that is
        active and whose record changed comes back at once: it has to prove itself anew, maybe with
        another secret, and its channels may be others."""
        for device_id, state in states.items():
            connection = self._by_device.get(device_id)
            if connection is None:
                continue
            refusal = state_refusal(state)
            if refusal is not None:
                connection.refuse(refusal.code, refusal.text, retry_after_s=refusal.retry_after_s)
            elif doubted[device_id]:
                connection.refuse(RefuseCode.AGAIN, "the record of the device has changed")

    def send_again(self) -> None:
        """The queue was lost: nothing of what is under way can be relied on. Those devices whose
        messages it held come back and send them again."""
        self._lingering.clear()
        for connection in list(self._by_device.values()):
            if connection.session.under_way:
                connection.session.under_way.clear()
                connection.refuse(RefuseCode.AGAIN, "the queue was lost", spread_s=self.spread_s())
        self.outflow.under_way_bytes = 0
        self._freed(0)

    # --- Back-pressure, once a second -------------------------------------------------------------

    def hold(self, reason: str) -> None:
        """Read from nobody for one more reason."""
        if not self.pauses:
            for connection in self.connections:
                connection.hold()
        self.pauses.add(reason)

    def release(self, reason: str) -> None:
        """A reason is gone; reading goes on when it was the last one."""
        if reason in self.pauses:
            self.pauses.discard(reason)
            if not self.pauses:
                for connection in list(self.connections):
                    connection.unhold()

    def check(self, connections: Iterable[Connection], now: float) -> None:
        """Time-outs of connections, and of what closed ones left behind."""
        for connection in connections:
            connection.check(now)
        for number in [n for n, (deadline, _) in self._lingering.items() if deadline < now]:
            _, left = self._lingering.pop(number)
            self._freed(sum(size for _, size in left))

    def send_everybody_away(self) -> None:
        """The bridge stops."""
        self.stopping = True
        spread_s = self.spread_s()
        for connection in list(self.connections):
            connection.refuse(RefuseCode.CLOSING, "the bridge stops", spread_s=spread_s)


def _storable(value: Any) -> Any:
    """What a device says of itself may hold U+0000, which PostgreSQL stores in no text."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
