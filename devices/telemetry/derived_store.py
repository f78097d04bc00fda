"""What has to be computed again of derived channels.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.types.json import Jsonb

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_ASK: Final = """
INSERT INTO formula_due (tenant_id, device_id, channel_id, starts_at, ends_at)
SELECT c.tenant_id, c.device_id, c.id, asked.starts_at, asked.ends_at
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
  AS asked(channel_id, starts_at, ends_at)
JOIN devices_channel c ON c.id = asked.channel_id
ORDER BY c.id, asked.starts_at
"""
# The channel's row is the lock: whoever computes its roll-ups reads after having taken it, so that
# none is overwritten by what was read before.
_CLAIM: Final = """
SELECT c.id FROM devices_channel c
WHERE c.id > %s AND EXISTS (SELECT FROM formula_due d WHERE d.channel_id = c.id)
ORDER BY c.id LIMIT %s FOR NO KEY UPDATE OF c SKIP LOCKED
"""
_DUE: Final = """
SELECT id, channel_id, starts_at, ends_at FROM formula_due
WHERE channel_id = ANY(%s) ORDER BY channel_id, starts_at, id
"""
_DONE: Final = """
WITH done AS (
  SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS done(id, until)
), finished AS (
  DELETE FROM formula_due r USING done WHERE r.id = done.id AND r.ends_at <= done.until
)
UPDATE formula_due r SET starts_at = done.until FROM done
WHERE r.id = done.id AND r.ends_at > done.until AND r.starts_at < done.until
"""
_LEFT: Final = """
SELECT channel_id, min(starts_at), max(ends_at) FROM formula_due
WHERE channel_id = ANY(%s) GROUP BY channel_id
"""
_MEASURED: Final = """
SELECT least(
  (SELECT min(starts_at) FROM telemetry_segment WHERE device_id = ANY(%s)),
  (SELECT min(started_at) FROM telemetry_frame WHERE device_id = ANY(%s))),
  (SELECT max(last_sample_at) FROM device_cursor WHERE device_id = ANY(%s)),
  (SELECT max(starts_at) + interval '1 hour' FROM telemetry_segment WHERE device_id = ANY(%s))
"""
_REMEMBER: Final = """
INSERT INTO formula_state (tenant_id, device_id, channel_id, version_id, hour, state)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_LAST_STATE: Final = """
SELECT hour, state::text FROM formula_state WHERE version_id = %s AND hour <= %s
  AND known_at <= coalesce(%s, 'infinity'::timestamptz)
ORDER BY hour DESC, id DESC LIMIT 1
"""
_STATES: Final = """
SELECT DISTINCT ON (hour) hour, state::text FROM formula_state
WHERE version_id = %s AND hour > %s AND hour <= %s
  AND known_at <= coalesce(%s, 'infinity'::timestamptz)
ORDER BY hour, id DESC
"""
_NEXT_STATE: Final = """
SELECT hour, state::text FROM formula_state WHERE version_id = %s AND hour >= %s
ORDER BY hour, id DESC LIMIT 1
"""
_HOURS: Final = """
SELECT count(DISTINCT starts_at) FROM telemetry_segment
WHERE device_id = ANY(%s) AND starts_at >= %s AND starts_at < %s
"""


class Due(NamedTuple):
    """A period [start, end) of a derived channel, ms since the Unix epoch, in which what it is
    computed from has changed; `id` 0 for one that is not kept yet.
    """

    id: int
    channel_id: int
    start_ms: int
    end_ms: int


class State(NamedTuple):
    """What a formula remembers at the beginning of an hour (ms since the Unix epoch)."""

    tenant_id: int
    device_id: int
    channel_id: int
    version_id: int
    hour_ms: int
    state: dict[str, Any]


def ask(connection: BaseDatabaseWrapper, periods: Sequence[Due]) -> None:
    """Let the roll-ups of derived channels be computed again where their inputs have changed."""
    if periods:
        parameters: list[Any] = [
            [one.channel_id for one in periods],
            [_moment(one.start_ms) for one in periods],
            [_moment(one.end_ms) for one in periods],
        ]
        with connection.cursor() as cursor:
            cursor.execute(_ASK, parameters)


def claim(connection: BaseDatabaseWrapper, *, after: int, limit: int) -> list[Due]:
    """Lock up to `limit` channels with ids above `after` of which anything is due; all of that, by
    channel and start.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [after, limit])
        claimed = [row[0] for row in cursor.fetchall()]
        if not claimed:
            return []
        # After the lock, in a statement of its own: what another one has done is gone then.
        cursor.execute(_DUE, [claimed])
        return [
            Due(number, channel_id, _ms(start), _ms(end))
            for number, channel_id, start, end in cursor.fetchall()
        ]


def finish(connection: BaseDatabaseWrapper, done: Sequence[tuple[int, int]]) -> None:
    """Note until when (ms since the Unix epoch) each of some periods is done; what is done to its
    end is gone.
    """
    if done:
        ids, until = [number for number, _ in done], [_moment(at) for _, at in done]
        with connection.cursor() as cursor:
            cursor.execute(_DONE, [ids, until])


def remember(connection: BaseDatabaseWrapper, states: Sequence[State]) -> None:
    """Keep what formulas remember at the beginnings of hours, beside what was found before."""
    if states:
        rows: list[list[Any]] = [
            [one.tenant_id, one.device_id, one.channel_id, one.version_id, _moment(one.hour_ms),
             Jsonb(one.state)]
            for one in states
        ]  # fmt: skip
        with connection.cursor() as cursor:
            cursor.executemany(_REMEMBER, rows)


def remembered(
    connection: BaseDatabaseWrapper,
    version_id: int,
    start_ms: int,
    end_ms: int,
    *,
    as_of: datetime | None = None,
) -> list[tuple[int, dict[str, Any]]]:
    """(hour in ms, state) of a formula: the last at or before `start_ms`, and those until `end_ms`
    (included), rising; of each hour what was found last, or had been at `as_of`.
    """
    start, end = _moment(start_ms), _moment(end_ms)
    with connection.cursor() as cursor:
        cursor.execute(_LAST_STATE, [version_id, start, as_of])
        rows = cursor.fetchall()
        cursor.execute(_STATES, [version_id, start, end, as_of])
        rows += cursor.fetchall()
        return [(_ms(hour), json.loads(state)) for hour, state in rows]


def next_remembered(
    connection: BaseDatabaseWrapper, version_id: int, from_ms: int
) -> tuple[int, dict[str, Any]] | None:
    """(hour in ms, state) of the first hour from `from_ms` on of which anything is remembered."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT_STATE, [version_id, _moment(from_ms)])
        row = cursor.fetchone()
    return None if row is None else (_ms(row[0]), json.loads(row[1]))


def hours_measured(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start_ms: int, end_ms: int
) -> int:
    """How many hours in [start, end) there are segments of some devices of."""
    with connection.cursor() as cursor:
        cursor.execute(_HOURS, [list(device_ids), _moment(start_ms), _moment(end_ms)])
        return int(cursor.fetchone()[0])


def left(
    connection: BaseDatabaseWrapper, channel_ids: Sequence[int]
) -> dict[int, tuple[datetime, datetime]]:
    """From when to when anything is due of channels of which anything is."""
    with connection.cursor() as cursor:
        cursor.execute(_LEFT, [list(channel_ids)])
        return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}


def measured(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int]
) -> tuple[datetime, datetime] | None:
    """From when to when some devices have readings; None when they have none."""
    with connection.cursor() as cursor:
        cursor.execute(_MEASURED, [list(device_ids)] * 4)
        first, *last = cursor.fetchone() or (None, None, None)
    ends = [at for at in last if at is not None]
    return None if first is None or not ends else (first, max(ends))


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)
