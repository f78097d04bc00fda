"""Groups of the demo: of members that somebody has chosen, and by rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from devices.domain import groups_operations
from devices.domain.groups_operations import GroupValues
from devices.domain.selection import Condition, Rule
from devices.models import Device, DeviceGroup, DeviceType, FacilityKind, Placement
from devices.simulator.park import CHAIN, CHAIN_FACILITIES, UTILITY
from tenants.models import Tenant

SUBMETERS: Final = "Sub-meters"
METERS: Final = "Smart meters"
REFRIGERATION: Final = "Refrigeration"


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a tenant: `members` are serials; without them it is one by rule.

    `type_code` is the type that a rule asks for, beside its `conditions`.
    """

    tenant: str
    name: str
    description: str
    members: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    type_code: str = ""


GROUPS: Final = (
    Group(
        CHAIN,
        REFRIGERATION,
        "What must never be without power. Ask the shop before anything is changed.",
        members=tuple(
            device.serial
            for facility in CHAIN_FACILITIES
            for device in facility.devices
            if device.serial.endswith("-REFRIGERATION")
        ),
    ),
    Group(
        CHAIN,
        "Petrol stations",
        "All that measures at a petrol station, also what is installed tomorrow.",
        conditions=(Condition("facility_kind", (FacilityKind.FUEL_STATION.value,)),),
    ),
    Group(CHAIN, SUBMETERS, "Every sub-meter, in every facility.", type_code="S3-CT"),
    Group(
        CHAIN,
        "Still before 1.1.0",
        "Sub-meters that the update has not reached: who is updated leaves by itself.",
        conditions=(Condition("firmware", ("<1.1.0",)),),
        type_code="S3-CT",
    ),
    Group(UTILITY, METERS, "The meters that bills are made of.", type_code="M3-63"),
    Group(
        UTILITY,
        "Photovoltaics",
        "Inverters, which the operator of the grid may have limited.",
        conditions=(Condition("placement", (Placement.GENERATION.value,)),),
    ),
    Group(
        UTILITY,
        "Pilot households",
        "They have agreed to try what is new.",
        members=("AE001-METER", "AE002-METER", "AE007-METER"),
    ),
)


def ensure_groups(tenant: Tenant) -> None:
    """The groups of a tenant that are missing, in the open scope, which holds all of it."""
    known = set(DeviceGroup.objects.filter(tenant=tenant).values_list("name", flat=True))
    for group in GROUPS:
        if group.tenant == tenant.slug and group.name not in known:
            _make(tenant, group)


def _make(tenant: Tenant, group: Group) -> None:
    conditions = group.conditions
    if group.type_code:
        kind = DeviceType.objects.get(tenant=tenant, code=group.type_code)
        conditions = (Condition("device_type", (kind.pk,)), *conditions)
    rule = None if group.members else Rule(conditions)
    devices = Device.objects.filter(tenant=tenant, serial__in=group.members)
    groups_operations.create_group(
        tenant_id=tenant.pk,
        values=GroupValues(group.name, group.description, rule),
        device_ids=list(devices.values_list("pk", flat=True)),
        actor_id=None,
    )
