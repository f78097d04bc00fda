"""Chunks that are made before they are needed: their SQL, which a migration of this app runs.

Whoever writes the first row of a chunk makes it, and holds up everybody who would make another one
until the commit: at the turn of a week all movers would wait for the first, at midnight all
rollers. So the application has the chunks of now and of next made in a transaction of their own.
"""

from __future__ import annotations

from typing import Final

# A row that is written and taken away, because functions that make chunks are none that TimescaleDB
# promises. Nobody sees it, and it belongs to nobody.
_PREPARE = """CREATE FUNCTION door_prepare_chunks(at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  wanted record;
  made integer := 0;
BEGIN
  PERFORM set_config('lock_timeout', '2s', true);
  FOR wanted IN
    SELECT * FROM (VALUES
      ('telemetry_segment', 'starts_at, tenant_id, device_id, value_count, body',
        '0, 0, 0, ''''::bytea', interval '7 days'),
      ('rollup_15m', 'starts_at, tenant_id, device_id, channel, n, mean, coverage',
        '0, 0, 0, 0, 0, 0', interval '1 day')
    ) AS t(name, columns, nothing, ahead)
  LOOP
    FOR i IN 0..1 LOOP
      CONTINUE WHEN EXISTS (SELECT FROM timescaledb_information.chunks c
        WHERE c.hypertable_schema = 'public' AND c.hypertable_name = wanted.name
          AND c.range_start <= least(at, now()) + i * wanted.ahead
          AND c.range_end > least(at, now()) + i * wanted.ahead);
      EXECUTE format('INSERT INTO public.%I (%s) VALUES ($1, %s)', wanted.name, wanted.columns,
        wanted.nothing) USING least(at, now()) + i * wanted.ahead;
      EXECUTE format('DELETE FROM public.%I WHERE device_id = 0 AND starts_at = $1', wanted.name)
        USING least(at, now()) + i * wanted.ahead;
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
EXCEPTION WHEN lock_not_available THEN
  RETURN 0;
END $$"""

CREATE: Final = [
    _PREPARE,
    "REVOKE ALL ON FUNCTION door_prepare_chunks FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION door_prepare_chunks TO {app}",
]
DROP: Final = ["DROP FUNCTION door_prepare_chunks"]
