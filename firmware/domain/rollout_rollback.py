"""Taking a roll-out back: its updated devices get what they came from, by a roll-out of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.utils.translation import gettext as _

from firmware.domain import rollout_plan, rollout_start
from firmware.models import (
    Rollout,
    RolloutKind,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    TargetState,
    WaveState,
)
from firmware.rollout.strategy import OnError, Strategy, WaveSize
from tenants.domain import audit

# Before any update: devices are to be taken back from what was found to harm.
PRIORITY = 100


def strategy_of(strategy: Strategy) -> Strategy:
    """How a roll-back goes: all at once within the limits of what it takes back, and to the end."""
    return replace(
        strategy,
        waves=(WaveSize(percent=100),),
        soak_s=0,
        approval_between=False,
        success_percent=0,
        error_percent=100,
        error_count=None,
        on_error=OnError.PAUSE,
        windows=(),
        jitter_s=0,
        gate=None,
    )


def begin(parent: Rollout, *, now: datetime, actor_id: int | None) -> Rollout:
    """Make and start the roll-back of a roll-out whose row is held and that has been aborted or is
    over. Devices that are still installing join when they have confirmed. One that runs already is
    returned.
    """
    running = Rollout.objects.filter(parent=parent, ended_at=None).first()
    if running is not None:
        return running
    strategy = strategy_of(Strategy.from_json(parent.strategy))
    plan = rollout_plan.plan_back(parent_id=parent.pk, strategy=strategy)
    row = Rollout(
        tenant_id=parent.tenant_id,
        name=_("Roll-back of %(name)s") % {"name": parent.name[:90]},
        kind=RolloutKind.ROLLBACK,
        parent=parent,
        selection={"devices": [one.device_id for one in plan.devices if not one.reason]},
        strategy=strategy.to_json(),
        priority=max(PRIORITY, parent.priority),
        state=RolloutState.RUNNING,
        created_by_id=actor_id,
        started_at=now,
    )
    audit.insert(row, actor_id=actor_id, action="rollout.roll_back")
    rollout_start.store(row, plan, now=now)
    return row


def join(row: Rollout, *, now: datetime) -> bool:
    """Take devices into a roll-back that have confirmed what it takes back since it began; returns
    whether more may come, because some are still installing.
    """
    if row.kind != RolloutKind.ROLLBACK or row.state != RolloutState.RUNNING:
        return False
    assert row.parent_id is not None
    known = RolloutTarget.objects.filter(rollout=row).values("device_id")
    missing = RolloutTarget.objects.filter(
        rollout_id=row.parent_id, state=TargetState.SUCCEEDED
    ).exclude(device_id__in=known)
    late = list(missing.values_list("device_id", flat=True))
    if late:
        _take_in(row, late, now)
    return Rollout.objects.filter(pk=row.parent_id, ended_at=None).exists()


def _take_in(row: Rollout, device_ids: list[int], now: datetime) -> None:
    assert row.parent_id is not None
    plan = rollout_plan.plan_back(
        parent_id=row.parent_id, strategy=Strategy.from_json(row.strategy), only=device_ids
    )
    wave, _new = RolloutWave.objects.get_or_create(
        rollout=row,
        number=1,
        defaults={
            "tenant_id": row.tenant_id,
            "size": plan.getting,
            "state": WaveState.RUNNING,
            "started_at": now,
        },
    )
    rollout_start.add(row, plan.devices, {1: wave.pk}, now=now)
