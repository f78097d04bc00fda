"""The bridge with real TLS, Redis and PostgreSQL: every answer that docs/protocol.md defines."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from redis import Redis

from devices.ingest import connection as connection_module
from devices.ingest import heartbeat, queue
from devices.ingest.authentication import _NOBODY
from devices.ingest.bridge import Bridge, BridgeError
from devices.ingest.limits import FAILURES_PER_ADDRESS, FAILURES_PER_SERIAL
from devices.ingest.queue import BRIDGE_EVENT, BridgeEvent, Verdict
from devices.ingest.session import PINGS_AT_ONCE, Policy
from devices.ingest.tls import CertificateError
from devices.ingest.writer import Writer
from devices.protocol import (
    Ack,
    Capability,
    Command,
    Event,
    Gap,
    Live,
    Log,
    LogLine,
    MessageType,
    Ping,
    Pong,
    RawMessage,
    Refuse,
    RefuseCode,
    Result,
    Rewind,
    Welcome,
    encode_message,
    seal,
)
from devices.protocol.varint import uvarint
from devices.tests.bridge_devices import (
    WAIT_S,
    RawDevice,
    RunningBridge,
    Servers,
    bridge_options,
    damaged,
    fingerprint_of,
    frame,
    hello,
)
from devices.tests.device_server import make_certificate
from devices.tests.ingest_park import Owner, ParkDevice, imbalances, make_park, rows

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

Bridges = Callable[..., RunningBridge]
Certificate = tuple[Path, Path]


@pytest.fixture
def park(owner: Owner) -> list[ParkDevice]:
    return make_park(owner, 2)


@pytest.fixture
def device(park: list[ParkDevice]) -> ParkDevice:
    return park[0]


@pytest.fixture
def connect(bridges: Bridges, certificate: Certificate) -> Callable[[RunningBridge], RawDevice]:
    return lambda bridge: RawDevice(bridge.port, certificate[0])


class Queue:
    """What the bridges have put into the queue; commits as a writer would, when a test says so."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def messages(self, device: ParkDevice) -> list[dict[str, Any]]:
        """Envelope, body and detail of each message of a device, in order."""
        found = []
        entries: Any = self._redis.xrange(queue.stream_key(queue.partition_of(device.device_id)))
        for _, fields in entries:
            batch = queue.decode_batch(fields)
            for index, envelope in enumerate(batch.envelopes):
                if envelope["device_id"] == device.device_id:
                    row = {name: envelope[name].item() for name in queue.ENVELOPE.names or ()}
                    detail = batch.details.get(index, "")
                    found.append(
                        row | {"body": batch.body(index), "detail": detail, "bridge": batch.bridge}
                    )
        return found

    def uplink(self, device: ParkDevice, count: int) -> list[dict[str, Any]]:
        """The messages of a device once there are `count` of them, without the bridge's events."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = [row for row in self.messages(device) if row["kind"] != BRIDGE_EVENT]
            if len(found) >= count:
                assert len(found) == count, found
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.01)

    def events(self, device: ParkDevice, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The bridge's events about a device once there are `count` of them."""
        deadline = time.monotonic() + WAIT_S
        while True:
            found = [
                queue.decode_event(row["body"])
                for row in self.messages(device)
                if row["kind"] == BRIDGE_EVENT
            ]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.01)

    def commit(self, row: dict[str, Any], committed: int, flags: int = 0) -> None:
        """Tell the bridge of a message what is committed."""
        notice = np.array(
            [(row["device_id"], row["connection"], committed, flags)], queue.COMMITTED
        )
        self._redis.publish(queue.committed_channel(row["bridge"]), notice.tobytes())


@pytest.fixture
def ingest(redis: Redis) -> Queue:
    return Queue(redis)


# --- Greeting -------------------------------------------------------------------------------------


def test_a_known_device_is_welcomed_where_the_database_ends(
    bridges: Bridges, certificate: Certificate, owner: Owner, device: ParkDevice, ingest: Queue
) -> None:
    owner.execute(
        "UPDATE device_cursor SET committed = 41 WHERE device_id = %s", [device.device_id]
    )
    bridge = bridges(policy=Policy(window=9, max_body=3_000, ping_s=30))
    clock_ms = round(time.time() * 1000) - 3_600_000
    with RawDevice(bridge.port, certificate[0]) as raw:
        welcome = raw.join(device, clock_ms=clock_ms, next_sequence=50, oldest_sequence=42)
    assert welcome == Welcome(
        server_ms=welcome.server_ms,
        clock_offset_ms=welcome.server_ms - clock_ms,
        resume_from=42,
        window=9,
        max_body=3_000,
        ping_s=30,
        live_lease_s=0,
        step_ms=2_000,
        samples=30,
    )
    (kind, connected), (end, disconnected) = ingest.events(device, 2)
    assert (kind, end) == (BridgeEvent.CONNECTED, BridgeEvent.DISCONNECTED)
    assert connected["firmware_version"] == "1.2.3"
    itself = ("hardware_revision", "boot_count", "capabilities", "image_sha256")
    assert [connected[name] for name in itself] == ["r1", 7, 3, ""]
    assert connected["produced"] == 49
    assert connected["clock_offset_ms"] == pytest.approx(3_600_000, abs=60_000)
    assert connected["tls"] == "TLSv1.3 full"
    assert disconnected["code"] == "lost"


def test_a_watched_device_is_welcomed_with_the_rest_of_its_lease(
    bridges: Bridges, certificate: Certificate, redis: Redis, park: list[ParkDevice]
) -> None:
    bridge = bridges()
    redis.zadd(
        queue.INTEREST_KEY,
        {str(park[0].device_id): time.time() + 25, str(park[1].device_id): time.time() - 5},
    )
    with RawDevice(bridge.port, certificate[0]) as raw:
        assert 1 <= raw.join(park[0]).live_lease_s <= 25
    with RawDevice(bridge.port, certificate[0]) as raw:
        assert raw.join(park[1]).live_lease_s == 0


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("planned", RefuseCode.NOT_ACTIVE),
        ("suspended", RefuseCode.SUSPENDED),
        ("revoked", RefuseCode.REVOKED),
    ],
)
def test_a_device_that_is_not_active_is_refused_by_its_state(
    state: str,
    code: RefuseCode,
    bridges: Bridges,
    certificate: Certificate,
    owner: Owner,
    device: ParkDevice,
    ingest: Queue,
) -> None:
    owner.execute("UPDATE devices_device SET state = %s WHERE id = %s", [state, device.device_id])
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.send(hello(device))
        refuse = raw.refused()
    assert refuse.code == code
    assert refuse.retry_after_s >= 300
    ((kind, data),) = ingest.events(device, 1)
    assert (kind, data["code"]) == (BridgeEvent.REFUSED, code.name.lower())


def test_an_unknown_serial_and_a_wrong_secret_get_the_same_answer(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    answers = []
    for changes in ({"serial": "nobody"}, {"secret": bytes(32)}, {"secret": _NOBODY[:16]}):
        with RawDevice(bridge.port, certificate[0]) as raw:
            raw.send(hello(device, **changes))
            answers.append(raw.refused())
    assert {(answer.code, answer.text) for answer in answers} == {
        (RefuseCode.CREDENTIALS, "serial and secret do not belong together")
    }
    assert all(3_600 <= answer.retry_after_s <= 5_400 for answer in answers)
    # The two failures with the real serial are in its history, the unknown one is nobody's.
    assert [data["code"] for _, data in ingest.events(device, 2)] == ["credentials"] * 2


def test_texts_that_no_database_stores_harm_nobody(
    bridges: Bridges, certificate: Certificate, park: list[ParkDevice], ingest: Queue
) -> None:
    bridge = bridges()
    with (
        RawDevice(bridge.port, certificate[0]) as hostile,
        RawDevice(bridge.port, certificate[0]) as honest,
    ):
        # Looked up in the same round, most likely.
        hostile.send(hello(park[0], serial="nobody\0"))
        honest.send(hello(park[1], firmware="1\x002"))
        assert hostile.refused().code == RefuseCode.CREDENTIALS
        assert isinstance(honest.receive(), Welcome)
    assert ingest.events(park[1], 1)[0][1]["firmware_version"] == "1\N{REPLACEMENT CHARACTER}2"


def test_a_device_of_another_type_is_refused(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.send(hello(device, device_type="toaster"))
        assert raw.refused().code == RefuseCode.DEVICE_TYPE


def test_a_device_that_speaks_another_version_is_refused(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.send(hello(device, min_version=2, max_version=3))
        assert raw.refused().code == RefuseCode.VERSION


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (Ping(1), RefuseCode.UNEXPECTED),
        (frame(1), RefuseCode.UNEXPECTED),
        (RawMessage(MessageType.HELLO, b"\x01"), RefuseCode.MALFORMED),
        (b"\x01\x01\xff\xff", RefuseCode.TOO_LONG),
        (b"GET / HTTP/1.1\r\n\r\n", RefuseCode.VERSION),
        (damaged(Ping(1)), RefuseCode.CHECKSUM),
    ],
)
def test_a_connection_that_does_not_begin_with_hello_is_refused(
    first: Any, code: RefuseCode, bridges: Bridges, certificate: Certificate
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.send(first)
        assert raw.refused().code == code


def test_silence_before_hello_is_refused(
    bridges: Bridges, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "HELLO_S", 0.5)
    with RawDevice(bridges().port, certificate[0]) as raw:
        assert raw.refused().code == RefuseCode.HELLO_TIMEOUT


def test_failures_are_limited_by_serial_without_locking_the_device_out(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    codes = []
    for _ in range(FAILURES_PER_SERIAL + 2):
        with RawDevice(bridge.port, certificate[0]) as raw:
            raw.send(hello(device, secret=bytes(32)))
            refuse = raw.refused()
            codes.append(refuse.code)
    assert codes == [RefuseCode.CREDENTIALS] * FAILURES_PER_SERIAL + [RefuseCode.RATE] * 2
    assert refuse.retry_after_s > 0
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
    # The history holds the first failures, not the flood.
    refused = [kind for kind, _ in ingest.events(device, FAILURES_PER_SERIAL + 1)]
    assert refused.count(BridgeEvent.REFUSED) == FAILURES_PER_SERIAL


def test_failures_are_limited_by_address(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    bridge = bridges()
    codes = []
    for number in range(FAILURES_PER_ADDRESS + 1):
        with RawDevice(bridge.port, certificate[0]) as raw:
            raw.send(hello(device, serial=f"nobody-{number}"))
            codes.append(raw.refused().code)
    assert codes[0] == RefuseCode.CREDENTIALS
    assert codes[-1] == RefuseCode.RATE
    # Not even the right secret is looked at: guessing from this address is over.
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.send(hello(device))
        assert raw.refused().code == RefuseCode.RATE


def test_a_refusal_does_not_outlive_its_reason(
    bridges: Bridges, certificate: Certificate, owner: Owner, redis: Redis, device: ParkDevice
) -> None:
    bridge = bridges()
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
    owner.execute("UPDATE devices_device SET state = 'suspended' WHERE id = %s", [device.device_id])
    redis.publish(queue.EVICT_CHANNEL, queue.encode_evict(device.device_id))
    _until(lambda: _code(bridge, certificate, device) == RefuseCode.SUSPENDED)
    owner.execute("UPDATE devices_device SET state = 'active' WHERE id = %s", [device.device_id])
    # Without a notice: who is refused was looked up within the last seconds.
    _until(lambda: _code(bridge, certificate, device) is None)


def _code(bridge: RunningBridge, certificate: Certificate, device: ParkDevice) -> int | None:
    with RawDevice(bridge.port, certificate[0]) as raw:
        answer = raw.greet(device)
        return None if isinstance(answer, Welcome) else getattr(answer, "code", -1)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- Messages -------------------------------------------------------------------------------------


def test_messages_reach_the_queue_in_order_with_their_envelopes(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    now_ms = round(time.time() * 1000)
    data = frame(1, start_ms=now_ms - 60_000)
    messages: list[Any] = [
        data,
        Log(2, (LogLine(now_ms - 10, 3, "late"), LogLine(now_ms - 20, 2, "early"))),
        Event(3, now_ms - 5, "relay.opened", {"relay": 1}),
        Result(4, bytes(16), now_ms - 4, 0, "done"),
        Gap(5, 7, 1),
        frame(8),
    ]
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(*messages)
        found = ingest.uplink(device, 6)
    assert [row["sequence"] for row in found] == [1, 2, 3, 4, 5, 8]
    assert [row["body"] for row in found] == [message.body() for message in messages]
    assert [row["kind"] for row in found] == [0x10, 0x20, 0x21, 0x22, 0x11, 0x10]
    assert {row["verdict"] for row in found} == {Verdict.SOUND}
    assert {row["tenant_id"] for row in found} == {device.tenant_id}
    assert len({row["connection"] for row in found}) == 1
    first, log, event = found[:3]
    assert (first["start_ms"], first["end_ms"]) == (now_ms - 60_000, now_ms - 52_000)
    assert first["values"] == 15
    assert (log["start_ms"], log["end_ms"]) == (now_ms - 20, now_ms - 10)
    assert event["start_ms"] == event["end_ms"] == now_ms - 5
    assert 0 <= first["received_us"] // 1000 - now_ms < WAIT_S * 1000


def test_only_what_is_committed_is_acknowledged(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(frame(1), frame(2), frame(3))
        found = ingest.uplink(device, 3)
        raw.send(Ping(77))
        assert isinstance(raw.receive(), Pong)  # nothing is committed, so no ACK came before
        ingest.commit(found[0], 2)
        assert raw.receive() == Ack(2)
        ingest.commit(found[0], 3)
        assert raw.receive() == Ack(3)
    assert bridge.wait(lambda now: now["devices"] == 0)["under_way_bytes"] == 0


def test_what_was_sent_before_is_passed_on_and_acknowledged_again(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(frame(1), frame(2), frame(1), frame(3))
        found = ingest.uplink(device, 4)
        assert [row["sequence"] for row in found] == [1, 2, 1, 3]
        ingest.commit(found[0], 3)
        assert raw.receive() == Ack(3)
        raw.send(frame(2))
        ingest.commit(ingest.uplink(device, 5)[4], 3)
        assert raw.receive() == Ack(3)


def test_a_skipped_sequence_is_rewound_and_nothing_is_taken_meanwhile(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(frame(1), frame(3), frame(4), frame(5))
        assert raw.receive() == Rewind(2)
        raw.send(frame(2), frame(3), frame(6), frame(4))
        assert raw.receive() == Rewind(4)  # one REWIND for each time it is asked
        assert [row["sequence"] for row in ingest.uplink(device, 4)] == [1, 2, 3, 4]


def test_a_device_that_does_not_listen_to_rewind_is_refused(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges(policy=Policy(window=4)).port, certificate[0]) as raw:
        raw.join(device)
        raw.send(*(frame(sequence) for sequence in range(2, 20)))
        assert raw.receive() == Rewind(1)
        refuse = raw.refused()
        assert (refuse.code, refuse.sequence) == (RefuseCode.SEQUENCE, 10)


def test_a_gap_moves_over_its_range(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges(policy=Policy(window=4)).port, certificate[0]) as raw:
        raw.join(device)
        raw.send(Gap(1, 1_000_000, 1), frame(1_000_001), Gap(1_000_001, 1_000_003, 4))
        raw.send(frame(1_000_004), Gap(1_000_006, 1_000_007))
        assert raw.receive() == Rewind(1_000_005)
        found = ingest.uplink(device, 4)
        assert [row["sequence"] for row in found] == [1, 1_000_001, 1_000_001, 1_000_004]


def test_a_gap_beyond_belief_is_malformed(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    last = (1 << 63) - 1
    body = uvarint(1) + uvarint(last) + b"\x01"
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(seal(MessageType.GAP, body))
        refuse = raw.refused()
    assert (refuse.code, refuse.sequence) == (RefuseCode.MALFORMED, 1)
    (evidence,) = ingest.uplink(device, 1)
    assert (evidence["sequence"], evidence["body"]) == (0, body)


def test_a_device_without_numbers_left_is_refused_and_harms_nobody(
    bridges: Bridges, certificate: Certificate, owner: Owner, device: ParkDevice
) -> None:
    (other,) = make_park(owner, 1)
    last = (1 << 63) - 1
    owner.execute(
        "UPDATE device_cursor SET committed = %s WHERE device_id = %s", [last, device.device_id]
    )
    port = bridges().port
    with RawDevice(port, certificate[0]) as raw:
        refuse = raw.greet(device)
        assert isinstance(refuse, Refuse)
        assert (refuse.code, refuse.sequence) == (RefuseCode.SEQUENCE, last)
    with RawDevice(port, certificate[0]) as raw:
        raw.join(other)


def test_a_device_beyond_its_window_is_refused(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges(policy=Policy(window=4))
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(*(frame(sequence) for sequence in range(1, 5)))
        ingest.commit(ingest.uplink(device, 4)[0], 2)
        assert raw.receive() == Ack(2)
        raw.send(*(frame(sequence) for sequence in range(5, 8)))
        refuse = raw.refused()
    assert (refuse.code, refuse.sequence) == (RefuseCode.WINDOW, 7)
    found = ingest.uplink(device, 6)
    # What was taken before goes its way and stays counted until it is committed.
    assert bridge.counters()["under_way_bytes"] == sum(row["length"] for row in found[2:])
    ingest.commit(found[0], 6)
    bridge.wait(lambda now: now["under_way_bytes"] == 0)


def test_the_writer_s_hole_is_rewound_once(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(*(frame(sequence) for sequence in range(1, 6)))
        found = ingest.uplink(device, 5)
        for _ in range(3):
            ingest.commit(found[0], 2, queue.REWIND_FLAG)
        assert raw.receive() == Rewind(3)
        raw.send(frame(6))  # was under way before the device heard of it
        raw.send(frame(3), frame(4), Ping(5))
        answers = [raw.receive() for _ in range(2)]
        assert Rewind(3) not in answers
        assert [row["sequence"] for row in ingest.uplink(device, 7)[5:]] == [3, 4]
        ingest.commit(found[0], 4)
        _until(lambda: raw.receive() == Ack(4))


@pytest.mark.parametrize(
    ("build", "verdict", "detail"),
    [
        (lambda now: frame(1, channels=4), Verdict.UNKNOWN_CHANNEL, "channel 3"),
        (lambda now: frame(1, value=10_000_000), Verdict.LIMIT, "channel 0: 10000004"),
        (lambda now: frame(1, value=-10_000_001), Verdict.LIMIT, "-10000001"),
        (lambda now: frame(1, start_ms=now + 360_000), Verdict.CLOCK_AHEAD, "ahead"),
        (lambda now: frame(1, start_ms=1_577_836_799_999), Verdict.CLOCK_BEHIND, "behind"),
        (lambda now: frame(1, start_ms=now - 401 * 86_400_000), Verdict.CLOCK_BEHIND, "behind"),
        (lambda now: frame(1, start_ms=now + 200_000), Verdict.SOUND, ""),
        (lambda now: frame(1, start_ms=now - 399 * 86_400_000), Verdict.SOUND, ""),
    ],
)
def test_content_that_cannot_be_true_is_marked_and_consumes_its_sequence(
    build: Callable[[int], Any],
    verdict: Verdict,
    detail: str,
    bridges: Bridges,
    certificate: Certificate,
    device: ParkDevice,
    ingest: Queue,
) -> None:
    message = build(round(time.time() * 1000))
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(message, frame(2))
        found = ingest.uplink(device, 2)
        assert [row["verdict"] for row in found] == [verdict, Verdict.SOUND]
        assert detail in found[0]["detail"]
        assert found[0]["body"] == message.body()
        ingest.commit(found[0], 2)
        assert raw.receive() == Ack(2)


@pytest.mark.parametrize(
    ("hostile", "code", "name"),
    [
        (RawMessage(MessageType.DATA, b"\x07\x80\x80"), RefuseCode.MALFORMED, "truncated"),
        (RawMessage(MessageType.LOG, b"\x07\x00"), RefuseCode.MALFORMED, "count"),
        (RawMessage(MessageType.LOG, b"\x00\x00"), RefuseCode.MALFORMED, "range"),
        (RawMessage(MessageType.PING, b"\x80\x00\x00\x00"), RefuseCode.MALFORMED, "varint"),
        # Named: the frame carries the time, and every test process must find the same tests.
        pytest.param(damaged(frame(1)), RefuseCode.CHECKSUM, "checksum", id="checksum"),
        (b"\x01\x10\xff\xff", RefuseCode.TOO_LONG, "length"),
        (b"\x09\x10\x00\x00", RefuseCode.VERSION, "version"),
    ],
)
def test_malformed_bytes_are_kept_as_evidence_and_end_the_connection(
    hostile: Any,
    code: RefuseCode,
    name: str,
    bridges: Bridges,
    certificate: Certificate,
    device: ParkDevice,
    ingest: Queue,
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(hostile)
        refuse = raw.refused()
    assert refuse.code == code
    assert refuse.text.startswith(f"{name}: ")
    # The device learns which message to replace by GAP, when that can be told.
    assert refuse.sequence == (7 if name in {"truncated", "count"} else 0)
    (evidence,) = ingest.uplink(device, 1)
    assert (evidence["sequence"], evidence["verdict"]) == (0, Verdict.MALFORMED)
    assert evidence["detail"].startswith(f"{name}: ")
    sent = hostile if isinstance(hostile, bytes) else hostile.body
    assert evidence["body"] == sent
    kind, data = ingest.events(device, 2)[1]
    assert (kind, data["code"], data["refused"]) == (BridgeEvent.DISCONNECTED, name, True)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (RawMessage(0x42, b"firmware"), RefuseCode.UNSUPPORTED),
        (RawMessage(0x99, b""), RefuseCode.UNSUPPORTED),
        (Ack(1), RefuseCode.UNEXPECTED),
        (Live(30), RefuseCode.UNEXPECTED),
    ],
)
def test_messages_that_a_device_does_not_send_end_the_connection(
    message: Any, code: RefuseCode, bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(message)
        assert raw.refused().code == code


def test_a_second_hello_ends_the_connection(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(hello(device))
        assert raw.refused().code == RefuseCode.UNEXPECTED


def test_a_goodbye_of_the_device_is_recorded(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(Refuse(RefuseCode.CLOSING, text="going to sleep"))
        assert raw.receive() is None
    kind, data = ingest.events(device, 2)[1]
    assert kind == BridgeEvent.DISCONNECTED
    assert (data["code"], data["text"]) == ("device_closing", "going to sleep")


def test_a_ping_is_answered_and_tells_what_was_produced(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(Ping(123, 90, 80))
        pong = raw.receive()
        assert isinstance(pong, Pong)
        assert pong.token == 123
        assert abs(pong.clock_ms - time.time() * 1000) < WAIT_S * 1000
        kind, data = ingest.events(device, 2)[1]
    assert (kind, data["produced"]) == (BridgeEvent.SEEN, 89)


def test_a_stream_in_single_bytes_is_understood(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        for byte in encode_message(hello(device)) + encode_message(frame(1)):
            raw.send(bytes((byte,)))
        assert isinstance(raw.receive(), Welcome)
        assert ingest.uplink(device, 1)[0]["sequence"] == 1


# --- What comes down ------------------------------------------------------------------------------


def test_downlink_and_leases_reach_the_device_at_whichever_bridge(
    bridges: Bridges, certificate: Certificate, redis: Redis, park: list[ParkDevice]
) -> None:
    first, second = bridges(), bridges()
    with (
        RawDevice(first.port, certificate[0]) as one,
        RawDevice(second.port, certificate[0]) as two,
    ):
        one.join(park[0])
        two.join(park[1])
        command = Command(bytes(16), "identify", {"seconds": 5})
        redis.publish(
            queue.DOWNLINK_CHANNEL,
            queue.encode_downlink(park[1].device_id, encode_message(command)),
        )
        assert two.receive() == command
        redis.publish(
            queue.LIVE_CHANNEL,
            queue.encode_live(30, [device.device_id for device in park] + [999_999]),
        )
        assert one.receive() == Live(30)
        assert two.receive() == Live(30)


def test_a_device_is_sent_only_what_it_understands(
    bridges: Bridges, certificate: Certificate, redis: Redis, device: ParkDevice
) -> None:
    redis.zadd(queue.INTEREST_KEY, {str(device.device_id): time.time() + 25})
    with RawDevice(bridges().port, certificate[0]) as raw:
        assert raw.join(device, capabilities=Capability.COMMANDS).live_lease_s == 0
        redis.publish(queue.LIVE_CHANNEL, queue.encode_live(30, [device.device_id]))
        command = Command(bytes(16), "identify")
        redis.publish(
            queue.DOWNLINK_CHANNEL, queue.encode_downlink(device.device_id, encode_message(command))
        )
        assert raw.receive() == command


@pytest.mark.parametrize("shared", [True, False])
def test_the_newer_connection_of_a_device_wins_at_every_bridge(
    shared: bool, bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    first = bridges()
    second = first if shared else bridges()
    waits = []
    with RawDevice(first.port, certificate[0]) as last:
        last.join(device)
        older = last
        for bridge in (second, first, second):
            newer = RawDevice(bridge.port, certificate[0])
            newer.join(device)
            refuse = older.refused()
            assert refuse.code == RefuseCode.REPLACED
            waits.append(refuse.retry_after_s)
            older.close()
            older = newer
        older.send(Ping(1))
        assert isinstance(older.receive(), Pong)
        older.close()
    if shared:
        # Two devices with one serial do not chase each other at full speed.
        assert waits[0] <= 2 < waits[2]


def test_a_device_revoked_while_connected_is_sent_away(
    bridges: Bridges,
    certificate: Certificate,
    owner: Owner,
    redis: Redis,
    device: ParkDevice,
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        owner.execute(
            "UPDATE devices_device SET state = 'revoked' WHERE id = %s", [device.device_id]
        )
        redis.publish(queue.EVICT_CHANNEL, queue.encode_evict(device.device_id))
        assert raw.refused().code == RefuseCode.REVOKED


def test_a_device_whose_record_changed_proves_itself_anew(
    bridges: Bridges, certificate: Certificate, redis: Redis, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        redis.publish(queue.EVICT_CHANNEL, queue.encode_evict(device.device_id))
        refuse = raw.refused()
    assert (refuse.code, refuse.retry_after_s) == (RefuseCode.AGAIN, 0)


def test_a_device_revoked_while_it_is_looked_up_is_not_let_in(
    bridges: Bridges,
    certificate: Certificate,
    owner: Owner,
    servers: Servers,
    redis: Redis,
    device: ParkDevice,
) -> None:
    (witness,) = make_park(owner, 1)
    port = bridges().port
    with RawDevice(port, certificate[0]) as raw:
        raw.join(device)  # from now on its credential is cached
    with RawDevice(port, certificate[0]) as hears, RawDevice(port, certificate[0]) as raw:
        hears.join(witness)
        with psycopg.connect(servers.database_url) as slow:
            slow.execute("LOCK TABLE device_cursor IN ACCESS EXCLUSIVE MODE")
            raw.send(hello(device))
            deadline = time.monotonic() + WAIT_S
            while not rows(owner, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            slow.execute(
                "UPDATE devices_device SET state = 'revoked' WHERE id = %s", [device.device_id]
            )
            redis.publish(queue.EVICT_CHANNEL, queue.encode_evict(device.device_id))
            # Notices arrive in order: the bridge has heard of the revocation.
            redis.publish(queue.LIVE_CHANNEL, queue.encode_live(9, [witness.device_id]))
            assert hears.receive() == Live(9)
        assert raw.refused().code == RefuseCode.AGAIN
    with RawDevice(port, certificate[0]) as raw:
        raw.send(hello(device))
        assert raw.refused().code == RefuseCode.REVOKED


def test_malformed_notices_change_nothing(
    bridges: Bridges, certificate: Certificate, redis: Redis, device: ParkDevice
) -> None:
    bridge = bridges()
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        for channel in (
            queue.committed_channel(bridge.bridge.bridge_id),
            queue.DOWNLINK_CHANNEL,
            queue.LIVE_CHANNEL,
            queue.EVICT_CHANNEL,
        ):
            redis.publish(channel, b"x")
        redis.publish(queue.LIVE_CHANNEL, queue.encode_live(30, [device.device_id]))
        assert raw.receive() == Live(30)


# --- TLS ------------------------------------------------------------------------------------------


def test_a_device_resumes_its_session(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    bridge = bridges()
    context = ssl.create_default_context(cafile=certificate[0])
    with RawDevice(bridge.port, certificate[0], context=context) as raw:
        raw.join(device)
        session = raw.tls.session
        assert raw.tls.session_reused is False
    with RawDevice(bridge.port, certificate[0], context=context, session=session) as raw:
        raw.join(device)
        assert raw.tls.session_reused is True
    connected = [
        data["tls"] for kind, data in ingest.events(device, 3) if kind == BridgeEvent.CONNECTED
    ]
    assert connected == ["TLSv1.3 full", "TLSv1.3 resumed"]


def test_tls_1_2_is_refused_unless_it_is_allowed(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    context = ssl.create_default_context(cafile=certificate[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    strict = bridges()
    with pytest.raises(ssl.SSLError):
        RawDevice(strict.port, certificate[0], context=context)
    strict.wait(lambda now: now["handshakes_failed"] == 1)
    with RawDevice(bridges(tls={"allow_tls12": True}).port, certificate[0], context=context) as raw:
        raw.join(device)
        assert raw.tls.version() == "TLSv1.2"


def test_a_renewed_certificate_is_shown_to_new_connections(
    bridges: Bridges,
    certificate: Certificate,
    device: ParkDevice,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bridge = bridges()
    before = certificate[0].read_text()
    with RawDevice(bridge.port, certificate[0]) as running:
        running.join(device)
        certificate[1].write_text("this is no key")
        bridge.call(bridge.bridge.reload)
        _until(lambda: "tls.reload_failed" in caplog.text)
        with RawDevice(bridge.port, certificate[0]) as raw:
            assert ssl.DER_cert_to_PEM_cert(raw.tls.getpeercert(True) or b"") == before
        make_certificate(certificate[0].parent)
        bridge.call(bridge.bridge.reload)
        _until(lambda: _serves(bridge, certificate))
        running.send(Ping(1))
        assert isinstance(running.receive(), Pong)


def _serves(bridge: RunningBridge, certificate: Certificate) -> bool:
    try:
        RawDevice(bridge.port, certificate[0]).close()
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_a_device_with_a_certificate_on_record_must_show_it(
    bridges: Bridges,
    certificate: Certificate,
    owner: Owner,
    park: list[ParkDevice],
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("right", "wrong")]
    for folder in folders:
        folder.mkdir()
    right, wrong = (make_certificate(folder, folder.name) for folder in folders)
    authorities = tmp_path / "clients.pem"
    authorities.write_text(right[0].read_text() + wrong[0].read_text())
    owner.execute(
        "UPDATE devices_device SET certificate_sha256 = %s WHERE id = %s",
        [fingerprint_of(right[0]), park[0].device_id],
    )
    bridge = bridges(tls={"client_ca": authorities})

    def answer(device: ParkDevice, shown: Certificate | None) -> int | None:
        context = ssl.create_default_context(cafile=certificate[0])
        if shown is not None:
            context.load_cert_chain(*shown)
        with RawDevice(bridge.port, certificate[0], context=context) as raw:
            found = raw.greet(device)
            return None if isinstance(found, Welcome) else getattr(found, "code", -1)

    assert answer(park[0], right) is None
    assert answer(park[0], wrong) == RefuseCode.CERTIFICATE
    assert answer(park[0], None) == RefuseCode.CERTIFICATE
    assert answer(park[1], None) is None


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
def test_a_bridge_does_not_start_with_files_that_do_not_fit(
    broken: str, servers: Servers, certificate: Certificate, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.pem"
    files = {
        "certificate": (missing, certificate[1]),
        "key": (certificate[0], missing),
        "client_ca": certificate,
    }
    tls = {"client_ca": missing} if broken == "client_ca" else {}
    options = bridge_options(servers, files[broken], tls=tls)
    with pytest.raises(CertificateError, match=r"missing\.pem"):
        Bridge(options)


# --- Limits ---------------------------------------------------------------------------------------


def test_connections_are_limited_in_all_and_per_address(
    bridges: Bridges, certificate: Certificate, park: list[ParkDevice]
) -> None:
    for limit in ("max_connections", "max_connections_per_address"):
        bridge = bridges(**{limit: 1})
        with RawDevice(bridge.port, certificate[0]) as one:
            one.join(park[0])
            with pytest.raises(OSError):  # noqa: PT011  # reset or end of file, as it comes
                RawDevice(bridge.port, certificate[0])
            one.send(Ping(1))
            assert isinstance(one.receive(), Pong)
        bridge.wait(lambda now: now["connections"] == 0 and now["turned_away"] == 1)
        with RawDevice(bridge.port, certificate[0]) as one:
            one.join(park[0])


def test_a_handshake_that_does_not_come_to_an_end_leaves_nothing_behind(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    bridge = bridges(max_connections=1)
    with socket.create_connection(("127.0.0.1", bridge.port)) as plain:
        plain.sendall(b"\x00" * 100)
        assert plain.recv(100)[:1] in {b"", b"\x15"}  # closed, or a TLS alert
    bridge.wait(lambda now: now["handshakes_failed"] == 1)
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)


def test_a_silent_device_is_sent_away(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges(policy=Policy(ping_s=1)).port, certificate[0]) as raw:
        raw.join(device)
        assert raw.refused().code == RefuseCode.IDLE


def test_a_device_that_does_not_read_ends_and_harms_nobody(
    bridges: Bridges,
    certificate: Certificate,
    redis: Redis,
    park: list[ParkDevice],
    ingest: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "SLOW_S", 1.0)
    bridge = bridges()
    with (
        RawDevice(bridge.port, certificate[0], receive_buffer=4_096) as slow,
        RawDevice(bridge.port, certificate[0]) as other,
    ):
        slow.join(park[0])
        other.join(park[1])
        big = encode_message(Command(bytes(16), "note", {"text": "x" * 1_000}))
        payload = queue.encode_downlink(park[0].device_id, big)
        for _ in range(600):
            redis.publish(queue.DOWNLINK_CHANNEL, payload)
        counters = bridge.wait(lambda now: "refused.slow" in now)
        assert counters["refused.slow"] == 1
        other.send(Ping(1))
        assert isinstance(other.receive(), Pong)
        bridge.wait(lambda now: now["connections"] == 1)
    kind, data = next(event for event in ingest.events(park[0], 2) if "code" in event[1])
    assert (kind, data["code"]) == (BridgeEvent.DISCONNECTED, "slow")


def test_a_device_is_read_no_faster_than_it_may_send(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue
) -> None:
    with RawDevice(bridges(max_bytes_per_s=400).port, certificate[0]) as raw:
        raw.join(device)
        # Read at once, it uses up the allowance of some seconds.
        raw.send(*(frame(sequence) for sequence in range(1, 41)))
        ingest.uplink(device, 40)
        raw.send(Ping(1))
        with pytest.raises(TimeoutError):
            raw.receive(0.5)
        assert isinstance(raw.receive(), Pong)


def test_a_flood_of_pings_ends_the_connection(
    bridges: Bridges, certificate: Certificate, device: ParkDevice
) -> None:
    with RawDevice(bridges().port, certificate[0]) as raw:
        raw.join(device)
        raw.send(*(Ping(token) for token in range(PINGS_AT_ONCE + 1)))
        assert {type(raw.receive()) for _ in range(PINGS_AT_ONCE)} == {Pong}
        assert raw.refused().code == RefuseCode.RATE


def test_too_much_under_way_stops_reading_until_half_of_it_is_committed(
    bridges: Bridges,
    certificate: Certificate,
    park: list[ParkDevice],
    ingest: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = len(frame(1).body())
    monkeypatch.setattr("devices.ingest.outflow.MAX_IN_FLIGHT_BYTES", 10 * body)
    bridge = bridges()
    with (
        RawDevice(bridge.port, certificate[0]) as one,
        RawDevice(bridge.port, certificate[0]) as two,
    ):
        one.join(park[0])
        two.join(park[1])
        one.send(*(frame(sequence) for sequence in range(1, 13)))
        bridge.wait(lambda now: now["paused"] == 1)
        taken = ingest.uplink(park[0], 12)
        two.send(frame(1), Ping(1))
        with pytest.raises(TimeoutError):
            two.receive(0.5)
        assert ingest.uplink(park[1], 0) == []
        ingest.commit(taken[0], 6)
        assert one.receive() == Ack(6)
        with pytest.raises(TimeoutError):  # 6 of 10 are still under way
            two.receive(0.5)
        ingest.commit(taken[0], 7)
        assert isinstance(two.receive(), Pong)
        assert len(ingest.uplink(park[1], 1)) == 1


# --- Processes ------------------------------------------------------------------------------------


def test_bridges_share_a_port(bridges: Bridges, certificate: Certificate, owner: Owner) -> None:
    first = bridges()
    second = bridges(port=first.port)
    devices = make_park(owner, 40)
    raws = [RawDevice(first.port, certificate[0]) for _ in devices]
    for raw, device in zip(raws, devices, strict=True):
        raw.join(device)
    counts = [bridge.counters()["devices"] for bridge in (first, second)]
    assert sum(counts) == 40
    assert min(counts) > 0
    for raw in raws:
        raw.close()


def test_a_bridge_that_stops_says_so_and_delivers_what_it_took(
    bridges: Bridges, certificate: Certificate, device: ParkDevice, ingest: Queue, redis: Redis
) -> None:
    bridge = bridges()
    assert [beat.name for beat in heartbeat.alive(redis)] == ["bridge"]
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(frame(1), Ping(1))
        assert isinstance(raw.receive(), Pong)
        bridge.call(bridge.bridge.stop)
        refuse = raw.refused()
    bridge.stop()
    assert refuse.code == RefuseCode.CLOSING
    assert refuse.retry_after_s >= 1
    assert len(ingest.uplink(device, 1)) == 1
    assert ingest.events(device, 3)[-1][1]["code"] == "closing"
    assert heartbeat.alive(redis) == []


def test_a_bridge_does_not_start_on_a_taken_port(bridges: Bridges) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(BridgeError, match="set WATTLINE_BRIDGE_PORT to a free port"),
    ):
        bridges(port=taken.getsockname()[1])


def test_a_bridge_does_not_start_without_its_servers(bridges: Bridges) -> None:
    with pytest.raises(BridgeError, match="Redis does not answer"):
        bridges(redis_url="redis://127.0.0.1:1/0")


# --- End to end -----------------------------------------------------------------------------------


def test_frames_are_stored_once_and_acknowledged_by_the_writer(
    bridges: Bridges,
    certificate: Certificate,
    owner: Owner,
    writer: Writer,
    park: list[ParkDevice],
) -> None:
    bridge = bridges()
    one, two = park
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(one, next_sequence=21)
        raw.send(*(frame(sequence) for sequence in range(1, 11)))
        raw.send(frame(5), frame(11, channels=4), Gap(12, 14), frame(15))
        _until(lambda: raw.receive() == Ack(15))
    with RawDevice(bridge.port, certificate[0]) as raw:
        assert raw.join(one, next_sequence=21, oldest_sequence=16).resume_from == 16
        # The bridge is told of a device only what the database holds: nothing of the other one.
        with RawDevice(bridge.port, certificate[0]) as other:
            assert other.join(two).resume_from == 1
    stored = rows(
        owner,
        "SELECT sequence, value_count FROM telemetry_frame WHERE device_id = %s ORDER BY 1",
        one.device_id,
    )
    assert stored == [(sequence, 15) for sequence in [*range(1, 11), 15]]
    assert rows(
        owner,
        "SELECT sequence, reason FROM telemetry_quarantine WHERE device_id = %s",
        one.device_id,
    ) == [(11, "unknown_channel")]
    _until(lambda: _link(owner, one) == (False, "1.2.3", 20))
    assert imbalances(owner) == []


def _link(owner: Owner, device: ParkDevice) -> Any:
    return rows(
        owner,
        "SELECT connected, firmware_version, produced FROM device_link"
        " JOIN device_cursor USING (device_id) WHERE device_id = %s",
        device.device_id,
    )[0]
