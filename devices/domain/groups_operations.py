"""Changes to groups of devices; each leaves an audit row.

Needs an open scope that holds the tenant. Groups concern the tenant as a whole: a scope that is
narrowed to facilities has none. What is refused is a ValidationError with a sentence at its
field; a group outside the scope does not exist (DeviceGroup.DoesNotExist).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from devices.domain.registry_refusals import told_at_fields
from devices.domain.selection import MAX_NAMED, Rule, SelectionRefused
from devices.models import Device, DeviceGroup, DeviceGroupMember, DeviceType, Facility
from tenants.domain import audit
from tenants.domain.queries import tenants_below
from tenants.scope import require_scope

NAME_LENGTH: Final = 80
TEXT_LENGTH: Final = 400
# An audit entry names so many devices; the count tells of all.
MOST_TOLD: Final = 200


@dataclass(frozen=True, slots=True)
class GroupValues:
    """What a group shall be; with a rule it has no members."""

    name: str
    description: str = ""
    rule: Rule | None = None


@transaction.atomic
def create_group(
    *,
    tenant_id: int,
    values: GroupValues,
    device_ids: Sequence[int] = (),
    actor_id: int | None,
) -> DeviceGroup:
    """A new group, with its first members."""
    _require_all_facilities()
    row = DeviceGroup(tenant_id=tenant_id, created_by_id=actor_id, **_columns(values))
    _require_sound(row, values)
    with told_at_fields("group"):
        audit.insert(row, actor_id=actor_id, action="group.create")
    if device_ids:
        add_members(group_id=row.pk, device_ids=device_ids, actor_id=actor_id)
    return row


@transaction.atomic
def change_group(*, group_id: int, values: GroupValues, actor_id: int | None) -> DeviceGroup:
    """Another name, description or rule. A group keeps its kind: of members, or by rule."""
    row = DeviceGroup.objects.select_for_update().get(pk=group_id)
    if (row.rule is None) != (values.rule is None):
        raise ValidationError(
            {"rule": [_("A group by rule stays one, and one of members too: make another group.")]}
        )
    _require_sound(row, values)
    with told_at_fields("group"):
        audit.update(row, _columns(values), actor_id=actor_id, action="group.change")
    return row


@transaction.atomic
def delete_group(*, group_id: int, actor_id: int | None) -> None:
    """Remove a group; its devices stay. Refused while the rule of another group names it."""
    row = DeviceGroup.objects.select_for_update().get(pk=group_id)
    for other in DeviceGroup.objects.filter(rule__isnull=False):
        if group_id in Rule.from_json(other.rule).groups:
            raise ValidationError(
                _("The rule of the group “%(name)s” names it: change that one first.")
                % {"name": other.name}
            )
    audit.delete(row, actor_id=actor_id, action="group.delete")


@transaction.atomic
def add_members(*, group_id: int, device_ids: Sequence[int], actor_id: int | None) -> int:
    """Put devices into a group; how many were not in it. Devices that the scope does not hold, or
    that belong to a tenant beside the group's, are refused.
    """
    group = _with_members(group_id)
    wanted = set(device_ids)
    if group.members.count() + len(wanted) > MAX_NAMED:
        raise ValidationError(
            _("A group has at most %(most)d members: make a rule instead.") % {"most": MAX_NAMED}
        )
    tenants = tenants_below(tenant_ids=[group.tenant_id])[group.tenant_id]
    below = {tenant.tenant_id for tenant in tenants}
    devices = Device.objects.filter(pk__in=wanted, tenant_id__in=below).only("pk", "tenant_id")
    found = {device.pk: device.tenant_id for device in devices}
    if len(found) < len(wanted):
        raise ValidationError(
            _("%(count)d of the devices are not there: load the list again and choose anew.")
            % {"count": len(wanted) - len(found)}
        )
    inside = set(group.members.values_list("device_id", flat=True))
    new = sorted(wanted - inside)
    DeviceGroupMember.objects.bulk_create(
        DeviceGroupMember(tenant_id=found[pk], group=group, device_id=pk) for pk in new
    )
    if new:
        _tell(group, "group.add_members", new, actor_id)
    return len(new)


@transaction.atomic
def remove_members(*, group_id: int, device_ids: Sequence[int], actor_id: int | None) -> int:
    """Take devices out of a group; how many were in it."""
    group = _with_members(group_id)
    inside = group.members.filter(device_id__in=set(device_ids)).order_by("device_id")
    gone = list(inside.values_list("device_id", flat=True))
    inside.delete()
    if gone:
        _tell(group, "group.remove_members", gone, actor_id)
    return len(gone)


def _with_members(group_id: int) -> DeviceGroup:
    group = DeviceGroup.objects.select_for_update().get(pk=group_id)
    if group.rule is not None:
        raise ValidationError(
            _("“%(name)s” is a group by rule: change its rule instead.") % {"name": group.name}
        )
    return group


def _tell(group: DeviceGroup, action: str, devices: list[int], actor_id: int | None) -> None:
    audit.record(
        tenant_id=group.tenant_id,
        actor_id=actor_id,
        action=action,
        subject=group,
        after={"devices": devices[:MOST_TOLD], "count": len(devices)},
    )


def _columns(values: GroupValues) -> dict[str, object]:
    return {
        "name": values.name.strip(),
        "description": values.description.strip(),
        "rule": None if values.rule is None else values.rule.to_json(),
    }


def _require_all_facilities() -> None:
    if require_scope().facility_ids is not None:
        raise ValidationError(
            _(
                "Your access is limited to certain facilities, so you cannot change groups. Ask an"
                " administrator of your organisation."
            )
        )


def _require_sound(row: DeviceGroup, values: GroupValues) -> None:
    """Raises ValidationError at `name`, `description` or `rule`."""
    wrong: dict[str, list[str]] = {}
    if not values.name.strip():
        wrong["name"] = [_("Give the group a name.")]
    for field, text, most in (
        ("name", values.name, NAME_LENGTH),
        ("description", values.description, TEXT_LENGTH),
    ):
        if len(text.strip()) > most:
            wrong[field] = [_("Write at most %(count)s characters.") % {"count": most}]
    if values.rule is not None:
        try:
            require_rule(values.rule, own_id=row.pk)
        except SelectionRefused as error:
            wrong["rule"] = [str(error)]
    if wrong:
        raise ValidationError(wrong)


def require_rule(rule: Rule, *, own_id: int | None) -> None:
    """The rule of a group names what is there, and groups of members alone, so that no group asks
    for itself. Raises SelectionRefused.
    """
    for condition in rule.conditions:
        wanted = set(condition.values)
        if condition.field == "group":
            rows = DeviceGroup.objects.filter(pk__in=wanted - {own_id}, rule__isnull=True)
            if rows.count() < len(wanted):
                raise SelectionRefused(
                    "group", _("Name groups that are there and have members: none with a rule.")
                )
        if condition.field == "facility":
            places = Facility.objects.filter(pk__in=wanted)
            if places.count() < len(wanted):
                raise SelectionRefused("facility", _("There is no such facility."))
        if condition.field == "device_type":
            types = DeviceType.objects.filter(pk__in=wanted)
            if types.count() < len(wanted):
                raise SelectionRefused("device_type", _("There is no such device type."))
