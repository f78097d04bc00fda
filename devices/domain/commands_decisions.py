"""Approving, refusing and cancelling commands. Needs an open scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from devices.commands import machine
from devices.commands.machine import Change, NotPossibleError, Situation
from devices.commands.states import UNSENT, State
from devices.domain import commands_texts as texts
from devices.domain import configuration_desired
from devices.domain.commands_operations import BatchNotFound
from devices.domain.commands_policy import Actor, NotAllowedError
from devices.domain.commands_steps import held, moved, situation_of
from devices.domain.downlink import wake_dispatchers
from devices.models import Command, CommandBatch
from devices.models.command import REASON_LENGTH
from devices.telemetry import command_store
from devices.telemetry.control_store import Wish
from tenants.domain import audit
from tenants.permissions import Permission

Decide = Callable[[Situation], Change]


class CommandNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such command in the scope."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was done: the commands that were moved, and how many were left in which state."""

    command_ids: tuple[int, ...]
    left: dict[State, int] = field(default_factory=dict)


@transaction.atomic
def approve(
    actor: Actor,
    *,
    command_id: int | None = None,
    batch_id: int | None = None,
    now: datetime | None = None,
) -> Decided:
    """Agree to a command, or to all of a batch, that somebody else has asked for.

    Raises CommandNotFound or BatchNotFound, NotAllowedError, and ValidationError where it is not
    possible.
    """
    now = now or datetime.now(UTC)
    rows = _rows(command_id, batch_id)
    _require_another(actor, rows)
    decided = _decide(
        actor, rows, lambda command: machine.approve(command, now=now), "command.approve", now
    )
    configuration_desired.want_by_command(
        device_ids=_devices(rows, decided), wish=_wish(rows[0], now)
    )
    # What was asked for earlier and never sent gives way, as it would have then; commands of a
    # batch set the same.
    command_store.supersede(
        connection,
        [row.device_id for row in rows],
        rows[0].subjects,
        now=now,
        before=min(row.pk for row in rows),
    )
    wake_dispatchers()
    return decided


@transaction.atomic
def refuse(
    actor: Actor,
    *,
    reason: str,
    command_id: int | None = None,
    batch_id: int | None = None,
    now: datetime | None = None,
) -> Decided:
    """Do not agree, and say why. Raises as `approve` does."""
    now = now or datetime.now(UTC)
    reason = reason.strip()
    if not reason or len(reason) > REASON_LENGTH:
        raise ValidationError(
            {"reason": [_("Say why, in at most %(count)s characters.") % {"count": REASON_LENGTH}]}
        )
    rows = _rows(command_id, batch_id)
    _require_another(actor, rows)
    return _decide(
        actor,
        rows,
        lambda command: machine.refuse(command, detail=reason),
        "command.refuse",
        now,
    )


@transaction.atomic
def cancel(
    actor: Actor,
    *,
    command_id: int | None = None,
    batch_id: int | None = None,
    now: datetime | None = None,
) -> Decided:
    """A command, or all of a batch, is not wanted any more. Of a batch those are cancelled that
    were never sent; a single one also when nobody has answered it yet: it is not sent again, and if
    the device has done it, what the device says counts.

    Raises as `approve` does.
    """
    now = now or datetime.now(UTC)
    actor.require(Permission.DEVICES_CONTROL, _("You may not send commands to devices."))

    def decide(command: Situation) -> Change:
        if batch_id is not None and command.state not in UNSENT:
            raise NotPossibleError(command.state)
        return machine.cancel(command)

    rows = _rows(command_id, batch_id)
    # What was never approved has never been wanted.
    wanted = [row for row in rows if row.queued_at is not None]
    decided = _decide(actor, rows, decide, "command.cancel", now)
    configuration_desired.take_back(
        device_ids=_devices(wanted, decided), wish=_wish(rows[0], now, by=actor.user_id)
    )
    return decided


def _devices(rows: Sequence[Command], decided: Decided) -> list[int]:
    """The devices of those of the commands that were moved."""
    moved_ids = set(decided.command_ids)
    return [row.device_id for row in rows if row.pk in moved_ids]


def _wish(row: Command, now: datetime, *, by: int | None = None) -> Wish:
    """What a command says that its device shall be; commands of a batch say the same.

    `by`: who wants it, where that is not who has asked.
    """
    return Wish(row.arguments, row.origin, row.reason, by or row.asked_by_id, now)


def _rows(command_id: int | None, batch_id: int | None) -> list[Command]:
    """The commands, held. Of a batch those that are still open."""
    if batch_id is None:
        _hold_settings(Command.objects.filter(pk=command_id or 0))
        rows = held([command_id or 0])
        if not rows:
            raise CommandNotFound(f"command {command_id}")
        return rows
    if not CommandBatch.objects.filter(pk=batch_id).exists():
        raise BatchNotFound(f"batch {batch_id}")
    wanted = Command.objects.filter(
        batch=batch_id, state__in=("awaiting_approval", "queued", "sent", "acknowledged")
    )
    _hold_settings(wanted)
    return held(wanted.values_list("pk", flat=True))


def _hold_settings(commands: QuerySet[Command]) -> None:
    """Lock the settings of the devices before their commands, as who asks for something does."""
    configuration_desired.hold(device_ids=list(commands.values_list("device_id", flat=True)))


def _require_another(actor: Actor, rows: Sequence[Command]) -> None:
    actor.require(Permission.DEVICES_APPROVE, _("You may not approve commands."))
    if actor.user_id is None:
        raise NotAllowedError(_("A person has to approve this: sign in to do it."))
    if any(row.asked_by_id == actor.user_id for row in rows):
        raise ValidationError(
            _("You have asked for this yourself: somebody else has to approve it.")
        )


def _decide(
    actor: Actor, rows: Sequence[Command], decide: Decide, action: str, now: datetime
) -> Decided:
    changes = []
    left: dict[State, int] = {}
    for row in rows:
        situation = situation_of(row)
        try:
            changes.append((row, decide(situation)))
        except NotPossibleError as error:
            left[error.state] = left.get(error.state, 0) + 1
    if not changes:
        state = next(iter(left), None)
        raise ValidationError(
            _("None of its commands is waiting any more.")
            if state is None or len(rows) > 1
            else texts.why_not_possible(state)
        )
    steps = [moved(row, change, by=actor.user_id) for row, change in changes]
    command_store.keep(connection, steps, now=now)
    _tell(actor, [row for row, _change in changes], steps[0].step_detail, action)
    return Decided(tuple(row.pk for row, _change in changes), left)


def _tell(actor: Actor, rows: Sequence[Command], reason: str, action: str) -> None:
    first = rows[0]
    subject: Command | CommandBatch = first
    after: dict[str, object] = {"kind": first.kind, "arguments": first.arguments}
    if reason:
        after["reason"] = reason
    if first.batch_id is not None and len(rows) > 1:
        subject = CommandBatch.objects.get(pk=first.batch_id)
        after["devices"] = len(rows)
    else:
        after["device"] = str(first.device)
    audit.record(
        tenant_id=first.tenant_id,
        actor_id=actor.user_id,
        action=action,
        subject=subject,
        after=after,
    )
