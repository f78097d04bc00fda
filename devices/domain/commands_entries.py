"""Asking and deciding, and what became of it as readers see it. Needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devices.commands.states import Origin
from devices.domain import commands_decisions as decisions
from devices.domain import commands_queries as queries
from devices.domain.commands_operations import Asked, ask, retry_failed
from devices.domain.commands_policy import Actor
from devices.domain.commands_queries import BatchEntry, CommandDetail, CommandEntry
from devices.domain.selection import Selection


@dataclass(frozen=True, slots=True)
class AskedEntry:
    """What was made of a request: the command of a single device, or batches."""

    command: CommandEntry | None
    batches: tuple[BatchEntry, ...]


def ask_entry(
    actor: Actor,
    *,
    kind: str,
    arguments: Mapping[str, Any],
    device_ids: Sequence[int],
    selection: Mapping[str, Any] | None,
    reason: str,
    expires_in_s: int | None,
    origin: Origin,
    request_key: str,
) -> AskedEntry:
    """`commands_operations.ask`; `selection` is the JSON of a `Selection`."""
    asked = ask(
        actor,
        kind=kind,
        arguments=arguments,
        device_ids=device_ids,
        selection=None if selection is None else Selection.from_json(selection),
        reason=reason,
        expires_in_s=expires_in_s,
        origin=origin,
        request_key=request_key,
    )
    return _told(asked)


def retry_entry(actor: Actor, *, batch_id: int, reason: str) -> AskedEntry:
    """`commands_operations.retry_failed`."""
    return _told(retry_failed(actor, batch_id=batch_id, reason=reason))


def decide_command(
    actor: Actor, *, decision: str, subject_id: int, reason: str = ""
) -> CommandDetail:
    """`approve`, `refuse` or `cancel` a command."""
    _decide(actor, decision, reason, command_id=subject_id)
    return queries.command_detail(command_id=subject_id)


def decide_batch(actor: Actor, *, decision: str, subject_id: int, reason: str = "") -> BatchEntry:
    """`approve`, `refuse` or `cancel` what is open of a batch."""
    _decide(actor, decision, reason, batch_id=subject_id)
    return queries.batch_entry(batch_id=subject_id)


def _decide(
    actor: Actor,
    decision: str,
    reason: str,
    *,
    command_id: int | None = None,
    batch_id: int | None = None,
) -> None:
    if decision == "approve":
        decisions.approve(actor, command_id=command_id, batch_id=batch_id)
    elif decision == "refuse":
        decisions.refuse(actor, reason=reason, command_id=command_id, batch_id=batch_id)
    else:
        decisions.cancel(actor, command_id=command_id, batch_id=batch_id)


def _told(asked: Asked) -> AskedEntry:
    if not asked.batches:
        (command,) = queries.entries_of(asked.command_ids)
        return AskedEntry(command, ())
    return AskedEntry(
        None, tuple(queries.batch_entry(batch_id=batch.pk) for batch in asked.batches)
    )
