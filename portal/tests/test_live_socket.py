"""`/ws/live/`: who may watch what, the seam between storage and live, and what ends a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connections
from redis.asyncio import Redis

from devices.domain import operations
from devices.ingest import queue
from devices.models import DeviceState
from devices.tests import factories
from devices.tests.factories import Park
from portal.feed import hub, watching
from portal.feed import socket as sockets
from portal.feed.notices import memberships_changed
from portal.feed.records import Kind, Record
from portal.tests.live_client import in_thread, open_socket, own_hub, page, publish
from tenants.domain.operations import change_role, end_membership
from tenants.models import Membership, User
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


@pytest.fixture
def park() -> Park:
    return factories.park()


@pytest.fixture
def other() -> Park:
    return factories.park()


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with own_hub() as client:
        yield client


def store(park: Park, device_id: int, *sequences: int, committed: int | None = None) -> None:
    """Frames of one sample each, two seconds apart, the last one now; and the cursor."""
    now = datetime.now(UTC)
    with connections["ingest"].cursor() as cursor:
        for place, sequence in enumerate(sequences):
            at = now - timedelta(seconds=2 * (len(sequences) - 1 - place))
            cursor.execute(
                "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, 2, %s)",
                [at, park.tenant.pk, device_id, sequence, at, at, frame(sequence)],
            )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s WHERE device_id = %s",
            [sequences[-1] if committed is None else committed, device_id],
        )


def frame(sequence: int) -> bytes:
    return factories.frame_body(sequence, 1_790_000_000_000 + 2000 * sequence, [[sequence], [230]])


def sequences(records: list[Record], kind: Kind) -> list[int]:
    return [record.sequence for record in records if record.kind is kind]


# --- who may watch what ---------------------------------------------------


async def test_nobody_is_told_to_sign_in(redis: Redis) -> None:
    async with page(None) as socket:
        assert await socket.receive() == "closed 4401"


async def test_a_page_of_another_site_gets_no_socket(redis: Redis, park: Park) -> None:
    _, accepted = await open_socket([(b"origin", b"https://evil.example")])
    assert not accepted


async def test_a_manager_watches_a_facility(redis: Redis, park: Park) -> None:
    branch = park.branches[0]
    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": branch.facility.pk}})
        description, _ = await socket.until("description")
        assert description == {
            "window_ms": 900_000,
            "devices": [
                {
                    "id": branch.device.pk,
                    "name": branch.device.name,
                    "step_ms": 2000,
                    "connected": False,
                    "channels": [
                        {
                            "number": 0,
                            "name": "Active power",
                            "quantity": "active_power",
                            "unit": "W",
                            "resolution": "0.1",
                        },
                        {
                            "number": 1,
                            "name": "Voltage",
                            "quantity": "voltage",
                            "unit": "V",
                            "resolution": "0.01",
                        },
                        {
                            "number": 255,
                            "name": "Doubled",
                            "quantity": "voltage",
                            "unit": "V",
                            "resolution": "0.01",
                        },
                    ],
                }
            ],
        }
        assert await socket.until("backfilled") == ({str(branch.device.pk): 4}, [])


async def test_a_consumer_watches_the_own_facility_only(redis: Redis, park: Park) -> None:
    async with page(await in_thread(park.consumer, 0)) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        description, _ = await socket.until("description")
        assert [device["id"] for device in description["devices"]] == [park.branches[0].device.pk]
        await socket.send({"watch": {"facility": park.branches[1].facility.pk}})
        assert (await socket.until("closed 4403"))[0] == "closed 4403"


async def test_a_consumer_may_not_watch_a_single_device(redis: Redis, park: Park) -> None:
    async with page(await in_thread(park.consumer, 0)) as socket:
        await socket.send({"watch": {"device": park.branches[0].device.pk}})
        assert await socket.receive() == {"refused": "the role does not include readings"}
        assert await socket.receive() == "closed 4403"


@pytest.mark.parametrize("kind", ["facility", "device"])
async def test_what_belongs_to_another_tenant_does_not_exist(
    redis: Redis, park: Park, other: Park, kind: str
) -> None:
    theirs = other.branches[0]
    target = theirs.facility.pk if kind == "facility" else theirs.device.pk
    async with page(park.manager) as socket:
        await socket.send({"watch": {kind: target}})
        assert await socket.receive() == {"refused": f"no such {kind} in your access"}
        assert await socket.receive() == "closed 4403"
    assert await redis.zcard(queue.INTEREST_KEY) == 0


async def test_a_fill_of_another_device_is_not_answered(
    redis: Redis, park: Park, other: Park
) -> None:
    await in_thread(store, other, other.branches[0].device.pk, 5, 6)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await socket.send({"fill": {"device": other.branches[0].device.pk, "from": 5, "to": 6}})
        assert await socket.silent()


# --- what ends a socket ---------------------------------------------------


async def test_the_end_of_a_membership_closes_the_socket_at_once(redis: Redis, park: Park) -> None:
    def end() -> int:
        with open_scope(park.scope):
            membership = Membership.objects.get(user=park.manager)
            return end_membership(membership_id=membership.pk, actor_id=None).user_id

    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await in_thread(memberships_changed, await in_thread(end))
        assert await socket.receive() == {"refused": "the membership has ended"}
        assert await socket.receive() == "closed 4403"


async def test_a_role_without_devices_closes_the_page_of_a_device(redis: Redis, park: Park) -> None:
    def demote() -> None:
        with open_scope(park.scope):
            membership = Membership.objects.get(user=park.manager)
            change_role(membership_id=membership.pk, role=Role.CONSUMER, actor_id=None)

    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": park.branches[0].device.pk}})
        await socket.until("backfilled")
        await in_thread(demote)
        await in_thread(memberships_changed, park.manager.pk)
        assert (await socket.until("closed 4403"))[0] == "closed 4403"


async def test_a_change_that_leaves_the_access_as_it_is_disturbs_nobody(
    redis: Redis, park: Park
) -> None:
    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await in_thread(memberships_changed, park.manager.pk)
        assert await socket.silent()


async def test_a_revoked_device_leaves_the_page_of_its_facility(redis: Redis, park: Park) -> None:
    branch = park.branches[0]

    def revoke() -> None:
        with open_scope(park.scope):
            operations.change_state(
                device_id=branch.device.pk, state=DeviceState.REVOKED, actor_id=None
            )

    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": branch.facility.pk}})
        await socket.until("backfilled")
        await in_thread(revoke)
        await in_thread(memberships_changed, park.manager.pk)
        description, _ = await socket.until("description")
        assert description["devices"] == []
        await socket.until("backfilled")
        await publish(redis, branch.device.pk, 9, frame(9))
        assert await socket.silent()


async def test_a_new_device_comes_with_its_backfill(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_S", 0.2)
    branch = park.branches[0]

    def register() -> int:
        with open_scope(park.scope):
            made = factories.device(branch.facility, branch.device.device_type)
        store(park, made.device.pk, 1, 2)
        return made.device.pk

    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": branch.facility.pk}})
        await socket.until("backfilled")
        fresh = await in_thread(register)
        description, _ = await socket.until("description")
        assert {device["id"] for device in description["devices"]} == {branch.device.pk, fresh}
        _, records = await socket.until("backfilled")
        # Its frames may have been committed after the recheck read storage: they come then by fill.
        assert {record.device_id for record in records} <= {fresh}
        await publish(redis, fresh, 3, frame(3))
        assert sequences(await socket.records(1), Kind.LIVE) == [3]


async def test_the_end_of_the_session_closes_the_socket(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_S", 0.2)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")

        def sign_out() -> None:
            Session.objects.all().delete()
            cache.clear()

        await in_thread(sign_out)
        assert (await socket.until("closed 4401"))[0] == "closed 4401"


async def test_a_closed_account_closes_the_socket(redis: Redis, park: Park) -> None:
    async with page(park.manager) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await in_thread(User.objects.filter(pk=park.manager.pk).update, is_active=False)
        await in_thread(memberships_changed, park.manager.pk)
        assert (await socket.until("closed 4401"))[0] == "closed 4401"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "7",
        pytest.param("[" * 16_000, id="nested"),
        "{}",
        '{"watch": {}}',
        '{"watch": {"facility": "1"}}',
        '{"watch": {"facility": 0}}',
        '{"watch": {"facility": 9223372036854775808}}',
        '{"watch": {"facility": 1, "have": []}}',
        '{"watch": {"facility": 1, "have": {"x": 1}}}',
        '{"watch": {"facility": 1, "have": {"1": -1}}}',
        '{"watch": {"facility": 1, "have": {"1": 1.5}}}',
        '{"fill": {"device": 1, "from": 2, "to": 1}}',
        '{"fill": {"device": 1, "from": 1, "to": 9223372036854775808}}',
        '{"ping": "now"}',
        '{"ping": 1, "watch": 2}',
        '{"watch": {"facility": 1, "note": "' + "x" * 20_000 + '"}}',
    ],
)
async def test_a_message_that_is_none_closes_the_socket(
    redis: Redis, park: Park, text: str
) -> None:
    async with page(park.manager) as socket:
        await socket.send_text(text)
        assert await socket.receive() == "closed 4400"


async def test_a_binary_message_closes_the_socket(redis: Redis, park: Park) -> None:
    async with page(park.manager) as socket:
        await socket.send_bytes(b"\x00\x01")
        assert await socket.receive() == "closed 4400"


async def test_sockets_of_a_user_are_bounded(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_SOCKETS_PER_USER", 2)
    async with page(park.manager), page(park.manager):
        async with page(park.manager) as third:
            assert await third.receive() == "closed 4429"
        async with page(await in_thread(park.consumer, 0)) as another:
            assert await another.silent(0.1)
    async with page(park.manager) as later:
        assert await later.silent(0.1)


# --- the seam ---------------------------------------------------


async def test_storage_comes_first_then_live_frames(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    await in_thread(store, park, device_id, 5, 6, 8, committed=9)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        backfilled, records = await socket.until("backfilled")
        assert backfilled == {str(device_id): 9}
        assert sequences(records, Kind.BACKFILL) == [5, 6, 8]
        assert [record.body for record in records] == [frame(5), frame(6), frame(8)]
        await publish(redis, device_id, 10, frame(10))
        (record,) = await socket.records(1)
        assert (record.kind, record.sequence, record.body) == (Kind.LIVE, 10, frame(10))
        assert record.device_id == device_id
        assert 0 <= record.sent_us - record.received_us < 5_000_000


async def test_a_frame_that_arrives_during_the_backfill_comes_after_it(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_id = park.branches[0].device.pk
    await in_thread(store, park, device_id, 5)
    reading, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    backfill = watching.backfill

    def slow(**arguments: Any) -> watching.Stored:
        stored = backfill(**arguments)
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return stored

    monkeypatch.setattr(watching, "backfill", slow)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        await reading.wait()
        # Three frames while storage is read: the newest waits, the others are asked for.
        for sequence in (6, 7, 8):
            await publish(redis, device_id, sequence, frame(sequence))
        await asyncio.sleep(0.3)
        go_on.set()
        _, records = await socket.until("backfilled")
        assert sequences(records, Kind.BACKFILL) == [5]
        assert sequences(await socket.records(1), Kind.LIVE) == [8]
        assert await socket.until("lost") == (2, [])
        await in_thread(store, park, device_id, 6, 7)
        await socket.send({"fill": {"device": device_id, "from": 6, "to": 7}})
        filled, records = await socket.until("filled")
        assert filled == {"device": device_id, "from": 6, "to": 7}
        assert sequences(records, Kind.FILL) == [6, 7]


async def test_a_fill_says_how_far_storage_has_come(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    await in_thread(store, park, device_id, 5, 7, committed=7)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        await socket.until("backfilled")
        await socket.send({"fill": {"device": device_id, "from": 6, "to": 9}})
        filled, records = await socket.until("filled")
        assert filled == {"device": device_id, "from": 6, "to": 7}
        assert sequences(records, Kind.FILL) == [7]
        await socket.send({"fill": {"device": device_id, "from": 8, "to": 9}})
        filled, records = await socket.until("filled")
        assert (filled["to"], records) == (7, [])


async def test_a_page_that_comes_back_gets_only_what_it_has_not(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    await in_thread(store, park, device_id, 5, 6, 7)
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id, "have": {str(device_id): 6}}})
        _, records = await socket.until("backfilled")
        assert sequences(records, Kind.BACKFILL) == [7]


async def test_frames_older_than_the_window_stay_in_storage(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    await in_thread(store, park, device_id, *range(1, 500))
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        _, records = await socket.until("backfilled")
        got = sequences(records, Kind.BACKFILL)
        assert got == list(range(got[0], 500))
        assert 448 <= len(got) <= 451
        await socket.send({"fill": {"device": device_id, "from": 1, "to": 40}})
        filled, records = await socket.until("filled")
        assert (filled["to"], records) == (40, [])


async def test_a_ping_is_answered_with_the_servers_clock(redis: Redis, park: Park) -> None:
    async with page(park.manager) as socket:
        await socket.send({"ping": 12.5})
        answer = await socket.receive()
        assert answer["pong"] == 12.5
        assert abs(answer["server_ms"] - datetime.now(UTC).timestamp() * 1000) < 10_000


async def test_links_are_passed_on(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        await socket.until("backfilled")
        event = queue.encode_event("disconnected", {"code": "idle"})
        await publish(redis, device_id, 0, event, kind=queue.BRIDGE_EVENT, connection=1 << 60)
        (record,) = await socket.records(1)
        assert (record.kind, record.sequence, record.body) == (Kind.LINK, 1 << 60, event)


# --- leases ---------------------------------------------------


async def test_opening_a_page_opens_the_lease_and_closing_ends_it(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER_S", 0.2)
    device_id = park.branches[0].device.pk
    async with redis.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(queue.LIVE_CHANNEL)

        async def notice() -> tuple[int, list[int]]:
            async for message in pubsub.listen():
                return queue.decode_live(message["data"])
            raise AssertionError

        consumer = await in_thread(park.consumer, 0)
        async with page(park.manager) as first, page(consumer) as second:
            for socket in (first, second):
                await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
                await socket.until("backfilled")
            assert await notice() == (queue.LIVE_LEASE_S, [device_id])
            assert await redis.zrange(queue.INTEREST_KEY, 0, -1) == [str(device_id).encode()]
        while (ended := await asyncio.wait_for(notice(), 5))[0]:
            continue  # a renewal
        assert ended == (0, [device_id])
        assert await redis.zcard(queue.INTEREST_KEY) == 0


async def test_a_page_that_is_loaded_again_leaves_the_device_alone(
    redis: Redis, park: Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "LINGER_S", 2.0)
    device_id = park.branches[0].device.pk
    for _ in range(2):
        async with page(park.manager) as socket:
            await socket.send({"watch": {"device": device_id}})
            await socket.until("backfilled")
    assert await redis.zcard(queue.INTEREST_KEY) == 1
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        await socket.until("backfilled")
        await asyncio.sleep(2.5)
        assert await redis.zcard(queue.INTEREST_KEY) == 1


async def test_live_goes_on_after_redis_dropped_its_connections(redis: Redis, park: Park) -> None:
    device_id = park.branches[0].device.pk
    async with page(park.manager) as socket:
        await socket.send({"watch": {"device": device_id}})
        await socket.until("backfilled")
        await redis.client_kill_filter(_type="pubsub")
        sequence = 10
        while await socket.silent(0.1):
            sequence += 1
            await publish(redis, device_id, sequence, frame(sequence))
        (record, *_) = await socket.records(1)
        assert record.sequence <= sequence


def test_a_slow_socket_keeps_the_newest_frame_of_each_device() -> None:
    watcher = hub.Watcher()
    watcher.offer(1, Kind.LIVE, b"a")
    watcher.offer(2, Kind.LIVE, b"b")
    watcher.offer(1, Kind.LINK, b"l")
    watcher.offer(1, Kind.LIVE, b"c")
    assert watcher.lost == 1
    assert watcher.take() == b"blc"
    assert watcher.take() == b""
    assert not watcher.wake.is_set()


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No task of a socket may fail behind the test's back."""
    yield
    assert [r.getMessage() for r in caplog.records if "live.socket_failed" in r.getMessage()] == []
