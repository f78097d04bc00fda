"""Links of devices whose bridge was killed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.db import connection, connections
from redis import Redis

from devices.domain import links
from devices.ingest import heartbeat
from devices.models import Device
from devices.tasks import close_lost_links
from devices.telemetry import history, status
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()
        yield client


def _connected(bridge: str) -> Device:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        device = factories.device(factories.facility(of)).device
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET connected = true, bridge = %s, changed_at = now(),"
            " last_seen_at = now() - interval '1 hour' WHERE device_id = %s",
            [bridge, device.pk],
        )
    return device


def _link(device: Device) -> status.Link:
    with open_scope(Scope((device.tenant_id,))):
        return status.links(connection, [device.pk])[device.pk]


def test_devices_of_a_lost_bridge_are_disconnected_at_the_second_look(redis: Redis) -> None:
    lost, kept = _connected("gone"), _connected("here")
    heartbeat.beat(redis, "bridge", "here")

    close_lost_links()
    assert _link(lost).connected

    close_lost_links()
    assert not _link(lost).connected
    assert _link(kept).connected
    with open_scope(Scope((lost.tenant_id, kept.tenant_id))):
        (event,) = history.event_page(connection, lost.pk, limit=10).items
        assert history.event_page(connection, kept.pk, limit=10).items == ()
    assert (event.kind, event.data) == (
        "disconnected",
        {"reason": links.BRIDGE_LOST, "bridge": "gone", "text": "the bridge was lost"},
    )


def test_a_bridge_that_is_missing_for_a_moment_keeps_its_devices(redis: Redis) -> None:
    device = _connected("here")
    close_lost_links()
    heartbeat.beat(redis, "bridge", "here")
    close_lost_links()
    assert _link(device).connected


def test_a_frame_counts_as_a_sign_of_life() -> None:
    device = _connected("here")
    arrived = datetime.now(UTC).replace(microsecond=0)
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_cursor SET last_received_at = %s WHERE device_id = %s",
            [arrived, device.pk],
        )
    assert _link(device).last_seen_at == arrived
