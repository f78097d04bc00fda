"""Changes to the park; each leaves an audit row in the same transaction.

Every function needs an open scope that contains the tenant; `actor_id` is the user who acts, None
for the system. A row outside the scope does not exist: the models' DoesNotExist is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from devices.domain.derived_ready_made import add_needed
from devices.domain.restrictions import restrict
from devices.domain.secrets import DeviceSecret
from devices.ingest.queue import EVICT_CHANNEL, encode_evict
from devices.models import (
    Allocation,
    Channel,
    Device,
    DeviceState,
    DeviceType,
    DeviceTypeChannel,
    Facility,
    FacilityAccess,
    FacilityKind,
    Load,
    LoadCategory,
    Placement,
)
from devices.quantities import QUANTITIES
from devices.telemetry import status
from tenants.domain import audit
from tenants.domain.audit import record, snapshot


class TransitionError(Exception):
    """A device cannot go from its state to the one asked for; the message names both."""


# Revoked is final: a device that comes back is registered anew, with a new secret.
TRANSITIONS: Final = MappingProxyType(
    {
        DeviceState.PLANNED: frozenset({DeviceState.ACTIVE, DeviceState.REVOKED}),
        DeviceState.ACTIVE: frozenset({DeviceState.SUSPENDED, DeviceState.REVOKED}),
        DeviceState.SUSPENDED: frozenset({DeviceState.ACTIVE, DeviceState.REVOKED}),
        DeviceState.REVOKED: frozenset[DeviceState](),
    }
)


@dataclass(frozen=True, slots=True)
class Eviction:
    """Tells all bridges to drop a device's connections and what they remember of its credentials.

    The entry point publishes `payload` on the Redis channel `channel` after the commit.
    """

    device_id: int

    @property
    def channel(self) -> str:
        """The channel that every bridge listens to."""
        return EVICT_CHANNEL

    @property
    def payload(self) -> bytes:
        """The notice; it concerns every connection of the device."""
        return encode_evict(self.device_id)


@dataclass(frozen=True, slots=True)
class Registered:
    """A new device with its secret, which cannot be read again."""

    device: Device
    secret: DeviceSecret


@dataclass(frozen=True, slots=True)
class Rotated:
    """A device's new secret, which cannot be read again; connections by the old one must go."""

    device: Device
    secret: DeviceSecret
    eviction: Eviction


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """A channel of a device type; see `devices.models.Measurement` for the meaning of the fields.

    `in_total` None: yes exactly when values of the quantity add up.
    """

    number: int
    key: str
    name: str
    quantity: str
    resolution: Decimal
    minimum: Decimal
    maximum: Decimal
    in_total: bool | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a facility is; latitude and longitude in degrees, WGS 84, both or neither."""

    street: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""
    country: str = ""
    latitude: Decimal | None = None
    longitude: Decimal | None = None


@transaction.atomic
def create_facility(
    *,
    tenant_id: int,
    name: str,
    time_zone: str,
    actor_id: int | None,
    kind: FacilityKind = FacilityKind.SITE,
    address: Address | None = None,
    parent_id: int | None = None,
) -> Facility:
    """A new facility.

    Raises ValidationError for a bad value, IntegrityError for a parent in another tenant.
    """
    address = address or Address()
    facility = Facility(
        tenant_id=tenant_id,
        parent_id=parent_id,
        name=name,
        kind=kind,
        time_zone=time_zone,
        street=address.street,
        postal_code=address.postal_code,
        city=address.city,
        region=address.region,
        country=address.country,
        latitude=address.latitude,
        longitude=address.longitude,
    )
    facility.full_clean()
    return audit.insert(facility, actor_id=actor_id, action="facility.create")


@transaction.atomic
def grant_facility(*, membership_id: int, facility_id: int, actor_id: int | None) -> FacilityAccess:
    """Narrow a membership to a facility, or add one more; raises as `restrictions.restrict`."""
    granted = FacilityAccess.objects.filter(membership_id=membership_id)
    restrict(
        membership_id=membership_id,
        facility_ids=[*granted.values_list("facility_id", flat=True), facility_id],
        actor_id=actor_id,
    )
    return granted.select_related("membership__user").get(facility_id=facility_id)


@transaction.atomic
def create_device_type(
    *,
    tenant_id: int,
    code: str,
    name: str,
    channels: Sequence[ChannelSpec],
    actor_id: int | None,
    version: str = "1",
    manufacturer: str = "",
    step_ms: int = 2000,
    samples: int = 30,
    capabilities: Sequence[str] = (),
) -> DeviceType:
    """A device type of one tenant with its channels.

    Raises ValidationError for a bad value or a code that is taken, KeyError for a quantity that is
    not in `devices.quantities`.
    """
    device_type = DeviceType(
        tenant_id=tenant_id,
        code=code,
        name=name,
        version=version,
        manufacturer=manufacturer,
        step_ms=step_ms,
        samples=samples,
        capabilities=list(capabilities),
    )
    device_type.full_clean()
    device_type.save(force_insert=True)
    rows = [_type_channel(device_type, spec) for spec in channels]
    for row in rows:
        row.full_clean(validate_unique=False)
    DeviceTypeChannel.objects.bulk_create(rows)
    record(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action="device_type.create",
        subject=device_type,
        after={**snapshot(device_type), "channels": [snapshot(row) for row in rows]},
    )
    return device_type


def _type_channel(device_type: DeviceType, spec: ChannelSpec) -> DeviceTypeChannel:
    quantity = QUANTITIES[spec.quantity]
    return DeviceTypeChannel(
        tenant_id=device_type.tenant_id,
        device_type=device_type,
        number=spec.number,
        key=spec.key,
        name=spec.name,
        quantity=spec.quantity,
        unit=quantity.unit,
        resolution=spec.resolution,
        minimum=spec.minimum,
        maximum=spec.maximum,
        in_total=quantity.additive if spec.in_total is None else spec.in_total,
    )


@transaction.atomic
def register_device(
    *,
    tenant_id: int,
    facility_id: int,
    device_type_id: int,
    serial: str,
    name: str,
    actor_id: int | None,
    placement: Placement = Placement.SUBMETER,
    state: DeviceState = DeviceState.ACTIVE,
    hardware_revision: str = "",
) -> Registered:
    """A new device with a copy of its type's channels, a cursor, and a secret that is shown once;
    where the type measures no power but what it follows from, with a derived channel for it.

    Raises ValidationError for a bad value, IntegrityError for a serial that any tenant has already
    or a facility of another tenant.
    """
    secret = DeviceSecret.draw()
    device = Device(
        tenant_id=tenant_id,
        facility_id=facility_id,
        device_type_id=device_type_id,
        serial=serial,
        name=name,
        placement=placement,
        state=state,
        hardware_revision=hardware_revision,
        secret_sha256=secret.sha256,
    )
    device.full_clean()
    device.save(force_insert=True)
    measured = list(DeviceTypeChannel.objects.filter(device_type_id=device_type_id))
    Channel.objects.bulk_create(
        Channel(
            tenant_id=tenant_id,
            device=device,
            number=channel.number,
            key=channel.key,
            name=channel.name,
            quantity=channel.quantity,
            unit=channel.unit,
            resolution=channel.resolution,
            minimum=channel.minimum,
            maximum=channel.maximum,
            in_total=channel.in_total,
        )
        for channel in measured
    )
    add_needed(device, measured, actor_id=actor_id, now=timezone.now())
    status.open_accounts(connection, tenant_id, device.pk)
    record(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action="device.register",
        subject=device,
        after=snapshot(device),
    )
    return Registered(device, secret)


@transaction.atomic
def rotate_secret(*, device_id: int, actor_id: int | None) -> Rotated:
    """Give a device a new secret; the old one stops working at once.

    Raises TransitionError for a revoked device: it will not come back.
    """
    device = Device.objects.select_for_update().get(pk=device_id)
    if device.state == DeviceState.REVOKED:
        raise TransitionError(f"device {device.serial} is revoked: register it anew instead")
    secret = DeviceSecret.draw()
    device.secret_sha256 = secret.sha256
    device.save(update_fields=["secret_sha256"])
    record(
        tenant_id=device.tenant_id,
        actor_id=actor_id,
        action="device.rotate_secret",
        subject=device,
    )
    return Rotated(device, secret, Eviction(device.pk))


@transaction.atomic
def change_state(*, device_id: int, state: DeviceState, actor_id: int | None) -> Eviction:
    """Activate, suspend or revoke a device; raises TransitionError when its state forbids it.

    The notice is for activation too: bridges remember refusals for a moment.
    """
    device = Device.objects.select_for_update().get(pk=device_id)
    if state not in TRANSITIONS[DeviceState(device.state)]:
        raise TransitionError(f"device {device.serial} is {device.state}: it cannot become {state}")
    audit.update(device, {"state": state}, actor_id=actor_id, action=f"device.{state}")
    return Eviction(device.pk)


@transaction.atomic
def create_load(
    *,
    tenant_id: int,
    facility_id: int,
    name: str,
    actor_id: int | None,
    category: LoadCategory = LoadCategory.GENERAL,
) -> Load:
    """A new load of a facility; raises ValidationError for a bad value or a name that is taken."""
    load = Load(tenant_id=tenant_id, facility_id=facility_id, name=name, category=category)
    load.full_clean()
    return audit.insert(load, actor_id=actor_id, action="load.create")


@transaction.atomic
def allocate_channel(
    *,
    channel_id: int,
    load_id: int,
    starts_at: datetime,
    actor_id: int | None,
    ends_at: datetime | None = None,
) -> Allocation:
    """Let a channel measure a load during [starts_at, ends_at), or until further notice.

    Raises IntegrityError when the channel is allocated in that period already
    (`devices_allocation_no_overlap`) or measures in another facility.
    """
    load = Load.objects.get(pk=load_id)
    allocation = Allocation(
        tenant_id=load.tenant_id,
        facility_id=load.facility_id,
        channel=Channel.objects.get(pk=channel_id),
        load=load,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    allocation.clean_fields()
    return audit.insert(allocation, actor_id=actor_id, action="allocation.create")


@transaction.atomic
def end_allocation(*, allocation_id: int, ends_at: datetime, actor_id: int | None) -> Allocation:
    """End an allocation at an instant, which is no longer part of it."""
    allocation = Allocation.objects.select_for_update().get(pk=allocation_id)
    audit.update(
        allocation,
        {"ends_at": ends_at},
        actor_id=actor_id,
        action="allocation.end",
        validate=False,  # the database judges the period
    )
    return allocation
