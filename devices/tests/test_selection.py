"""Selections and groups: exactly the devices meant, and never more than the scope holds."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from devices.domain.selection import Rule, Selection, SelectionRefused, devices_of, rule_devices
from devices.models import (
    Device,
    DeviceGroup,
    DeviceGroupMember,
    DeviceState,
    Facility,
    FacilityKind,
    Placement,
)
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


class _Fleet:
    """A site with an area, and a shop; devices of two types in them, by name."""

    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.site = factories.facility(self.of)
            self.area = factories.facility(self.of, self.site)
            self.shop = factories.facility(self.of)
            Facility.objects.filter(pk=self.site.pk).update(country="DE", region="Bayern")
            Facility.objects.filter(pk=self.shop.pk).update(
                kind=FacilityKind.SHOP, country="AT", region="Tirol"
            )
            self.meter = factories.device_type(self.of)
            self.relay = factories.device_type(self.of)
            self.devices: dict[str, Device] = {
                "main": factories.device(self.site, self.meter).device,
                "sub": factories.device(self.area, self.meter, placement=Placement.SUBMETER).device,
                "relay": factories.device(self.shop, self.relay).device,
                "new": factories.device(self.shop, self.meter, state=DeviceState.PLANNED).device,
                "gone": factories.device(self.shop, self.meter, state=DeviceState.REVOKED).device,
            }
            for name, revision in (("main", "A"), ("sub", "B"), ("relay", "B")):
                Device.objects.filter(pk=self.devices[name].pk).update(hardware_revision=revision)
        self.link("main", "1.2.0", connected=True)
        self.link("sub", "1.10.0-rc.1", connected=False)
        self.link("relay", "factory build", connected=True)

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    def link(self, name: str, version: str, *, connected: bool) -> None:
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "UPDATE device_link SET firmware_version = %s, connected = %s WHERE device_id = %s",
                [version, connected, self.devices[name].pk],
            )

    def group(self, *names: str, rule: Any = None, of: Tenant | None = None) -> DeviceGroup:
        group = DeviceGroup.objects.create(
            tenant=of or self.of, name=f"Group {factories.number()}", rule=rule
        )
        for name in names:
            DeviceGroupMember.objects.create(tenant=self.of, group=group, device=self.devices[name])
        return group

    def found(self, data: Any, scope: Scope | None = None) -> list[str]:
        names = {device.pk: name for name, device in self.devices.items()}
        with open_scope(scope or self.scope):
            return [names[device.pk] for device in devices_of(Selection.from_json(data))]

    def by(self, field: str, *values: Any, negated: bool = False) -> list[str]:
        condition = {"field": field, "values": list(values), "negated": negated}
        return self.found({"rule": {"conditions": [condition]}})


@pytest.fixture
def fleet() -> _Fleet:
    return _Fleet()


def test_each_field_finds_the_devices_that_have_one_of_the_values(fleet: _Fleet) -> None:
    found = {
        "type": fleet.by("device_type", fleet.relay.pk),
        "facility": fleet.by("facility", fleet.site.pk),
        "area": fleet.by("facility", fleet.area.pk),
        "placement": fleet.by("placement", "submeter"),
        "kind": fleet.by("facility_kind", "shop"),
        "country": fleet.by("country", "de", "AT"),
        "region": fleet.by("region", "Tirol"),
        "firmware": fleet.by("firmware", ">=1.10,<2"),
        "older": fleet.by("firmware", "<1.2", "=1.2.0"),
        "any": fleet.by("firmware", "*"),
        "hardware": fleet.by("hardware", "A"),
        "state": fleet.by("state", "planned"),
        "online": fleet.by("connected", True),
        "offline": fleet.by("connected", False),
    }

    assert found == {
        "type": ["relay"],
        "facility": ["main", "sub"],
        "area": ["sub"],
        "placement": ["sub"],
        "kind": ["relay", "new"],
        "country": ["main", "relay", "new"],
        "region": ["relay", "new"],
        "firmware": ["sub"],
        "older": ["main"],
        "any": ["main", "sub", "relay", "new"],
        "hardware": ["main"],
        "state": ["new"],
        "online": ["main", "relay"],
        "offline": ["sub", "new"],
    }


def test_a_negated_condition_finds_all_others(fleet: _Fleet) -> None:
    assert fleet.by("firmware", ">=0", negated=True) == ["relay", "new"]
    assert fleet.by("facility", fleet.site.pk, negated=True) == ["relay", "new"]
    assert fleet.by("connected", True, negated=True) == ["sub", "new"]


def test_conditions_are_joined_by_and(fleet: _Fleet) -> None:
    conditions = [
        {"field": "hardware", "values": ["B"]},
        {"field": "connected", "values": [True]},
    ]

    assert fleet.found({"rule": {"conditions": conditions}}) == ["relay"]


def test_parts_of_a_selection_add_up(fleet: _Fleet) -> None:
    with open_scope(fleet.scope):
        group = fleet.group("sub", "gone")
    rule = {"conditions": [{"field": "device_type", "values": [fleet.relay.pk]}]}
    main = fleet.devices["main"].pk

    assert fleet.found({"groups": [group.pk], "rule": rule, "devices": [main, main]}) == [
        "main", "sub", "relay"
    ]  # fmt: skip


def test_revoked_devices_are_meant_when_they_are_named_alone(fleet: _Fleet) -> None:
    assert fleet.found({"everything": True}) == ["main", "sub", "relay", "new"]
    assert fleet.by("state", "revoked") == []
    assert fleet.found({"devices": [fleet.devices["gone"].pk]}) == ["gone"]


def test_groups_by_rule_follow_the_devices(fleet: _Fleet) -> None:
    with open_scope(fleet.scope):
        group = fleet.group(rule={"conditions": [{"field": "connected", "values": [False]}]})

    assert fleet.found({"groups": [group.pk]}) == ["sub", "new"]
    fleet.link("main", "1.2.0", connected=False)
    assert fleet.found({"groups": [group.pk]}) == ["main", "sub", "new"]


def test_what_is_gone_matches_nothing_even_where_it_is_negated(fleet: _Fleet) -> None:
    with open_scope(fleet.scope):
        group = fleet.group("main")
        gone = fleet.group("sub").pk
        DeviceGroup.objects.filter(pk=gone).delete()

    assert fleet.by("group", group.pk) == ["main"]
    assert fleet.by("group", group.pk, negated=True) == ["sub", "relay", "new"]
    assert fleet.by("group", gone) == []
    assert fleet.by("group", gone, negated=True) == []
    assert fleet.by("facility", 10**9, negated=True) == []
    assert fleet.found({"groups": [gone]}) == []


def test_a_group_by_rule_holds_devices_of_its_tenant_and_those_below_alone() -> None:
    fleet, other = _Fleet(), _Fleet()
    both = Scope((fleet.of.pk, other.of.pk))
    rule = {"conditions": [{"field": "hardware", "values": ["A"]}]}
    with open_scope(both):
        group = fleet.group(rule=rule)
        found = [device.pk for device in devices_of(Selection(groups=(group.pk,)))]
        assert found == [fleet.devices["main"].pk]
        would = rule_devices(Rule.from_json(rule), tenant_id=other.of.pk)
        assert [device.pk for device in would] == [other.devices["main"].pk]


def test_nobody_selects_what_lies_outside_the_scope(fleet: _Fleet) -> None:
    with open_scope(fleet.scope):
        group = fleet.group("main", "sub")
    everybody = {"everything": True, "groups": [group.pk]}
    narrowed = Scope((fleet.of.pk,), (fleet.area.pk,))
    ids = [device.pk for device in fleet.devices.values()]

    assert fleet.found(everybody, narrowed) == ["sub"]
    assert fleet.found({"devices": ids}, narrowed) == ["sub"]
    stranger = Scope((factories.tenant().pk,))
    assert fleet.found(everybody, stranger) == []
    assert fleet.found({"devices": ids}, stranger) == []


def test_a_narrowed_member_sees_and_changes_no_group(fleet: _Fleet) -> None:
    with open_scope(fleet.scope):
        group = fleet.group("main", "sub")
    with open_scope(Scope((fleet.of.pk,), (fleet.area.pk,))):
        assert not DeviceGroup.objects.exists()
        assert DeviceGroup.objects.filter(pk=group.pk).update(name="Mine") == 0
        assert [row.device_id for row in DeviceGroupMember.objects.all()] == [
            fleet.devices["sub"].pk
        ]


def test_a_selection_is_found_by_few_queries(fleet: _Fleet) -> None:
    fields = {"facility": fleet.site.pk, "firmware": "*", "connected": True}
    conditions = [{"field": name, "values": [value]} for name, value in fields.items()]
    with open_scope(fleet.scope):
        inner = fleet.group("main")
        ruled = fleet.group(rule={"conditions": [{"field": "group", "values": [inner.pk]}]})
        selection = Selection.from_json(
            {"groups": [ruled.pk], "rule": {"conditions": conditions}, "devices": [1]}
        )
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert [device.pk for device in devices_of(selection)] == [fleet.devices["main"].pk]
    # Groups, groups that those ask for, tenants, facilities, versions, and the devices.
    assert len(queries) == 6


@pytest.mark.parametrize(
    "data",
    [
        None, [], {}, {"all": True}, {"everything": 1}, {"everything": False},
        {"groups": 1}, {"groups": ["1"]}, {"groups": [True]}, {"devices": [0]},
        {"devices": [2**63]}, {"rule": {}}, {"rule": {"conditions": []}},
        {"rule": {"conditions": [1]}}, {"rule": {"conditions": [{"field": "secret"}]}},
        {"rule": {"conditions": [{"field": "region", "values": []}]}},
        {"rule": {"conditions": [{"field": "region", "values": [" "]}]}},
        {"rule": {"conditions": [{"field": "region", "values": "Tirol"}]}},
        {"rule": {"conditions": [{"field": "region", "values": ["x"], "negated": 1}]}},
        {"rule": {"conditions": [{"field": "country", "values": ["Deutschland"]}]}},
        {"rule": {"conditions": [{"field": "country", "values": ["1!"]}]}},
        {"rule": {"conditions": [{"field": "firmware", "values": ["newest"]}]}},
        {"rule": {"conditions": [{"field": "connected", "values": ["yes"]}]}},
        {"rule": {"conditions": [{"field": "state", "values": ["broken"]}]}},
        {"rule": {"conditions": [{"field": "region", "values": ["x"]}] * 13}},
    ],
)  # fmt: skip
def test_what_is_no_selection_is_refused_with_a_sentence(data: Any) -> None:
    with pytest.raises(SelectionRefused, match=r"[.]$"):
        Selection.from_json(data)


def test_selections_are_stored_as_they_were_read() -> None:
    data = {
        "everything": True,
        "groups": [3, 1],
        "rule": {
            "conditions": [
                {"field": "country", "values": ["DE"]},
                {"field": "firmware", "values": [">=1.2,<2", "*"], "negated": True},
                {"field": "connected", "values": [True]},
            ]
        },
        "devices": [9, 7],
    }

    selection = Selection.from_json(data)

    assert selection.to_json() == data
    assert Selection.from_json(selection.to_json()) == selection
