"""Pages about devices that are updated over DDI."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client

from devices.domain import operations
from devices.telemetry import status
from devices.tests import factories as devices
from firmware.domain import ddi_keys, ddi_presence
from firmware.models import DdiSettings, DdiTarget
from portal.tests.ddi_world import Ddi, speaking
from tenants.models import User
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db

_TOKEN = re.compile(r'id="token">([A-Za-z0-9_-]{32})<')


@pytest.fixture
def ddi() -> Ddi:
    """A device."""
    return speaking()


@pytest.fixture
def admin(ddi: Ddi) -> Client:
    """An administrator of its tenant."""
    with open_scope(ddi.scope):
        user: User = devices.member(ddi.tenant, Role.ADMIN).user
    client = Client()
    client.force_login(user)
    return client


def test_new_token_of_a_device_is_shown_once(ddi: Ddi, admin: Client) -> None:
    path = f"/devices/{ddi.device.pk}/ddi/"
    answer = admin.post(f"{path}token/")
    found = _TOKEN.search(answer.content.decode())
    assert found is not None
    assert "no-store" in answer["Cache-Control"]
    assert ddi.ask().status_code == 401
    ddi.token = found[1]
    assert ddi.ask().status_code == 200
    ddi.tell("/configData", {"data": {"board": "rev <2>"}}, "PUT")
    page = admin.get(path).content.decode()
    assert found[1] not in page
    assert "rev &lt;2&gt;" in page
    assert admin.post(f"{path}token/withdraw/").status_code == 302
    assert ddi.ask().status_code == 401


def test_device_that_measures_nothing_says_so(ddi: Ddi, admin: Client) -> None:
    said = "This device has no channels: it measures nothing."
    with open_scope(ddi.scope):
        kind = operations.create_device_type(
            tenant_id=ddi.tenant.pk, code="gateway", name="Gateway", channels=[], actor_id=None
        )
        mute = devices.device(devices.facility(ddi.tenant), kind).device
    assert said in admin.get(f"/devices/{mute.pk}/").content.decode()
    assert said not in admin.get(f"/devices/{ddi.device.pk}/").content.decode()


def test_device_that_is_not_updated_over_ddi_is_told(ddi: Ddi, admin: Client) -> None:
    with open_scope(ddi.scope):
        plain = devices.device(devices.facility(ddi.tenant)).device
    answer = admin.post(f"/devices/{plain.pk}/ddi/token/", follow=True)
    assert "capability “ddi”" in answer.content.decode()
    assert (
        "Updates over DDI"
        not in admin.get(f"/devices/{plain.pk}/")
        .content.decode()
        .partition('id="configuration"')[2]
    )
    with open_scope(ddi.scope):
        assert not DdiTarget.objects.filter(device=plain).exists()


def test_device_page_leads_there(ddi: Ddi, admin: Client) -> None:
    page = admin.get(f"/devices/{ddi.device.pk}/").content.decode()
    assert f'href="/devices/{ddi.device.pk}/ddi/"' in page


def test_gateway_token_is_shown_once(ddi: Ddi, admin: Client) -> None:
    found = _TOKEN.search(admin.post("/firmware/ddi/gateway/").content.decode())
    assert found is not None
    headers = {"authorization": f"GatewayToken {found[1]}"}
    assert Client().get(ddi.root, headers=headers).status_code == 200
    page = admin.get("/firmware/ddi/").content.decode()
    assert ddi.tenant.slug in page
    assert found[1] not in page
    assert admin.post("/firmware/ddi/gateway/withdraw/").status_code == 302
    assert Client().get(ddi.root, headers=headers).status_code == 401


def test_settings_are_kept(ddi: Ddi, admin: Client) -> None:
    form = {"polling_s": "600", "busy_polling_s": "20", "handling": "attempt"}
    assert admin.post("/firmware/ddi/", form).status_code == 302
    with open_scope(ddi.scope):
        row = DdiSettings.objects.get()
    assert (row.polling_s, row.busy_polling_s, row.handling) == (600, 20, "attempt")
    assert not row.confirmation
    assert admin.post("/firmware/ddi/", form | {"polling_s": "1"}).status_code == 422
    assert admin.post("/firmware/ddi/", form | {"handling": "never"}).status_code == 422


def test_device_that_stopped_asking_counts_as_away(ddi: Ddi) -> None:
    other = speaking()
    with open_scope(ddi.scope):
        ddi_keys.change_settings(tenant_id=ddi.tenant.pk, values={"polling_s": 60}, actor_id=None)
    assert ddi.ask().status_code == other.ask().status_code == 200
    seen = {}
    for one in (ddi, other):
        with open_scope(one.scope):
            link = status.links(connection, [one.device.pk])[one.device.pk]
        assert link.connected
        seen[one.device.pk] = link.last_seen_at
    heard = seen[ddi.device.pk]
    assert heard is not None

    def closed(one: Ddi, seconds: int) -> int:
        with open_scope(one.scope):
            return ddi_presence.close_silent(
                tenant_ids=[one.tenant.pk], now=heard + timedelta(seconds=seconds)
            )

    # Three of its own tenant's intervals.
    assert [closed(ddi, 170), closed(ddi, 190), closed(ddi, 200)] == [0, 1, 0]
    assert [closed(other, 890), closed(other, 910)] == [0, 1]
    with open_scope(ddi.scope):
        link = status.links(connection, [ddi.device.pk])[ddi.device.pk]
        assert not link.connected
    ddi.ask()
    with open_scope(ddi.scope):
        link = status.links(connection, [ddi.device.pk])[ddi.device.pk]
        assert link.connected
