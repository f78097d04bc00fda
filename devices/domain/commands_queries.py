"""Commands and batches as people and programs see them. Needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from devices.commands.states import State
from devices.domain import commands_texts as texts
from devices.domain.catalogue import Page
from devices.domain.commands_decisions import CommandNotFound
from devices.domain.commands_operations import BatchNotFound
from devices.models import Command, CommandBatch, CommandEvent, Device
from devices.telemetry import command_store
from tenants.models import User
from tenants.scope import index_order, require_scope


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command to a device, and where it is; `asked_by` and `approved_by` are names, empty for a
    service account and the system.
    """

    command_id: int
    uid: str
    device_id: int
    serial: str
    device_name: str
    time_zone: str
    batch_id: int | None
    kind: str
    arguments: Mapping[str, Any]
    state: str
    cause: str
    detail: str
    reason: str
    origin: str
    asked_by: str
    asked_by_id: int | None
    asked_at: datetime
    approved_by: str
    queued_at: datetime | None
    expires_at: datetime
    state_at: datetime
    attempts: int
    next_at: datetime | None
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepEntry:
    """A step in the history of a command."""

    at: datetime
    step: str
    state: str
    cause: str
    attempt: int
    detail: str
    by: str
    connection: int


@dataclass(frozen=True, slots=True)
class CommandDetail:
    """A command with all that has happened to it, the oldest first."""

    command: CommandEntry
    history: tuple[StepEntry, ...]


@dataclass(frozen=True, slots=True)
class RefusedDevices:
    """Devices of a batch that cannot do it, and why."""

    code: str
    reason: str
    device_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A batch and how far it has come: how many of its commands are in each state."""

    batch_id: int
    kind: str
    arguments: Mapping[str, Any]
    reason: str
    origin: str
    asked_by: str
    asked_by_id: int | None
    asked_at: datetime
    devices: int
    counts: Mapping[str, int]
    causes: Mapping[str, int]
    refused: tuple[RefusedDevices, ...]
    retry_of: int | None

    @property
    def open(self) -> bool:
        """Whether something is still to come."""
        return any(
            self.counts.get(state, 0)
            for state in (State.AWAITING_APPROVAL, State.QUEUED, State.SENT, State.ACKNOWLEDGED)
        )


def command_page(
    *,
    limit: int,
    after: int = 0,
    device_id: int | None = None,
    batch_id: int | None = None,
    states: Sequence[str] = (),
) -> Page[CommandEntry]:
    """The commands, the newest first; `after`: those older than this one. Two queries at most."""
    wanted = _rows()
    if after:
        wanted = wanted.filter(pk__lt=after)
    if device_id is not None:
        wanted = wanted.filter(device_id=device_id)
    if batch_id is not None:
        wanted = wanted.filter(batch_id=batch_id)
    if states:
        wanted = wanted.filter(state__in=states)
    if device_id is None and batch_id is None:
        newest = command_store.newest(
            connection,
            require_scope().tenant_ids,
            list(states) or list(State),
            before=after or None,
            most=limit + 1,
        )
        wanted = wanted.filter(pk__in=newest)
    # All of a batch are found by it and sorted: walking along the ids would pass those of others.
    with index_order() if device_id is not None and batch_id is None else nullcontext():
        rows = list(wanted.order_by("-pk")[: limit + 1])
    entries = tuple(_entry(row) for row in rows[:limit])
    return Page(entries, rows[limit - 1].pk if len(rows) > limit else None)


def entries_of(command_ids: Sequence[int]) -> tuple[CommandEntry, ...]:
    """Some commands by id; one query."""
    return tuple(_entry(row) for row in _rows().filter(pk__in=command_ids).order_by("pk"))


def command_detail(*, command_id: int) -> CommandDetail:
    """A command with its history; two queries. Raises CommandNotFound."""
    row = _rows().filter(pk=command_id).first()
    if row is None:
        raise CommandNotFound(f"command {command_id}")
    events = CommandEvent.objects.filter(command=row).select_related("by").order_by("pk")
    return CommandDetail(_entry(row), tuple(_step(event) for event in events))


def batch_page(*, limit: int, after: int = 0) -> Page[BatchEntry]:
    """The batches, the newest first; `after`: those older than this one. Two queries."""
    wanted = CommandBatch.objects.select_related("asked_by")
    if after:
        wanted = wanted.filter(pk__lt=after)
    rows = list(wanted.order_by("-pk")[: limit + 1])
    entries = batches_of(rows[:limit])
    return Page(entries, rows[limit - 1].pk if len(rows) > limit else None)


def batches_of(rows: Sequence[CommandBatch]) -> tuple[BatchEntry, ...]:
    """How far batches have come, those of `rows` in their order; one query."""
    counts = command_store.counts(connection, [row.pk for row in rows])
    return tuple(_batch(row, counts.get(row.pk, {})) for row in rows)


def batch_entry(*, batch_id: int) -> BatchEntry:
    """A batch and how far it has come; two queries. Raises BatchNotFound."""
    row = CommandBatch.objects.select_related("asked_by").filter(pk=batch_id).first()
    if row is None:
        raise BatchNotFound(f"batch {batch_id}")
    return _batch(row, command_store.counts(connection, [row.pk]).get(row.pk, {}))


def refused_devices(*, batch_id: int) -> tuple[tuple[Device, str], ...]:
    """The devices of a batch that cannot do it, each with the sentence why; two queries. Raises
    BatchNotFound.
    """
    row = CommandBatch.objects.filter(pk=batch_id).first()
    if row is None:
        raise BatchNotFound(f"batch {batch_id}")
    reasons = {pk: code for code, ids in row.refused.items() for pk in ids}
    devices = Device.objects.filter(pk__in=reasons).order_by("pk")
    return tuple((device, texts.why_refused(reasons[device.pk])) for device in devices)


def cause_in_words(cause: str) -> str:
    """Why a command is where it is, in a few words; empty where there is nothing to say."""
    words = {
        "no_answer": _("The device did not answer"),
        "reconnected": _("The device came back"),
        "device": _("The device says so"),
        "rejected": _("The device does not know this command or its arguments"),
        "reported": _("The device reports what it was to set"),
        "never_connected": _("It could not be sent in time"),
        "not_approved": _("Nobody approved it"),
        "no_result": _("The device never said how it ended"),
        "device_gone": _("The device was revoked"),
        "person": _("Somebody cancelled it"),
        "superseded": _("A newer command took its place"),
        "second_person": _("A second person approved it"),
    }
    return words.get(cause, "")


def _rows() -> QuerySet[Command]:
    return Command.objects.select_related("device__facility", "asked_by", "approved_by")


def _name(user: User | None) -> str:
    return user.get_full_name() or user.email if user is not None else ""


def _entry(row: Command) -> CommandEntry:
    return CommandEntry(
        command_id=row.pk,
        uid=row.uid.hex,
        device_id=row.device_id,
        serial=row.device.serial,
        device_name=row.device.name,
        time_zone=row.device.facility.time_zone,
        batch_id=row.batch_id,
        kind=row.kind,
        arguments=row.arguments,
        state=row.state,
        cause=row.cause,
        detail=row.detail,
        reason=row.reason,
        origin=row.origin,
        asked_by=_name(row.asked_by),
        asked_by_id=row.asked_by_id,
        asked_at=row.asked_at,
        approved_by=_name(row.approved_by),
        queued_at=row.queued_at,
        expires_at=row.expires_at,
        state_at=row.state_at,
        attempts=row.attempts,
        next_at=row.next_at,
        answered_at=row.answered_at,
    )


def _step(event: CommandEvent) -> StepEntry:
    return StepEntry(
        at=event.at,
        step=event.step,
        state=event.state,
        cause=event.cause,
        attempt=event.attempt,
        detail=event.detail,
        by=_name(event.by),
        connection=event.connection,
    )


def _batch(row: CommandBatch, found: Mapping[tuple[str, str], int]) -> BatchEntry:
    counts = {state.value: 0 for state in State}
    causes: dict[str, int] = {}
    for (state, cause), count in found.items():
        counts[state] += count
        if cause:
            causes[cause] = causes.get(cause, 0) + count
    return BatchEntry(
        batch_id=row.pk,
        kind=row.kind,
        arguments=row.arguments,
        reason=row.reason,
        origin=row.origin,
        asked_by=_name(row.asked_by),
        asked_by_id=row.asked_by_id,
        asked_at=row.asked_at,
        devices=row.devices,
        counts=counts,
        causes=causes,
        refused=tuple(
            RefusedDevices(code, texts.why_refused(code), tuple(ids))
            for code, ids in sorted(row.refused.items())
        ),
        retry_of=row.retry_of_id,
    )
