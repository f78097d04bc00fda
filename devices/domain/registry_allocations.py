"""Loads of a facility and the channels allocated to them, as people edit them.

As in `registry_operations`: an open scope, `actor_id`, sentences at fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from devices.domain import operations
from devices.domain.registry_refusals import told_at_fields
from devices.domain.registry_versions import Values, require_unchanged
from devices.models import Allocation, Channel, Facility, Load, LoadCategory
from tenants.domain import audit

LOAD_FIELDS: Final = ("name", "category")


def create_load(
    *, facility_id: int, name: str, category: LoadCategory, actor_id: int | None
) -> Load:
    """A new load of a facility."""
    with told_at_fields("load"):
        return operations.create_load(
            tenant_id=Facility.objects.get(pk=facility_id).tenant_id,
            facility_id=facility_id,
            name=name,
            category=category,
            actor_id=actor_id,
        )


def update_load(
    *,
    load_id: int,
    name: str,
    category: LoadCategory,
    based_on: Values | None,
    actor_id: int | None,
) -> Load:
    """Rename a load or give it another category; what was measured for it stays with it."""
    with told_at_fields("load"):
        load = Load.objects.select_for_update().get(pk=load_id)
        require_unchanged(load, based_on)
        values = {"name": name, "category": category}
        audit.update(load, values, actor_id=actor_id, action="load.change")
    return load


@transaction.atomic
def remove_load(*, load_id: int, actor_id: int | None) -> Load:
    """Remove a load that no channel was ever allocated to; ValidationError otherwise."""
    load = Load.objects.select_for_update().get(pk=load_id)
    if load.allocations.exists():
        raise ValidationError(
            _(
                "Channels are or were allocated to this load, so it is kept: its energy could not"
                " be told any more. End the allocations instead, or remove them first."
            )
        )
    audit.delete(load, actor_id=actor_id, action="load.remove")
    return load


@transaction.atomic
def allocate(
    *,
    load_id: int,
    channel_id: int,
    starts_at: datetime,
    ends_at: datetime | None,
    actor_id: int | None,
) -> Allocation:
    """Allocate a channel to a load; an overlap is refused with the load and the period it meets."""
    # Whoever removes the load as one that was never measured waits, or has done so by now.
    Load.objects.select_for_update(no_key=True).get(pk=load_id)
    channel = Channel.objects.select_for_update().get(pk=channel_id)
    if ends_at is not None and ends_at <= starts_at:
        raise ValidationError({"ends_at": [_("The end must lie after the beginning.")]})
    if (met := _overlapping(channel, starts_at, ends_at)) is not None:
        raise ValidationError({"channel": [_met(met)]})
    with told_at_fields("allocation"):
        return operations.allocate_channel(
            channel_id=channel_id,
            load_id=load_id,
            starts_at=starts_at,
            ends_at=ends_at,
            actor_id=actor_id,
        )


def _overlapping(
    channel: Channel, starts_at: datetime, ends_at: datetime | None
) -> Allocation | None:
    later = Allocation.objects.filter(channel=channel).exclude(ends_at__lte=starts_at)
    if ends_at is not None:
        later = later.filter(starts_at__lt=ends_at)
    return later.select_related("load__facility").order_by("starts_at").first()


def _met(allocation: Allocation) -> str:
    zone = ZoneInfo(allocation.load.facility.time_zone)
    names = {
        "load": allocation.load.name,
        "start": _instant(allocation.starts_at, zone),
    }
    if allocation.ends_at is None:
        return (
            _("The channel is allocated to “%(load)s” since %(start)s. End that allocation first.")
            % names
        )
    return _("The channel is allocated to “%(load)s” from %(start)s to %(end)s.") % {
        **names,
        "end": _instant(allocation.ends_at, zone),
    }


def _instant(at: datetime, zone: ZoneInfo) -> str:
    return date_format(at.astimezone(zone), "DATETIME_FORMAT")


def end_allocation(*, allocation_id: int, ends_at: datetime, actor_id: int | None) -> Allocation:
    """End an allocation at an instant; what was measured before stays with the load."""
    with told_at_fields("allocation"):
        return operations.end_allocation(
            allocation_id=allocation_id, ends_at=ends_at, actor_id=actor_id
        )


@transaction.atomic
def remove_allocation(*, allocation_id: int, actor_id: int | None) -> Allocation:
    """Take back an allocation that was a mistake, as if it had never been."""
    allocation = Allocation.objects.select_for_update().get(pk=allocation_id)
    audit.delete(allocation, actor_id=actor_id, action="allocation.remove")
    return allocation
