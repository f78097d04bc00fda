"""Arranging the meters of a facility: which one lies behind which.

Needs an open scope that contains the facility; `actor_id` is the user who acts. What a device has
measured stays as it is: the arrangement tells how it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from devices.domain.queries import FacilityNotFound
from devices.domain.registry_versions import ChangedMeanwhile, differences
from devices.models import Device, Facility, Placement
from tenants.domain import audit

# A circuit is not fed through more meters than this.
MOST_DEPTH: Final = 12


@transaction.atomic
def arrange(
    *,
    facility_id: int,
    behind: Mapping[int, int | None],
    based_on: Mapping[str, int | None] | None,
    actor_id: int | None,
) -> int:
    """Let devices of a facility lie behind others of it (None: behind its mains, or nothing); those
    that are not named stay. Returns how many changed.

    `based_on` is what was so when the edit began, by id as text. Raises FacilityNotFound,
    ChangedMeanwhile, and ValidationError at the id (as text) of the device that is at fault.
    """
    # Two that arrange the same facility could make a circle between them.
    if not Facility.objects.select_for_update().filter(pk=facility_id).exists():
        raise FacilityNotFound(f"facility {facility_id}")
    devices = {
        device.pk: device
        for device in Device.objects.select_for_update().filter(facility_id=facility_id)
    }
    current = {str(pk): device.behind_id for pk, device in devices.items()}
    if based_on is not None and (changes := differences(based_on, current)):
        raise ChangedMeanwhile(changes, current)
    wanted = {pk: device.behind_id for pk, device in devices.items()} | dict(behind)
    errors = {
        str(pk): [sentence]
        for pk in behind
        if (sentence := _fault(pk, wanted, devices)) is not None
    }
    if errors:
        raise ValidationError(errors)
    moved = [pk for pk in behind if devices[pk].behind_id != wanted[pk]]
    for pk in moved:
        audit.update(
            devices[pk],
            {"behind_id": wanted[pk]},
            actor_id=actor_id,
            action="device.arrange",
        )
    return len(moved)


def _fault(pk: int, wanted: Mapping[int, int | None], devices: Mapping[int, Device]) -> str | None:
    """What is wrong with where a device shall lie; None when nothing is."""
    over = wanted[pk]
    if pk not in devices or (over is not None and over not in devices):
        return _("There is no such device in this facility any more. Load the page again.")
    if over is None:
        return None
    if devices[pk].placement == Placement.MAINS:
        return _("It measures the mains, which lie behind no other meter.")
    seen = [pk]
    while over is not None:
        if over in seen:
            names = " → ".join(devices[one].name for one in [*seen[seen.index(over) :], over])
            return _("They would lie behind each other: %(names)s.") % {"names": names}
        seen.append(over)
        over = wanted[over]
    if len(seen) > MOST_DEPTH:
        return _("At most %(most)d meters may lie behind each other.") % {"most": MOST_DEPTH}
    return None
