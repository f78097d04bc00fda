"""What has to be rolled up again, and the announcement that the past of a device has changed.

Whoever changes what lies below roll-ups (a correction, an import, a formula) asks for a period to
be computed again, in the transaction of the change. The roller takes what was asked for under the
device's lock, and announces what it has computed: bills restate by it.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Announcements get their numbers in the order in which they become visible, so that who has read
# up to one number has missed none: one transaction at a time, from its announcement to its end.
_ANNOUNCING: Final = 0x77_6C_63_68

# Imported devices have never reported: the roller has not met them yet.
_JOIN: Final = """
INSERT INTO rollup_progress (device_id, tenant_id)
SELECT id, tenant_id FROM devices_device WHERE id = ANY(%s) ORDER BY id ON CONFLICT DO NOTHING
"""
_ASK: Final = """
INSERT INTO rollup_redo (tenant_id, device_id, starts_at, ends_at, cause, cause_id)
SELECT d.tenant_id, d.id, asked.starts_at, asked.ends_at, %s, %s
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
  AS asked(device_id, starts_at, ends_at)
JOIN devices_device d ON d.id = asked.device_id
ORDER BY d.id, asked.starts_at
"""
_CLAIM: Final = """
SELECT p.device_id, p.tenant_id FROM rollup_progress p
WHERE p.device_id > %s AND EXISTS (SELECT FROM rollup_redo r WHERE r.device_id = p.device_id)
ORDER BY p.device_id LIMIT %s FOR UPDATE OF p SKIP LOCKED
"""
# After the lock, in a statement of its own: what another one had finished before is gone then.
_ASKED: Final = """
SELECT id, device_id, starts_at, ends_at, cause, cause_id FROM rollup_redo
WHERE device_id = ANY(%s) ORDER BY device_id, starts_at, id
"""
_DONE: Final = """
WITH done AS (
  SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS done(id, until)
), finished AS (
  DELETE FROM rollup_redo r USING done WHERE r.id = done.id AND r.ends_at <= done.until
)
UPDATE rollup_redo r SET starts_at = done.until FROM done
WHERE r.id = done.id AND r.ends_at > done.until AND r.starts_at < done.until
"""
_ANNOUNCE: Final = """
INSERT INTO history_change (tenant_id, facility_id, device_id, starts_at, ends_at, cause, cause_id)
SELECT d.tenant_id, d.facility_id, d.id, changed.starts_at, changed.ends_at, changed.cause,
  changed.cause_id
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[], %s::bigint[])
  AS changed(device_id, starts_at, ends_at, cause, cause_id)
JOIN devices_device d ON d.id = changed.device_id
ORDER BY d.id, changed.starts_at
"""
_CHANGES: Final = """
SELECT id, tenant_id, facility_id, device_id, starts_at, ends_at, known_at, cause, cause_id
FROM history_change WHERE id > %s ORDER BY id LIMIT %s
"""


class Cause(StrEnum):
    """Why the past of a device has changed.

    `late`: readings arrived for a time that was over; `correction`, `import`: somebody corrected or
    brought readings; `derived`: a formula, or what it is computed from, changed; `registry`: the
    device is counted otherwise.
    """

    LATE = "late"
    CORRECTION = "correction"
    IMPORT = "import"
    DERIVED = "derived"
    REGISTRY = "registry"


class Redo(NamedTuple):
    """A period [start, end) of a device, ms since the Unix epoch, in which readings changed."""

    device_id: int
    start_ms: int
    end_ms: int


class Asked(NamedTuple):
    """What was asked for and is not done yet."""

    id: int
    device_id: int
    start_ms: int
    end_ms: int
    cause: Cause
    cause_id: int | None


class Changed(NamedTuple):
    """A period [start, end) of a device, ms since the Unix epoch, that was computed again."""

    device_id: int
    start_ms: int
    end_ms: int
    cause: Cause
    cause_id: int | None = None


class Change(NamedTuple):
    """An announced change; `cause_id` is the number of the correction, import or formula."""

    id: int
    tenant_id: int
    facility_id: int
    device_id: int
    starts_at: datetime
    ends_at: datetime
    known_at: datetime
    cause: Cause
    cause_id: int | None


def ask_again(
    connection: BaseDatabaseWrapper,
    periods: Sequence[Redo],
    *,
    cause: Cause,
    cause_id: int | None = None,
) -> None:
    """Let the roll-ups that readings of some periods matter to be computed again."""
    if not periods:
        return
    devices = [one.device_id for one in periods]
    starts = [_moment(one.start_ms) for one in periods]
    ends = [_moment(one.end_ms) for one in periods]
    with connection.cursor() as cursor:
        cursor.execute(_JOIN, [devices])
        cursor.execute(_ASK, [cause, cause_id, devices, starts, ends])


def claim(connection: BaseDatabaseWrapper, *, after: int, limit: int) -> dict[int, int]:
    """Lock up to `limit` devices of which anything was asked for, with ids above `after`; the
    tenant of each.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [after, limit])
        return dict(cursor.fetchall())


def asked_of(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> list[Asked]:
    """What was asked for of claimed devices, by device and start."""
    with connection.cursor() as cursor:
        cursor.execute(_ASKED, [list(device_ids)])
        return [
            Asked(number, device_id, _ms(start), _ms(end), Cause(cause), cause_id)
            for number, device_id, start, end, cause, cause_id in cursor.fetchall()
        ]


def finish(connection: BaseDatabaseWrapper, done: Sequence[tuple[int, int]]) -> None:
    """Note until when (ms since the Unix epoch) each of some requests is done; what is done to its
    end is gone.
    """
    if done:
        ids, until = [number for number, _ in done], [_moment(at) for _, at in done]
        with connection.cursor() as cursor:
            cursor.execute(_DONE, [ids, until])


def announce(connection: BaseDatabaseWrapper, changes: Sequence[Changed]) -> None:
    """Tell what has changed. The last thing in a transaction: others that announce wait for it."""
    if not changes:
        return
    columns: list[list[Any]] = [
        [one.device_id for one in changes],
        [_moment(one.start_ms) for one in changes],
        [_moment(one.end_ms) for one in changes],
        [one.cause for one in changes],
        [one.cause_id for one in changes],
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ANNOUNCING])
        cursor.execute(_ANNOUNCE, columns)


def changes_after(connection: BaseDatabaseWrapper, number: int, *, limit: int) -> list[Change]:
    """The announcements with numbers above `number`, in order."""
    with connection.cursor() as cursor:
        cursor.execute(_CHANGES, [number, limit])
        return [Change(*row)._replace(cause=Cause(row[7])) for row in cursor.fetchall()]


def last_change(connection: BaseDatabaseWrapper) -> int:
    """The number of the last announcement that is visible; 0 before the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM history_change")
        row: Any = cursor.fetchone()
        return int(row[0])


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
