"""Devices are brought to the settings that are wanted of them, and what cannot be is told.

`take` keeps what devices report, `advance` looks at differences that are due and sends commands of
its own; `devices.configuration.reconciliation` decides. Each is a transaction that may be killed or
repeated at any moment. Needs a scope of the tenants that are served.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.db import connection, transaction

from devices.commands.states import OPEN, Cause, Origin, State
from devices.configuration import reconciliation as engine
from devices.configuration.reconciliation import Answer, Drift, Outcome, Standing, Told
from devices.configuration.settings import SETTING_KINDS, told
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM
from devices.domain.inbox import InboxRow
from devices.models import Command, DeviceConfiguration
from devices.telemetry import command_store, control_store
from devices.telemetry.control_store import Stand

# The event by which a device tells all its settings.
REPORTED: Final = "config.reported"
# Bounds of one transaction.
MOST_DEVICES: Final = 200
_ENDED: Final = (State.SUCCEEDED, State.FAILED, State.EXPIRED)


@transaction.atomic
def take(rows: Sequence[InboxRow]) -> None:
    """Keep what devices report; of several reports of a device the last one counts."""
    latest = {row.device_id: row for row in rows if row.kind == REPORTED}
    if not latest:
        return
    control_store.open_rows(connection, sorted(latest))
    held = DeviceConfiguration.objects.select_for_update().filter(device_id__in=latest)
    reports, stands = [], []
    for row in held.order_by("pk"):
        said = latest[row.device_id]
        settings = told(said.body)
        standing = engine.reported_anew(
            _standing(row), changed=settings != row.reported, now=said.received_at
        )
        reports.append((row.device_id, settings, said.occurred_at))
        stands.append(_stand(row.device_id, standing))
    control_store.keep_reports(connection, reports)
    control_store.keep_stands(connection, stands)


@transaction.atomic
def advance(
    *,
    now: datetime,
    since: datetime | None = None,
    draw: Callable[[], float] = random.random,
) -> int:
    """Look at the differences that are due, of devices that are connected; how many there were.
    With `since`, at those alone that have become due, or whose device has connected, since then.

    Of several at once each takes the devices that no other has. Commands that people ask for
    meanwhile wait for this transaction, or are seen by it.
    """
    due = control_store.due(connection, now=now, since=since, most=MOST_DEVICES)
    free = DeviceConfiguration.objects.select_for_update(skip_locked=True, of=("self",))
    # Looked at once more under the lock.
    rows = list(free.filter(pk__in=due, next_at__lte=now).order_by("next_at", "pk"))
    if not rows:
        return 0
    device_ids = [row.device_id for row in rows]
    pending, answers = _pending(device_ids), _answers(device_ids)
    stands = []
    for row in rows:
        decision = engine.look(
            _standing(row),
            desired=row.desired,
            reported=row.reported or {},
            pending=pending[row.device_id],
            answers=answers[row.device_id],
            now=now,
            chance=draw(),
        )
        standing = decision.standing
        for command in decision.send:
            standing = _send(row.device_id, command, standing, now)
        stands.append(_stand(row.device_id, standing))
    control_store.keep_stands(connection, stands)
    return len(rows)


def _send(device_id: int, command: Told, standing: Standing, now: datetime) -> Standing:
    """Ask the device; where it cannot be asked, the difference is left, with the sentence."""
    try:
        with transaction.atomic():
            commands_operations.ask(
                SYSTEM,
                kind=command.kind.value,
                arguments=command.entries,
                device_ids=[device_id],
                reason="reconciliation",
                origin=Origin.RECONCILIATION,
                now=now,
            )
    except ValidationError as refused:
        return engine.refused(standing, detail=" ".join(refused.messages))
    return standing


def _pending(device_ids: Collection[int]) -> Mapping[int, set[str]]:
    """What commands under way are to set, by device."""
    found: dict[int, set[str]] = defaultdict(set)
    rows = Command.objects.filter(
        device_id__in=device_ids, state__in=[state.value for state in OPEN], kind__in=SETTING_KINDS
    )
    for device_id, subjects in rows.values_list("device_id", "subjects"):
        found[device_id].update(subjects)
    return found


def _answers(device_ids: Collection[int]) -> Mapping[int, Mapping[str, Answer]]:
    """The last answers by kind, by device."""
    found: dict[int, dict[str, Answer]] = defaultdict(dict)
    last = command_store.last_of_kinds(connection, list(device_ids), SETTING_KINDS, _ENDED)
    rows = Command.objects.filter(pk__in=last)
    for row in rows.only("device_id", "kind", "arguments", "state", "cause", "detail"):
        found[row.device_id][row.kind] = Answer(_outcome(row), row.arguments, row.detail)
    return found


def _outcome(command: Command) -> Outcome:
    if command.state == State.SUCCEEDED:
        return Outcome.DONE
    if command.state == State.FAILED and command.cause == Cause.REJECTED:
        return Outcome.REFUSED
    if command.state == State.FAILED and command.cause == Cause.DEVICE:
        return Outcome.FAILED
    return Outcome.UNANSWERED


def _standing(row: DeviceConfiguration) -> Standing:
    return Standing(
        attempts=row.attempts,
        tried_at=row.tried_at,
        next_at=row.next_at,
        settled_at=row.settled_at,
        drift=Drift(row.drift),
        detail=row.drift_detail,
    )


def _stand(device_id: int, standing: Standing) -> Stand:
    return Stand(
        device_id=device_id,
        attempts=standing.attempts,
        tried_at=standing.tried_at,
        next_at=standing.next_at,
        settled_at=standing.settled_at,
        drift=standing.drift.value,
        detail=standing.detail[:400],
    )
