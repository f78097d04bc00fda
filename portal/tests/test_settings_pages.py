"""The pages of settings: wanted beside reported, changed for one device and for many."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import configuration_desired, groups_operations
from devices.domain.groups_operations import GroupValues
from devices.models import Command, Device, DeviceConfiguration, DeviceState, Drift
from devices.telemetry import control_store
from devices.tests import factories
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Park:
    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.user = factories.member(self.of, Role.MANAGER).user
            self.at = factories.facility(self.of)
            kind = factories.device_type(self.of)
            states = (
                DeviceState.ACTIVE,
                DeviceState.ACTIVE,
                DeviceState.PLANNED,
                DeviceState.REVOKED,
            )
            self.devices: list[Device] = [
                factories.device(self.at, kind, state=state).device for state in states
            ]

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    @property
    def url(self) -> str:
        return reverse("device-settings", args=[self.devices[0].pk])

    def report(self, **settings: Any) -> None:
        with open_scope(self.scope):
            control_store.open_rows(connection, [self.devices[0].pk])
            control_store.keep_reports(connection, [(self.devices[0].pk, settings, NOW)])

    def desired(self) -> list[Any]:
        with open_scope(self.scope):
            rows = DeviceConfiguration.objects.order_by("pk")
            return [(row.device_id, row.desired) for row in rows]

    def kinds(self) -> list[tuple[str, Any]]:
        with open_scope(self.scope):
            return list(Command.objects.order_by("pk").values_list("kind", "arguments"))


@pytest.fixture
def park() -> _Park:
    return _Park()


@pytest.fixture
def client(park: _Park) -> Client:
    client = Client()
    client.force_login(park.user)
    return client


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_what_is_wanted_stands_beside_what_is_reported(client: Client, park: _Park) -> None:
    assert "has not reported its settings yet" in client.get(park.url).content.decode()
    client.post(park.url, {"step_ms": "1000", "channels": ["0", "1"], "reason": "Finer"})
    park.report(step_ms=2000, samples=30, channels="0-1", output=1, limits="1:22000:24000")

    text = _text(client.get(park.url).content.decode())

    assert "Time between two samples 1,000 ms 2,000 ms Being told" in text
    assert "Samples in a frame – as its type: 30 30 –" in text
    assert "Channels that are reported – All –" in text
    assert "Limits of channels – Voltage: ≥ 220 V ≤ 240 V –" in text
    assert "Output – On –" in text
    assert "Time between two samples: – → 1,000 ms Finer" in text


def test_only_what_is_different_is_asked_for(client: Client, park: _Park) -> None:
    sent = {
        "step_ms": "1000", "samples": "", "channels": ["0"], "low_1": "210", "high_1": "250.5",
        "output": "1", "power": "none", "message": "Hello",
    }  # fmt: skip
    client.post(park.url, sent)
    assert park.kinds() == [
        ("set_reporting", {"step_ms": 1000}),
        ("set_channels", {"channels": "0", "limits": "1:21000:25050"}),
        ("set_output", {"output": 1}),
        ("set_power_limit", {"power_limit_w": -1}),
        ("set_display", {"display.message": "Hello"}),
    ]
    # The same again changes nothing, and a setting that is emptied is wanted no more.
    answer = client.post(park.url, sent, follow=True)
    assert "Nothing is different" in answer.content.decode()
    client.post(park.url, {**sent, "step_ms": ""})
    assert len(park.kinds()) == 5
    ((_, desired),) = park.desired()
    assert "step_ms" not in desired


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"step_ms": "0"}, "greater than or equal to 1"),
        ({"step_ms": "90000"}, "taken for a gap"),
        ({"low_1": "240", "high_1": "230"}, "more than the lower limit"),
        ({"power": "limited"}, "Give the most"),
        ({"output": "0"}, "Say why the output is to be switched off"),
        ({"channels": ["9"]}, "9 is not one of the available choices"),
    ],
)
def test_what_cannot_be_is_told_at_its_field(
    client: Client, park: _Park, sent: dict[str, Any], sentence: str
) -> None:
    answer = client.post(park.url, {"channels": ["0", "1"], **sent})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert park.kinds() == []


def test_drift_is_told_and_tried_again(client: Client, park: _Park) -> None:
    client.post(park.url, {"samples": "10", "channels": ["0", "1"]})
    park.report(samples=30)
    with open_scope(park.scope):
        DeviceConfiguration.objects.update(drift=Drift.REFUSED, drift_detail="locked", attempts=5)
    assert "The device refused the setting: locked" in client.get(park.url).content.decode()
    listed = client.get(f"{reverse('device-list')}?settings=drift").content.decode()
    assert [device.serial in listed for device in park.devices] == [True, False, False, False]
    client.post(reverse("settings-again", args=[park.devices[0].pk]))
    with open_scope(park.scope):
        row = DeviceConfiguration.objects.get()
        assert (row.drift, row.attempts, row.next_at is None) == ("", 0, False)


def test_many_are_changed_after_a_preview(client: Client, park: _Park) -> None:
    url = reverse("settings-many")
    chosen = {"device": [device.pk for device in park.devices]}
    page = client.post(url, chosen).content.decode()
    assert "Of 4 devices" in page
    text = client.post(url, {**chosen, "samples": "10", "step": "preview"}).content.decode()
    told = _text(text)
    assert "Samples in a frame: 10" in told
    assert "Are told, at once or when they are connected 2" in told
    assert "Are told when they are active 1" in told
    assert "only an active one can be given commands. 1" in told
    assert park.desired() == []
    shown = re.search(r'name="shown" value="(\w+)"', text)
    assert shown is not None
    # Other values than those that were shown are shown first.
    other = {**chosen, "samples": "20", "step": "apply", "shown": shown[1]}
    assert "changed since the preview" in client.post(url, other).content.decode()
    answer = client.post(url, {**chosen, "samples": "10", "step": "apply", "shown": shown[1]})
    assert answer.headers["Location"] == reverse("device-list")
    assert park.desired() == [(device.pk, {"samples": 10}) for device in park.devices[:3]]
    assert park.kinds() == [("set_reporting", {"samples": 10})] * 2


def test_many_are_those_of_a_filter_or_of_a_group(client: Client, park: _Park) -> None:
    with open_scope(park.scope):
        group = groups_operations.create_group(
            tenant_id=park.of.pk,
            values=GroupValues("One"),
            device_ids=[park.devices[0].pk],
            actor_id=None,
        )
    url = reverse("settings-many")
    assert "Of 2 devices" in client.get(f"{url}?state=active").content.decode()
    assert "Of 1 device." in client.get(f"{url}?group={group.pk}").content.decode()
    text = client.get(f"{reverse('device-list')}?state=active").content.decode()
    assert f"{url}?state=active" in text
    assert client.get(url).headers["Location"] == reverse("device-list")


def test_a_device_s_page_tells_how_it_shall_report(client: Client, park: _Park) -> None:
    with open_scope(park.scope):
        wish = control_store.Wish({"step_ms": 4000}, "person", "", None, NOW)
        configuration_desired.want(device_ids=[park.devices[0].pk], wish=wish, told=False)
    page = client.get(reverse("device", args=[park.devices[0].pk])).content.decode()
    assert "Measures every 4 s" in _text(page)
    assert park.url in page


def test_the_page_of_settings_takes_few_queries(client: Client, park: _Park) -> None:
    client.post(park.url, {"samples": "10", "channels": ["0", "1"]})
    client.get(park.url)
    with CaptureQueriesContext(connection) as queries:
        client.get(park.url)
    own = [q for q in queries if "devices_" in q["sql"] and "set_config" not in q["sql"]]
    # The device, its settings, its channels, commands under way, the history; and the scope's own.
    assert len(own) <= 7
