"""The stock of the demo: devices that wait to be claimed, each with the code on its label."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from devices.domain import operations
from devices.domain.claims_operations import issue_codes
from devices.management import provision
from devices.models import Device, DeviceState, Facility, FacilityKind, Placement
from devices.simulator.catalogue import METER_TYPES
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

WAREHOUSE: Final = "Warehouse"
# Who claims one takes it out of the stock for good: nobody makes it again.
STOCK: Final = (
    ("WL-26-0001", "Sub-meter", "S3-CT", Placement.SUBMETER),
    ("WL-26-0002", "Sub-meter", "S3-CT", Placement.SUBMETER),
    ("WL-26-0003", "Smart meter", "M3-63", Placement.MAINS),
)
_LIFETIME: Final = timedelta(days=365)


def ensure_stock(
    owner: Tenant, tenant_ids: tuple[int, ...], codes: dict[str, str]
) -> list[dict[str, str]]:
    """Complete the stock in the tenant that delivers it, and `codes` (serial → code).

    A device whose code is not known any more gets a new one, which ends the former. Returns those
    that nobody has claimed yet, with serial and code.
    """
    serials = [serial for serial, *_rest in STOCK]
    with open_scope(Scope(tenant_ids)):
        states = dict(Device.objects.filter(serial__in=serials).values_list("serial", "state"))
    with open_scope(Scope((owner.pk,))):
        if missing := [entry for entry in STOCK if entry[0] not in states]:
            _register(owner, missing)
        waiting = {
            device.serial: device.pk
            for device in Device.objects.filter(serial__in=serials, state=DeviceState.PLANNED)
        }
        unknown = [pk for serial, pk in waiting.items() if serial not in codes]
        for issued in issue_codes(
            device_ids=unknown, lifetime=_LIFETIME, now=datetime.now(UTC), actor_id=None
        ):
            if issued.code is not None:
                codes[issued.serial] = issued.code.text
    return [{"code": codes[serial], "device": serial} for serial in serials if serial in waiting]


def _register(owner: Tenant, missing: Sequence[tuple[str, str, str, Placement]]) -> None:
    warehouse: Facility = provision.ensure_facility(
        owner.pk, WAREHOUSE, kind=FacilityKind.BUILDING, time_zone="Europe/Berlin"
    )
    for serial, name, type_code, placement in missing:
        operations.register_device(
            tenant_id=owner.pk,
            facility_id=warehouse.pk,
            device_type_id=provision.ensure_type(owner.pk, METER_TYPES[type_code]).pk,
            serial=serial,
            name=name,
            placement=placement,
            state=DeviceState.PLANNED,
            actor_id=None,
        )
