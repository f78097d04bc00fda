"""Firmware over a real bridge (TLS, Redis, sockets): every answer of docs/protocol.md, 17.2."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from devices.benchmarks.downloads import DownloadOptions, DownloadResult, Downloads
from devices.benchmarks.fleet import FleetDevice
from devices.ingest import queue, transfers
from devices.ingest.artifacts import PIECE_BYTES, drop, stage
from devices.ingest.grants import MAX_OUTSTANDING, REFUSALS_AT_ONCE
from devices.ingest.limits import PACE_SLACK_S
from devices.protocol import (
    Capability,
    Chunk,
    ChunkStatus,
    Command,
    Fetch,
    MessageType,
    Offer,
    Ping,
    Pong,
    RawMessage,
    RefuseCode,
    Withdraw,
    encode_message,
)
from devices.tests.bridge_devices import RawDevice, RunningBridge, frame
from devices.tests.ingest_park import Owner, ParkDevice, make_park

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

PAYLOAD = bytes(range(253)) * 700
DIGEST = hashlib.sha256(PAYLOAD).digest()
UPDATE = bytes(range(16))
UPDATES = Capability.COMMANDS | Capability.FIRMWARE

Bridges = Callable[..., RunningBridge]
Certificate = tuple[Path, Path]


def an_offer(**changes: Any) -> Offer:
    values: dict[str, Any] = {
        "update_id": UPDATE,
        "manifest": b"m",
        "signature": bytes(64),
        "payload_sha256": DIGEST,
        "payload_size": len(PAYLOAD),
    }
    return Offer(**(values | changes))


class World:
    """A bridge, one device, and a way to tell the device something."""

    def __init__(self, redis: Redis, device: ParkDevice, ca: Path) -> None:
        self.redis = redis
        self.device = device
        self.ca = ca

    def join(self, bridge: RunningBridge, **changes: Any) -> RawDevice:
        raw = RawDevice(bridge.port, self.ca)
        raw.join(self.device, **({"capabilities": UPDATES} | changes))
        return raw

    def send_down(self, message: Offer | Withdraw | Command | RawMessage) -> None:
        payload = queue.encode_downlink(self.device.device_id, encode_message(message))
        assert self.redis.publish(queue.DOWNLINK_CHANNEL, payload) >= 1

    def offered(self, bridge: RunningBridge, **changes: Any) -> RawDevice:
        raw = self.join(bridge)
        self.send_down(an_offer(**changes))
        assert raw.receive() == an_offer(**changes)
        return raw


@pytest.fixture
def world(owner: Owner, redis: Redis, certificate: Certificate) -> World:
    return World(redis, make_park(owner, 1)[0], certificate[0])


@pytest.fixture
def staged(redis: Redis) -> None:
    stage(redis, DIGEST, PAYLOAD, 600)


def fetched(raw: RawDevice, offset: int, length: int) -> Chunk:
    raw.send(Fetch(UPDATE, offset, length))
    chunk = raw.receive()
    assert isinstance(chunk, Chunk), chunk
    return chunk


def fetch_all(raw: RawDevice, offset: int = 0, until: int = len(PAYLOAD)) -> bytes:
    got = b""
    while offset + len(got) < until:
        chunk = fetched(raw, offset + len(got), 32_768)
        assert (chunk.status, chunk.offset) == (ChunkStatus.DATA, offset + len(got))
        got += chunk.data
    return got


@pytest.mark.usefixtures("staged")
def test_offered_payload_is_fetched_whole(bridges: Bridges, world: World) -> None:
    bridge = bridges()
    with world.offered(bridge) as raw:
        assert fetch_all(raw) == PAYLOAD
    counters = bridge.wait(lambda now: now["transferring"] == 0)
    assert counters["chunk_bytes"] == len(PAYLOAD)
    assert counters["piece_loads"] == -(-len(PAYLOAD) // PIECE_BYTES)


@pytest.mark.usefixtures("staged")
def test_chunks_come_in_the_order_of_the_fetches(bridges: Bridges, world: World) -> None:
    with world.offered(bridges()) as raw:
        offsets = [PIECE_BYTES - 1, 0, 150_000, 64][:MAX_OUTSTANDING]
        raw.send(*(Fetch(UPDATE, offset, 100) for offset in offsets))
        chunks = [raw.receive() for _ in offsets]
    assert chunks == [
        Chunk(UPDATE, ChunkStatus.DATA, offset, 0, PAYLOAD[offset : offset + 100])
        for offset in offsets
    ]


@pytest.fixture
def two(bridges: Bridges) -> list[RunningBridge]:
    return [bridges(), bridges()]


@pytest.mark.usefixtures("staged")
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.lists(st.integers(0, len(PAYLOAD)), min_size=1, max_size=4).map(sorted))
def test_payload_is_whole_after_any_cuts(
    cuts: list[int], two: list[RunningBridge], world: World
) -> None:
    """The connection ends at any byte, in the middle of a chunk as well; two bridges take turns."""
    got = b""
    for number, cut in enumerate([*cuts, len(PAYLOAD)]):
        with world.offered(two[number % 2]) as raw:
            got += fetch_all(raw, len(got), cut) if cut > len(got) else b""
            if len(got) < len(PAYLOAD):
                raw.send(Fetch(UPDATE, len(got), 32_768))  # whose answer nobody waits for
    assert got == PAYLOAD


@pytest.mark.usefixtures("staged")
def test_after_reconnecting_nothing_is_served_before_a_new_offer(
    bridges: Bridges, world: World
) -> None:
    bridge = bridges()
    with world.offered(bridge) as raw:
        half = fetch_all(raw, 0, 65_536)
    with world.join(bridge) as raw:
        assert fetched(raw, 65_536, 100).status == ChunkStatus.GONE
        world.send_down(an_offer())
        assert isinstance(raw.receive(), Offer)
        assert half + fetch_all(raw, 65_536) == PAYLOAD


@pytest.mark.usefixtures("staged")
def test_other_updates_and_what_lies_beyond_the_end_are_answered(
    bridges: Bridges, world: World
) -> None:
    with world.offered(bridges()) as raw:
        raw.send(Fetch(bytes(16), 3, 100))
        assert raw.receive() == Chunk(bytes(16), ChunkStatus.GONE, 3)
        assert fetched(raw, len(PAYLOAD), 1).status == ChunkStatus.RANGE
        last = fetched(raw, len(PAYLOAD) - 1, 32_768)
        assert (last.status, last.data) == (ChunkStatus.DATA, PAYLOAD[-1:])


@pytest.mark.usefixtures("staged")
def test_withdrawn_offer_is_no_longer_served(bridges: Bridges, world: World) -> None:
    with world.offered(bridges()) as raw:
        fetch_all(raw, 0, 32_768)
        world.send_down(Withdraw(UPDATE, "aborted"))
        assert raw.receive() == Withdraw(UPDATE, "aborted")
        assert fetched(raw, 32_768, 100).status == ChunkStatus.GONE


def test_what_is_not_staged_is_answered_and_served_once_it_is(
    bridges: Bridges, world: World, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "UNSTAGED_RETRY_S", 1)
    with world.offered(bridges()) as raw:
        chunk = fetched(raw, 0, 100)
        assert (chunk.status, chunk.retry_after_s) == (ChunkStatus.NOT_NOW, 1)
        stage(redis, DIGEST, PAYLOAD, 600)
        time.sleep(1.1)  # as it was told to
        assert fetch_all(raw) == PAYLOAD
        # Pieces at hand are served although Redis has lost them.
        drop(redis, DIGEST)
        assert fetch_all(raw) == PAYLOAD


@pytest.mark.usefixtures("staged")
def test_too_many_fetches_are_told_to_wait_and_a_flood_ends_the_connection(
    bridges: Bridges, world: World
) -> None:
    with world.offered(bridges(), rate=1) as raw:
        # The first chunk goes at once, whatever the rate; the others wait for hours.
        raw.send(*(Fetch(UPDATE, number, 30_000) for number in range(MAX_OUTSTANDING + 2)))
        answers = [raw.receive() for _ in range(MAX_OUTSTANDING + 2)]
        assert all(isinstance(answer, Chunk) for answer in answers)
        statuses = [answer.status for answer in answers if isinstance(answer, Chunk)]
        assert statuses.count(ChunkStatus.DATA) == 1
        assert statuses.count(ChunkStatus.NOT_NOW) == MAX_OUTSTANDING + 1
        raw.send(*(Fetch(bytes(16), 0, 1) for _ in range(REFUSALS_AT_ONCE + 10)))
        while isinstance(answer := raw.receive(), Chunk):
            pass
        assert getattr(answer, "code", None) == RefuseCode.RATE


@pytest.mark.usefixtures("staged")
def test_rate_of_the_offer_is_kept(bridges: Bridges, world: World) -> None:
    with world.offered(bridges(), rate=100_000) as raw:
        began = time.monotonic()
        got = b""
        while len(got) < 60_000:
            got += fetched(raw, len(got), 10_000).data
        # The first chunk and the slack are free; slower than the rate is the machine's affair.
        assert time.monotonic() - began >= 50_000 / 100_000 - PACE_SLACK_S
    assert got == PAYLOAD[:60_000]


@pytest.mark.usefixtures("staged")
def test_commands_and_acks_overtake_firmware(bridges: Bridges, world: World) -> None:
    with world.offered(bridges(), rate=2_000) as raw:
        raw.send(*(Fetch(UPDATE, number * 30_000, 30_000) for number in range(3)))
        assert isinstance(raw.receive(), Chunk)
        command = Command(bytes(16), "identify")
        world.send_down(command)
        raw.send(Ping(5))
        # The next chunk is due only after fifteen seconds of the rate.
        overtaking = [raw.receive(), raw.receive()]
        assert command in overtaking
        assert sum(isinstance(message, Pong) for message in overtaking) == 1


@pytest.mark.usefixtures("staged")
def test_device_that_does_not_read_holds_up_nobody_and_no_memory(
    bridges: Bridges, owner: Owner, redis: Redis, certificate: Certificate
) -> None:
    bridge = bridges()
    deaf, healthy = (World(redis, one, certificate[0]) for one in make_park(owner, 2))
    silent = RawDevice(bridge.port, certificate[0], receive_buffer=4_096)
    silent.join(deaf.device, capabilities=UPDATES)
    deaf.send_down(an_offer())
    assert isinstance(silent.receive(), Offer)
    silent.send(*(Fetch(UPDATE, number * 32_768, 32_768) for number in range(MAX_OUTSTANDING)))
    bridge.wait(lambda now: now["chunks"] >= 1)
    with healthy.offered(bridge) as raw:
        assert fetch_all(raw) == PAYLOAD
        raw.send(frame(1))
        bridge.wait(lambda now: now["messages"] == 1)
    served = bridge.counters()["chunk_bytes"] - len(PAYLOAD)
    assert served <= MAX_OUTSTANDING * 32_768
    silent.close()
    bridge.wait(lambda now: now["connections"] == 0 and now["transferring"] == 0)


@pytest.mark.usefixtures("staged")
def test_device_without_the_capability_gets_no_offer_and_must_not_fetch(
    bridges: Bridges, world: World
) -> None:
    with world.join(bridges(), capabilities=Capability.COMMANDS) as raw:
        world.send_down(an_offer())
        world.send_down(Command(bytes(16), "identify"))
        assert raw.receive() == Command(bytes(16), "identify")
        raw.send(Fetch(UPDATE, 0, 1))
        assert raw.refused().code == RefuseCode.UNSUPPORTED


def test_malformed_fetch_and_downlink_types_end_the_connection(
    bridges: Bridges, world: World
) -> None:
    bridge = bridges()
    cases: list[tuple[RawMessage | Withdraw, RefuseCode]] = [
        (RawMessage(MessageType.FETCH, b"\x01"), RefuseCode.MALFORMED),
        (Withdraw(UPDATE), RefuseCode.UNEXPECTED),
        (RawMessage(0x4F, b""), RefuseCode.UNSUPPORTED),
    ]
    for message, code in cases:
        with world.join(bridge) as raw:
            raw.send(message)
            assert raw.refused().code == code


def test_malformed_offer_does_not_reach_the_device(bridges: Bridges, world: World) -> None:
    with world.join(bridges()) as raw:
        world.send_down(RawMessage(MessageType.OFFER, b"\x01"))
        world.send_down(Command(bytes(16), "identify"))
        assert raw.receive() == Command(bytes(16), "identify")


@pytest.mark.usefixtures("staged")
def test_many_devices_read_each_piece_once(
    bridges: Bridges, owner: Owner, redis: Redis, certificate: Certificate
) -> None:
    bridge = bridges()
    worlds = [World(redis, one, certificate[0]) for one in make_park(owner, 6)]
    devices = [world.offered(bridge) for world in worlds]
    for offset in range(0, len(PAYLOAD), 32_768):
        for raw in devices:
            raw.send(Fetch(UPDATE, offset, 32_768))
        for raw in devices:
            chunk = raw.receive()
            assert isinstance(chunk, Chunk)
            assert chunk.data == PAYLOAD[offset : offset + 32_768]
    assert bridge.counters()["piece_loads"] == -(-len(PAYLOAD) // PIECE_BYTES)
    for raw in devices:
        raw.close()


@pytest.mark.usefixtures("staged")
def test_benchmark_s_devices_fetch_over_and_over(
    bridges: Bridges, owner: Owner, redis: Redis, certificate: Certificate
) -> None:
    park = make_park(owner, 3)
    options = DownloadOptions(
        port=bridges().port,
        ca=str(certificate[0]),
        devices=[FleetDevice(one.serial, one.secret.hex(), one.device_type) for one in park],
        seconds=1.0,
    )

    async def main() -> DownloadResult:
        downloads = Downloads(options)
        await downloads.connect()
        for one in park:
            payload = queue.encode_downlink(one.device_id, encode_message(an_offer(chunk=16_384)))
            redis.publish(queue.DOWNLINK_CHANNEL, payload)
        await downloads.fetch()
        return downloads.result

    result = uvloop.run(main())
    assert result.whole >= len(park)
    assert (result.wrong, result.gone, result.refused, result.lost) == (0, 0, 0, 0)
    assert result.offered == len(park)
