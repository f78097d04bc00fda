"""Changes to facilities and devices that people edit; each leaves an audit row.

Every function needs an open scope that contains the tenant; `actor_id` is the user who acts, None
for the system. A row outside the scope does not exist: the models' DoesNotExist is raised. What is
refused is a ValidationError with a sentence at its field. `based_on` are the values that the edit
began with (`registry_versions.values_of`): ChangedMeanwhile tells what has changed since.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Final

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain import configuration_desired, operations
from devices.domain.derived_ready_made import add_needed
from devices.domain.operations import Address, Eviction, Registered
from devices.domain.registry_refusals import told_at_fields
from devices.domain.registry_versions import Values, require_unchanged
from devices.models import (
    Channel,
    Device,
    DeviceState,
    DeviceTypeChannel,
    Facility,
    FacilityKind,
    Placement,
)
from devices.telemetry import redo_store, rollup_store, status
from devices.telemetry.control_store import Wish
from tenants.domain import audit
from tenants.scope import require_scope

FACILITY_FIELDS: Final = (
    "parent",
    "name",
    "kind",
    "street",
    "postal_code",
    "city",
    "region",
    "country",
    "latitude",
    "longitude",
    "time_zone",
)
DEVICE_FIELDS: Final = (
    "facility",
    "device_type",
    "serial",
    "name",
    "placement",
    "hardware_revision",
    "state",
)
CHANNEL_FIELDS: Final = (
    "number",
    "key",
    "name",
    "quantity",
    "unit",
    "resolution",
    "minimum",
    "maximum",
    "in_total",
)

_REPORTED: Final = gettext_lazy(
    "The device has reported, so this is final: its stored readings rest on it. Register it anew"
    " instead."
)


@dataclass(frozen=True, slots=True)
class FacilityValues:
    """What a facility shall be."""

    name: str
    kind: FacilityKind
    time_zone: str
    parent_id: int | None = None
    address: Address = field(default_factory=Address)


@dataclass(frozen=True, slots=True)
class DeviceValues:
    """What a device shall be."""

    facility_id: int
    device_type_id: int
    serial: str
    name: str
    placement: Placement
    hardware_revision: str = ""


def create_facility(*, tenant_id: int, values: FacilityValues, actor_id: int | None) -> Facility:
    """A new facility; below another one it belongs to that one's tenant, else to `tenant_id`.

    A scope that is narrowed to some facilities could not see it: such an access creates none.
    """
    if require_scope().facility_ids is not None:
        raise ValidationError(
            _(
                "Your access is limited to certain facilities, so you cannot create any. Ask an"
                " administrator of your organisation."
            )
        )
    with told_at_fields("facility"):
        if values.parent_id is not None:
            tenant_id = Facility.objects.get(pk=values.parent_id).tenant_id
        return operations.create_facility(
            tenant_id=tenant_id,
            name=values.name,
            time_zone=values.time_zone,
            kind=values.kind,
            address=values.address,
            parent_id=values.parent_id,
            actor_id=actor_id,
        )


def update_facility(
    *, facility_id: int, values: FacilityValues, based_on: Values | None, actor_id: int | None
) -> Facility:
    """Change a facility; its areas stay in it.

    A scope that is narrowed moves it only from one facility that it reaches to another.
    """
    with told_at_fields("facility"):
        facility = Facility.objects.select_for_update().get(pk=facility_id)
        require_unchanged(facility, based_on)
        _require_reach(facility, values.parent_id)
        address = values.address
        audit.update(
            facility,
            {
                "parent_id": values.parent_id,
                "name": values.name,
                "kind": values.kind,
                "time_zone": values.time_zone,
                **{field.name: getattr(address, field.name) for field in fields(address)},
            },
            actor_id=actor_id,
            action="facility.change",
        )
    return facility


def _require_reach(facility: Facility, parent_id: int | None) -> None:
    """Raises ValidationError for a move by which others, or the actor, would reach other facilities
    than were granted to them.
    """
    reached = require_scope().facility_ids
    if reached is None or parent_id == facility.parent_id:
        return
    if not {facility.parent_id, parent_id} <= set(reached):
        sentence = _(
            "Your access is limited to certain facilities, so this one stays where it is. Ask an"
            " administrator of your organisation to move it."
        )
        raise ValidationError({"parent": [sentence]})


@dataclass(frozen=True, slots=True)
class Replacement:
    """A device registered anew: the new record, and the notice when the former was revoked."""

    registered: Registered
    eviction: Eviction | None


def register_device(
    *,
    values: DeviceValues,
    state: DeviceState,
    actor_id: int | None,
    secret_sha256: bytes | None = None,
) -> Registered:
    """A new device of its facility's tenant, with a secret that is shown once.

    With `secret_sha256` the device has its secret already, and the one returned opens nothing.
    """
    with told_at_fields("device"):
        registered = operations.register_device(
            tenant_id=Facility.objects.get(pk=values.facility_id).tenant_id,
            facility_id=values.facility_id,
            device_type_id=values.device_type_id,
            serial=values.serial,
            name=values.name,
            placement=values.placement,
            hardware_revision=values.hardware_revision,
            state=state,
            actor_id=actor_id,
        )
        if secret_sha256 is not None:
            registered.device.secret_sha256 = secret_sha256
            registered.device.save(update_fields=["secret_sha256"])
    return registered


@transaction.atomic
def register_anew(
    *, device_id: int, values: DeviceValues, state: DeviceState, revoke: bool, actor_id: int | None
) -> Replacement:
    """A new record for a device that was moved; the former keeps its readings.

    With `revoke` the former record is revoked, unless it is already.
    """
    former = Device.objects.select_for_update().get(pk=device_id)
    registered = register_device(values=values, state=state, actor_id=actor_id)
    audit.record(
        tenant_id=former.tenant_id,
        actor_id=actor_id,
        action="device.register_anew",
        subject=former,
        after={"successor": registered.device.pk, "serial": registered.device.serial},
    )
    configuration_desired.hand_down(
        from_id=former.pk,
        to_id=registered.device.pk,
        wish=Wish({}, "person", "", actor_id, datetime.now(UTC)),
    )
    eviction = None
    if revoke and former.state != DeviceState.REVOKED:
        eviction = operations.change_state(
            device_id=former.pk, state=DeviceState.REVOKED, actor_id=actor_id
        )
    return Replacement(registered, eviction)


def update_device(
    *, device_id: int, values: DeviceValues, based_on: Values | None, actor_id: int | None
) -> Device:
    """Change a device. Facility, type and serial are final once it has reported.

    A placement tells what the device has measured all the time: with another one, the energy of its
    facility is summed again.
    """
    with told_at_fields("device"):
        device = Device.objects.select_for_update().get(pk=device_id)
        require_unchanged(device, based_on)
        if device.state == DeviceState.REVOKED:
            raise ValidationError(
                {
                    NON_FIELD_ERRORS: [
                        _("The device is revoked: its record is not changed any more.")
                    ]
                }
            )
        _require_movable(device, values)
        retyped = values.device_type_id != device.device_type_id
        placed = values.placement != device.placement
        audit.update(
            device,
            {field.name: getattr(values, field.name) for field in fields(values)},
            actor_id=actor_id,
            action="device.change",
        )
        if retyped:
            _copy_channels_anew(device, actor_id)
        if placed:
            rollup_store.mark_device(connection, device.pk)
            now_ms = int(datetime.now(UTC).timestamp() * 1000)
            ever = redo_store.Changed(device.pk, 0, now_ms, redo_store.Cause.REGISTRY)
            redo_store.announce(connection, [ever])
    return device


def _require_movable(device: Device, values: DeviceValues) -> None:
    """Raises ValidationError at each of facility, type and serial that may not change any more."""
    changed = [
        field
        for field, before, after in (
            ("facility", device.facility_id, values.facility_id),
            ("device_type", device.device_type_id, values.device_type_id),
            ("serial", device.serial, values.serial),
        )
        if before != after
    ]
    if not changed:
        return
    if status.has_reported(connection, device.pk):
        raise ValidationError({field: [_REPORTED] for field in changed})
    if "device_type" in changed and device.channels.filter(allocations__isnull=False).exists():
        sentence = _("Its channels are allocated to loads: remove the allocations first.")
        raise ValidationError({"device_type": [sentence]})


def _copy_channels_anew(device: Device, actor_id: int | None) -> None:
    """The channels of the device's new type instead of those of the former."""
    device.channels.all().delete()
    copied = list(DeviceTypeChannel.objects.filter(device_type_id=device.device_type_id))
    Channel.objects.bulk_create(
        Channel(
            tenant_id=device.tenant_id,
            device=device,
            **{name: getattr(channel, name) for name in CHANNEL_FIELDS},
        )
        for channel in copied
    )
    add_needed(device, copied, actor_id=actor_id, now=datetime.now(UTC))
