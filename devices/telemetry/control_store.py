"""What is wanted of devices, changed for many of them in few statements.

Every function takes an open Django connection and changes what the wall lets it see. Rows are
locked in the order of their devices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

Entries = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """A change of what is wanted: values by key, None where nothing is wanted any more.

    `origin` and `reason` as the command has them that says so.
    """

    changes: Entries
    origin: str
    reason: str
    actor_id: int | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Stand:
    """The columns of a configuration that reconciliation moves."""

    device_id: int
    attempts: int
    tried_at: datetime | None
    next_at: datetime | None
    settled_at: datetime | None
    drift: str
    detail: str


_OPEN: Final = """INSERT INTO devices_deviceconfiguration
  (device_id, tenant_id, desired, version, attempts, drift, drift_detail)
SELECT id, tenant_id, '{}', 0, 0, '', '' FROM devices_device WHERE id = ANY(%s) ORDER BY id
ON CONFLICT (device_id) DO NOTHING"""

_MOVE: Final = sql.SQL(
    """, moved AS (
  UPDATE devices_deviceconfiguration c SET
    desired = jsonb_strip_nulls(n.former || n.changes), version = c.version + 1,
    desired_at = %(now)s, desired_by_id = %(actor)s
  FROM news n WHERE c.device_id = n.device_id
    AND jsonb_strip_nulls(n.former || n.changes) <> n.former
  RETURNING c.device_id, c.tenant_id, c.version, n.former, n.changes)
INSERT INTO devices_configurationchange (tenant_id, device_id, version, changed_at, changed_by_id,
  origin, reason, before, after)
SELECT tenant_id, device_id, version, %(now)s, %(actor)s, %(origin)s, %(reason)s,
  (SELECT jsonb_object_agg(k, former -> k) FROM jsonb_object_keys(changes) k), changes
FROM moved RETURNING device_id"""
)

_WANT: Final = (
    sql.SQL(
        """WITH news AS MATERIALIZED (
  SELECT device_id, desired AS former, %(changes)s::jsonb AS changes
  FROM devices_deviceconfiguration WHERE device_id = ANY(%(devices)s)
  ORDER BY device_id FOR UPDATE)"""
    )
    + _MOVE
)

# The last change alone is taken back, and only where it is the one that is meant.
_TAKE_BACK: Final = (
    sql.SQL(
        """WITH news AS MATERIALIZED (
  SELECT c.device_id, c.desired AS former, h.before AS changes
  FROM devices_deviceconfiguration c
  JOIN devices_configurationchange h ON h.device_id = c.device_id AND h.version = c.version
  WHERE c.device_id = ANY(%(devices)s) AND h.after = %(changes)s::jsonb
  ORDER BY c.device_id FOR UPDATE OF c)"""
    )
    + _MOVE
)

_STAND: Final = """UPDATE devices_deviceconfiguration c SET
  attempts = n.attempts, tried_at = n.tried_at, next_at = n.next_at, settled_at = n.settled_at,
  drift = n.drift, drift_detail = n.detail
FROM unnest(%s::bigint[], %s::smallint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
  %s::text[], %s::text[])
  AS n (device_id, attempts, tried_at, next_at, settled_at, drift, detail)
WHERE c.device_id = n.device_id"""

_REPORT: Final = """UPDATE devices_deviceconfiguration c
SET reported = n.reported, reported_at = n.reported_at
FROM unnest(%s::bigint[], %s::jsonb[], %s::timestamptz[]) AS n (device_id, reported, reported_at)
WHERE c.device_id = n.device_id"""

_AGAIN: Final = """UPDATE devices_deviceconfiguration SET
  attempts = %(attempts)s, tried_at = coalesce(%(tried_at)s, tried_at), settled_at = NULL,
  drift = '', drift_detail = '',
  next_at = CASE WHEN reported IS NOT NULL THEN %(next_at)s END
WHERE device_id = ANY(%(devices)s)"""


_LATE: Final = """SELECT c.device_id, c.next_at FROM devices_deviceconfiguration c
JOIN device_link l ON l.device_id = c.device_id AND l.connected
JOIN devices_device d ON d.id = c.device_id AND d.state = 'active'
WHERE c.next_at <= %(now)s AND c.reported IS NOT NULL"""
_LONGEST_FIRST: Final = " ORDER BY next_at, device_id LIMIT %(most)s"
_ALL_LATE: Final = _LATE + _LONGEST_FIRST
# One index each: an OR of the two would read all that waits for devices that are away.
_CONNECTED_SINCE: Final = (
    " AND c.device_id = ANY(ARRAY("
    "SELECT device_id FROM device_link WHERE connected AND changed_at >= %(since)s))"
)
_NEWLY_LATE: Final = (
    _LATE + " AND c.next_at > %(since)s UNION " + _LATE + _CONNECTED_SINCE + _LONGEST_FIRST
)


def due(
    connection: BaseDatabaseWrapper, *, now: datetime, since: datetime | None, most: int
) -> list[int]:
    """The active and connected devices that report and whose difference is due, the longest due
    first; with `since`, where it has become due, or the device has connected, since then.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _ALL_LATE if since is None else _NEWLY_LATE, {"now": now, "since": since, "most": most}
        )
        return [row[0] for row in cursor.fetchall()]


def open_rows(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> None:
    """Make the configurations of devices that have none."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [list(device_ids)])


def want(connection: BaseDatabaseWrapper, device_ids: Sequence[int], wish: Wish) -> list[int]:
    """Want something else of devices that have a configuration; those where it is a change."""
    return _moved(connection, _WANT, device_ids, wish)


def take_back(connection: BaseDatabaseWrapper, device_ids: Sequence[int], wish: Wish) -> list[int]:
    """Want again what was wanted before `wish.changes`, of devices where that is the last change;
    which those were.
    """
    return _moved(connection, _TAKE_BACK, device_ids, wish)


def _moved(
    connection: BaseDatabaseWrapper, statement: sql.Composed, device_ids: Sequence[int], wish: Wish
) -> list[int]:
    parameters: dict[str, Any] = {
        "devices": list(device_ids),
        "changes": json.dumps(dict(wish.changes)),
        "now": wish.now,
        "actor": wish.actor_id,
        "origin": wish.origin,
        "reason": wish.reason,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [row[0] for row in cursor.fetchall()]


def begin_anew(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    *,
    attempts: int,
    tried_at: datetime | None,
    next_at: datetime | None,
) -> None:
    """Forget what was tried; who reports its settings is looked at at `next_at`."""
    parameters: dict[str, Any] = {
        "devices": list(device_ids),
        "attempts": attempts,
        "tried_at": tried_at,
        "next_at": next_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN, parameters)


def keep_reports(
    connection: BaseDatabaseWrapper, reports: Sequence[tuple[int, Entries, datetime]]
) -> None:
    """Keep what devices report: the device, its settings, and when it said so."""
    with connection.cursor() as cursor:
        cursor.execute(
            _REPORT,
            [
                [device_id for device_id, _entries, _at in reports],
                [json.dumps(dict(entries)) for _device_id, entries, _at in reports],
                [at for _device_id, _entries, at in reports],
            ],
        )


def keep_stands(connection: BaseDatabaseWrapper, stands: Sequence[Stand]) -> None:
    """Keep where the reconciliation of devices stands."""
    with connection.cursor() as cursor:
        cursor.execute(
            _STAND,
            [
                [one.device_id for one in stands],
                [one.attempts for one in stands],
                [one.tried_at for one in stands],
                [one.next_at for one in stands],
                [one.settled_at for one in stands],
                [one.drift for one in stands],
                [one.detail for one in stands],
            ],
        )
