"""Rows of roll-outs as the engine's values, and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Count, Max, Q, QuerySet

from devices.models import Device, DeviceState
from devices.telemetry import firmware_facts
from firmware.models import (
    Release,
    Rollout,
    RolloutKind,
    RolloutTarget,
    RolloutWave,
    UpdateEvent,
)
from firmware.rollout.strategy import Strategy
from firmware.rollout.values import (
    Event,
    Goal,
    Link,
    Phase,
    State,
    Target,
    Wave,
    WavePhase,
)
from firmware.rollout.values import Rollout as RolloutValue

# Rows written by one statement.
AT_ONCE: Final = 2000
_DETAIL: Final = 400

_COLUMNS: Final = (
    "pk",
    "device_id",
    "tenant_id",
    "wave_id",
    "update_uid",
    "release_id",
    "state",
    "state_at",
    "medium",
    "attempts",
    "failure_code",
    "next_at",
    "sent_at",
    "heard_at",
    "confirmed_at",
    "connection",
    "rate",
    "offset",
)
_WRITTEN: Final = (
    "state",
    "state_at",
    "attempts",
    "failure_code",
    "update_uid",
    "next_at",
    "sent_at",
    "heard_at",
    "confirmed_at",
    "connection",
    "rate",
    "offset",
)


def rollout_value(row: Rollout) -> RolloutValue:
    """A roll-out as the engine takes it."""
    return RolloutValue(row.pk, Phase(row.state), Strategy.from_json(row.strategy), row.priority)


def goals(release_ids: Collection[int], *, lower: bool) -> dict[int, Goal]:
    """What some releases are to devices; one query."""
    rows = Release.objects.filter(pk__in=release_ids).values_list(
        "pk",
        "type_code",
        "version",
        "artifact__sha256",
        "hardware_revisions",
        "from_versions",
    )
    return {
        row[0]: Goal(row[0], row[1], row[2], row[3], tuple(row[4]), row[5], lower=lower)
        for row in rows
    }


def lowers(row: Rollout) -> bool:
    """Whether devices may get a version below the one that they run."""
    return row.kind == RolloutKind.ROLLBACK


def targets(
    rows: QuerySet[RolloutTarget],
    goal_of: Callable[[int], Goal],
    wave_numbers: Mapping[int, int] | None = None,
) -> tuple[Target, ...]:
    """Targets as values; two queries. Without `wave_numbers` the wave is not known (0).

    Devices are asked for by number: joined, the planner walks through all of a tenant's to find
    those of a few targets.
    """
    numbers = wave_numbers or {}
    found = list(rows.values_list(*_COLUMNS))
    devices = {
        device[0]: device[1:]
        for device in Device.objects.filter(pk__in={row[1] for row in found}).values_list(
            "pk", "facility__time_zone", "device_type__code", "state"
        )
    }
    return tuple(
        Target(
            target_id=row[0],
            device_id=row[1],
            tenant_id=row[2],
            wave=numbers.get(row[3], 0),
            uid=row[4],
            goal=goal_of(row[5]),
            state=State(row[6]),
            state_at=row[7],
            medium=row[8],
            zone=devices[row[1]][0],
            device_type=devices[row[1]][1],
            active=devices[row[1]][2] == DeviceState.ACTIVE,
            attempts=row[9],
            failure=row[10],
            next_at=row[11],
            sent_at=row[12],
            heard_at=row[13],
            confirmed_at=row[14],
            connection=row[15],
            rate=row[16],
            offset=row[17],
        )
        for row in found
        if row[1] in devices
    )


def links(device_ids: Sequence[int]) -> dict[int, Link]:
    """What is known of the connections of some devices; one query."""
    found = firmware_facts.facts(connection, device_ids)
    return {
        device_id: Link(
            connected=one.connected,
            connection=one.connection,
            version=one.firmware_version,
            image=one.image_sha256,
            hardware=one.hardware_revision,
            capabilities=one.capabilities,
        )
        for device_id, one in found.items()
    }


def waves(row: Rollout) -> tuple[tuple[RolloutWave, ...], tuple[Wave, ...]]:
    """The waves of a roll-out in order, as rows and as values; two queries."""
    rows = tuple(RolloutWave.objects.filter(rollout=row).order_by("number"))
    counts: dict[int, dict[State, int]] = {}
    updated: dict[int, datetime] = {}
    of_states: QuerySet[Any, Any] = (
        RolloutTarget.objects.filter(rollout=row, wave__isnull=False)
        .order_by()
        .values("wave_id", "state")
        .annotate(number=Count("pk"), last=Max("state_at", filter=Q(state=State.SUCCEEDED)))
    )
    for one in of_states:
        counts.setdefault(one["wave_id"], {})[State(one["state"])] = one["number"]
        if one["last"] is not None:
            updated[one["wave_id"]] = one["last"]
    return rows, tuple(
        Wave(
            number=wave.number,
            phase=WavePhase(wave.state),
            started_at=wave.started_at,
            # Devices tell of their success without knowing of waves.
            updated_at=updated.get(wave.pk, wave.updated_at),
            soaking_at=wave.soaking_at,
            judged_at=wave.judged_at,
            ended_at=wave.ended_at,
            accepted_failures=wave.accepted_failures,
            overruled=wave.overruled,
            approved=wave.approved_at is not None,
            counts=counts.get(wave.pk, {}),
        )
        for wave in rows
    )


def save_targets(
    rollout_of: Callable[[Target], tuple[int, int | None]], changed: Sequence[Target]
) -> None:
    """Store the new values of targets that are there. `rollout_of` tells the ids of roll-out and
    wave, which are not changed.

    An INSERT whose rows are all there becomes one UPDATE for many rows; what it would insert is
    never used.
    """
    RolloutTarget.objects.bulk_create(
        [_row(target, *rollout_of(target)) for target in changed],
        batch_size=AT_ONCE,
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=list(_WRITTEN),
    )


def _row(target: Target, rollout_id: int, wave_id: int | None) -> RolloutTarget:
    return RolloutTarget(
        pk=target.target_id,
        tenant_id=target.tenant_id,
        rollout_id=rollout_id,
        wave_id=wave_id,
        device_id=target.device_id,
        release_id=target.goal.release_id,
        update_uid=target.uid,
        state=target.state.value,
        state_at=target.state_at,
        medium=target.medium,
        attempts=target.attempts,
        failure_code=target.failure,
        next_at=target.next_at,
        sent_at=target.sent_at,
        heard_at=target.heard_at,
        confirmed_at=target.confirmed_at,
        connection=target.connection,
        rate=target.rate,
        offset=target.offset,
    )


def save_events(events: Iterable[tuple[datetime, Event]], of: Mapping[int, Target]) -> None:
    """Append to the histories of targets, each event with its instant."""
    UpdateEvent.objects.bulk_create(
        [
            UpdateEvent(
                tenant_id=of[event.target_id].tenant_id,
                target_id=event.target_id,
                device_id=of[event.target_id].device_id,
                at=at,
                kind=event.kind,
                code=event.code[:16],
                detail=event.detail[:_DETAIL],
                data=dict(event.data),
            )
            for at, event in events
        ],
        batch_size=AT_ONCE,
    )
