"""Roll-ups in the database: what has to be computed, from which frames, and where it is kept.

Who rolls up claims devices by locking their rows of `rollup_progress`; whom another one is at work
on is passed over. A device's frames become visible in the order of their sequence numbers, in the
transaction that moves its cursor: so all frames between the number in `rollup_progress` and the
cursor's are new, whenever they were measured, and no other is.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.protocol.data import Int64s
from devices.telemetry.rollup import QUARTER, Floats, Quarters
from devices.telemetry.schema import CLOCK_TOLERANCE

# A frame may have waited in a bridge while later ones came by another. Nothing is under way for
# so long: a bridge that cannot hand on stops reading.
_UNDER_WAY: Final = timedelta(hours=1)
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Claim(NamedTuple):
    """A device whose frames (`rolled`, `committed`] are new; none of them came before `since`."""

    device_id: int
    tenant_id: int
    rolled: int
    committed: int
    since: datetime


class NewFrame(NamedTuple):
    """When a new frame was measured (ms since the Unix epoch, both included) and arrived."""

    device_id: int
    sequence: int
    start_ms: int
    end_ms: int
    received_at: datetime
    value_count: int


class Span(NamedTuple):
    """Of a device, from when to when frames are needed (ms since the Unix epoch)."""

    device_id: int
    start_ms: int
    end_ms: int


class Source(NamedTuple):
    """A channel that a facility's energy is counted from.

    `flow` is one of FLOWS; `part` is `energy` (a register, or the whole of a power), `forward` or
    `returned` (what flowed in one direction, of a power).
    """

    facility_id: int
    device_id: int
    channel: int
    flow: str
    part: str


FLOWS: Final = ("import", "export", "generation", "charge", "discharge")

_JOIN: Final = (
    "INSERT INTO rollup_progress (device_id, tenant_id)"
    " SELECT c.device_id, c.tenant_id FROM device_cursor c"
    " WHERE c.committed > 0"
    " AND NOT EXISTS (SELECT FROM rollup_progress p WHERE p.device_id = c.device_id)"
    " ORDER BY c.device_id ON CONFLICT DO NOTHING"
)
_CLAIM: Final = (
    "SELECT p.device_id, p.tenant_id, p.sequence, c.committed, coalesce(p.received_at, %s)"
    " FROM rollup_progress p JOIN device_cursor c USING (device_id)"
    " WHERE c.committed > p.sequence AND p.device_id > %s"
    " ORDER BY p.device_id LIMIT %s FOR UPDATE OF p SKIP LOCKED"
)
_NEW: Final = """
SELECT n.device_id, n.sequence, n.start_ms, n.end_ms, n.received_at, n.value_count
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[])
  AS claim(device_id, rolled, committed, since)
CROSS JOIN LATERAL (
  SELECT f.device_id, f.sequence, f.received_at, f.value_count,
    (extract(epoch FROM f.started_at) * 1000)::bigint AS start_ms,
    (extract(epoch FROM f.ended_at) * 1000)::bigint AS end_ms
  FROM telemetry_frame f
  WHERE f.device_id = claim.device_id AND f.sequence > claim.rolled
    AND f.sequence <= claim.committed AND f.received_at >= claim.since AND f.received_at >= %s
  ORDER BY f.sequence LIMIT %s
) n
ORDER BY n.device_id, n.sequence
"""
# The second bound on received_at is a constant of the statement: by it whole chunks are left out
# while it is planned.
_FRAMES: Final = """
SELECT span.device_id, f.sequence, f.frame
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
  AS span(device_id, starts_at, ends_at)
CROSS JOIN LATERAL (
  SELECT s.sequence, s.frame FROM telemetry_frame s
  WHERE s.device_id = span.device_id AND s.ended_at >= span.starts_at
    AND s.started_at < span.ends_at AND s.received_at >= span.starts_at - %s::interval
    AND s.received_at >= %s
) f
ORDER BY 1, 2
"""
_KEEP: Final = """
INSERT INTO rollup_15m AS kept (starts_at, tenant_id, device_id, channel, n, minimum, maximum, mean,
  first, last, energy_wh, returned_wh, coverage)
SELECT to_timestamp(start_ms / 1000.0), tenant_id, device_id, channel, n, nullif(minimum, 'NaN'),
  nullif(maximum, 'NaN'), mean, nullif(first, 'NaN'), nullif(last, 'NaN'),
  nullif(energy_wh, 'NaN'), nullif(returned_wh, 'NaN'), coverage
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::smallint[], %s::integer[], %s::float8[],
  %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[])
  AS made(start_ms, tenant_id, device_id, channel, n, minimum, maximum, mean, first, last,
    energy_wh, returned_wh, coverage)
ON CONFLICT (device_id, channel, starts_at) DO UPDATE SET n = excluded.n,
  minimum = excluded.minimum, maximum = excluded.maximum, mean = excluded.mean,
  first = excluded.first, last = excluded.last, energy_wh = excluded.energy_wh,
  returned_wh = excluded.returned_wh, coverage = excluded.coverage
WHERE (kept.n, kept.minimum, kept.maximum, kept.mean, kept.first, kept.last, kept.energy_wh,
    kept.returned_wh, kept.coverage)
  IS DISTINCT FROM (excluded.n, excluded.minimum, excluded.maximum, excluded.mean, excluded.first,
    excluded.last, excluded.energy_wh, excluded.returned_wh, excluded.coverage)
"""
_ADVANCE: Final = """
UPDATE rollup_progress p SET sequence = done.sequence, received_at = coalesce(done.received_at,
  p.received_at)
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS done(device_id, sequence, received_at)
WHERE p.device_id = done.device_id
"""
# In order, so that two that mark the same quarters wait for each other and do not block each other.
_MARK: Final = """
INSERT INTO rollup_dirty (facility_id, starts_at, tenant_id)
SELECT DISTINCT d.facility_id, to_timestamp(touched.start_ms / 1000.0), d.tenant_id
FROM unnest(%s::bigint[], %s::bigint[]) AS touched(device_id, start_ms)
JOIN devices_device d ON d.id = touched.device_id
ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""
_TAKE: Final = """
DELETE FROM rollup_dirty d USING (
  SELECT facility_id, starts_at FROM rollup_dirty
  ORDER BY starts_at DESC, facility_id LIMIT %s FOR UPDATE SKIP LOCKED
) taken
WHERE d.facility_id = taken.facility_id AND d.starts_at = taken.starts_at
RETURNING d.facility_id, d.starts_at, d.tenant_id
"""
_SUM: Final = """
WITH dirty AS MATERIALIZED (
  SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[])
    AS dirty(facility_id, starts_at, tenant_id)
), source AS MATERIALIZED (
  SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::text[], %s::text[])
    AS source(facility_id, device_id, channel, flow, part)
), flows AS (
  SELECT facility_id, starts_at,
    sum(wh) FILTER (WHERE flow = 'import') AS import_wh,
    sum(wh) FILTER (WHERE flow = 'export') AS export_wh,
    sum(wh) FILTER (WHERE flow = 'generation') AS generation_wh,
    sum(wh) FILTER (WHERE flow = 'charge') AS charge_wh,
    sum(wh) FILTER (WHERE flow = 'discharge') AS discharge_wh
  FROM (
    SELECT dirty.facility_id, dirty.starts_at, source.flow,
      CASE source.part WHEN 'energy' THEN r.energy_wh WHEN 'returned' THEN r.returned_wh
        ELSE r.energy_wh + r.returned_wh END AS wh
    FROM dirty JOIN source USING (facility_id)
    JOIN rollup_15m r ON r.device_id = source.device_id AND r.channel = source.channel
      AND r.starts_at = dirty.starts_at
    WHERE r.starts_at BETWEEN %s AND %s
    ORDER BY dirty.facility_id, dirty.starts_at, source.device_id, source.channel
  ) part GROUP BY facility_id, starts_at
), cover AS (
  SELECT facility_id, starts_at, sum(share) AS covered FROM (
    SELECT dirty.facility_id, dirty.starts_at, d.id, avg(r.coverage) AS share
    FROM dirty JOIN devices_device d ON d.facility_id = dirty.facility_id
    JOIN rollup_15m r ON r.device_id = d.id AND r.starts_at = dirty.starts_at
    WHERE r.starts_at BETWEEN %s AND %s
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ) device GROUP BY facility_id, starts_at
)
INSERT INTO facility_15m AS kept (starts_at, tenant_id, facility_id, import_wh, export_wh,
  generation_wh, charge_wh, discharge_wh, covered)
SELECT dirty.starts_at, dirty.tenant_id, dirty.facility_id, import_wh, export_wh, generation_wh,
  charge_wh, discharge_wh, coalesce(covered, 0)
FROM dirty
LEFT JOIN flows USING (facility_id, starts_at)
LEFT JOIN cover USING (facility_id, starts_at)
ON CONFLICT (facility_id, starts_at) DO UPDATE SET import_wh = excluded.import_wh,
  export_wh = excluded.export_wh, generation_wh = excluded.generation_wh,
  charge_wh = excluded.charge_wh, discharge_wh = excluded.discharge_wh, covered = excluded.covered
"""


def has_newcomers(connection: BaseDatabaseWrapper) -> bool:
    """Whether a device of the scope has frames and was never rolled up."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM device_cursor c WHERE c.committed > 0"
            " AND NOT EXISTS (SELECT FROM rollup_progress p WHERE p.device_id = c.device_id))"
        )
        return bool(cursor.fetchone()[0])


def claim(connection: BaseDatabaseWrapper, *, after: int, limit: int) -> list[Claim]:
    """Lock up to `limit` devices with new frames, from the first id above `after` on."""
    with connection.cursor() as cursor:
        cursor.execute(_JOIN)
        cursor.execute(_CLAIM, [_ALWAYS + _UNDER_WAY, after, limit])
        return [
            Claim(device_id, tenant_id, rolled, committed, received_at - _UNDER_WAY)
            for device_id, tenant_id, rolled, committed, received_at in cursor.fetchall()
        ]


def new_frames(
    connection: BaseDatabaseWrapper, claims: Sequence[Claim], *, limit: int
) -> list[NewFrame]:
    """The new frames of claimed devices by device and sequence, at most `limit` of each device."""
    parameters: list[Any] = [
        [one.device_id for one in claims],
        [one.rolled for one in claims],
        [one.committed for one in claims],
        [one.since for one in claims],
        min(one.since for one in claims),
        limit,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_NEW, parameters)
        return list(map(NewFrame._make, cursor.fetchall()))


def frames_in(
    connection: BaseDatabaseWrapper, spans: Sequence[Span]
) -> list[tuple[int, int, bytes]]:
    """(device, sequence, DATA body) of the frames that touch the spans, by device and sequence; a
    frame that touches several comes several times.
    """
    starts = [_moment(span.start_ms) for span in spans]
    parameters: list[Any] = [
        [span.device_id for span in spans],
        starts,
        [_moment(span.end_ms) for span in spans],
        CLOCK_TOLERANCE,
        min(starts) - CLOCK_TOLERANCE,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_FRAMES, parameters)
        return list(cursor.fetchall())


def keep(
    connection: BaseDatabaseWrapper,
    quarters: Quarters,
    *,
    tenants: Int64s,
    devices: Int64s,
    channels: Int64s,
) -> None:
    """Write roll-ups over those of the same quarters; `tenants`, `devices` and `channels` are (n,)
    as the roll-ups.
    """
    columns: list[Int64s | Floats] = [
        quarters.starts,
        tenants,
        devices,
        channels,
        quarters.n,
        quarters.minimum,
        quarters.maximum,
        quarters.mean,
        quarters.first,
        quarters.last,
        quarters.energy,
        quarters.returned,
        np.minimum(quarters.coverage, 1.0),
    ]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [column.tolist() for column in columns])


def advance(
    connection: BaseDatabaseWrapper, done: Sequence[tuple[int, int, datetime | None]]
) -> None:
    """Note up to which sequence number claimed devices are rolled up, and the last arrival."""
    with connection.cursor() as cursor:
        cursor.execute(_ADVANCE, [list(column) for column in zip(*done, strict=True)])


def mark_facilities(connection: BaseDatabaseWrapper, touched: Sequence[tuple[int, int]]) -> None:
    """Let the sums of the facilities of (device, start of a quarter in ms) be computed again."""
    if touched:
        with connection.cursor() as cursor:
            cursor.execute(_MARK, [list(column) for column in zip(*touched, strict=True)])


def take_dirty(connection: BaseDatabaseWrapper, *, limit: int) -> list[tuple[int, datetime, int]]:
    """Take (facility, start, tenant) of up to `limit` quarters to be summed, the newest first.

    They are gone with the commit: sum them in the same transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [limit])
        return list(cursor.fetchall())


def sum_facilities(
    connection: BaseDatabaseWrapper,
    dirty: Sequence[tuple[int, datetime, int]],
    sources: Sequence[Source],
) -> None:
    """Compute the sums of facilities in some quarters from the roll-ups of their devices."""
    starts = [starts_at for _, starts_at, _ in dirty]
    bounds = [min(starts), max(starts)]
    facility_ids, _, tenant_ids = (list(column) for column in zip(*dirty, strict=True))
    columns = [list(column) for column in zip(*sources, strict=True)] or [[], [], [], [], []]
    with connection.cursor() as cursor:
        cursor.execute(_SUM, [facility_ids, starts, tenant_ids, *columns, *bounds, *bounds])


class FacilityQuarter(NamedTuple):
    """What a facility used in a quarter, in Wh; None where nothing measures it.

    `covered`: the sum over its devices of the part of the quarter in which each was measured.
    """

    facility_id: int
    starts_at: datetime
    import_wh: float | None
    export_wh: float | None
    generation_wh: float | None
    charge_wh: float | None
    discharge_wh: float | None
    covered: float


def facility_quarters(
    connection: BaseDatabaseWrapper,
    facility_ids: Sequence[int],
    start: datetime,
    end: datetime,
) -> list[FacilityQuarter]:
    """The quarters of some facilities that begin in [start, end), by facility and start."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT facility_id, starts_at, import_wh, export_wh, generation_wh, charge_wh,"
            " discharge_wh, covered FROM facility_15m"
            " WHERE facility_id = ANY(%s) AND starts_at >= %s AND starts_at < %s"
            " ORDER BY facility_id, starts_at",
            [list(facility_ids), start, end],
        )
        return list(map(FacilityQuarter._make, cursor.fetchall()))


class DeviceQuarter(NamedTuple):
    """The roll-up of a channel in a quarter that other modules ask for."""

    device_id: int
    channel: int
    starts_at: datetime
    n: int
    mean: float
    energy_wh: float | None
    returned_wh: float | None
    coverage: float


def device_quarters(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start: datetime, end: datetime
) -> list[DeviceQuarter]:
    """The roll-ups of some devices that begin in [start, end), by device, channel and start."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT device_id, channel, starts_at, n, mean, energy_wh, returned_wh, coverage"
            " FROM rollup_15m WHERE device_id = ANY(%s) AND starts_at >= %s AND starts_at < %s"
            " ORDER BY device_id, channel, starts_at",
            [list(device_ids), start, end],
        )
        return list(map(DeviceQuarter._make, cursor.fetchall()))


def quarter_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour that holds a moment."""
    return moment - (moment - _ALWAYS) % QUARTER


def _moment(milliseconds: int) -> datetime:
    return _ALWAYS + timedelta(milliseconds=milliseconds)
