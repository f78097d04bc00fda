"""The writer on a real queue and database: exactly once, whatever comes in whatever order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from redis import Redis
from redis.exceptions import OutOfMemoryError

from devices.ingest import heartbeat, queue
from devices.ingest.queue import BRIDGE_EVENT, BatchBuilder, Verdict, encode_event
from devices.ingest.writer import Writer, WriterOptions
from devices.protocol import (
    Block,
    Event,
    Gap,
    Log,
    LogLine,
    MessageType,
    Result,
    decode_data,
    encode_data,
)
from devices.tests.ingest_park import (
    Endpoints,
    Owner,
    ParkDevice,
    imbalances,
    make_park,
    rows,
    totals,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

NOW_US = 1_760_000_000_000_000
WAIT_S = 20.0


@pytest.fixture
def park(owner: Owner) -> list[ParkDevice]:
    return make_park(owner, 3)


@pytest.fixture
def running(servers: Endpoints, redis: Redis) -> Iterator[Callable[..., Writer]]:
    """Starts writers in threads of their own; they stop with the test."""
    started: list[tuple[Writer, threading.Thread]] = []

    def start(name: str = "one", **changes: str) -> Writer:
        options = {
            "database_url": servers.database_ingest_url,
            "redis_url": servers.redis_url,
            "instance": name,
        }
        writer = Writer(WriterOptions(**(options | changes)))
        thread = threading.Thread(target=writer.run, name=name)
        thread.start()
        started.append((writer, thread))
        return writer

    yield start
    for writer, _ in started:
        writer.stop()
    for _, thread in started:
        thread.join(WAIT_S)
        assert not thread.is_alive()


class Bridge:
    """Appends what a bridge would, and hears what a bridge would."""

    def __init__(self, redis: Redis, name: str = "bridge-1") -> None:
        self.redis = redis
        self.name = name
        self.clock_us = NOW_US
        self.heard = redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        self.heard.subscribe(queue.committed_channel(name), queue.EVICT_CHANNEL)

    def entry(self, device: ParkDevice, *messages: dict[str, Any]) -> dict[str, bytes]:
        builder = BatchBuilder(self.name)
        for message in messages:
            self.clock_us += 1_000
            values: dict[str, Any] = {
                "tenant_id": device.tenant_id,
                "connection": number_of(device),
                "sequence": 0,
                "received_us": self.clock_us,
                "start_ms": self.clock_us // 1000,
                "end_ms": self.clock_us // 1000,
                "values": 0,
                "kind": MessageType.DATA,
                "verdict": Verdict.SOUND,
                "body": b"",
                "detail": "",
            } | message
            builder.add(device.device_id, **values)
        return builder.take()

    def send(self, device: ParkDevice, *messages: dict[str, Any]) -> bytes:
        return self.append(device.device_id, self.entry(device, *messages))

    def append(self, device_id: int, fields: dict[str, bytes]) -> bytes:
        key = queue.stream_key(queue.partition_of(device_id))
        content: Any = fields
        entry_id: Any = self.redis.xadd(key, content)
        return bytes(entry_id)

    def notices(self, until: Callable[[list[tuple[Any, ...]]], bool]) -> list[tuple[Any, ...]]:
        """Rows of COMMITTED and EVICT in the order of their arrival, until they suffice."""
        found: list[tuple[Any, ...]] = []
        deadline = time.monotonic() + WAIT_S
        while not until(found):
            assert time.monotonic() < deadline, f"notices so far: {found}"
            message = self.heard.get_message(timeout=0.2)
            if message is not None:
                evict = message["channel"] == queue.EVICT_CHANNEL.encode()
                dtype = queue.EVICT if evict else queue.COMMITTED
                found += queue.decode_rows(message["data"], dtype).tolist()
        return found

    def committed(self, device: ParkDevice, sequence: int) -> list[tuple[Any, ...]]:
        return self.notices(
            lambda found: any(row[0] == device.device_id and row[2] == sequence for row in found)
        )


def number_of(device: ParkDevice) -> int:
    """The number of the device's connection: no two devices have the same."""
    return device.device_id * 1_000


def frame(sequence: int, values: tuple[int, ...] = (1, 2, 3), n: int = 2) -> dict[str, Any]:
    start_ms = 1_700_000_000_000 + sequence * 4_000
    block = Block(
        np.arange(n) * 2_000 + start_ms,
        tuple(range(len(values))),
        np.repeat(np.array(values)[:, None], n, axis=1) + sequence,
    )
    return {
        "sequence": sequence,
        "start_ms": start_ms,
        "end_ms": start_ms + (n - 1) * 2_000,
        "values": n * len(values),
        "body": encode_data(sequence, [block]),
    }


def frames(first: int, last: int) -> list[dict[str, Any]]:
    return [frame(sequence) for sequence in range(first, last + 1)]


@contextmanager
def waiting(what: str) -> Iterator[Callable[[bool], bool]]:
    """`while pending(condition)`: until it holds; fails the test when that takes too long."""
    deadline = time.monotonic() + WAIT_S

    def pending(done: bool) -> bool:
        assert done or time.monotonic() < deadline, what
        time.sleep(0 if done else 0.02)
        return not done

    yield pending


def wait_until(condition: Callable[[], bool], what: str) -> None:
    with waiting(what) as pending:
        while pending(condition()):
            pass


def settled(redis: Redis) -> bool:
    """Whether every entry of every partition was read and acknowledged."""
    for partition in range(queue.PARTITIONS):
        key = queue.stream_key(partition)
        if not redis.exists(key):
            continue
        groups: Any = redis.xinfo_groups(key)
        if not groups or groups[0]["pending"] or groups[0]["lag"]:
            return False
    return True


def pending(redis: Redis, key: str) -> int:
    """Entries of a stream that were read and not acknowledged."""
    groups: Any = redis.xinfo_groups(key)
    return sum(int(group["pending"]) for group in groups)


def test_frames_are_stored_as_they_came(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    bridge.send(device, *frames(1, 3))
    assert bridge.committed(device, 3) == [(device.device_id, number_of(device), 3, 0)]
    found = rows(
        owner,
        "SELECT tenant_id, device_id, sequence, value_count, frame,"
        " (extract(epoch FROM received_at) * 1000000)::bigint,"
        " (extract(epoch FROM started_at) * 1000)::bigint,"
        " (extract(epoch FROM ended_at) * 1000)::bigint"
        " FROM telemetry_frame ORDER BY sequence",
    )
    assert found == [
        (
            device.tenant_id,
            device.device_id,
            sequence,
            6,
            frame(sequence)["body"],
            NOW_US + sequence * 1_000,
            frame(sequence)["start_ms"],
            frame(sequence)["end_ms"],
        )
        for sequence in (1, 2, 3)
    ]
    assert decode_data(found[0][4]).blocks[0].values.tolist() == [[2, 2], [3, 3], [4, 4]]
    assert imbalances(owner) == []


def test_every_kind_of_message_finds_its_place(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    too_high = {**frame(2), "verdict": Verdict.LIMIT, "detail": "channel 0: 9 is too high"}
    log = Log(3, (LogLine(1_000, 3, "boot"), LogLine(2_000, 6, "nul \0 in it")))
    bridge.send(
        device,
        frame(1),
        too_high,
        {"sequence": 3, "kind": MessageType.LOG, "body": log.body()},
        {
            "sequence": 4,
            "kind": MessageType.EVENT,
            "body": Event(4, 5_000, "door", {"n": 1}).body(),
        },
        {"sequence": 5, "kind": MessageType.RESULT, "body": Result(5, bytes(16), 6_000, 0).body()},
        {"sequence": 6, "kind": MessageType.GAP, "body": Gap(6, 15).body()},
        {"kind": 0, "verdict": Verdict.MALFORMED, "body": b"\xff\xfe", "detail": "checksum"},
        frame(16),
    )
    bridge.committed(device, 16)
    assert rows(
        owner, "SELECT sequence, reason, detail, message FROM telemetry_quarantine ORDER BY id"
    ) == [
        (2, "limit", "channel 0: 9 is too high", frame(2)["body"]),
        (None, "malformed", "checksum", b"\xff\xfe"),
    ]
    assert rows(
        owner,
        "SELECT sequence, extract(epoch FROM logged_at)::int, level, line FROM device_log"
        " ORDER BY logged_at",
    ) == [(3, 1, 3, "boot"), (3, 2, 6, "nul \N{REPLACEMENT CHARACTER} in it")]
    assert rows(
        owner,
        "SELECT sequence, extract(epoch FROM occurred_at)::int, kind, data FROM device_event"
        " ORDER BY sequence",
    ) == [
        (4, 5, "door", {"n": 1}),
        (5, 6, "command.result", {"command": "00" * 16, "status": 0, "detail": ""}),
    ]
    assert rows(owner, "SELECT device_id, topic, kind, body FROM device_inbox ORDER BY id") == [
        (
            device.device_id,
            "commands",
            "result",
            {"command": "00" * 16, "status": 0, "detail": ""},
        )
    ]
    (row,) = [row for row in totals(owner) if row.device_id == device.device_id]
    assert (row.committed, row.stored, row.quarantined, row.skipped, row.other) == (16, 2, 1, 10, 3)
    assert imbalances(owner) == []


def test_what_must_be_acted_on_is_in_the_inbox_once_and_in_order(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()

    def said(sequence: int, kind: str) -> dict[str, Any]:
        body = Event(sequence, sequence * 1_000, kind, {"n": sequence}).body()
        return {"sequence": sequence, "kind": MessageType.EVENT, "body": body}

    kinds = ["firmware.accepted", "config.reported", "command.result", "door", "firmwares.x"]
    messages = [said(sequence, kind) for sequence, kind in enumerate(kinds, 1)]
    bridge.send(device, *messages)
    bridge.committed(device, 5)
    bridge.send(device, *messages)  # all of it again
    bridge.committed(device, 5)
    # An event that is called as a result is none: a result has a message of its own.
    assert rows(
        owner,
        "SELECT tenant_id, topic, kind, extract(epoch FROM occurred_at)::int, body"
        " FROM device_inbox ORDER BY id",
    ) == [
        (device.tenant_id, "firmware", "firmware.accepted", 1, {"n": 1}),
        (device.tenant_id, "commands", "config.reported", 2, {"n": 2}),
    ]


def test_a_hole_is_not_jumped_over_and_the_device_is_sent_back(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    bridge.send(device, *frames(1, 2), *frames(4, 6))
    assert bridge.committed(device, 2) == [
        (device.device_id, number_of(device), 2, queue.REWIND_FLAG)
    ]
    bridge.send(device, *frames(3, 6))
    assert bridge.committed(device, 6) == [(device.device_id, number_of(device), 6, 0)]
    assert rows(owner, "SELECT array_agg(sequence ORDER BY sequence) FROM telemetry_frame") == [
        ([1, 2, 3, 4, 5, 6],)
    ]
    assert [row.duplicate for row in totals(owner)] == [0, 0, 0]
    assert imbalances(owner) == []


def test_a_device_that_sends_again_is_answered_and_counted(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    bridge.send(device, *frames(1, 3))
    bridge.committed(device, 3)
    bridge.send(device, *({**message, "connection": 9} for message in frames(2, 3)))
    assert bridge.committed(device, 3) == [(device.device_id, 9, 3, 0)]
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(3,)]
    assert rows(owner, "SELECT sum(stored), sum(duplicate) FROM ledger_hour") == [(3, 2)]
    assert imbalances(owner) == []


def test_an_entry_read_twice_is_stored_and_counted_once(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    """As after a crash between commit and acknowledgement; the bridge's own events included."""
    bridge, device = Bridge(redis), park[0]
    running()
    connected = {
        "kind": BRIDGE_EVENT,
        "body": encode_event("connected", {"firmware_version": "1.2", "produced": 9}),
    }
    entry = bridge.entry(device, connected, *frames(1, 3))
    bridge.append(device.device_id, entry)
    bridge.committed(device, 3)
    bridge.append(device.device_id, entry)
    assert bridge.committed(device, 3) == [(device.device_id, number_of(device), 3, 0)]
    assert rows(owner, "SELECT sum(stored), sum(duplicate) FROM ledger_hour") == [(3, 0)]
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(3,)]
    assert rows(owner, "SELECT count(*) FROM device_event") == [(1,)]


def test_a_writer_that_takes_over_finds_what_the_dead_one_had_read(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge = Bridge(redis)
    for device in park:
        partition = queue.partition_of(device.device_id)
        key = queue.stream_key(partition)
        redis.xgroup_create(key, queue.WRITER_GROUP, id="0", mkstream=True)
        bridge.send(device, *frames(1, 2))
        read: Any = redis.xreadgroup(queue.WRITER_GROUP, queue.WRITER_CONSUMER, {key: ">"})
        assert len(read) == 1
        redis.set(queue.lease_key(partition), "the dead one", px=1_500)
        bridge.send(device, frame(3))
    running()
    pending = {device.device_id for device in park}
    bridge.notices(
        lambda found: pending <= {row[0] for row in found if len(row) == 4 and row[2] == 3}
    )
    assert [row.stored for row in totals(owner)] == [3, 3, 3]
    assert imbalances(owner) == []
    wait_until(lambda: settled(redis), "entries stayed pending")


def test_connections_are_followed(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()

    def tell(kind: str, connection: int, sequence: int, **data: object) -> None:
        event = {
            "kind": BRIDGE_EVENT,
            "connection": connection,
            "body": encode_event(kind, data),
        }
        bridge.send(device, event, frame(sequence))
        bridge.committed(device, sequence)

    def link() -> tuple[Any, ...]:
        (row,) = rows(
            owner,
            "SELECT connected, connection, bridge, firmware_version, clock_offset_ms,"
            " changed_at = last_seen_at FROM device_link",
        )
        return row

    def produced() -> int:
        (row,) = rows(
            owner, "SELECT produced FROM device_cursor WHERE device_id = %s", device.device_id
        )
        return int(row[0])

    tell("connected", 5, 1, firmware_version="1.0", clock_offset_ms=-40, produced=8)
    assert link() == (True, 5, "bridge-1", "1.0", -40, True)
    assert produced() == 8
    tell("seen", 5, 2, produced=11)
    assert link() == (True, 5, "bridge-1", "1.0", -40, False)
    assert produced() == 11
    tell("connected", 6, 3, firmware_version="1.1", clock_offset_ms=3, produced=11)
    tell("disconnected", 5, 4, code="replaced", text="")
    assert link() == (True, 6, "bridge-1", "1.1", 3, True)
    tell("disconnected", 6, 5, code="closed", text="")
    assert link() == (False, 6, "bridge-1", "1.1", 3, True)
    tell("refused", 0, 6, code="credentials", text="wrong secret")
    assert rows(owner, "SELECT kind FROM device_event ORDER BY received_at") == [
        ("connected",),
        ("connected",),
        ("disconnected",),
        ("disconnected",),
        ("refused",),
    ]
    told = (
        "SELECT capabilities, hardware_revision, boot_count, image_sha256, firmware_version"
        " FROM device_link"
    )
    assert rows(owner, told) == [(None, None, None, None, "1.1")]
    itself = {"capabilities": 6, "hardware_revision": "B", "boot_count": 3, "image_sha256": "ab"}
    tell("connected", 7, 7, **itself)
    tell("seen", 7, 8, produced=11)
    assert rows(owner, told) == [(6, "B", 3, "ab", "1.1")]


def test_a_device_that_is_gone_is_quarantined_and_evicted(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    owner.execute("DELETE FROM device_cursor WHERE device_id = %s", [device.device_id])
    running()
    bridge.send(device, frame(1), {"kind": BRIDGE_EVENT, "body": encode_event("seen", {})})
    found = bridge.notices(lambda found: bool(found))
    assert found == [(device.device_id, queue.EVERY_CONNECTION)]
    assert rows(owner, "SELECT device_id, sequence, reason FROM telemetry_quarantine") == [
        (device.device_id, 1, "unknown_device")
    ]
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(0,)]
    assert imbalances(owner) == []


def test_an_unreadable_entry_goes_to_poison_and_the_rest_goes_on(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    bridge.send(device, frame(1))
    bridge.append(device.device_id, {"b": b"bridge-1", "m": b"rubbish", "f": b""})
    bridge.send(device, frame(2))
    running()
    bridge.committed(device, 2)
    poison: Any = redis.xrange(queue.POISON_KEY)
    assert [fields for _, fields in poison] == [
        {
            b"b": b"bridge-1",
            b"m": b"rubbish",
            b"f": b"",
            b"reason": b"7 bytes of envelopes: not a multiple of 66",
        }
    ]
    wait_until(lambda: settled(redis), "the unreadable entry stayed in the queue")


def test_a_row_that_the_database_refuses_is_found_among_many(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    bad_event = {"kind": BRIDGE_EVENT, "body": encode_event("odd", {})}
    owner.execute("ALTER TABLE telemetry_frame ADD CONSTRAINT odd CHECK (sequence <> 11)")
    owner.execute("ALTER TABLE device_event ADD CONSTRAINT odd CHECK (kind <> 'odd')")
    try:
        bridge.send(device, *frames(1, 10), bad_event, *frames(11, 20))
        bridge.committed(device, 20)
    finally:
        owner.execute("ALTER TABLE telemetry_frame DROP CONSTRAINT odd")
        owner.execute("ALTER TABLE device_event DROP CONSTRAINT odd")
    (quarantined,) = rows(owner, "SELECT sequence, reason, detail FROM telemetry_quarantine")
    assert quarantined[:2] == (11, "refused")
    assert "violates check constraint" in quarantined[2]
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(19,)]
    assert imbalances(owner) == []
    poison: Any = redis.xrange(queue.POISON_KEY)
    assert len(poison) == 1
    assert queue.decode_batch(poison[0][1]).body(0) == bad_event["body"]


def test_a_missing_table_loses_nothing(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    """As between the start of a new version and its migrations: the batch waits."""
    bridge, device = Bridge(redis), park[0]
    owner.execute("ALTER TABLE telemetry_frame RENAME TO telemetry_frame_away")
    try:
        writer = running()
        bridge.send(device, *frames(1, 3))
        wait_until(lambda: not settled(redis), "nothing was read")
        time.sleep(0.5)
        assert writer.counters.batches == 0
    finally:
        owner.execute("ALTER TABLE telemetry_frame_away RENAME TO telemetry_frame")
    bridge.committed(device, 3)
    assert [row.stored for row in totals(owner)] == [3, 0, 0]
    assert rows(owner, "SELECT count(*) FROM telemetry_quarantine") == [(0,)]


def test_a_writer_whose_database_is_away_can_be_stopped(
    redis: Redis, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    writer = running(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    bridge.send(device, frame(1))
    key = queue.stream_key(queue.partition_of(device.device_id))
    wait_until(lambda: pending(redis, key) == 1, "nothing was read")
    writer.stop()
    wait_until(lambda: heartbeat.alive(redis) == [], "it did not stop")
    assert redis.exists(*(queue.lease_key(n) for n in range(queue.PARTITIONS))) == 0
    assert pending(redis, key) == 1
    running("another")
    bridge.committed(device, 1)


def test_the_command_ends_well_on_sigterm(
    redis: Redis, owner: Owner, park: list[ParkDevice]
) -> None:
    bridge = Bridge(redis)
    with subprocess.Popen(
        [sys.executable, "manage.py", "run_writer", "--instance", "process"],
        cwd=settings.BASE_DIR,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        bridge.send(park[0], *frames(1, 5))
        bridge.committed(park[0], 5)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    assert redis.exists(*(queue.lease_key(n) for n in range(queue.PARTITIONS))) == 0
    assert redis.zcard(queue.WRITERS_KEY) == 0
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(5,)]
    assert settled(redis)


def test_a_wiped_queue_leaves_a_hole_that_the_device_fills(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    bridge, device = Bridge(redis), park[0]
    running()
    bridge.send(device, *frames(1, 2))
    bridge.committed(device, 2)
    redis.flushall()
    bridge.send(device, *frames(5, 6))
    assert bridge.committed(device, 2)[-1] == (
        device.device_id,
        number_of(device),
        2,
        queue.REWIND_FLAG,
    )
    bridge.send(device, *frames(3, 6))
    bridge.committed(device, 6)
    assert [row.stored for row in totals(owner)] == [6, 0, 0]
    assert imbalances(owner) == []


def send_until_full(bridge: Bridge, device: ParkDevice) -> int:
    """Send until Redis refuses; returns the last sequence number that it took."""
    sent = 0
    while True:
        try:
            bridge.send(device, *frames(sent + 1, sent + 100))
        except OutOfMemoryError:
            return sent
        sent += 100


def test_a_full_redis_is_emptied(
    redis: Redis,
    owner: Owner,
    park: list[ParkDevice],
    running: Callable[..., Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis takes nothing new, not even the lease of a writer; but the writer gets it going."""
    monkeypatch.setattr("devices.ingest.writer_source.TRIM_AFTER_MS", 0)
    bridge, device = Bridge(redis), park[0]
    information: Any = redis.info("memory")
    redis.config_set("maxmemory", information["used_memory"] + 3_000_000)
    try:
        sent = send_until_full(bridge, device)
        running()
        bridge.committed(device, sent)
        wait_until(lambda: len(heartbeat.alive(redis)) == 1, "Redis stays full")
        bridge.send(device, frame(sent + 1))
        bridge.committed(device, sent + 1)
    finally:
        redis.config_set("maxmemory", 0)
    assert rows(owner, "SELECT count(*) FROM telemetry_frame") == [(sent + 1,)]
    assert imbalances(owner) == []


def test_writers_share_the_partitions_and_give_them_back(
    redis: Redis, owner: Owner, park: list[ParkDevice], running: Callable[..., Writer]
) -> None:
    def held() -> list[int]:
        holders = [redis.get(queue.lease_key(partition)) for partition in range(queue.PARTITIONS)]
        names = [holder for holder in holders if holder is not None]
        return sorted(names.count(name) for name in set(names))

    first = running("first")
    wait_until(lambda: held() == [16], "one writer holds all")
    running("second")
    wait_until(lambda: held() == [8, 8], "two writers hold half each")
    running("third")
    wait_until(lambda: held() in ([5, 5, 6], [4, 6, 6]), "three writers hold a third each")
    assert [beat.instance for beat in heartbeat.alive(redis)] == ["first", "second", "third"]
    first.stop()
    wait_until(lambda: held() == [8, 8], "the others take over")
    bridge = Bridge(redis)
    for device in park:
        bridge.send(device, *frames(1, 2))
    wait_until(lambda: [row.stored for row in totals(owner)] == [2, 2, 2], "all stored")
    assert [beat.instance for beat in heartbeat.alive(redis)] == ["second", "third"]


def test_two_writers_with_the_same_entries_store_them_once(
    servers: Endpoints,
    redis: Redis,
    owner: Owner,
    park: list[ParkDevice],
    running: Callable[..., Writer],
) -> None:
    """A lease that ran out while its holder was stuck: both have the same batch in hand."""
    bridge, other = Bridge(redis), Bridge(redis, "bridge-2")
    for start in range(1, 200, 10):
        for device in park:
            entry = bridge.entry(device, *frames(start, start + 9))
            bridge.append(device.device_id, entry)
            copy = {**entry, "b": b"bridge-2"}
            redis.xadd(f"copy:{queue.partition_of(device.device_id)}", copy)  # type: ignore[arg-type]
    # A second Redis database is a second queue of the same entries.
    for partition in range(queue.PARTITIONS):
        if redis.exists(f"copy:{partition}"):
            redis.move(f"copy:{partition}", 1)
    second_url = servers.redis_url.rsplit("/", 1)[0] + "/1"
    with Redis.from_url(second_url) as second:
        for partition in range(queue.PARTITIONS):
            if second.exists(f"copy:{partition}"):
                second.rename(f"copy:{partition}", queue.stream_key(partition))
    running("first")
    running("second", redis_url=second_url)
    last = {device.device_id for device in park}
    for party in (bridge, other):
        party.notices(lambda found: last <= {row[0] for row in found if row[2] == 200})
    assert [row.stored for row in totals(owner)] == [200, 200, 200]
    assert imbalances(owner) == []


def test_acknowledged_entries_are_trimmed_when_they_are_old(
    redis: Redis,
    park: list[ParkDevice],
    running: Callable[..., Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("devices.ingest.writer_source.TRIM_AFTER_MS", 0)
    bridge, device = Bridge(redis), park[0]
    key = queue.stream_key(queue.partition_of(device.device_id))
    running()
    # Approximate trimming drops whole nodes of 100 entries.
    for sequence in range(1, 301):
        bridge.send(device, frame(sequence))
    bridge.committed(device, 300)
    wait_until(lambda: int(redis.xlen(key)) <= 100, "nothing was trimmed")
