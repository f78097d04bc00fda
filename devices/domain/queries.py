"""What pages and tasks read of the park, as plain values.

Each function runs a fixed number of queries.

All but the scope functions need an open scope and see what it holds: what lies outside does not
exist (`FacilityNotFound`, `DeviceNotFound`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from devices.models import Channel, Device, Facility
from devices.telemetry import status
from tenants.domain.queries import Access, access_of, scope_of
from tenants.models import User
from tenants.scope import Scope, open_scope


class FacilityNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such facility in the scope."""


class DeviceNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such device in the scope."""


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """How to read a channel's integers: value = integer x resolution, in `unit`.

    `minimum` and `maximum` are its physical limits: readings beyond are put aside.
    """

    channel_id: int
    number: int
    key: str
    name: str
    quantity: str
    unit: str
    resolution: Decimal
    in_total: bool
    minimum: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A device with its channels and how it is connected.

    `counts_in_total`: its channels with `in_total` make up the facility's total (see `Placement`).
    """

    device_id: int
    tenant_id: int
    facility_id: int
    serial: str
    name: str
    placement: str
    state: str
    hardware_revision: str
    device_type: str
    capabilities: tuple[str, ...]
    step_ms: int
    samples: int
    registered_at: datetime
    channels: tuple[ChannelFacts, ...]
    link: status.Link | None
    cursor: status.Cursor | None

    @property
    def connected(self) -> bool:
        """Whether the device has a connection at the moment."""
        return self.link is not None and self.link.connected

    @property
    def counts_in_total(self) -> bool:
        """Whether the device measures the facility's mains."""
        return self.placement == "mains"


@dataclass(frozen=True, slots=True)
class FacilityFacts:
    """A facility; `address` in one line, empty when unknown."""

    facility_id: int
    tenant_id: int
    parent_id: int | None
    name: str
    kind: str
    address: str
    time_zone: str
    latitude: Decimal | None
    longitude: Decimal | None


@dataclass(frozen=True, slots=True)
class FacilityDetail:
    """A facility with its devices, mains first."""

    facility: FacilityFacts
    devices: tuple[DeviceFacts, ...]


def access_and_scope(*, user_id: int, tenant_id: int | None = None) -> tuple[Access, Scope]:
    """How a user acts in a tenant (by default the first of the user's own), and the scope of it.

    Three queries. Raises `tenants.domain.queries.NoAccess`. Needs no open scope.
    """
    access = access_of(user_id=user_id, tenant_id=tenant_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_facilities_of(%s)", [access.membership.membership_id])
        facility_ids = cursor.fetchone()[0]
    scope = scope_of(access=access)
    if facility_ids is not None:
        return access, Scope(scope.tenant_ids, tuple(facility_ids))
    if access.membership.narrowed:  # it was narrowed or widened between the two look-ups
        return access, Scope(scope.tenant_ids, ())
    return access, scope


def scope_of_service(*, tenant_id: int, facility_ids: Iterable[int] | None) -> Scope:
    """The scope of a service account: its own tenant, not those below, and with `facility_ids`
    these facilities alone with all areas in them, as for a membership. Needs no open scope; none or
    one query for each level of areas, and one more.
    """
    if facility_ids is None:
        return Scope((tenant_id,))
    reached = set(facility_ids)
    with open_scope(Scope((tenant_id,))):
        level = reached
        while level:
            inside = Facility.objects.filter(parent__in=level).values_list("pk", flat=True)
            level = set(inside) - reached
            reached |= level
    return Scope((tenant_id,), tuple(sorted(reached)))


def scope_for(*, user: User, tenant_id: int | None = None) -> Scope:
    """The scope of a user in a tenant, narrowed to the facilities of the membership; see
    `access_and_scope`.
    """
    return access_and_scope(user_id=user.pk, tenant_id=tenant_id)[1]


def facility_detail(*, facility_id: int) -> FacilityDetail:
    """A facility with its devices and their channels; five queries. Raises FacilityNotFound."""
    try:
        row = Facility.objects.get(pk=facility_id)
    except Facility.DoesNotExist:
        raise FacilityNotFound(f"facility {facility_id}") from None
    found = devices(facility_id=facility_id)
    ordered = sorted(found, key=lambda device: (not device.counts_in_total, device.name))
    return FacilityDetail(facility_facts(row), tuple(ordered))


def devices(
    *, facility_id: int | None = None, device_ids: Iterable[int] | None = None
) -> tuple[DeviceFacts, ...]:
    """Devices of the scope with channels and link, by name; four queries.

    Of one facility, or the given ones; revoked devices only when asked for by id.
    """
    rows = Device.objects.select_related("device_type", "configuration")
    if facility_id is not None:
        rows = rows.filter(facility_id=facility_id).exclude(state="revoked")
    if device_ids is not None:
        rows = rows.filter(pk__in=list(device_ids))
    found = list(rows)
    ids = [row.pk for row in found]
    channels: dict[int, list[ChannelFacts]] = {device_id: [] for device_id in ids}
    for channel in Channel.objects.filter(device_id__in=ids).order_by("device_id", "number"):
        channels[channel.device_id].append(_channel(channel))
    links, cursors = status.links(connection, ids), status.cursors(connection, ids)
    return tuple(_device(row, channels[row.pk], links, cursors) for row in found)


def device_and_facility(*, device_id: int) -> tuple[DeviceFacts, FacilityFacts]:
    """A device and where it stands; five queries. Raises DeviceNotFound."""
    found = devices(device_ids=[device_id])
    if not found:
        raise DeviceNotFound(f"device {device_id}")
    return found[0], facility_facts(Facility.objects.get(pk=found[0].facility_id))


def facility_facts(row: Facility) -> FacilityFacts:
    """What is told of a facility, without a query."""
    town = " ".join(part for part in (row.postal_code, row.city) if part)
    return FacilityFacts(
        facility_id=row.pk,
        tenant_id=row.tenant_id,
        parent_id=row.parent_id,
        name=row.name,
        kind=row.kind,
        address=", ".join(part for part in (row.street, town, row.region, row.country) if part),
        time_zone=row.time_zone,
        latitude=row.latitude,
        longitude=row.longitude,
    )


def _channel(row: Channel) -> ChannelFacts:
    return ChannelFacts(
        channel_id=row.pk,
        number=row.number,
        key=row.key,
        name=row.name,
        quantity=row.quantity,
        unit=row.unit,
        resolution=row.resolution,
        in_total=row.in_total,
        minimum=row.minimum,
        maximum=row.maximum,
    )


def _device(
    row: Device,
    channels: Sequence[ChannelFacts],
    links: Mapping[int, status.Link],
    cursors: Mapping[int, status.Cursor],
) -> DeviceFacts:
    configuration = getattr(row, "configuration", None)  # not every device has one
    desired = {} if configuration is None else configuration.desired
    return DeviceFacts(
        device_id=row.pk,
        tenant_id=row.tenant_id,
        facility_id=row.facility_id,
        serial=row.serial,
        name=row.name,
        placement=row.placement,
        state=row.state,
        hardware_revision=row.hardware_revision,
        device_type=row.device_type.code,
        step_ms=desired.get("step_ms", row.device_type.step_ms),
        samples=desired.get("samples", row.device_type.samples),
        capabilities=tuple(row.device_type.capabilities),
        registered_at=row.created_at,
        channels=tuple(channels),
        link=links.get(row.pk),
        cursor=cursors.get(row.pk),
    )
