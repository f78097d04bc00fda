"""The bridge without Redis or PostgreSQL: nothing is lost, nothing is acknowledged too early."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from redis import Redis

from devices.ingest import outflow, queue
from devices.ingest.artifacts import stage
from devices.ingest.queue import BRIDGE_EVENT, BridgeEvent
from devices.ingest.writer import Writer, WriterOptions
from devices.protocol import (
    Ack,
    Capability,
    Chunk,
    ChunkStatus,
    Fetch,
    Offer,
    Ping,
    Pong,
    RefuseCode,
    encode_message,
)
from devices.tests.bridge_devices import (
    WAIT_S,
    RawDevice,
    RunningBridge,
    Servers,
    bridge_options,
    frame,
    hello,
)
from devices.tests.ingest_park import Owner, imbalances, make_park, rows

pytestmark = pytest.mark.crash

Certificate = tuple[Path, Path]


class Killable(Protocol):
    """Servers of a test's own."""

    redis: Any
    postgres: Any

    def endpoints(self) -> Servers: ...

    def start(self) -> None: ...

    def wipe_redis(self) -> None: ...


@pytest.fixture
def own(private_servers: Callable[[], Killable]) -> Killable:
    return private_servers()


@pytest.fixture
def owner(own: Killable) -> Iterator[Owner]:
    with psycopg.connect(own.endpoints().database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def bridge(own: Killable, certificate: Certificate) -> Iterator[RunningBridge]:
    running = RunningBridge(bridge_options(own.endpoints(), certificate))
    yield running
    running.stop()


@contextmanager
def writing(own: Killable) -> Iterator[None]:
    servers = own.endpoints()
    writer = Writer(
        WriterOptions(
            database_url=servers.database_ingest_url, redis_url=servers.redis_url, instance="one"
        )
    )
    thread = threading.Thread(target=writer.run, name="writer")
    thread.start()
    try:
        yield
    finally:
        writer.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def queued(own: Killable) -> list[tuple[int, str]]:
    """Sequence and event kind (empty for a message of a device) of all in the queue."""
    found = []
    with Redis.from_url(own.endpoints().redis_url) as redis:
        for partition in range(queue.PARTITIONS):
            entries: Any = redis.xrange(queue.stream_key(partition))
            for _, fields in entries:
                batch = queue.decode_batch(fields)
                for index, envelope in enumerate(batch.envelopes):
                    is_event = envelope["kind"] == BRIDGE_EVENT
                    kind = queue.decode_event(batch.body(index))[0] if is_event else ""
                    found.append((envelope["sequence"].item(), kind))
    return found


def test_devices_send_again_what_a_lost_redis_held(
    own: Killable, owner: Owner, bridge: RunningBridge, certificate: Certificate
) -> None:
    device, idle = make_park(owner, 2)
    with (
        RawDevice(bridge.port, certificate[0]) as raw,
        RawDevice(bridge.port, certificate[0]) as quiet,
    ):
        quiet.join(idle)
        with writing(own):
            raw.join(device)
            raw.send(*(frame(sequence) for sequence in range(1, 6)))
            until(lambda: raw.receive() == Ack(5))
        raw.send(frame(6), frame(7), Ping(1))
        assert isinstance(raw.receive(), Pong)
        until(lambda: (7, "") in queued(own))

        own.redis.kill()
        own.wipe_redis()
        raw.send(frame(8))
        bridge.wait(lambda now: now["paused"] == 1)
        own.start()
        refuse = raw.refused()
        assert refuse.code == RefuseCode.AGAIN
        assert refuse.retry_after_s >= 1
        # Who had nothing under way stays.
        quiet.send(Ping(2))
        assert isinstance(quiet.receive(), Pong)
    with writing(own), RawDevice(bridge.port, certificate[0]) as raw:
        assert raw.join(device, next_sequence=9, oldest_sequence=6).resume_from == 6
        raw.send(*(frame(sequence) for sequence in range(6, 9)))
        until(lambda: raw.receive() == Ack(8))
    assert rows(owner, "SELECT sequence FROM telemetry_frame ORDER BY sequence") == [
        (sequence,) for sequence in range(1, 9)
    ]
    assert imbalances(owner) == []
    assert bridge.counters()["under_way_bytes"] == 0


def test_events_of_the_bridge_survive_an_outage_of_redis(
    own: Killable,
    owner: Owner,
    bridge: RunningBridge,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (device,) = make_park(owner, 1)
    # Long enough that all of this is still in the bridge when Redis goes.
    monkeypatch.setattr(outflow, "FLUSH_S", 1.5)
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device)
        raw.send(frame(1), Ping(1))
        assert isinstance(raw.receive(), Pong)
        own.redis.kill()
        own.wipe_redis()
        bridge.wait(lambda now: now["outages"] >= 1)
        own.start()
        assert raw.refused().code == RefuseCode.AGAIN
    # The frame is not there: the device sends it again. The events nobody else has.
    until(
        lambda: (
            queued(own)
            == [(0, BridgeEvent.CONNECTED), (0, BridgeEvent.SEEN), (0, BridgeEvent.DISCONNECTED)]
        )
    )


def test_a_redis_without_memory_holds_devices_back_and_loses_nothing(
    own: Killable, owner: Owner, bridge: RunningBridge, certificate: Certificate
) -> None:
    (device,) = make_park(owner, 1)
    with (
        RawDevice(bridge.port, certificate[0]) as raw,
        Redis.from_url(own.endpoints().redis_url) as redis,
    ):
        raw.join(device)
        until(lambda: len(queued(own)) == 1)
        (memory,) = redis.config_get("maxmemory").values()
        redis.config_set("maxmemory", 1)
        raw.send(frame(1), frame(2))
        bridge.wait(lambda now: now["paused"] == 1 and now["refusals"] >= 1)
        raw.send(frame(3), Ping(1))
        with pytest.raises(TimeoutError):
            raw.receive(0.3)
        redis.config_set("maxmemory", memory)
        assert isinstance(raw.receive(), Pong)
        until(lambda: [n for n, kind in queued(own) if not kind] == [1, 2, 3])
        assert bridge.counters()["outages"] == 0


def test_what_was_told_while_notices_were_lost_is_found_out(
    own: Killable, owner: Owner, bridge: RunningBridge, certificate: Certificate
) -> None:
    revoked, sending, idle = make_park(owner, 3)
    with (
        RawDevice(bridge.port, certificate[0]) as one,
        RawDevice(bridge.port, certificate[0]) as two,
        RawDevice(bridge.port, certificate[0]) as three,
        Redis.from_url(own.endpoints().redis_url) as redis,
    ):
        one.join(revoked)
        two.join(sending)
        three.join(idle)
        two.send(frame(1), Ping(1))
        assert isinstance(two.receive(), Pong)
        owner.execute("UPDATE devices_device SET state = 'revoked' WHERE serial = %s", [
            revoked.serial
        ])  # fmt: skip
        redis.client_kill_filter(_type="pubsub")
        assert one.refused().code == RefuseCode.REVOKED
        assert two.refused().code == RefuseCode.AGAIN  # its ACK may have been lost
        three.send(Ping(1))
        assert isinstance(three.receive(), Pong)


def test_firmware_goes_on_after_redis_was_away_and_came_back_empty(
    own: Killable, owner: Owner, bridge: RunningBridge, certificate: Certificate
) -> None:
    (device,) = make_park(owner, 1)
    payload = bytes(range(256)) * 1_024
    digest, update = hashlib.sha256(payload).digest(), bytes(16)
    offer = Offer(update, b"m", bytes(64), digest, len(payload))

    def at(offset: int) -> Chunk:
        raw.send(Fetch(update, offset, 1_000))
        chunk = raw.receive()
        assert isinstance(chunk, Chunk)
        return chunk

    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(device, capabilities=Capability.FIRMWARE)
        with Redis.from_url(own.endpoints().redis_url) as redis:
            stage(redis, digest, payload, 600)
            told = queue.encode_downlink(device.device_id, encode_message(offer))
            redis.publish(queue.DOWNLINK_CHANNEL, told)
            assert raw.receive() == offer
            assert at(0).data == payload[:1_000]
        own.redis.kill()
        own.wipe_redis()
        bridge.wait(lambda now: now["paused"] == 1)
        own.start()
        with Redis.from_url(own.endpoints().redis_url) as redis:
            # The connection stays, and with it the grant; the second piece is nowhere.
            far = at(100_000)
            assert (far.status, far.retry_after_s > 0) == (ChunkStatus.NOT_NOW, True)
            stage(redis, digest, payload, 600)
            until(lambda: at(100_000).data == payload[100_000:101_000])


def test_without_the_database_who_is_connected_stays_and_who_comes_waits(
    own: Killable, owner: Owner, bridge: RunningBridge, certificate: Certificate
) -> None:
    inside, outside = make_park(owner, 2)
    with RawDevice(bridge.port, certificate[0]) as raw:
        raw.join(inside)
        own.postgres.kill()
        with RawDevice(bridge.port, certificate[0]) as other:
            other.send(hello(outside))
            refuse = other.refused()
        assert (refuse.code, refuse.retry_after_s > 0) == (RefuseCode.AGAIN, True)
        raw.send(frame(1), Ping(1))
        assert isinstance(raw.receive(), Pong)
        own.start()
        until(lambda: _joins(bridge, certificate, outside))


def _joins(bridge: RunningBridge, certificate: Certificate, device: Any) -> bool:
    with RawDevice(bridge.port, certificate[0]) as raw:
        return getattr(raw.greet(device), "code", None) is None
