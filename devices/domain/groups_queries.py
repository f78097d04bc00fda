"""Groups of devices as pages and the API read them. Needs an open scope and sees what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, QuerySet

from devices.domain.catalogue import Page
from devices.domain.groups_operations import require_rule
from devices.domain.registry_queries import device_rows
from devices.domain.selection import (
    Rule,
    group_counts,
    group_devices,
    rule_devices,
)
from devices.models import Device, DeviceGroup, DeviceType, Facility

SAMPLE: Final = 10
# A choice never offers more: who has more types or facilities searches for them.
MOST_CHOICES: Final = 5_000


class GroupNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such group in the scope."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group; `rule` is None where its members are named. `count`: devices that it holds now."""

    group_id: int
    tenant_id: int
    name: str
    description: str
    rule: Rule | None
    count: int


@dataclass(frozen=True, slots=True)
class Held:
    """What a rule would hold now: how many devices, and the first of them by name."""

    count: int
    sample: Sequence[Device]


@dataclass(frozen=True, slots=True)
class Choices:
    """What rules can name: ids with names."""

    types: Sequence[tuple[int, str]]
    facilities: Sequence[tuple[int, str]]
    groups: Sequence[tuple[int, str]]


def group_rows() -> QuerySet[DeviceGroup]:
    """The groups by name."""
    return DeviceGroup.objects.order_by("name", "pk")


def counts(groups: Sequence[DeviceGroup]) -> Mapping[int, int]:
    """How many devices each holds now; at most six queries, however many groups."""
    return group_counts([group.pk for group in groups])


def group(*, group_id: int) -> GroupFacts:
    """One group. Raises GroupNotFound."""
    row = _row(group_id)
    return facts(row, counts([row])[row.pk])


def facts(row: DeviceGroup, count: int) -> GroupFacts:
    """A row with its count."""
    rule = None if row.rule is None else Rule.from_json(row.rule)
    return GroupFacts(row.pk, row.tenant_id, row.name, row.description, rule, count)


def group_page(*, limit: int, after: int = 0) -> Page[GroupFacts]:
    """A page of groups by id; at most seven queries."""
    rows = list(DeviceGroup.objects.filter(pk__gt=after).order_by("pk")[: limit + 1])
    held = counts(rows[:limit])
    items = tuple(facts(row, held[row.pk]) for row in rows[:limit])
    return Page(items, rows[limit - 1].pk if len(rows) > limit else None)


def member_page(*, group_id: int, limit: int, after: int = 0) -> Page[Device]:
    """A page of the devices of a group by id. Raises GroupNotFound."""
    rows = list(group_devices(_row(group_id)).filter(pk__gt=after)[: limit + 1])
    return Page(tuple(rows[:limit]), rows[limit - 1].pk if len(rows) > limit else None)


def held_rows(*, group_id: int) -> QuerySet[Device]:
    """The devices of a group as the list of devices has them. Raises GroupNotFound."""
    inside = group_devices(_row(group_id)).order_by().values("pk")
    return device_rows().filter(pk__in=inside)


def would_hold(*, tenant_id: int, rule: Rule, group_id: int | None = None) -> Held:
    """What a group of the tenant with this rule would hold. Raises SelectionRefused."""
    require_rule(rule, own_id=group_id)
    found = rule_devices(rule, tenant_id=tenant_id)
    sample = found.select_related("facility", "device_type").order_by("name", "pk")[:SAMPLE]
    return Held(found.order_by().aggregate(count=Count("pk"))["count"], list(sample))


def choices(*, tenant_id: int, without: int | None = None) -> Choices:
    """What a rule of a group of the tenant can name; three queries."""
    types = DeviceType.objects.order_by("name", "pk").values_list("pk", "name")
    places = Facility.objects.order_by("name", "pk").values_list("pk", "name")
    members = DeviceGroup.objects.filter(rule__isnull=True, tenant_id=tenant_id)
    groups = members.exclude(pk=without or 0).values_list("pk", "name")
    return Choices(
        list(types[:MOST_CHOICES]), list(places[:MOST_CHOICES]), list(groups[:MOST_CHOICES])
    )


def member_groups(*, tenant_id: int) -> list[tuple[int, str]]:
    """The groups of the tenant that devices can be put into, by name."""
    rows = DeviceGroup.objects.filter(tenant_id=tenant_id, rule__isnull=True)
    return list(rows.order_by("name").values_list("pk", "name")[:MOST_CHOICES])


def _row(group_id: int) -> DeviceGroup:
    row = DeviceGroup.objects.filter(pk=group_id).first()
    if row is None:
        raise GroupNotFound(f"group {group_id}")
    return row
