"""Between the rows of commands and the engine that decides over them."""

from __future__ import annotations

from collections.abc import Iterable

from devices.commands.machine import Change, Situation
from devices.commands.states import Cause, State
from devices.models import Command
from devices.telemetry.command_store import Moved


def situation_of(command: Command) -> Situation:
    """Where the command is, as a value."""
    return Situation(
        state=State(command.state),
        expires_at=command.expires_at,
        lifetime_s=command.lifetime_s,
        attempts=command.attempts,
        connection=command.connection,
        next_at=command.next_at,
        answered_at=command.answered_at,
        queued_at=command.queued_at,
        cause=Cause(command.cause),
        detail=command.detail,
    )


def moved(command: Command, change: Change, *, by: int | None = None) -> Moved:
    """The command after a step that `by` took."""
    new = change.situation
    return Moved(
        command_id=command.pk,
        tenant_id=command.tenant_id,
        device_id=command.device_id,
        state=new.state.value,
        cause=new.cause.value,
        detail=new.detail,
        attempts=new.attempts,
        next_at=new.next_at,
        connection=new.connection,
        answered_at=new.answered_at,
        queued_at=new.queued_at,
        expires_at=new.expires_at,
        step=change.step.value,
        step_cause=change.cause.value,
        step_detail=change.detail,
        by=by,
    )


def held(command_ids: Iterable[int], *, skip_locked: bool = False) -> list[Command]:
    """The commands by id, held until the transaction ends; always taken in the order of their ids,
    so that nobody waits in a circle. With `skip_locked` those that nobody else holds.
    """
    rows = Command.objects.select_for_update(of=("self",), no_key=True, skip_locked=skip_locked)
    return list(rows.filter(pk__in=list(command_ids)).order_by("pk"))
