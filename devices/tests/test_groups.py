"""Groups: made, changed and removed by who may; a rule that cannot be is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.domain import groups_operations, groups_queries
from devices.domain.groups_operations import GroupValues
from devices.domain.groups_queries import GroupNotFound
from devices.domain.selection import Rule, SelectionRefused
from devices.models import Device, DeviceGroup, DeviceGroupMember, Facility
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


class _Park:
    """A tenant with three devices in two facilities."""

    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.here: Facility = factories.facility(self.of)
            self.there = factories.facility(self.of)
            kind = factories.device_type(self.of)
            self.devices: list[Device] = [
                factories.device(at, kind).device for at in (self.here, self.here, self.there)
            ]

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    @property
    def ids(self) -> list[int]:
        return [device.pk for device in self.devices]

    def make(self, name: str, rule: Rule | None = None, ids: Any = ()) -> DeviceGroup:
        return groups_operations.create_group(
            tenant_id=self.of.pk, values=GroupValues(name, rule=rule), device_ids=ids, actor_id=None
        )


@pytest.fixture
def park() -> _Park:
    return _Park()


def _rule(field: str, *values: Any) -> Rule:
    return Rule.from_json({"conditions": [{"field": field, "values": list(values)}]})


def _held(group_id: int) -> list[int]:
    return sorted(groups_queries.held_rows(group_id=group_id).values_list("pk", flat=True))


def _actions() -> list[str]:
    return list(AuditEntry.objects.order_by("at").values_list("action", flat=True))


def test_devices_are_put_into_a_group_and_taken_out(park: _Park) -> None:
    with open_scope(park.scope):
        group = park.make("Chillers", ids=park.ids[:1])
        before = len(_actions())
        assert (
            groups_operations.add_members(group_id=group.pk, device_ids=park.ids, actor_id=None)
            == 2
        )
        assert _held(group.pk) == park.ids
        assert (
            groups_operations.add_members(group_id=group.pk, device_ids=park.ids, actor_id=None)
            == 0
        )
        assert (
            groups_operations.remove_members(
                group_id=group.pk, device_ids=[park.ids[1], 10**9], actor_id=None
            )
            == 1
        )
        assert _held(group.pk) == [park.ids[0], park.ids[2]]
        assert _actions()[before:] == ["group.add_members", "group.remove_members"]
        last = AuditEntry.objects.order_by("at").last()
        assert last is not None
        assert last.after == {"devices": [park.ids[1]], "count": 1}


def test_a_group_is_renamed_and_removed(park: _Park) -> None:
    with open_scope(park.scope):
        group = park.make("Chillers", ids=park.ids)
        groups_operations.change_group(
            group_id=group.pk, values=GroupValues(" Cooling ", "All of it"), actor_id=None
        )
        found = groups_queries.group(group_id=group.pk)
        assert (found.name, found.description, found.count) == ("Cooling", "All of it", 3)
        groups_operations.delete_group(group_id=group.pk, actor_id=None)
        assert not DeviceGroupMember.objects.exists()
        with pytest.raises(GroupNotFound):
            groups_queries.group(group_id=group.pk)
        assert [action for action in _actions() if action.startswith("group.")] == [
            "group.create", "group.add_members", "group.change", "group.delete"
        ]  # fmt: skip


def test_a_rule_is_tried_before_it_is_kept(park: _Park) -> None:
    with open_scope(park.scope):
        found = groups_queries.would_hold(
            tenant_id=park.of.pk, rule=_rule("facility", park.here.pk)
        )
        assert (found.count, [one.pk for one in found.sample]) == (2, park.ids[:2])
        assert not DeviceGroup.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"), [("facility", 10**9), ("device_type", 10**9), ("group", 10**9)]
)
def test_a_rule_names_only_what_is_there(park: _Park, field: str, value: int) -> None:
    with open_scope(park.scope):
        with pytest.raises(SelectionRefused):
            groups_queries.would_hold(tenant_id=park.of.pk, rule=_rule(field, value))
        with pytest.raises(ValidationError) as refused:
            park.make("Chillers", _rule(field, value))
        assert list(refused.value.message_dict) == ["rule"]


def test_no_group_asks_for_itself_or_for_a_group_by_rule(park: _Park) -> None:
    with open_scope(park.scope):
        ruled = park.make("Ruled", _rule("facility", park.here.pk))
        with pytest.raises(ValidationError):
            park.make("Of ruled", _rule("group", ruled.pk))
        for wanted in (_rule("group", ruled.pk), None):
            with pytest.raises(ValidationError):
                groups_operations.change_group(
                    group_id=ruled.pk, values=GroupValues("Ruled", rule=wanted), actor_id=None
                )
        with pytest.raises(ValidationError, match="change its rule"):
            groups_operations.add_members(group_id=ruled.pk, device_ids=park.ids, actor_id=None)


def test_a_group_that_a_rule_names_is_not_removed(park: _Park) -> None:
    with open_scope(park.scope):
        inner = park.make("Inner", ids=park.ids[:1])
        outer = park.make("Outer", _rule("group", inner.pk))
        assert _held(outer.pk) == park.ids[:1]
        with pytest.raises(ValidationError, match="Outer"):
            groups_operations.delete_group(group_id=inner.pk, actor_id=None)
        groups_operations.delete_group(group_id=outer.pk, actor_id=None)
        groups_operations.delete_group(group_id=inner.pk, actor_id=None)


def test_names_are_given_once_and_not_too_long(park: _Park) -> None:
    with open_scope(park.scope):
        park.make("Chillers")
        for name, sentence in (
            ("Chillers", "another group of this name"),
            (" ", "a name"),
            ("x" * 81, "at most 80"),
        ):
            with pytest.raises(ValidationError, match=sentence) as refused:
                park.make(name)
            assert list(refused.value.message_dict) == ["name"]


def test_devices_of_a_tenant_beside_it_are_no_members(park: _Park) -> None:
    other = _Park()
    with open_scope(Scope((park.of.pk, other.of.pk))):
        group = park.make("Chillers")
        with pytest.raises(ValidationError, match="1 of the devices"):
            groups_operations.add_members(
                group_id=group.pk, device_ids=[other.ids[0], park.ids[0]], actor_id=None
            )


def test_another_tenant_and_a_narrowed_member_change_no_group(park: _Park) -> None:
    with open_scope(park.scope):
        group = park.make("Chillers", ids=park.ids[:1])
    values = GroupValues("Mine")
    for scope in (Scope((factories.tenant().pk,)), Scope((park.of.pk,), (park.here.pk,))):
        with open_scope(scope):
            assert list(groups_queries.group_rows()) == []
            with pytest.raises(DeviceGroup.DoesNotExist):
                groups_operations.change_group(group_id=group.pk, values=values, actor_id=None)
            with pytest.raises(DeviceGroup.DoesNotExist):
                groups_operations.delete_group(group_id=group.pk, actor_id=None)
            for change in (groups_operations.add_members, groups_operations.remove_members):
                with pytest.raises(DeviceGroup.DoesNotExist):
                    change(group_id=group.pk, device_ids=park.ids, actor_id=None)
    with (
        open_scope(Scope((park.of.pk,), (park.here.pk,))),
        pytest.raises(ValidationError, match="limited to certain facilities"),
    ):
        park.make("Mine")
    with open_scope(park.scope):
        assert _held(group.pk) == park.ids[:1]


@pytest.mark.parametrize("number", [1, 3])
def test_groups_are_counted_by_few_queries(park: _Park, number: int) -> None:
    with open_scope(park.scope):
        first = park.make("First", ids=park.ids)
        rows = [first] + [
            park.make(f"Rule {n}", _rule("facility", park.here.pk)) for n in range(number - 1)
        ]
        with CaptureQueriesContext(connection) as queries:
            found = groups_queries.counts(rows)
    assert list(found.values()) == [3, 2, 2][:number]
    # The groups, the tenants below, the facilities where a rule asks for them, and the count.
    assert len(queries) == 3 + (number > 1)
