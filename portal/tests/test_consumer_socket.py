"""`/home/ws/live/`: who may watch what, and what ends a socket of the consumer view."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.test import Client
from redis.asyncio import Redis

from devices.tests import factories
from devices.tests.factories import Park
from portal.benchmarks.live import session_cookie
from portal.consumer import routing, sessions
from portal.feed.notices import memberships_changed
from portal.tests import home
from portal.tests.live_client import TIMEOUT_S, Page, in_thread, open_socket, own_hub, publish
from tenants.domain.operations import end_membership
from tenants.models import Membership
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

PATH = "/home/ws/live/"


@pytest.fixture
def park() -> Park:
    cache.clear()
    return factories.park()


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    async with own_hub() as client:
        yield client


@pytest.fixture
async def secret(redis: Redis, park: Park) -> str:
    """What a consumer's browser holds."""
    browser: Client = await in_thread(home.signed_in, park.consumer(0))
    return str(browser.cookies[settings.HOME_COOKIE_NAME].value)


@asynccontextmanager
async def socket_with(cookie: str | None) -> AsyncIterator[Page]:
    headers = [(b"origin", b"http://localhost")]
    if cookie is not None:
        headers.append((b"cookie", cookie.encode()))
    socket, accepted = await open_socket(headers, PATH)
    assert accepted
    try:
        yield Page(socket)
    finally:
        await socket.send_input({"type": "websocket.disconnect", "code": 1001})
        await socket.wait(TIMEOUT_S)


def at_home(secret: str) -> str:
    return f"{settings.HOME_COOKIE_NAME}={secret}"


def test_these_are_all_sockets_of_the_view() -> None:
    assert [f"/{route.pattern}" for route in routing.websocket_urlpatterns] == [PATH]


async def test_nobody_and_a_session_of_the_portal_are_told_to_sign_in(
    redis: Redis, park: Park
) -> None:
    portal = await in_thread(session_cookie, park.consumer(0))
    for cookie in (None, portal, at_home("nonsense"), at_home("")):
        async with socket_with(cookie) as socket:
            assert await socket.receive() == "closed 4401"


async def test_page_of_another_site_gets_no_socket(secret: str) -> None:
    headers = [(b"origin", b"https://evil.example"), (b"cookie", at_home(secret).encode())]
    _, accepted = await open_socket(headers, PATH)
    assert not accepted


async def test_consumer_watches_the_own_facility_live(
    redis: Redis, park: Park, secret: str
) -> None:
    branch = park.branches[0]
    body = factories.frame_body(9, 1_790_000_000_000, [[4321], [2300]])
    async with socket_with(at_home(secret)) as socket:
        await socket.send({"watch": {"facility": branch.facility.pk}})
        description, _ = await socket.until("description")
        assert [device["id"] for device in description["devices"]] == [branch.device.pk]
        await socket.until("backfilled")
        await publish(redis, branch.device.pk, 9, body)
        (record,) = await socket.records(1)
        assert (record.device_id, record.body) == (branch.device.pk, body)


@pytest.mark.parametrize("kind", ["facility", "device"])
async def test_what_is_out_of_reach_is_refused(park: Park, secret: str, kind: str) -> None:
    other = await in_thread(factories.park)
    for branch in (park.branches[1], other.branches[0]):
        async with socket_with(at_home(secret)) as socket:
            await socket.send({"watch": {kind: getattr(branch, kind).pk}})
            refused = await socket.receive()
            assert branch.facility.name not in str(refused)
            assert await socket.receive() == "closed 4403"


async def test_devices_are_no_part_of_what_the_application_may_see(park: Park, secret: str) -> None:
    """Its scopes have the readings of facilities, whatever the person's role allows beyond."""
    async with socket_with(at_home(secret)) as socket:
        await socket.send({"watch": {"device": park.branches[0].device.pk}})
        assert "refused" in await socket.receive()
        assert await socket.receive() == "closed 4403"


async def test_end_of_the_session_closes_the_socket_at_once(park: Park, secret: str) -> None:
    def end() -> None:
        sessions.end(sessions.visit(secret))
        memberships_changed(park.consumer(0).pk)

    async with socket_with(at_home(secret)) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await in_thread(end)
        assert "refused" in await socket.receive()
        assert await socket.receive() == "closed 4401"


async def test_end_of_the_membership_closes_the_socket(park: Park, secret: str) -> None:
    def end() -> None:
        with open_scope(park.scope):
            membership = Membership.objects.get(user=park.consumer(0))
            end_membership(membership_id=membership.pk, actor_id=None)
        cache.clear()
        memberships_changed(park.consumer(0).pk)

    async with socket_with(at_home(secret)) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        await in_thread(end)
        assert "refused" in await socket.receive()
        assert await socket.receive() == "closed 4401"


async def test_socket_renews_the_token_of_a_page_that_stays_open(park: Park, secret: str) -> None:
    before = (await in_thread(sessions.visit, secret)).contents.access
    later = datetime.now(UTC) + timedelta(seconds=settings.ACCESS_TOKEN_S)
    async with socket_with(at_home(secret)) as socket:
        await socket.send({"watch": {"facility": park.branches[0].facility.pk}})
        await socket.until("backfilled")
        with time_machine.travel(later, tick=True):
            await in_thread(memberships_changed, park.consumer(0).pk)
            assert await socket.silent(1.0)
            after = (await in_thread(sessions.visit, secret)).contents.access
    assert after != before
