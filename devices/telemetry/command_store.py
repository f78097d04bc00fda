"""The ledger of commands in bulk: made, moved and told of in one statement each.

Every function takes an open Django connection in a scope and sees what the wall lets it see.
Instants are UTC; steps and causes are the codes of `devices.commands.states`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

# Of the advisory locks: who sends.
_LOCK: Final = 0xC0DE


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides whether a device can be commanded; `capabilities` None: it has never said."""

    device_id: int
    tenant_id: int
    facility_id: int
    state: str
    capabilities: int | None


@dataclass(frozen=True, slots=True)
class NewCommands:
    """What the commands to some devices have in common."""

    tenant_id: int
    batch_id: int | None
    kind: str
    arguments: Mapping[str, Any]
    subjects: tuple[str, ...]
    reason: str
    origin: str
    asked_by: int | None
    now: datetime
    queued_at: datetime | None
    lifetime_s: int
    expires_at: datetime
    state: str
    detail: str = ""
    request_key: str = ""


@dataclass(frozen=True, slots=True)
class Moved:
    """A command in its new situation, and the step that led there."""

    command_id: int
    tenant_id: int
    device_id: int
    state: str
    cause: str
    detail: str
    attempts: int
    next_at: datetime | None
    connection: int
    answered_at: datetime | None
    queued_at: datetime | None
    expires_at: datetime
    step: str
    step_cause: str
    step_detail: str
    by: int | None


def facts(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> list[Facts]:
    """The devices of the scope among the ids, by id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT d.id, d.tenant_id, d.facility_id, d.state, l.capabilities"
            " FROM devices_device d LEFT JOIN device_link l ON l.device_id = d.id"
            " WHERE d.id = ANY(%s) ORDER BY d.id",
            [list(device_ids)],
        )
        return [Facts(*row) for row in cursor.fetchall()]


def supersede(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    subjects: Sequence[str],
    *,
    now: datetime,
    before: int | None = None,
) -> int:
    """End commands that were never sent and set nothing but `subjects`; their number.

    `before`: those with a smaller id alone.
    """
    if not subjects:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH older AS MATERIALIZED ("
            " SELECT id FROM devices_command WHERE device_id = ANY(%s)"
            " AND state IN ('awaiting_approval', 'queued') AND subjects <> '{}'"
            " AND subjects::text[] <@ %s::text[] AND (%s::bigint IS NULL OR id < %s)"
            " ORDER BY id FOR UPDATE), ended AS ("
            " UPDATE devices_command c SET state = 'cancelled', state_at = %s,"
            " cause = 'superseded', next_at = NULL FROM older o WHERE c.id = o.id"
            " AND c.state IN ('awaiting_approval', 'queued')"
            " RETURNING c.id, c.tenant_id, c.device_id, c.attempts)"
            " INSERT INTO devices_commandevent (command_id, tenant_id, device_id, at, step, state,"
            " cause, attempt, detail, connection)"
            " SELECT id, tenant_id, device_id, %s, 'cancelled', 'cancelled', 'superseded',"
            " attempts, '', 0 FROM ended",
            [list(device_ids), list(subjects), before, before, now, now],
        )
        return int(cursor.rowcount)


def make(connection: BaseDatabaseWrapper, new: NewCommands, device_ids: Sequence[int]) -> list[int]:
    """Add a command for each device with the first step of its history; their ids, ascending."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH made AS ("
            " INSERT INTO devices_command (uid, device_id, tenant_id, batch_id, kind, arguments,"
            " subjects, reason, origin, asked_by_id, asked_at, queued_at, lifetime_s, expires_at,"
            " state, state_at, request_key, cause, detail, attempts, connection)"
            " SELECT gen_random_uuid(), device_id, %s, %s, %s, %s::jsonb, %s::varchar[], %s, %s,"
            " %s, %s, %s, %s, %s, %s, %s, %s, '', '', 0, 0"
            " FROM unnest(%s::bigint[]) WITH ORDINALITY AS new (device_id, position)"
            " ORDER BY position RETURNING id, device_id),"
            " told AS ("
            " INSERT INTO devices_commandevent (command_id, tenant_id, device_id, at, step, state,"
            " cause, attempt, detail, by_id, connection)"
            " SELECT id, %s, device_id, %s, 'asked', %s, '', 0, %s, %s, 0 FROM made)"
            " SELECT id FROM made ORDER BY id",
            [
                *(new.tenant_id, new.batch_id, new.kind, json.dumps(dict(new.arguments))),
                *(list(new.subjects), new.reason, new.origin, new.asked_by, new.now),
                *(new.queued_at, new.lifetime_s, new.expires_at, new.state, new.now),
                new.request_key,
                list(device_ids),
                *(new.tenant_id, new.now, new.state, new.detail, new.asked_by),
            ],
        )
        return [row[0] for row in cursor.fetchall()]


def keep(
    connection: BaseDatabaseWrapper,
    moved: Sequence[Moved],
    *,
    now: datetime,
    told: Sequence[Moved] | None = None,
) -> None:
    """Put commands into their new situations and add the steps, or those `told` of them, to their
    histories.

    Of several steps of one command the last one's situation stays. The caller holds the rows.
    """
    if not moved:
        return
    last = list({one.command_id: one for one in moved}.values())
    steps = moved if told is None else told
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE devices_command c SET state = n.state, cause = n.cause, detail = n.detail,"
            " state_at = CASE WHEN c.state = n.state THEN c.state_at ELSE %s END,"
            " attempts = n.attempts, next_at = n.next_at, connection = n.connection,"
            " answered_at = n.answered_at, queued_at = n.queued_at, expires_at = n.expires_at,"
            " approved_by_id = CASE WHEN n.step = 'approved' THEN n.by ELSE c.approved_by_id END"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[],"
            " %s::timestamptz[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],"
            " %s::timestamptz[], %s::text[], %s::bigint[])"
            " AS n (id, state, cause, detail, attempts, next_at, connection, answered_at,"
            " queued_at, expires_at, step, by)"
            " WHERE c.id = n.id",
            [
                now,
                [one.command_id for one in last],
                [one.state for one in last],
                [one.cause for one in last],
                [one.detail for one in last],
                [one.attempts for one in last],
                [one.next_at for one in last],
                [one.connection for one in last],
                [one.answered_at for one in last],
                [one.queued_at for one in last],
                [one.expires_at for one in last],
                [one.step for one in last],
                [one.by for one in last],
            ],
        )
        cursor.execute(
            "INSERT INTO devices_commandevent (command_id, tenant_id, device_id, at, step, state,"
            " cause, attempt, detail, by_id, connection)"
            " SELECT command_id, tenant_id, device_id, %s, step, state, cause, attempt, detail,"
            " by, connection"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[],"
            " %s::text[], %s::int[], %s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY"
            " AS n (command_id, tenant_id, device_id, step, state, cause, attempt, detail, by,"
            " connection, position) ORDER BY position",
            [
                now,
                [one.command_id for one in steps],
                [one.tenant_id for one in steps],
                [one.device_id for one in steps],
                [one.step for one in steps],
                [one.state for one in steps],
                [one.step_cause for one in steps],
                [one.attempts for one in steps],
                [one.step_detail for one in steps],
                [one.by for one in steps],
                [one.connection for one in steps],
            ],
        )


def lead(connection: BaseDatabaseWrapper) -> bool:
    """Whether this transaction is the one that sends; the others leave it to it until it ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        row = cursor.fetchone()
    return row is not None and bool(row[0])


# The devices of which something has moved: a command of theirs, its wait, or their connection. An
# array is found once: of a joined query the planner expects one row behind the policies, and may
# read all open commands anew for each device.
_STIRRED: Final = """ AND c.device_id = ANY(ARRAY(
 SELECT device_id FROM devices_command WHERE state_at >= %(since)s
 UNION SELECT device_id FROM devices_command
 WHERE state = 'sent' AND next_at > %(since)s AND next_at <= %(now)s
 UNION SELECT device_id FROM device_link WHERE connected AND changed_at >= %(since)s))"""
_DUE: Final = """WITH heads AS MATERIALIZED (
 SELECT DISTINCT ON (c.device_id) c.id, c.state, c.queued_at, c.expires_at, c.attempts,
  c.connection, c.next_at, l.connection AS current
 FROM devices_command c JOIN device_link l ON l.device_id = c.device_id AND l.connected
 WHERE c.state IN ('queued', 'sent'){stirred}
 ORDER BY c.device_id, (c.state = 'queued'), c.queued_at, c.id)
SELECT id, current FROM heads
WHERE expires_at > %(now)s AND (state = 'queued' OR next_at <= %(now)s
 OR (connection <> current AND attempts < %(most_attempts)s))
ORDER BY queued_at, id LIMIT %(most)s"""


def due(
    connection: BaseDatabaseWrapper,
    *,
    now: datetime,
    most_attempts: int,
    most: int,
    since: datetime | None = None,
) -> dict[int, int]:
    """The commands that are to be sent now, oldest first: id → the device's connection.

    Of each connected device it is the unanswered one, when it waited long enough, or was sent over
    an earlier connection (and less than `most_attempts` times), else the one that is first in the
    queue. With `since`, of the devices alone of which something has moved since then, which costs
    nothing for all that waits for devices that are away.
    """
    stirred = "" if since is None else _STIRRED
    with connection.cursor() as cursor:
        cursor.execute(
            _DUE.format(stirred=stirred),
            {"now": now, "since": since, "most_attempts": most_attempts, "most": most},
        )
        return {row[0]: row[1] for row in cursor.fetchall()}


_OVER: Final = (
    # One partial index each: an OR of them all would read the whole history every second.
    "SELECT id FROM devices_command"
    " WHERE state IN ('awaiting_approval', 'queued', 'sent') AND expires_at <= %s"
    " AND (state <> 'sent' OR expires_at <= %s)"
    " UNION SELECT id FROM devices_command WHERE state = 'acknowledged' AND next_at <= %s"
)
_GONE: Final = (
    " UNION SELECT c.id FROM devices_command c JOIN devices_device d ON d.id = c.device_id"
    " WHERE c.state IN ('queued', 'sent') AND d.state = 'revoked'"
)


def over(
    connection: BaseDatabaseWrapper,
    *,
    now: datetime,
    answered_by: datetime,
    most: int,
    gone: bool = True,
) -> list[int]:
    """The commands whose time is over: those that nobody sent or approved, those without an answer
    since `answered_by`, those without their last word, and (`gone`: it reads all devices) those to
    devices that are revoked.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_OVER}{_GONE if gone else ''} ORDER BY id LIMIT %s",
            [now, answered_by, now, most],
        )
        return [row[0] for row in cursor.fetchall()]


def newest(
    connection: BaseDatabaseWrapper,
    tenant_ids: Sequence[int],
    states: Sequence[str],
    *,
    before: int | None,
    most: int,
) -> list[int]:
    """The newest commands of tenants in one of the states, as ids; `before`: older than this one.

    Each state of each tenant is walked along its index, so that a rare one is found at once.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id FROM unnest(%(tenants)s::bigint[]) AS t (id)"
            " CROSS JOIN unnest(%(states)s::text[]) AS s (code)"
            " CROSS JOIN LATERAL (SELECT id FROM devices_command"
            "  WHERE tenant_id = t.id AND state = s.code"
            "  AND (%(before)s::bigint IS NULL OR id < %(before)s)"
            "  ORDER BY id DESC NULLS LAST LIMIT %(most)s) c"
            " ORDER BY c.id DESC LIMIT %(most)s",
            {
                "tenants": list(tenant_ids),
                "states": list(states),
                "before": before,
                "most": most,
            },
        )
        return [row[0] for row in cursor.fetchall()]


def last_of_kinds(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    kinds: Sequence[str],
    states: Sequence[str],
    *,
    least_attempts: int = 0,
) -> list[int]:
    """The last command of each kind to each of the devices that is in one of the states, and was
    sent so many times at least, as ids.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id FROM unnest(%s::bigint[]) AS d (id)"
            " CROSS JOIN unnest(%s::text[]) AS k (kind)"
            " CROSS JOIN LATERAL (SELECT id FROM devices_command WHERE device_id = d.id"
            "  AND kind = k.kind AND state = ANY(%s) AND attempts >= %s"
            " ORDER BY id DESC LIMIT 1) c",
            [list(device_ids), list(kinds), list(states), least_attempts],
        )
        return [row[0] for row in cursor.fetchall()]


def counts(
    connection: BaseDatabaseWrapper, batch_ids: Sequence[int]
) -> dict[int, dict[tuple[str, str], int]]:
    """How many commands of batches are in which state for which cause."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT batch_id, state, cause, count(*) FROM devices_command"
            " WHERE batch_id = ANY(%s) GROUP BY batch_id, state, cause",
            [list(batch_ids)],
        )
        found: dict[int, dict[tuple[str, str], int]] = {}
        for batch_id, state, cause, count in cursor.fetchall():
            found.setdefault(batch_id, {})[state, cause] = count
        return found


def two_persons(connection: BaseDatabaseWrapper, tenant_id: int) -> tuple[bool, bool]:
    """Whether the tenant, and whether one above it, wants a second person for every switching off.

    One query. A tenant outside of the scope is refused by the database (42501).
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT own, above FROM door_two_persons(%s)", [tenant_id])
        row = cursor.fetchone()
    assert row is not None, "it aggregates"
    return row[0], row[1]
