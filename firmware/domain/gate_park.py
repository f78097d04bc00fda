"""Who is compared after a wave: devices that were updated, and devices that were not."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

import numpy as np
from django.db.models import F, Q, QuerySet

from devices.models import Device, DeviceState, FacilityKind
from devices.telemetry.status import firmware_version
from firmware.gate.comparison import Park
from firmware.models import RolloutTarget, RolloutWave, TargetState

# A larger control group makes hardly anything surer, and has to be read.
MOST_CONTROL: Final = 4_000
_KINDS: Final = {kind: number for number, kind in enumerate(FacilityKind.values)}
# Of a roll-out, these disturb a device, whatever comes of it.
_TOUCHED: Final = (
    TargetState.OFFERED,
    TargetState.DOWNLOADING,
    TargetState.INSTALLING,
    TargetState.SUCCEEDED,
    TargetState.FAILED,
)

_NOTHING: Final = np.zeros(0, np.int64)
NOBODY: Final = Park(_NOTHING, np.zeros(0, np.bool_), _NOTHING, _NOTHING, _NOTHING)

_Row = tuple[int, int, int, str]


def park_of(wave: RolloutWave, *, since: datetime, updated_at: datetime) -> Park | None:
    """The devices of the scope to compare, by id; None when none was updated.

    Updated are those that this roll-out has brought to their release in this wave or an earlier
    one, by `updated_at`. The others are active devices of the same types (by their codes: tenants
    may have a type each) that no roll-out has
    touched since `since` and that do not run such a release already; those of the same facilities
    first.
    """
    targets = RolloutTarget.objects.filter(
        rollout_id=wave.rollout_id,
        state=TargetState.SUCCEEDED,
        wave__number__lte=wave.number,
        state_at__lte=updated_at,
    )
    updated = _rows(Device.objects.filter(pk__in=targets.values("device_id")))
    if not updated:
        return None
    types = (
        Device.objects.filter(pk__in=targets.values("device_id"))
        .values_list("device_type__code", flat=True)
        .distinct()
    )
    touched = RolloutTarget.objects.filter(state__in=_TOUCHED, state_at__gte=since)
    versions = targets.exclude(to_version="").values_list("to_version", flat=True).distinct()
    others = _rows(
        Device.objects.filter(device_type__code__in=list(types), state=DeviceState.ACTIVE)
        .exclude(pk__in=targets.values("device_id"))
        .exclude(pk__in=touched.values("device_id"))
        .annotate(running=firmware_version(F("pk")))
        .filter(~Q(running__in=list(versions)) | Q(running__isnull=True))
    )
    return _park(updated, _nearest(others, {facility for _, _, facility, _ in updated}))


def _rows(devices: QuerySet[Device]) -> list[_Row]:
    return list(devices.values_list("pk", "tenant_id", "facility_id", "facility__kind"))


def _nearest(others: list[_Row], facilities: set[int]) -> list[_Row]:
    """At most MOST_CONTROL: those of some facilities, then any, the same ones every time."""

    def rank(row: _Row) -> tuple[bool, bytes]:
        return row[2] not in facilities, hashlib.blake2b(row[0].to_bytes(8, "big")).digest()

    return sorted(others, key=rank)[:MOST_CONTROL]


def _park(updated: list[_Row], others: list[_Row]) -> Park:
    rows = sorted([*((row, True) for row in updated), *((row, False) for row in others)])
    return Park(
        device=np.array([row[0] for row, _ in rows], np.int64),
        updated=np.array([is_updated for _, is_updated in rows], np.bool_),
        facility=np.array([row[2] for row, _ in rows], np.int64),
        tenant=np.array([row[1] for row, _ in rows], np.int64),
        kind=np.array([_KINDS[row[3]] for row, _ in rows], np.int64),
    )
