"""Segments in the database: frames that have become old move into them, in one transaction.

A frame is in `telemetry_frame` or in a segment, never in both and never in neither. Who moves
claims devices by locking their rows of `rollup_progress`, as rolling up does, so that one device is
rolled up or moved by one process at a time; and only what has been rolled up is moved.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import Format

from devices.telemetry.prepared import prepared_cursor
from devices.telemetry.segment import Readings

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_CLAIM: Final = """
SELECT p.device_id, p.tenant_id, p.sequence FROM rollup_progress p
WHERE p.device_id > %s ORDER BY p.device_id LIMIT %s FOR UPDATE SKIP LOCKED
"""
# All up to the last number that is old, whenever they arrived: bridges' clocks differ, and what is
# merged later has to have a higher number. The running sum bounds what is read at once.
_OLD: Final = """
SELECT device_id, sequence, received_at, value_count, frame FROM (
  SELECT f.*, sum(f.value_count) OVER (ORDER BY f.device_id, f.sequence) - f.value_count AS before
  FROM unnest(%s::bigint[], %s::bigint[]) AS claim(device_id, rolled)
  CROSS JOIN LATERAL (
    SELECT max(s.sequence) AS last FROM telemetry_frame s
    WHERE s.device_id = claim.device_id AND s.sequence <= claim.rolled AND s.received_at < %s
  ) old
  CROSS JOIN LATERAL (
    SELECT s.device_id, s.sequence, s.received_at, s.value_count, s.frame FROM telemetry_frame s
    WHERE s.device_id = claim.device_id AND s.sequence <= old.last
    ORDER BY s.sequence LIMIT %s
  ) f
) bounded
WHERE before < %s ORDER BY 1, 2
"""
# A device's frames become visible in the order of their numbers, before they are rolled up: what is
# deleted is what was read.
_DELETE: Final = """
DELETE FROM telemetry_frame f
USING unnest(%s::bigint[], %s::bigint[]) AS moved(device_id, last)
WHERE f.device_id = moved.device_id AND f.sequence <= moved.last
"""
_SEGMENTS: Final = """
SELECT s.device_id, s.starts_at, s.body
FROM unnest(%s::bigint[], %s::timestamptz[]) AS wanted(device_id, starts_at)
JOIN telemetry_segment s USING (device_id, starts_at)
WHERE s.starts_at BETWEEN %s AND %s
"""
_BODIES: Final = """
SELECT s.device_id, s.starts_at, s.body FROM telemetry_segment s
WHERE s.device_id = ANY(%s) AND s.starts_at >= %s AND s.starts_at < %s
ORDER BY s.device_id, s.starts_at
"""
_KEEP: Final = """
INSERT INTO telemetry_segment AS kept (starts_at, tenant_id, device_id, value_count, body)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::integer[], %s::bytea[])
ON CONFLICT (device_id, starts_at) DO UPDATE
SET value_count = excluded.value_count, body = excluded.body
"""
_COUNT: Final = """
UPDATE rollup_progress p SET moved_frames = moved_frames + done.frames,
  moved_values = moved_values + done.counted
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS done(device_id, frames, counted)
WHERE p.device_id = done.device_id
"""
_LATEST: Final = """
SELECT device_id, channels, times_ms, raws FROM telemetry_latest WHERE device_id = ANY(%s)
"""
_KEEP_LATEST: Final = """
INSERT INTO telemetry_latest (device_id, tenant_id, channels, times_ms, raws)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (device_id) DO UPDATE
SET channels = excluded.channels, times_ms = excluded.times_ms, raws = excluded.raws
"""


class Claim(NamedTuple):
    """A device whose frames up to `rolled` have been rolled up."""

    device_id: int
    tenant_id: int
    rolled: int


class OldFrame(NamedTuple):
    """A frame that is to be moved; `body` is a DATA body."""

    device_id: int
    sequence: int
    received_at: datetime
    value_count: int
    body: bytes


class Moved(NamedTuple):
    """What has been moved of a device: frames up to number `last`."""

    device_id: int
    last: int
    frames: int
    values: int


class Kept(NamedTuple):
    """A segment as it is stored."""

    starts_at: datetime
    tenant_id: int
    device_id: int
    value_count: int
    body: bytes


class NotMovedError(RuntimeError):
    """Other frames were deleted than were read: the transaction must not be committed."""


def claim(connection: BaseDatabaseWrapper, *, after: int, limit: int) -> list[Claim]:
    """Lock up to `limit` devices that have been rolled up, from the first id above `after` on."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [after, limit])
        return list(map(Claim._make, cursor.fetchall()))


def old_frames(
    connection: BaseDatabaseWrapper,
    claims: Sequence[Claim],
    *,
    before: datetime,
    limit: int,
    values: int,
) -> list[OldFrame]:
    """Rolled-up frames of claimed devices up to the last number that arrived before an instant, by
    device and number: at most `limit` of each, and no further one after `values` values of all.
    """
    devices, rolled = [one.device_id for one in claims], [one.rolled for one in claims]
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [devices, rolled, before, limit, values])
        return list(map(OldFrame._make, cursor.fetchall()))


def segments_of(
    connection: BaseDatabaseWrapper, wanted: Collection[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """The bodies of segments by device and start (ms since the Unix epoch), where there are any."""
    if not wanted:
        return {}
    devices = [device_id for device_id, _ in wanted]
    starts = [moment(start_ms) for _, start_ms in wanted]
    with connection.cursor() as cursor:
        cursor.execute(_SEGMENTS, [devices, starts, min(starts), max(starts)])
        return {
            (device_id, milliseconds(starts_at)): bytes(body)
            for device_id, starts_at, body in cursor.fetchall()
        }


def segment_bodies(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start_ms: int, end_ms: int
) -> list[tuple[int, int, bytes]]:
    """(device, start in ms, body) of the segments of some devices that begin in [start, end) (ms
    since the Unix epoch), by device and start.
    """
    with prepared_cursor(connection) as cursor:
        # As bytes rather than as text, which has two digits for each of them.
        cursor.cursor.format = Format.BINARY
        cursor.execute(_BODIES, [list(device_ids), moment(start_ms), moment(end_ms)])
        return [
            (device_id, milliseconds(starts_at), body)
            for device_id, starts_at, body in cursor.fetchall()
        ]


def keep(connection: BaseDatabaseWrapper, segments: Sequence[Kept]) -> None:
    """Write segments over those of the same device and hour."""
    columns: list[Any] = [list(column) for column in zip(*segments, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, columns)


def delete(connection: BaseDatabaseWrapper, moved: Sequence[Moved]) -> None:
    """Take away the frames that `old_frames` gave, and count them as moved; NotMovedError when they
    are others.
    """
    devices, lasts, frames, values = (list(column) for column in zip(*moved, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_DELETE, [devices, lasts])
        if cursor.rowcount != sum(frames):
            raise NotMovedError(
                f"{cursor.rowcount} frames were deleted where {sum(frames)} were moved"
            )
        cursor.execute(_COUNT, [devices, frames, values])


def keep_latest(
    connection: BaseDatabaseWrapper,
    tenants: Mapping[int, int],
    fresh: Mapping[int, Mapping[int, Readings]],
) -> None:
    """Keep the last reading of each channel of some devices, from what has just been moved and what
    was kept before; `tenants` has the tenant of each device.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [list(fresh)])
        known = {
            device_id: dict(zip(channels, zip(times, raws, strict=True), strict=True))
            for device_id, channels, times, raws in cursor.fetchall()
        }
        rows: list[list[Any]] = []
        for device_id, channels in fresh.items():
            last: dict[int, tuple[int, int]] = known.get(device_id, {})
            for channel, readings in channels.items():
                newest = int(readings.times[-1]), int(readings.raw[-1])
                if channel not in last or newest[0] >= last[channel][0]:
                    last[channel] = newest
            numbers = sorted(last)
            times, raws = zip(*(last[number] for number in numbers), strict=True)
            rows.append([device_id, tenants[device_id], numbers, list(times), list(raws)])
        cursor.executemany(_KEEP_LATEST, rows)


def prepare_chunks(connection: BaseDatabaseWrapper, *, at: datetime) -> int:
    """Make the chunks of segments and roll-ups for an instant (now at the latest) and the next ones
    after it, where there are none; returns how many.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_prepare_chunks(%s)", [at])
        return int(cursor.fetchone()[0])


def drop_empty_chunks(connection: BaseDatabaseWrapper, *, before: datetime) -> int:
    """Drop the chunks of frames that closed before an instant and are empty; returns how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_drop_empty_chunks(%s)", [before])
        return int(cursor.fetchone()[0])


def moment(milliseconds_: int) -> datetime:
    """The instant of ms since the Unix epoch."""
    return _EPOCH + timedelta(milliseconds=milliseconds_)


def milliseconds(at: datetime) -> int:
    """An instant of whole milliseconds, as ms since the Unix epoch."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
