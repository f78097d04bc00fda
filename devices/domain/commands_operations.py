"""Asking devices for something, for one or for thousands in a few statements.

What is asked for is queued; the dispatcher (`commands_dispatch`) sends it. Needs an open scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from devices.commands import machine
from devices.commands.kinds import ArgumentError, Wanted, checked
from devices.commands.states import Origin
from devices.domain import commands_texts as texts
from devices.domain import configuration_desired
from devices.domain.commands_policy import Actor, needs_approval, require_asking
from devices.domain.commands_steps import held
from devices.domain.commands_targets import facts_of, parted
from devices.domain.downlink import wake_dispatchers
from devices.domain.registry_refusals import constraint_of
from devices.domain.selection import Selection
from devices.models import Command, CommandBatch
from devices.models.command import REASON_LENGTH
from devices.telemetry import command_store
from devices.telemetry.command_store import Facts, NewCommands
from devices.telemetry.control_store import Wish
from tenants.domain import audit

# How a command ends that its device may be asked for again.
_IN_VAIN: Final = ("failed", "expired", "cancelled")
_REQUEST_ONCE: Final = ("devices_command_request_once", "devices_commandbatch_request_once")


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of a request: the commands by id, and their batches, one for each tenant.

    Without a batch it was a single device's.
    """

    command_ids: tuple[int, ...]
    batches: tuple[CommandBatch, ...] = ()

    @property
    def batch(self) -> CommandBatch | None:
        """The batch, of a request within one tenant."""
        return self.batches[0] if self.batches else None


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked for, the same for each device."""

    actor: Actor
    wanted: Wanted
    reason: str
    origin: Origin
    now: datetime
    key: str = ""
    retry_of: CommandBatch | None = None


@transaction.atomic
def ask(
    actor: Actor,
    *,
    kind: str,
    arguments: Mapping[str, Any],
    device_ids: Sequence[int] = (),
    selection: Selection | None = None,
    reason: str = "",
    expires_in_s: int | None = None,
    origin: Origin = Origin.PERSON,
    request_key: str = "",
    now: datetime | None = None,
) -> Asked:
    """Ask one device (a single id), or many as a batch, to do something.

    `expires_in_s`: how long a command may wait for its device; the usual time of the kind, unless
    given. Switching off asks for a reason and, by role or by the tenant's rule, for the approval of
    a second person. Commands that were never sent and set nothing else are superseded.

    `request_key` (at most 120 characters): what the asker calls this request. Asked again under the
    same name, nothing is done, and the answer is the same; something else is refused.

    Raises ValidationError at the field at fault, also where a single device cannot do it (of many,
    those are told in `CommandBatch.refused`), NotAllowedError, DevicesNotFound, SelectionRefused.
    """
    try:
        wanted = checked(kind, arguments, expires_in_s)
    except ArgumentError as error:
        raise texts.argument_refused(error) from error
    require_asking(actor, wanted)
    reason = _reason(reason, needed=wanted.off)
    request = _Request(actor, wanted, reason, origin, now or datetime.now(UTC), request_key)
    single = selection is None and len(set(device_ids)) == 1
    if not request_key:
        return _ask(request, facts_of(device_ids, selection), single=single)
    before = _asked_before(wanted, device_ids, request_key)
    if before is not None:
        return before
    try:
        with transaction.atomic():
            return _ask(request, facts_of(device_ids, selection), single=single)
    except IntegrityError as error:
        if constraint_of(error) not in _REQUEST_ONCE:
            raise
    # The same request came twice at once: the other one was first.
    before = _asked_before(wanted, device_ids, request_key)
    if before is None:  # of something that the scope does not hold any more
        raise _another_request()
    return before


@transaction.atomic
def want_unasked(
    *,
    kind: str,
    arguments: Mapping[str, Any],
    device_id: int,
    reason: str,
    origin: Origin,
    now: datetime,
) -> None:
    """Want of a device that cannot be asked now (it is not active) what a command would set: it is
    brought to that once it can be. Commands that were never sent and set nothing else are
    superseded. What switches off is asked for, since somebody may have to agree.
    """
    wanted = checked(kind, arguments)
    if wanted.off:
        raise ValueError("switching off is asked for")
    wish = Wish(wanted.arguments, origin.value, reason, None, now)
    configuration_desired.want(device_ids=[device_id], wish=wish, told=False)
    command_store.supersede(connection, [device_id], wanted.subjects, now=now)


def _asked_before(wanted: Wanted, device_ids: Sequence[int], key: str) -> Asked | None:
    """What was made when this was asked for the first time."""
    command = Command.objects.filter(request_key=key).first()
    batches = tuple(CommandBatch.objects.filter(request_key=key).order_by("pk"))
    rows = [row for row in (command, *batches) if row is not None]
    if not rows:
        return None
    if any((row.kind, row.arguments) != (wanted.kind, dict(wanted.arguments)) for row in rows):
        raise _another_request()
    if command is not None:
        made = {command.pk: command.device_id}
    else:
        made = dict(Command.objects.filter(batch__in=batches).values_list("pk", "device_id"))
    refused = (pk for batch in batches for ids in batch.refused.values() for pk in ids)
    if not {*made.values(), *refused}.issuperset(device_ids):
        raise _another_request()
    return Asked(tuple(sorted(made)), batches)


def _another_request() -> ValidationError:
    return ValidationError(
        {"request_key": [_("Another command was asked for under this name already.")]}
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """The devices of one tenant: those that can do it, and the others by the code of the reason.

    `approval`: somebody else has to agree first.
    """

    tenant_id: int
    facility_ids: tuple[int, ...]
    able: list[int]
    refused: Mapping[str, list[int]]
    approval: bool


def _ask(request: _Request, found: Sequence[Facts], *, single: bool) -> Asked:
    by_tenant: dict[int, list[Facts]] = defaultdict(list)
    for one in found:
        by_tenant[one.tenant_id].append(one)
    parts = [_part(request, *each) for each in sorted(by_tenant.items())]
    if single and parts[0].refused:
        raise ValidationError({"device": [texts.why_refused(next(iter(parts[0].refused)))]})
    _make_room(request, [pk for part in parts if not part.approval for pk in part.able])
    command_ids: list[int] = []
    batches: list[CommandBatch] = []
    for part in parts:
        batch = None if single else _batch(request, part)
        made = _make(request, part, batch)
        command_ids += made
        if batch is None:
            _tell(request, Command.objects.get(pk=made[0]), after={})
        else:
            after = {"devices": len(part.able), "refused": sum(map(len, part.refused.values()))}
            _tell(request, batch, after=after)
            batches.append(batch)
    wake_dispatchers()
    return Asked(tuple(command_ids), tuple(batches))


def _part(request: _Request, tenant_id: int, devices: Sequence[Facts]) -> _Part:
    able, refused = parted(devices, request.wanted.capabilities)
    return _Part(
        tenant_id,
        tuple(sorted({one.facility_id for one in devices})),
        [one.device_id for one in able],
        refused,
        needs_approval(request.actor, request.wanted, origin=request.origin, tenant_id=tenant_id),
    )


def _make_room(request: _Request, device_ids: Sequence[int]) -> None:
    """Want of the devices what the command sets, and end what it takes the place of.

    Before anything is made, and of all tenants at once: it takes the locks under which reports are
    kept and reconciliation decides, in the order in which everybody takes them.
    """
    wanted = request.wanted
    wish = Wish(
        wanted.arguments,
        request.origin.value,
        request.reason,
        request.actor.user_id,
        request.now,
    )
    configuration_desired.want_by_command(device_ids=sorted(device_ids), wish=wish)
    command_store.supersede(connection, device_ids, wanted.subjects, now=request.now)


def _reason(reason: str, *, needed: bool) -> str:
    reason = reason.strip()
    if needed and not reason:
        raise ValidationError(
            {"reason": [_("Say why the output is to be switched off: it ends a supply.")]}
        )
    if len(reason) > REASON_LENGTH:
        raise ValidationError(
            {"reason": [_("Write at most %(count)s characters.") % {"count": REASON_LENGTH}]}
        )
    return reason


def _batch(request: _Request, part: _Part) -> CommandBatch:
    return CommandBatch.objects.create(
        tenant_id=part.tenant_id,
        kind=request.wanted.kind.value,
        arguments=dict(request.wanted.arguments),
        reason=request.reason,
        origin=request.origin.value,
        asked_by_id=request.actor.user_id,
        asked_at=request.now,
        facilities=list(part.facility_ids),
        devices=len(part.able),
        refused=dict(part.refused),
        request_key=request.key,
        retry_of=request.retry_of,
    )


def _make(request: _Request, part: _Part, batch: CommandBatch | None) -> list[int]:
    wanted, now = request.wanted, request.now
    start = machine.asked(now=now, lifetime_s=wanted.lifetime_s, approval=part.approval)
    new = NewCommands(
        tenant_id=part.tenant_id,
        batch_id=None if batch is None else batch.pk,
        kind=wanted.kind.value,
        arguments=wanted.arguments,
        subjects=wanted.subjects,
        reason=request.reason,
        origin=request.origin.value,
        asked_by=request.actor.user_id,
        now=now,
        queued_at=start.queued_at,
        lifetime_s=start.lifetime_s,
        expires_at=start.expires_at,
        state=start.state.value,
        request_key=request.key if batch is None else "",
    )
    return command_store.make(connection, new, part.able)


def _tell(request: _Request, subject: Command | CommandBatch, *, after: dict[str, Any]) -> None:
    """The audit entry; what the system asks for again by itself is told by the history alone."""
    if request.origin is Origin.RECONCILIATION:
        return
    told: dict[str, Any] = {
        "kind": request.wanted.kind.value,
        "arguments": dict(request.wanted.arguments),
        "reason": request.reason,
        "origin": request.origin.value,
    }
    if isinstance(subject, Command):
        told |= {"device": str(subject.device), "state": subject.state}
    audit.record(
        tenant_id=subject.tenant_id,
        actor_id=request.actor.user_id,
        action="command.ask",
        subject=subject,
        after=told | after,
    )


@transaction.atomic
def retry_failed(
    actor: Actor, *, batch_id: int, reason: str = "", now: datetime | None = None
) -> Asked:
    """Ask the devices of a batch again whose commands have failed or expired, as a new batch;
    without those that are being asked again already, or have done it since.

    Raises BatchNotFound, NotAllowedError, and ValidationError when there is none.
    """
    batch = CommandBatch.objects.filter(pk=batch_id).first()
    if batch is None:
        raise BatchNotFound(f"batch {batch_id}")
    failed = Command.objects.filter(batch=batch, state__in=("failed", "expired"))
    # Held, so that of two requests at once the second one sees what the first one has made.
    rows = held(failed.values_list("pk", flat=True))
    if not rows:
        raise ValidationError({"batch": [_("None of its commands has failed or expired.")]})
    again = Command.objects.filter(batch__retry_of=batch).exclude(state__in=_IN_VAIN)
    device_ids = sorted(
        {row.device_id for row in rows}.difference(again.values_list("device_id", flat=True))
    )
    if not device_ids:
        raise ValidationError(
            {"batch": [_("All that failed are being tried again, or have succeeded since.")]}
        )
    wanted = checked(batch.kind, batch.arguments, rows[0].lifetime_s)
    require_asking(actor, wanted)
    request = _Request(
        actor,
        wanted,
        _reason(reason or batch.reason, needed=wanted.off),
        Origin(batch.origin),
        now or datetime.now(UTC),
        retry_of=batch,
    )
    return _ask(request, command_store.facts(connection, device_ids), single=False)


class BatchNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such batch in the scope."""
