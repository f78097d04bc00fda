"""Legal holds: what must not be removed, whatever the rules of retention say.

Needs an open scope that holds the tenant. A hold is made and released, never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from devices.models import Device, Facility, Hold, HoldCause
from tenants.domain import audit

MOST_SHOWN: Final = 500


class HoldRefused(ValueError):  # noqa: N818 - it reads as what happened
    """A hold that cannot be made; `field` is at fault, the message says what to do."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Held:
    """What is held: a device (by its id or its serial), a facility with its areas, or (none of
    them) all of the tenant, in [starts_at, ends_at); without an end, from then on.
    """

    starts_at: datetime
    ends_at: datetime | None = None
    facility_id: int | None = None
    device_id: int | None = None
    serial: str = ""


@transaction.atomic
def hold(
    *,
    tenant_id: int,
    held: Held,
    reason: str,
    now: datetime,
    actor_id: int | None,
    cause: HoldCause = HoldCause.PERSON,
    cause_id: int | None = None,
) -> Hold:
    """Hold data. A cause that has a number (a bill) holds once: the hold that stands is returned.

    Raises HoldRefused.
    """
    if cause_id is not None:
        standing = Hold.objects.filter(
            tenant_id=tenant_id, cause=cause, cause_id=cause_id, released_at=None
        ).first()
        if standing is not None:
            return standing
    reason = reason.strip()
    if not reason:
        raise HoldRefused("reason", _("Say why it must be kept: somebody else will read it."))
    if held.ends_at is not None and held.ends_at <= held.starts_at:
        raise HoldRefused("until", _("The end must be after the beginning."))
    facility_id, device_id, devices = _place(tenant_id, held)
    row = Hold(
        tenant_id=tenant_id,
        facility_id=facility_id,
        device_id=device_id,
        devices=devices,
        starts_at=held.starts_at,
        ends_at=held.ends_at,
        reason=reason,
        cause=cause,
        cause_id=cause_id,
        created_at=now,
        created_by_id=actor_id,
    )
    return audit.insert(row, actor_id=actor_id, action="hold.make")


def _place(tenant_id: int, held: Held) -> tuple[int | None, int | None, list[int]]:
    """The facility and the device of what is held, and the devices that are in it now."""
    devices = Device.objects.filter(tenant_id=tenant_id)
    if held.device_id is not None or held.serial:
        named = {"serial": held.serial} if held.device_id is None else {"pk": held.device_id}
        device = devices.filter(**named).first()
        if device is None:
            raise HoldRefused("serial", _("There is no such device."))
        if held.facility_id not in (None, device.facility_id):
            raise HoldRefused("serial", _("The device stands in another facility."))
        return device.facility_id, device.pk, [device.pk]
    if held.facility_id is None:
        return None, None, []
    parents = dict(Facility.objects.filter(tenant_id=tenant_id).values_list("pk", "parent_id"))
    if held.facility_id not in parents:
        raise HoldRefused("facility", _("There is no such facility."))
    below = {held.facility_id}
    size = 0
    while size < len(below):
        size = len(below)
        below |= {pk for pk, parent_id in parents.items() if parent_id in below}
    inside = devices.filter(facility_id__in=below).order_by("pk")
    return held.facility_id, None, list(inside.values_list("pk", flat=True))


@transaction.atomic
def release(*, hold_id: int, now: datetime, actor_id: int | None) -> bool:
    """End a hold; returns whether it stood. Raises Hold.DoesNotExist.

    What a rule of retention was kept from removing goes with its next run.
    """
    row = Hold.objects.get(pk=hold_id)
    # Claimed by the condition: two who release at once tell of it once.
    if not Hold.objects.filter(pk=hold_id, released_at=None).update(
        released_at=now, released_by_id=actor_id
    ):
        return False
    before = audit.snapshot(row)
    row.refresh_from_db()
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="hold.release",
        subject=row,
        before=before,
        after=audit.snapshot(row),
    )
    return True


def all_holds(*, tenant_id: int) -> list[Hold]:
    """The holds of a tenant, those that stand first, then the newest; at most MOST_SHOWN; one
    query.
    """
    rows = Hold.objects.filter(tenant_id=tenant_id).select_related(
        "facility", "device", "created_by", "released_by"
    )
    return sorted(rows[:MOST_SHOWN], key=lambda row: row.released_at is not None)


def count_standing(*, tenant_id: int) -> int:
    """How many holds of a tenant stand; one query."""
    return Hold.objects.filter(tenant_id=tenant_id, released_at=None).count()
