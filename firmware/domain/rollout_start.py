"""A plan becomes waves and targets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from devices.models import DeviceState
from firmware.domain.rollout_plan import Plan, Planned
from firmware.domain.rollout_rows import AT_ONCE
from firmware.models import Rollout, RolloutTarget, RolloutWave, TargetState


def store(rollout: Rollout, plan: Plan, *, now: datetime) -> None:
    """Make the waves and targets of a roll-out that has none.

    Devices that get nothing are kept with the reason, but for those that are only planned: they may
    be handed over to another tenant yet, and have no history.
    """
    waves = RolloutWave.objects.bulk_create(
        RolloutWave(tenant_id=rollout.tenant_id, rollout=rollout, number=number, size=size)
        for number, size in enumerate(plan.waves, 1)
    )
    by_number = {wave.number: wave.pk for wave in waves}
    add(rollout, plan.devices, by_number, now=now)


def add(
    rollout: Rollout, devices: Iterable[Planned], waves: dict[int, int], *, now: datetime
) -> None:
    """Make targets of planned devices; `waves` are the ids of the waves by number."""
    RolloutTarget.objects.bulk_create(
        [
            RolloutTarget(
                tenant_id=one.tenant_id,
                rollout=rollout,
                wave_id=waves[one.wave] if not one.reason else None,
                device_id=one.device_id,
                release_id=one.release_id,
                update_uid=uuid4(),
                medium=one.medium,
                state=TargetState.SKIPPED if one.reason else TargetState.PENDING,
                state_at=now,
                failure_code=one.reason,
                priority=rollout.priority,
                from_version=one.version[:64],
                from_image=one.image[:64],
                to_version=one.to_version,
            )
            for one in devices
            if not one.reason or one.state != DeviceState.PLANNED
        ],
        batch_size=AT_ONCE,
    )
