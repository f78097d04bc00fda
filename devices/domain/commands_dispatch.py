"""What a dispatcher does: takes what devices have answered, gives up what is over, sends what is
due. Each is a transaction of its own and may be killed or repeated at any moment.

Of several dispatchers one works at a time (a lock that the database holds for the transaction); the
others find nothing to do. Needs a scope of the tenants that are served.
"""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Count

from devices.commands import machine
from devices.commands.machine import GRACE, MAX_ATTEMPTS, Change, Situation
from devices.commands.states import State, Step
from devices.configuration.settings import SETTING_KINDS, told
from devices.domain import inbox, reconciliation
from devices.domain.commands_steps import held, moved, situation_of
from devices.domain.downlink import send
from devices.domain.inbox import InboxRow
from devices.models import Command, CommandEvent, Device, DeviceState
from devices.protocol import Command as CommandMessage
from devices.protocol import encode_message
from devices.telemetry import command_store
from devices.telemetry.command_store import Moved

logger = logging.getLogger(__name__)

TOPIC: Final = "commands"
# Bounds of one transaction.
MOST_ANSWERS: Final = 2_000
MOST_SENT: Final = 1_000
MOST_OVER: Final = 1_000
# What a device only says again is told so often in the history of a command, which nobody ever
# removes; its events have it all.
MOST_AGAIN: Final = 50
_AGAIN: Final = (Step.REPEATED.value, Step.CONTRADICTED.value, Step.REPORTED.value)
_RESULT: Final = "result"
_HEARD: Final = (_RESULT, reconciliation.REPORTED)


@transaction.atomic
def take_answers(*, now: datetime) -> int:
    """Let what devices have said of their commands take effect; how much that was."""
    rows = inbox.take(TOPIC, MOST_ANSWERS)
    # In this order: settings are locked before commands, by everybody.
    reconciliation.take([row for row in rows if row.kind == reconciliation.REPORTED])
    _hear([row for row in rows if row.kind in _HEARD], now)
    ignored = Counter(row.kind for row in rows if row.kind not in _HEARD)
    for kind, count in ignored.items():
        logger.info("inbox.ignored kind=%r rows=%d", kind, count)
    return len(rows)


def _hear(rows: list[InboxRow], now: datetime) -> None:
    """What devices say takes effect in the order in which they say it."""
    commands, by_uid, setting = _commands_of(rows)
    situations = {pk: situation_of(command) for pk, command in commands.items()}
    steps = []
    for row in rows:
        if row.kind == reconciliation.REPORTED:
            changes = _by_report(row, setting[row.device_id], commands, situations)
        else:
            changes = _by_result(row, by_uid, situations, now)
        for command_id, change in changes:
            situations[command_id] = change.situation
            steps.append(moved(commands[command_id], change))
    command_store.keep(connection, steps, told=_without_echoes(steps), now=now)


def _by_result(
    row: InboxRow,
    by_uid: Mapping[tuple[int, str], int],
    situations: Mapping[int, Situation],
    now: datetime,
) -> list[tuple[int, Change]]:
    command_id = by_uid.get((row.device_id, str(row.body["command"])))
    if command_id is None or not situations[command_id].attempts:
        # Asked by nobody here, of another device, or never given to this one (people can read the
        # ids of commands that wait): the event is kept, and nothing moves.
        logger.warning(
            "command.result_unknown device=%d command=%r", row.device_id, row.body["command"]
        )
        return []
    change = machine.answered(
        situations[command_id],
        status=int(row.body["status"]),
        detail=str(row.body["detail"]),
        now=now,
    )
    return [(command_id, change)]


def _by_report(
    row: InboxRow,
    command_ids: Sequence[int],
    commands: Mapping[int, Command],
    situations: Mapping[int, Situation],
) -> list[tuple[int, Change]]:
    settings = told(row.body)
    changes = []
    for command_id in command_ids:
        wanted = commands[command_id].arguments
        as_wanted = all(settings.get(key) == value for key, value in wanted.items())
        change = machine.reported(situations[command_id], as_wanted=as_wanted)
        if change is not None:
            changes.append((command_id, change))
    return changes


def _without_echoes(steps: list[Moved]) -> list[Moved]:
    """The steps without those that say again what was said MOST_AGAIN times."""
    said_again = {one.command_id for one in steps if one.step in _AGAIN}
    if not said_again:
        return steps
    events = CommandEvent.objects.filter(command_id__in=said_again, step__in=_AGAIN)
    counts = Counter(dict(events.values_list("command_id").annotate(Count("pk"))))
    kept = []
    for one in steps:
        if one.step in _AGAIN:
            counts[one.command_id] += 1
            if counts[one.command_id] > MOST_AGAIN:
                continue
        kept.append(one)
    return kept


def _commands_of(
    rows: list[InboxRow],
) -> tuple[dict[int, Command], dict[tuple[int, str], int], dict[int, list[int]]]:
    """The commands that the rows may speak of by key, held; the keys by device and id in hex; and
    the keys of those that have last set something of a device that has reported.
    """
    uids = {UUID(hex=str(row.body["command"])) for row in rows if row.kind == _RESULT}
    answered = Command.objects.filter(uid__in=uids).values_list("pk", flat=True)
    reporting = {row.device_id for row in rows if row.kind == reconciliation.REPORTED}
    # Of each kind the last one alone: an earlier one's settings may be another's since.
    last = command_store.last_of_kinds(
        connection, sorted(reporting), SETTING_KINDS, list(State), least_attempts=1
    )
    commands = {command.pk: command for command in held({*answered, *last})}
    by_uid = {(one.device_id, one.uid.hex): one.pk for one in commands.values()}
    setting: dict[int, list[int]] = defaultdict(list)
    for pk in last:
        setting[commands[pk].device_id].append(pk)
    return commands, by_uid, setting


@transaction.atomic
def give_up(*, now: datetime, since: datetime | None = None) -> int:
    """End the commands whose time is over; how many there were. With `since`, without those of
    devices that are revoked.
    """
    if not command_store.lead(connection):
        return 0
    ids = command_store.over(
        connection, now=now, answered_by=now - GRACE, most=MOST_OVER, gone=since is None
    )
    commands = held(ids, skip_locked=True)
    revoked = set(
        Device.objects.filter(
            pk__in={one.device_id for one in commands}, state=DeviceState.REVOKED
        ).values_list("pk", flat=True)
    )
    steps = []
    for command in commands:
        situation = situation_of(command)
        change = (
            machine.gone(situation)
            if command.device_id in revoked
            else machine.due(situation, now=now, connection=None, draw=0.0)
        )
        if change is not None:
            steps.append(moved(command, change))
    command_store.keep(connection, steps, now=now)
    return len(steps)


@transaction.atomic
def send_due(
    *,
    now: datetime,
    since: datetime | None = None,
    draw: Callable[[], float] = random.random,
) -> int:
    """Send what is due to devices that are connected; how many commands there were. With `since`,
    to those alone of which something has moved since then.

    They go out when the transaction has ended: what is lost on the way is sent again.
    """
    if not command_store.lead(connection):
        return 0
    wanted = command_store.due(
        connection, now=now, most_attempts=MAX_ATTEMPTS, most=MOST_SENT, since=since
    )
    steps, messages = [], []
    for command in held(wanted, skip_locked=True):
        situation = situation_of(command)
        change = machine.due(situation, now=now, connection=wanted[command.pk], draw=draw())
        if change is None or not change.send:
            if change is not None:
                steps.append(moved(command, change))
            continue
        steps.append(moved(command, change))
        messages.append((command.device_id, _message(command)))
    command_store.keep(connection, steps, now=now)
    send(messages)
    return len(steps)


def _message(command: Command) -> bytes:
    return encode_message(
        CommandMessage(
            command.uid.bytes,
            command.kind,
            command.arguments,
            int(command.expires_at.timestamp() * 1000),
        )
    )
