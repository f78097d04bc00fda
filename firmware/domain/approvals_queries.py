"""What waits for the approval of a person: commands, releases, roll-outs, waves, rules.

Needs an open scope. Somebody else than who has asked decides, so that nobody is told of what they
have asked for themselves, not even where they might agree to it; and nobody is told of what their
permissions do not let them approve. Nothing waits for a service account: a person has to approve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext as _

from devices.commands.states import State
from devices.domain.commands_policy import Actor
from devices.models import Command, CommandBatch, CommandPolicy
from firmware.domain import rollout_words
from firmware.domain.policy_doors import demands_second_person
from firmware.models import (
    FirmwarePolicy,
    Release,
    ReleaseState,
    Rollout,
    RolloutState,
    RolloutWave,
    WaveState,
)
from tenants.models import User
from tenants.permissions import Permission

# Of each kind, the oldest.
MOST: Final = 100


class Kind(StrEnum):
    """What waits; the codes of the REST API."""

    COMMAND = "command"
    BATCH = "command_batch"
    RELEASE = "release"
    ROLLOUT = "rollout"
    WAVE = "wave"
    COMMAND_RULE = "command_rule"
    FIRMWARE_RULE = "firmware_rule"


# Who may approve which.
_NEEDED: Final[Mapping[Kind, Permission]] = {
    Kind.COMMAND: Permission.DEVICES_APPROVE,
    Kind.BATCH: Permission.DEVICES_APPROVE,
    Kind.RELEASE: Permission.FIRMWARE_APPROVE,
    Kind.ROLLOUT: Permission.ROLLOUTS_APPROVE,
    Kind.WAVE: Permission.ROLLOUTS_APPROVE,
    Kind.COMMAND_RULE: Permission.TENANTS_CHANGE,
    Kind.FIRMWARE_RULE: Permission.TENANTS_CHANGE,
}
# Whoever has one of these approves something.
APPROVING: Final = tuple(dict.fromkeys(_NEEDED.values()))


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits: `subject_id` is the command, batch, release or roll-out (a wave's too);
    of a rule the tenant.

    `name` says what it is about: the device, the release, the roll-out. `asked_by` is empty for a
    service account and the system; `until` is when the request is over, None for never. `command`
    and `arguments` are those of commands, `devices` how many a batch has asked.
    """

    kind: Kind
    subject_id: int
    name: str
    asked_by: str
    since: datetime
    reason: str = ""
    until: datetime | None = None
    command: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    devices: int = 0


@dataclass(frozen=True, slots=True)
class Approvals:
    """What waits, the oldest first; `more`: of some kind only the oldest `MOST` are told."""

    waiting: tuple[Waiting, ...]
    more: bool


def count(actor: Actor, *, tenant_id: int) -> int:
    """How much waits for a person who acts in a tenant: one query, none for who may not approve."""
    found = [rows.order_by().values_list("pk") for rows in _wanted(actor, tenant_id).values()]
    if not found:
        return 0
    first, *others = found
    return (first.union(*others, all=True) if others else first).count()


def approvals(actor: Actor, *, tenant_id: int) -> Approvals:
    """All that waits for a person who acts in a tenant; one query for each kind."""
    told: list[Waiting] = []
    more = False
    for kind, rows in _wanted(actor, tenant_id).items():
        found = list(_LOADED[kind](rows)[: MOST + 1])
        more |= len(found) > MOST
        told += [_TOLD[kind](row) for row in found[:MOST]]
    return Approvals(tuple(sorted(told, key=lambda one: one.since)), more)


def _wanted(actor: Actor, tenant_id: int) -> dict[Kind, QuerySet[Any]]:
    """The rows of each kind that the person may decide about."""
    if actor.user_id is None:
        return {}
    waiting = Command.objects.filter(state=State.AWAITING_APPROVAL.value)
    rules = Q(tenant_id=tenant_id, off_asked_by__isnull=False) & ~Q(off_asked_by_id=actor.user_id)
    rollouts = _not_by("created_by_id", actor.user_id) & _not_by("changed_by_id", actor.user_id)
    rows: dict[Kind, QuerySet[Any]] = {
        Kind.COMMAND: waiting.filter(_not_by("asked_by_id", actor.user_id), batch=None),
        Kind.BATCH: CommandBatch.objects.filter(
            _not_by("asked_by_id", actor.user_id), Exists(waiting.filter(batch=OuterRef("pk")))
        ),
        # What no person has uploaded cannot be approved; those of tenants below are approved there.
        Kind.RELEASE: Release.objects.filter(
            ~Q(created_by_id=actor.user_id),
            tenant_id=tenant_id,
            state=ReleaseState.DRAFT,
            created_by__isnull=False,
        ),
        Kind.ROLLOUT: Rollout.objects.alias(second=demands_second_person(F("tenant_id"))).filter(
            rollouts, state=RolloutState.DRAFT, approved_by=None, second=True
        ),
        Kind.WAVE: Rollout.objects.filter(rollouts, state=RolloutState.AWAITING_APPROVAL),
        Kind.COMMAND_RULE: CommandPolicy.objects.filter(rules),
        Kind.FIRMWARE_RULE: FirmwarePolicy.objects.filter(rules),
    }
    return {kind: found for kind, found in rows.items() if _NEEDED[kind] in actor.permissions}


def _not_by(column: str, user_id: int) -> Q:
    """Rows of somebody else; those of a service account or the system are nobody's."""
    return Q(**{f"{column}__isnull": True}) | ~Q(**{column: user_id})


def _load_batches(rows: QuerySet[CommandBatch]) -> QuerySet[CommandBatch]:
    waiting = Command.objects.filter(batch=OuterRef("pk"), state=State.AWAITING_APPROVAL.value)
    first = waiting.order_by("expires_at").values("expires_at")[:1]
    return (
        rows.select_related("asked_by").annotate(until=Subquery(first)).order_by("asked_at", "pk")
    )


def _load_waves(rows: QuerySet[Rollout]) -> QuerySet[Rollout]:
    judged = (
        RolloutWave.objects.filter(rollout=OuterRef("pk"), state=WaveState.JUDGED)
        .order_by("-number")
        .values("judged_at")
    )
    return (
        rows.select_related("release", "created_by")
        .annotate(judged_at=Subquery(judged[:1]))
        .order_by("judged_at", "pk")
    )


_LOADED: Final[Mapping[Kind, Any]] = {
    Kind.COMMAND: lambda rows: rows.select_related("device", "asked_by").order_by("asked_at", "pk"),
    Kind.BATCH: _load_batches,
    Kind.RELEASE: lambda rows: rows.select_related("created_by").order_by("created_at", "pk"),
    Kind.ROLLOUT: lambda rows: rows.select_related("release", "created_by").order_by(
        "created_at", "pk"
    ),
    Kind.WAVE: _load_waves,
    Kind.COMMAND_RULE: lambda rows: rows.select_related("off_asked_by"),
    Kind.FIRMWARE_RULE: lambda rows: rows.select_related("off_asked_by"),
}


def _command(row: Command) -> Waiting:
    return Waiting(
        Kind.COMMAND,
        row.pk,
        f"{row.device.name} ({row.device.serial})",
        _name(row.asked_by),
        row.asked_at,
        reason=row.reason,
        until=row.expires_at,
        command=row.kind,
        arguments=row.arguments,
        devices=1,
    )


def _batch(row: Any) -> Waiting:
    return Waiting(
        Kind.BATCH,
        row.pk,
        "",
        _name(row.asked_by),
        row.asked_at,
        reason=row.reason,
        until=row.until,
        command=row.kind,
        arguments=row.arguments,
        devices=row.devices,
    )


def _release(row: Release) -> Waiting:
    name = f"{row.type_code} {row.version}"
    return Waiting(Kind.RELEASE, row.pk, name, _name(row.created_by), row.created_at, row.notes)


def _rollout(row: Rollout) -> Waiting:
    return Waiting(Kind.ROLLOUT, row.pk, _titled(row), _name(row.created_by), row.created_at)


def _wave(row: Any) -> Waiting:
    since = row.judged_at or row.started_at
    reason = rollout_words.reason(row.state_reason, row.state_data)
    return Waiting(Kind.WAVE, row.pk, _titled(row), _name(row.created_by), since, reason)


def _rule(kind: Kind, row: CommandPolicy | FirmwarePolicy) -> Waiting:
    assert row.off_asked_at is not None, "a constraint keeps both"
    name = _("Switching off") if kind is Kind.COMMAND_RULE else _("Roll-outs")
    return Waiting(kind, row.tenant_id, name, _name(row.off_asked_by), row.off_asked_at)


_TOLD: Final[Mapping[Kind, Any]] = {
    Kind.COMMAND: _command,
    Kind.BATCH: _batch,
    Kind.RELEASE: _release,
    Kind.ROLLOUT: _rollout,
    Kind.WAVE: _wave,
    Kind.COMMAND_RULE: lambda row: _rule(Kind.COMMAND_RULE, row),
    Kind.FIRMWARE_RULE: lambda row: _rule(Kind.FIRMWARE_RULE, row),
}


def _titled(row: Rollout) -> str:
    """The roll-out with what it brings; a roll-back has no release."""
    if row.release is None:
        return row.name
    return f"{row.name} ({row.release.type_code} {row.release.version})"


def _name(user: User | None) -> str:
    return user.get_full_name() if user is not None else ""
