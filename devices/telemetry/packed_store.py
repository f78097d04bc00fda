"""Packing in the database: rows of quarters of an hour become a row a device and day, and go.

Who packs holds the device's row of `rollup_progress`, as who rolls up does: nobody else writes
roll-ups of the device meanwhile. What is taken is deleted by the very statement that reads it.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from devices.telemetry.prepared import binary_cursor
from devices.telemetry.quarter_reads import FLOATS, of_rows, overlaid, rows_of
from devices.telemetry.rollup import Quarters, no_quarters
from devices.telemetry.rollup_codec import Body, decode
from devices.telemetry.segment_store import milliseconds, moment

_CLAIM: Final = """
SELECT p.device_id, p.tenant_id, f.time_zone, p.days_until
FROM rollup_progress p
JOIN devices_device d ON d.id = p.device_id JOIN devices_facility f ON f.id = d.facility_id
CROSS JOIN LATERAL (
  SELECT FROM rollup_15m r WHERE r.device_id = p.device_id AND r.starts_at < %s LIMIT 1
) old
WHERE p.device_id > %s
ORDER BY p.device_id LIMIT %s FOR UPDATE OF p SKIP LOCKED
"""
_CLAIM_MOVED: Final = """
SELECT p.device_id, p.tenant_id, f.time_zone, p.days_until
FROM rollup_progress p
JOIN devices_device d ON d.id = p.device_id JOIN devices_facility f ON f.id = d.facility_id
WHERE p.device_id > %s AND p.calendar <> f.time_zone
ORDER BY p.device_id LIMIT 1 FOR UPDATE OF p SKIP LOCKED
"""
_OPEN: Final = """
SELECT DISTINCT device_id, date_trunc('day', starts_at, 'UTC') FROM rollup_15m
WHERE device_id = ANY(%s) AND starts_at < %s ORDER BY 1, 2 LIMIT %s
"""
_TAKE: Final = sql.SQL("""
WITH day AS MATERIALIZED (
  SELECT * FROM unnest(%(devices)s::bigint[], %(days)s::timestamptz[]) AS day(device_id, starts_at)
), taken AS (
  DELETE FROM rollup_15m r USING day
  WHERE r.device_id = day.device_id AND r.starts_at >= day.starts_at
    AND r.starts_at < day.starts_at + interval '1 day'
    AND r.starts_at >= %(first)s AND r.starts_at < %(before)s
  RETURNING r.*
) SELECT {rows} FROM taken
""").format(rows=rows_of(FLOATS))
_BODIES: Final = """
SELECT p.device_id, p.starts_at, p.body
FROM unnest(%s::bigint[], %s::timestamptz[]) AS day(device_id, starts_at)
JOIN rollup_packed p USING (device_id, starts_at)
WHERE p.starts_at >= %s AND p.starts_at <= %s
"""
_KEEP: Final = """
INSERT INTO rollup_packed AS kept (starts_at, tenant_id, device_id, body)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::bytea[])
ON CONFLICT (device_id, starts_at) DO UPDATE SET body = excluded.body
"""
_REMOVE: Final = """
DELETE FROM rollup_packed p
USING unnest(%s::bigint[], %s::timestamptz[]) AS gone(device_id, starts_at)
WHERE p.device_id = gone.device_id AND p.starts_at = gone.starts_at
  AND p.starts_at >= %s AND p.starts_at <= %s
"""
_FIRST: Final = "SELECT min(starts_at) FROM rollup_packed WHERE device_id = %s"
_PROGRESS: Final = """
UPDATE rollup_progress p SET calendar = coalesce(p.calendar, done.calendar), days_until = %s
FROM unnest(%s::bigint[], %s::text[]) AS done(device_id, calendar)
WHERE p.device_id = done.device_id
"""
_CALENDAR: Final = "UPDATE rollup_progress SET calendar = %s, days_until = %s WHERE device_id = %s"


class Claim(NamedTuple):
    """A device that has something to pack. `zone` is its facility's; its local days are kept as far
    as they were over at `days_until`.
    """

    device_id: int
    tenant_id: int
    zone: str
    days_until: datetime | None


class PackedDay(NamedTuple):
    """A day (UTC) of a device as it is stored; `body` is None when nothing is left of it."""

    device_id: int
    tenant_id: int
    start_ms: int
    body: bytes | None


def claim(
    connection: BaseDatabaseWrapper, *, before: datetime, after: int, limit: int
) -> list[Claim]:
    """Lock up to `limit` devices with rows of quarters that began before an instant, from the first
    id above `after` on.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [before, after, limit])
        return list(map(Claim._make, cursor.fetchall()))


def claim_moved(connection: BaseDatabaseWrapper, *, after: int) -> Claim | None:
    """Lock the first device above `after` whose days were kept for another calendar than that of
    its facility.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_MOVED, [after])
        row = cursor.fetchone()
        return None if row is None else Claim._make(row)


def open_days(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], *, before: datetime, limit: int
) -> list[tuple[int, int]]:
    """The (device, midnight in ms) of up to `limit` days with rows that began before an instant."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, [list(device_ids), before, limit])
        return [(device_id, milliseconds(day)) for device_id, day in cursor.fetchall()]


def take(
    connection: BaseDatabaseWrapper, days: Sequence[tuple[int, int]], *, before: datetime
) -> tuple[Quarters, Quarters]:
    """Take away the rows of some days (device, midnight in ms) that began before an instant.

    Returns them, and what these days have now that they lie over what was packed before; both by
    series and start.
    """
    devices, starts = [one for one, _ in days], [moment(at) for _, at in days]
    first, last = min(starts), max(starts)
    with binary_cursor(connection, plans_anew=True) as cursor:
        cursor.execute(
            _TAKE, {"devices": devices, "days": starts, "first": first, "before": before}
        )
        taken = of_rows(cursor.fetchone())
        cursor.execute(_BODIES, [devices, starts, first, last])
        bodies = [Body(one, milliseconds(at), body) for one, at, body in cursor.fetchall()]
    return taken, overlaid(decode(bodies) if bodies else no_quarters(), taken)


def keep(connection: BaseDatabaseWrapper, days: Sequence[PackedDay]) -> None:
    """Write packed days over those of the same device and day; what is empty goes."""
    kept = [one for one in days if one.body is not None]
    gone = [one for one in days if one.body is None]
    columns: list[list[Any]] = [
        [moment(one.start_ms) for one in kept],
        [one.tenant_id for one in kept],
        [one.device_id for one in kept],
        [one.body for one in kept],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, columns)
        if gone:
            starts = [moment(one.start_ms) for one in gone]
            devices = [one.device_id for one in gone]
            cursor.execute(_REMOVE, [devices, starts, min(starts), max(starts)])


def packed_since(connection: BaseDatabaseWrapper, device_id: int) -> datetime | None:
    """The first day (UTC) of a device that is packed."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, [device_id])
        row: tuple[datetime | None] = cursor.fetchone()
        return row[0]


def advance(
    connection: BaseDatabaseWrapper, claims: Sequence[Claim], *, days_until: datetime
) -> None:
    """Note of claimed devices until when their local days are kept; and in which calendar, where
    none was noted before.
    """
    devices, zones = [one.device_id for one in claims], [one.zone for one in claims]
    with connection.cursor() as cursor:
        cursor.execute(_PROGRESS, [days_until, devices, zones])


def set_calendar(connection: BaseDatabaseWrapper, claim_: Claim, *, days_until: datetime) -> None:
    """Note that all days of a device are kept in the calendar of its facility."""
    with connection.cursor() as cursor:
        cursor.execute(_CALENDAR, [claim_.zone, days_until, claim_.device_id])


def drop_empty_chunks(connection: BaseDatabaseWrapper, *, before: datetime) -> int:
    """Drop the chunks of rows that ended before an instant and are empty; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_drop_packed_chunks(%s)", [before])
        return int(cursor.fetchone()[0])
