"""What the pages of the registry read: lists as query sets, and what a form begins with.

Lists are annotated and ordered query sets, so that a table sorts, filters and slices in SQL.
Everything needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, F, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from devices.domain.queries import DeviceNotFound, FacilityNotFound
from devices.domain.registry_operations import DEVICE_FIELDS, FACILITY_FIELDS
from devices.domain.registry_versions import values_of
from devices.models import (
    Device,
    DeviceState,
    DeviceType,
    Facility,
)
from devices.telemetry import status
from devices.versions import Range, VersionError


class DeviceTypeNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such device type in the scope."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One entry of a choice; `tenant_name` is '' while the scope holds one tenant alone.

    `time_zone` is that of a facility.
    """

    pk: int
    label: str
    tenant_id: int | None
    tenant_name: str
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class FacilityForm:
    """What the form of a facility begins with; `parents` leave out itself and what lies in it.

    `time_zone` is the likely one of a new facility: that of most of the others. `place_final`: the
    facility around it is out of the reader's reach; `parents` then is that one alone, unnamed.
    """

    facility_id: int | None
    name: str
    values: Mapping[str, Any]
    parents: tuple[Choice, ...]
    time_zone: str
    place_final: bool = False


@dataclass(frozen=True, slots=True)
class DeviceForm:
    """What the form of a device begins with; `reported`: facility, type and serial are final."""

    device_id: int | None
    name: str
    state: str
    reported: bool
    values: Mapping[str, Any]
    facilities: tuple[Choice, ...]
    types: tuple[Choice, ...]


def facility_rows() -> QuerySet[Facility]:
    """The facilities by name with their parents; `device_count` (active), `online_count`."""
    active = (
        Device.objects.filter(facility=OuterRef("pk"), state=DeviceState.ACTIVE)
        .order_by()
        .values("facility")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return (
        Facility.objects.select_related("parent")
        .annotate(
            device_count=Coalesce(Subquery(active, output_field=IntegerField()), 0),
            online_count=status.devices_connected(F("pk")),
        )
        .order_by("name", "pk")
    )


def device_rows() -> QuerySet[Device]:
    """The devices in every state by name, with facility and type, and how they are linked.

    Annotations: `connected`, `last_seen_at`, `firmware_version`. Facility and type are related rows
    and no annotations, so that counting the list joins nothing.
    """
    return (
        Device.objects.select_related("facility", "device_type")
        .only(
            *("facility_id", "device_type_id", "serial", "name", "placement", "state"),
            *("facility__name", "facility__time_zone", "device_type__name"),
        )
        .annotate(
            connected=status.connected(F("pk")),
            last_seen_at=status.last_seen_at(F("pk")),
            firmware_version=status.firmware_version(F("pk")),
        )
        .order_by("name", "pk")
    )


def versions_running(text: str) -> list[str]:
    """The versions that devices of the scope say they run and that `text` means: itself, else those
    in the range that it is, else those that it is a part of. One query.
    """
    told = status.firmware_versions(connection)
    if text in told:
        return [text]
    try:
        wanted = Range.parse(text)
    except VersionError:
        return sorted(version for version in told if text.casefold() in version.casefold())
    return sorted(version for version in told if wanted.holds_text(version))


def active_devices(*, connected: bool | None = None) -> QuerySet[Device]:
    """For a query set of facilities: their active devices, perhaps those that are (not) connected.

    As `Exists(…)` it stops at the first that it finds, where a comparison of counts looks at all.
    """
    rows = Device.objects.filter(facility=OuterRef("pk"), state=DeviceState.ACTIVE)
    if connected is None:
        return rows
    linked = rows.annotate(connected=status.connected(F("pk")))
    return linked.filter(connected=True) if connected else linked.exclude(connected=True)


def device_type_rows() -> QuerySet[DeviceType]:
    """The types of the scope's tenants and those for all, with `channel_count`, `device_count`."""
    channels = (
        DeviceType.objects.filter(pk=OuterRef("pk"))
        .order_by()
        .values("pk")
        .annotate(count=Count("channels"))
        .values("count")
    )
    devices = (
        Device.objects.filter(device_type=OuterRef("pk"))
        .order_by()
        .values("device_type")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return DeviceType.objects.annotate(
        channel_count=Coalesce(Subquery(channels, output_field=IntegerField()), 0),
        device_count=Coalesce(Subquery(devices, output_field=IntegerField()), 0),
    ).order_by("name", "pk")


def device_type(*, type_id: int) -> DeviceType:
    """A type with its channels fetched; two queries. Raises DeviceTypeNotFound."""
    found = DeviceType.objects.filter(pk=type_id).prefetch_related("channels").first()
    if found is None:
        raise DeviceTypeNotFound(f"device type {type_id}")
    return found


def facility_choices() -> tuple[Choice, ...]:
    """The facilities of the scope, each with the path to it; one query."""
    return tuple(_facility_choices(list(_facilities_with_tenants())))


def facility_form(*, facility_id: int | None = None) -> FacilityForm:
    """For a new facility or an existing one; one query. Raises FacilityNotFound."""
    rows = list(_facilities_with_tenants())
    if facility_id is None:
        zones = Counter(row.time_zone for row in rows).most_common(1)
        likely = zones[0][0] if zones else ""
        return FacilityForm(None, "", {}, tuple(_facility_choices(rows)), likely)
    row = next((row for row in rows if row.pk == facility_id), None)
    if row is None:
        raise FacilityNotFound(f"facility {facility_id}")
    values = values_of(row, FACILITY_FIELDS)
    if row.parent_id is not None and all(other.pk != row.parent_id for other in rows):
        around = Choice(row.parent_id, _("A facility outside of your access"), row.tenant_id, "")
        return FacilityForm(row.pk, row.name, values, (around,), row.time_zone, place_final=True)
    inside = _inside(rows, facility_id)
    parents = (
        choice
        for choice in _facility_choices(rows)
        if choice.pk not in inside and choice.tenant_id == row.tenant_id
    )
    return FacilityForm(row.pk, row.name, values, tuple(parents), row.time_zone)


def device_form(*, device_id: int | None = None) -> DeviceForm:
    """For a new device (two queries) or an existing one (four). Raises DeviceNotFound."""
    facilities = facility_choices()
    types = _type_choices(with_tenants=any(choice.tenant_name for choice in facilities))
    if device_id is None:
        return DeviceForm(None, "", "", False, {}, facilities, types)
    row = Device.objects.filter(pk=device_id).first()
    if row is None:
        raise DeviceNotFound(f"device {device_id}")
    return DeviceForm(
        device_id=row.pk,
        name=row.name,
        state=row.state,
        reported=status.has_reported(connection, row.pk),
        values=values_of(row, DEVICE_FIELDS),
        facilities=tuple(one for one in facilities if one.tenant_id == row.tenant_id),
        types=tuple(one for one in types if one.tenant_id in {None, row.tenant_id}),
    )


def _facilities_with_tenants() -> QuerySet[Facility]:
    return Facility.objects.select_related("tenant").order_by("name", "pk")


def _facility_choices(rows: list[Facility]) -> list[Choice]:
    """Labels are paths from the top, so that two areas of one name are told apart."""
    by_id = {row.pk: row for row in rows}
    several = len({row.tenant_id for row in rows}) > 1
    choices = [
        Choice(
            pk=row.pk,
            label=_path(row, by_id),
            tenant_id=row.tenant_id,
            tenant_name=row.tenant.name if several else "",
            time_zone=row.time_zone,
        )
        for row in rows
    ]
    return sorted(choices, key=lambda choice: (choice.tenant_name, choice.label.casefold()))


def _path(row: Facility, by_id: Mapping[int, Facility]) -> str:
    names, at = [row.name], row
    # A narrowed scope may hold an area without the facility around it.
    while at.parent_id is not None and at.parent_id in by_id:
        at = by_id[at.parent_id]
        names.append(at.name)
    return PATH_SEPARATOR.join(reversed(names))


PATH_SEPARATOR = " › "


def _inside(rows: list[Facility], facility_id: int) -> set[int]:
    """A facility and all that lies in it."""
    inside, before = {facility_id}, 0
    while len(inside) > before:
        before = len(inside)
        inside |= {row.pk for row in rows if row.parent_id in inside}
    return inside


def _type_choices(*, with_tenants: bool) -> tuple[Choice, ...]:
    rows = DeviceType.objects.select_related("tenant").order_by("name", "pk")
    return tuple(
        Choice(
            row.pk,
            f"{row.name} ({row.code})",
            row.tenant_id,
            row.tenant.name if with_tenants and row.tenant else "",
        )
        for row in rows
    )
