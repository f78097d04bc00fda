"""Facilities, devices and channels page by page, as plain values, for readers that go through all.

Every page is ordered by id and begins after one (keyset pagination): a row is met once, however
many come and go meanwhile. Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

from devices.domain.queries import (
    DeviceNotFound,
    FacilityFacts,
    FacilityNotFound,
    facility_facts,
)
from devices.models import Channel, Device, Facility
from devices.telemetry import status

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


class ChannelNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such channel in the scope."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items; `next_after` is where the next page begins, None at the end."""

    items: tuple[Item, ...]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device and how it is connected; `last_seen_at` is None before its first connection."""

    device_id: int
    facility_id: int
    serial: str
    name: str
    device_type: str
    placement: str
    state: str
    hardware_revision: str
    firmware_version: str
    connected: bool
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """One quantity of a device, measured or derived; `resolution`: the smallest step of `unit`."""

    channel_id: int
    device_id: int
    facility_id: int
    number: int
    key: str
    name: str
    quantity: str
    unit: str
    resolution: float
    in_total: bool
    derived: bool


def facility_page(
    *,
    limit: int,
    after: int = 0,
    kind: str | None = None,
    parent_id: int | None = None,
    name: str | None = None,
) -> Page[FacilityFacts]:
    """Facilities, perhaps of one kind, in one parent, or with `name` in their names; one query."""
    wanted = {"kind": kind, "parent_id": parent_id, "name__icontains": name}
    rows, next_after = _page(Facility.objects.all(), wanted, after, limit)
    return Page(tuple(facility_facts(row) for row in rows), next_after)


def facility_entry(*, facility_id: int) -> FacilityFacts:
    """One facility; one query. Raises FacilityNotFound."""
    row = Facility.objects.filter(pk=facility_id).first()
    if row is None:
        raise FacilityNotFound(f"facility {facility_id}")
    return facility_facts(row)


def device_page(
    *,
    limit: int,
    after: int = 0,
    facility_id: int | None = None,
    state: str | None = None,
    placement: str | None = None,
    serial: str | None = None,
) -> Page[DeviceEntry]:
    """Devices in every state, perhaps of one facility, state, placement or serial; two queries."""
    wanted = {
        "facility_id": facility_id,
        "state": state,
        "placement": placement,
        "serial": serial,
    }
    rows, next_after = _page(_devices(), wanted, after, limit)
    return Page(_entries(rows), next_after)


def device_entry(*, device_id: int) -> DeviceEntry:
    """One device; two queries. Raises DeviceNotFound."""
    entries = _entries(list(_devices().filter(pk=device_id)))
    if not entries:
        raise DeviceNotFound(f"device {device_id}")
    return entries[0]


def channel_page(
    *,
    limit: int,
    after: int = 0,
    facility_id: int | None = None,
    device_id: int | None = None,
    quantity: str | None = None,
) -> Page[ChannelEntry]:
    """Channels, perhaps of one facility, device or quantity; one query."""
    wanted = {
        "device__facility_id": facility_id,
        "device_id": device_id,
        "quantity": quantity,
    }
    rows, next_after = _page(_channels(), wanted, after, limit)
    return Page(tuple(map(_channel, rows)), next_after)


def channel_entry(*, channel_id: int) -> ChannelEntry:
    """One channel; one query. Raises ChannelNotFound."""
    row = _channels().filter(pk=channel_id).first()
    if row is None:
        raise ChannelNotFound(f"channel {channel_id}")
    return _channel(row)


def _page(
    rows: QuerySet[Row], wanted: dict[str, Any], after: int, limit: int
) -> tuple[list[Row], int | None]:
    """The next rows by id, and the last one's id when more follow; filters of None do not count."""
    filters = {lookup: value for lookup, value in wanted.items() if value is not None}
    found = list(rows.filter(pk__gt=after, **filters).order_by("pk")[: limit + 1])
    more = len(found) > limit
    return found[:limit], found[limit - 1].pk if more else None


def _devices() -> QuerySet[Device]:
    return Device.objects.select_related("device_type")


def _channels() -> QuerySet[Channel]:
    return Channel.objects.select_related("device")


def _entries(rows: list[Device]) -> tuple[DeviceEntry, ...]:
    links = status.links(connection, [row.pk for row in rows])
    return tuple(_device(row, links.get(row.pk)) for row in rows)


def _device(row: Device, link: status.Link | None) -> DeviceEntry:
    return DeviceEntry(
        device_id=row.pk,
        facility_id=row.facility_id,
        serial=row.serial,
        name=row.name,
        device_type=row.device_type.code,
        placement=row.placement,
        state=row.state,
        hardware_revision=row.hardware_revision,
        firmware_version=link.firmware_version if link else "",
        connected=link is not None and link.connected,
        last_seen_at=link.last_seen_at if link else None,
    )


def _channel(row: Channel) -> ChannelEntry:
    return ChannelEntry(
        channel_id=row.pk,
        device_id=row.device_id,
        facility_id=row.device.facility_id,
        number=row.number,
        key=row.key,
        name=row.name,
        quantity=row.quantity,
        unit=row.unit,
        resolution=float(row.resolution),
        in_total=row.in_total,
        derived=row.derived,
    )
