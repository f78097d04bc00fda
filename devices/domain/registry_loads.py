"""What pages read of loads and their allocations. Needs an open scope and sees what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from devices.domain.queries import FacilityNotFound
from devices.domain.registry_queries import Choice
from devices.domain.registry_versions import values_of
from devices.models import Allocation, Channel, DeviceState, Facility, Load


class LoadNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such load in the scope."""


class AllocationNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such allocation in the scope."""


@dataclass(frozen=True, slots=True)
class AllocatedPeriod:
    """A channel measured a load from `starts_at` until before `ends_at` (None: until now on)."""

    allocation_id: int
    device_id: int
    device_name: str
    channel_name: str
    starts_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoadEntry:
    """A load with its allocations, the newest first."""

    load_id: int
    name: str
    category: str
    allocations: tuple[AllocatedPeriod, ...]


@dataclass(frozen=True, slots=True)
class LoadsOfFacility:
    """The loads of a facility by name."""

    facility_id: int
    name: str
    time_zone: str
    loads: tuple[LoadEntry, ...]


@dataclass(frozen=True, slots=True)
class LoadForm:
    """What the forms of a load and its allocations begin with; `channels` are the facility's."""

    load_id: int
    facility_id: int
    facility_name: str
    time_zone: str
    name: str
    values: Mapping[str, Any]
    channels: tuple[Choice, ...]


def loads_of(*, facility_id: int) -> LoadsOfFacility:
    """The loads of a facility and what measures them; three queries. Raises FacilityNotFound."""
    facility = Facility.objects.filter(pk=facility_id).first()
    if facility is None:
        raise FacilityNotFound(f"facility {facility_id}")
    periods: dict[int, list[AllocatedPeriod]] = {}
    allocations = Allocation.objects.filter(facility=facility).select_related("channel__device")
    for row in allocations.order_by("-starts_at", "pk"):
        periods.setdefault(row.load_id, []).append(_period(row))
    loads = Load.objects.filter(facility=facility).order_by("name", "pk")
    return LoadsOfFacility(
        facility.pk,
        facility.name,
        facility.time_zone,
        tuple(
            LoadEntry(load.pk, load.name, load.category, tuple(periods.get(load.pk, ())))
            for load in loads
        ),
    )


def load_form(*, load_id: int) -> LoadForm:
    """A load and the channels that can measure it; two queries. Raises LoadNotFound."""
    load = Load.objects.filter(pk=load_id).select_related("facility").first()
    if load is None:
        raise LoadNotFound(f"load {load_id}")
    channels = (
        Channel.objects.filter(device__facility=load.facility_id)
        .exclude(device__state=DeviceState.REVOKED)
        .select_related("device")
        .order_by("device__name", "device_id", "number")
    )
    return LoadForm(
        load_id=load.pk,
        facility_id=load.facility_id,
        facility_name=load.facility.name,
        time_zone=load.facility.time_zone,
        name=load.name,
        values=values_of(load, ("name", "category")),
        channels=tuple(
            Choice(row.pk, f"{row.device.name} · {row.name}", row.tenant_id, "") for row in channels
        ),
    )


def allocation_entry(*, allocation_id: int) -> tuple[AllocatedPeriod, LoadForm]:
    """An allocation with its load; three queries. Raises AllocationNotFound."""
    row = Allocation.objects.filter(pk=allocation_id).select_related("channel__device").first()
    if row is None:
        raise AllocationNotFound(f"allocation {allocation_id}")
    return _period(row), load_form(load_id=row.load_id)


def _period(row: Allocation) -> AllocatedPeriod:
    return AllocatedPeriod(
        row.pk,
        row.channel.device_id,
        row.channel.device.name,
        row.channel.name,
        row.starts_at,
        row.ends_at,
    )
