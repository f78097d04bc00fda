"""The statements of the roller; `rollup_store.py` runs them."""

from __future__ import annotations

from typing import Final

JOIN: Final = (
    "INSERT INTO rollup_progress (device_id, tenant_id)"
    " SELECT c.device_id, c.tenant_id FROM device_cursor c"
    " WHERE c.committed > 0"
    " AND NOT EXISTS (SELECT FROM rollup_progress p WHERE p.device_id = c.device_id)"
    " ORDER BY c.device_id ON CONFLICT DO NOTHING"
)
JOIN_SOME: Final = (
    "INSERT INTO rollup_progress (device_id, tenant_id)"
    " SELECT id, tenant_id FROM devices_device WHERE id = ANY(%s) ORDER BY id"
    " ON CONFLICT DO NOTHING"
)
HOLD: Final = "SELECT FROM rollup_progress WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE"
# A bridge whose clock was ahead for a while does not hide what arrives after it was put right.
CLAIM: Final = (
    "SELECT p.device_id, p.tenant_id, p.sequence, c.committed,"
    " least(coalesce(p.received_at, %s), now())"
    " FROM rollup_progress p JOIN device_cursor c USING (device_id)"
    " WHERE c.committed > p.sequence AND p.device_id > %s"
    " ORDER BY p.device_id LIMIT %s FOR UPDATE OF p SKIP LOCKED"
)
NEW: Final = """
SELECT n.device_id, n.sequence, n.start_ms, n.end_ms, n.received_at, n.value_count, n.frame
FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[])
  AS claim(device_id, rolled, committed, since)
CROSS JOIN LATERAL (
  SELECT f.device_id, f.sequence, f.received_at, f.value_count,
    (extract(epoch FROM f.started_at) * 1000)::bigint AS start_ms,
    (extract(epoch FROM f.ended_at) * 1000)::bigint AS end_ms,
    CASE WHEN f.ended_at - f.started_at > %s::interval THEN f.frame END AS frame
  FROM telemetry_frame f
  WHERE f.device_id = claim.device_id AND f.sequence > claim.rolled
    AND f.sequence <= claim.committed AND f.received_at >= claim.since AND f.received_at >= %s
  ORDER BY f.sequence LIMIT %s
) n
ORDER BY n.device_id, n.sequence
"""
# The second bound on received_at is a constant of the statement: by it whole chunks are left out
# while it is planned.
FRAMES: Final = """
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
KEEP: Final = """
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
# What was told of the local days to which quarters belong holds no longer. No day is longer than
# the second interval.
FORGET_DAYS: Final = """
DELETE FROM rollup_1d d
USING unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
  AS changed(device_id, first_at, last_at)
WHERE d.device_id = changed.device_id
  AND d.starts_at <= changed.last_at AND d.ends_at > changed.first_at
  AND d.starts_at > changed.first_at - interval '2 days'
  AND d.starts_at > %s AND d.starts_at <= %s
"""
ADVANCE: Final = """
UPDATE rollup_progress p SET sequence = done.sequence,
  received_at = coalesce(done.received_at, p.received_at),
  sampled_at = greatest(p.sampled_at, to_timestamp(done.sampled_ms / 1000.0))
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[])
  AS done(device_id, sequence, received_at, sampled_ms)
WHERE p.device_id = done.device_id
"""
# In order, so that two that mark the same quarters wait for each other and do not block each other.
# A mark that is there already is locked until the commit: who takes marks passes it over, since
# summing before the commit would miss what this transaction has written.
MARK: Final = """
INSERT INTO rollup_dirty (facility_id, starts_at, tenant_id)
SELECT DISTINCT d.facility_id, to_timestamp(touched.start_ms / 1000.0), d.tenant_id
FROM unnest(%s::bigint[], %s::bigint[]) AS touched(device_id, start_ms)
JOIN devices_device d ON d.id = touched.device_id
ORDER BY 1, 2
ON CONFLICT (facility_id, starts_at) DO UPDATE SET tenant_id = excluded.tenant_id
"""
# A packed day tells in twelve bytes behind the first two which quarters it has (`rollup_codec.py`).
MARK_DEVICE: Final = """
INSERT INTO rollup_dirty (facility_id, starts_at, tenant_id)
SELECT d.facility_id, kept.starts_at, d.tenant_id
FROM devices_device d JOIN (
  SELECT starts_at FROM rollup_15m WHERE device_id = %s
  UNION
  SELECT p.starts_at + quarter * interval '15 minutes'
  FROM rollup_packed p, generate_series(0, 95) AS quarter
  WHERE p.device_id = %s AND get_bit(substring(p.body FROM 3 FOR 12), quarter) = 1
) kept ON true
WHERE d.id = %s
ORDER BY 1, 2
ON CONFLICT (facility_id, starts_at) DO UPDATE SET tenant_id = excluded.tenant_id
"""
# By the places of the rows, which are locked: an import marks a year at once, and a plan made
# before that would go through all marks for each one taken.
TAKE: Final = """
DELETE FROM rollup_dirty d WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM rollup_dirty
  ORDER BY starts_at DESC, facility_id LIMIT %s FOR UPDATE SKIP LOCKED
))
RETURNING d.facility_id, d.starts_at, d.tenant_id
"""
