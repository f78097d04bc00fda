"""Devices that come to belong to the selection of a roll-out while it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from django.db import connection

from devices.domain.selection import Selection
from devices.telemetry import firmware_facts
from firmware.domain import reports, rollout_plan, rollout_start
from firmware.models import (
    Rollout,
    RolloutKind,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    WaveState,
)
from firmware.rollout.strategy import Strategy
from firmware.rollout.waves import place, wave_of_newcomer
from tenants.domain.queries import tenants_below
from tenants.scope import Scope, long_scope

_TO_COME = (WaveState.PENDING, WaveState.RUNNING)


def join(*, tenant_id: int, rollout_id: int, now: datetime) -> int:
    """Take new devices of its selection into a roll-out that runs, each into the wave in whose part
    of the order it stands, or the first after it that is not over; returns how many. Whoever the
    roll-out has or has left out stays as it is. Needs no scope.
    """
    below = tenants_below(tenant_ids=[tenant_id])[tenant_id]
    with long_scope(Scope(tuple(sorted(tenant.tenant_id for tenant in below)))):
        row = (
            Rollout.objects.select_for_update(skip_locked=True)
            .filter(pk=rollout_id, state=RolloutState.RUNNING, kind=RolloutKind.UPDATE)
            .first()
        )
        if row is None or not _may_join(row, now):
            return 0
        firmware_facts.hold_turn(connection, reports.turn_of(row.pk))
        return _join(row, now)


def _may_join(row: Rollout, now: datetime) -> bool:
    assert row.started_at is not None
    days = Strategy.from_json(row.strategy).join_days
    return now < row.started_at + timedelta(days=days)


def _join(row: Rollout, now: datetime) -> int:
    assert row.release_id is not None
    strategy = Strategy.from_json(row.strategy)
    plan = rollout_plan.plan(
        release_id=row.release_id,
        selection=Selection.from_json(row.selection),
        strategy=strategy,
        tenant_id=row.tenant_id,
        rollout_id=row.pk,
    )
    numbers = dict(RolloutTarget.objects.filter(rollout=row).values_list("device_id", "wave_id"))
    found = [one for one in plan.devices if not one.reason and one.device_id not in numbers]
    if not found:
        return 0
    waves = list(RolloutWave.objects.filter(rollout=row).order_by("number"))
    seed = rollout_plan.seed_of(release_id=row.release_id, parent_id=None)
    ids = {wave.pk: wave.number for wave in waves}
    last_places: dict[int, float] = {}
    for device_id, wave_id in numbers.items():
        if wave_id is not None:
            number = ids[wave_id]
            last_places[number] = max(last_places.get(number, 0.0), place(seed, device_id))
    to_come = [wave.number for wave in waves if wave.state in _TO_COME]
    first = to_come[0] if to_come else waves[-1].number
    placed = [
        replace(one, wave=wave_of_newcomer(seed, one.device_id, last_places, first))
        for one in found
    ]
    rollout_start.add(row, placed, {wave.number: wave.pk for wave in waves}, now=now)
    return len(placed)
