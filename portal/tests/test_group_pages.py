"""The pages of groups: made by choosing and by rule, tried while the rule is written."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import groups_operations
from devices.domain.groups_operations import GroupValues
from devices.domain.selection import Rule
from devices.models import Device, DeviceGroup, DeviceGroupMember
from devices.tests import factories
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


class _Park:
    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.user = factories.member(self.of, Role.MANAGER).user
            self.here = factories.facility(self.of)
            kind = factories.device_type(self.of)
            self.devices: list[Device] = [
                factories.device(at, kind).device
                for at in (self.here, self.here, factories.facility(self.of))
            ]

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    def group(self, name: str, *conditions: dict[str, object]) -> DeviceGroup:
        rule = Rule.from_json({"conditions": list(conditions)}) if conditions else None
        with open_scope(self.scope):
            return groups_operations.create_group(
                tenant_id=self.of.pk, values=GroupValues(name, rule=rule), actor_id=None
            )

    def members(self) -> list[int]:
        with open_scope(self.scope):
            return list(DeviceGroupMember.objects.values_list("device_id", flat=True))


@pytest.fixture
def park() -> _Park:
    return _Park()


@pytest.fixture
def client(park: _Park) -> Client:
    client = Client()
    client.force_login(park.user)
    return client


def test_a_group_by_rule_is_made_shown_and_changed(client: Client, park: _Park) -> None:
    sent = {
        "name": "House", "facility": [park.here.pk], "country": "", "firmware": "", "negated": []
    }  # fmt: skip
    answer = client.post(reverse("group-create-rule"), sent)
    with open_scope(park.scope):
        made = DeviceGroup.objects.get()
        assert made.rule == {"conditions": [{"field": "facility", "values": [park.here.pk]}]}
    assert answer.headers["Location"] == reverse("group", args=[made.pk])
    text = client.get(answer.headers["Location"]).content.decode()
    assert f"Facility, with its areas: {park.here.name}" in text
    assert "2 devices" in text
    assert [one.name in text for one in park.devices] == [True, True, False]

    form = client.get(reverse("group-edit", args=[made.pk])).content.decode()
    assert f'<option value="{park.here.pk}" selected>' in form
    client.post(reverse("group-edit", args=[made.pk]), {**sent, "negated": ["facility"]})
    text = client.get(reverse("group", args=[made.pk])).content.decode()
    assert f"Facility, with its areas: not {park.here.name}" in text
    assert "1 device" in text


def test_a_rule_is_tried_while_it_is_written(client: Client, park: _Park) -> None:
    url = reverse("group-preview")
    text = client.post(url, {"facility": [park.here.pk]}).content.decode()
    assert '<b class="wl-number">2</b>' in text
    assert park.devices[0].serial in text
    assert "at least one condition" in client.post(url, {}).content.decode()
    text = client.post(url, {"firmware": "newest"}).content.decode()
    assert "is no range of versions" in text


def test_what_is_wrong_is_told_at_its_field(client: Client) -> None:
    answer = client.post(reverse("group-create-rule"), {"name": "x", "country": "Austria"})
    assert answer.status_code == 422
    assert "Write a country as its two letters" in answer.content.decode()
    assert client.post(reverse("group-create-rule"), {"name": "x"}).status_code == 422


def test_chosen_devices_are_put_into_a_group_and_taken_out(client: Client, park: _Park) -> None:
    ids = [device.pk for device in park.devices]
    group = park.group("Chillers")
    text = client.post(reverse("group-choose"), {"device": ids}).content.decode()
    assert reverse("group-members", args=[group.pk]) in text
    url = reverse("group-members", args=[group.pk])
    client.post(url, {"device": ids, "do": "add"})
    assert park.members() == ids
    client.post(url, {"device": ids[:1], "do": "remove"})
    assert park.members() == ids[1:]


def test_a_new_group_takes_the_chosen_devices(client: Client, park: _Park) -> None:
    ids = [device.pk for device in park.devices[:2]]
    text = client.post(reverse("group-create"), {"device": ids}).content.decode()
    assert text.count('<input type="hidden" name="device"') == 2
    client.post(reverse("group-create"), {"device": ids, "name": "Chillers"})
    assert park.members() == ids


def test_a_rule_that_does_not_fit_the_form_is_left_alone(client: Client, park: _Park) -> None:
    twice: dict[str, object] = {"field": "region", "values": ["Tirol"]}
    group = park.group("Both", twice, {**twice, "negated": True})
    answer = client.get(reverse("group-edit", args=[group.pk]), follow=True)
    assert "does not fit the form" in answer.content.decode()


def test_a_group_is_removed_after_a_question(client: Client, park: _Park) -> None:
    inner = park.group("Inner")
    outer = park.group("Outer", {"field": "group", "values": [inner.pk]})
    answer = client.post(reverse("group-delete", args=[inner.pk]), follow=True)
    assert "The rule of the group “Outer” names it" in answer.content.decode()
    for group in (outer, inner):
        assert "is removed" in client.get(reverse("group-delete", args=[group.pk])).content.decode()
        client.post(reverse("group-delete", args=[group.pk]))
    with open_scope(park.scope):
        assert not DeviceGroup.objects.exists()


@pytest.mark.parametrize("number", [1, 3])
def test_the_list_of_groups_takes_as_many_queries(client: Client, park: _Park, number: int) -> None:
    for index in range(number):
        park.group(f"Group {index}", {"field": "connected", "values": [True]})
    client.get(reverse("group-list"))
    with CaptureQueriesContext(connection) as queries:
        text = client.get(reverse("group-list")).content.decode()
    assert text.count(">By rule</span>") == number
    own = [query for query in queries if "devicegroup" in query["sql"]]
    # The page and its length, and the groups for the count.
    assert len(own) == 3
