"""The tables of packed roll-ups and of local days: their SQL, which a migration of this app runs.

As with frames (`schema.py`): what a released migration ran stays as it is here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from devices.telemetry.schema import CHUNK_SCHEMA

# What is kept for years; questions go over a year.
PACKED_CHUNK: Final = timedelta(days=30)
DAYS_CHUNK: Final = timedelta(days=90)

# The quarters of an hour of a device's day (UTC). Bodies are compressed already: EXTERNAL spares
# the attempt to do it again.
_PACKED = (
    """CREATE TABLE rollup_packed (
  starts_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  body bytea NOT NULL,
  CONSTRAINT rollup_packed_pkey PRIMARY KEY (device_id, starts_at)
)""",
    "ALTER TABLE rollup_packed ALTER COLUMN body SET STORAGE EXTERNAL",
)
# The channels of a device over a local day [starts_at, ends_at), as long as no quarter of it
# changes.
_DAYS = (
    """CREATE TABLE rollup_1d (
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  body bytea NOT NULL,
  CONSTRAINT rollup_1d_pkey PRIMARY KEY (device_id, starts_at),
  CONSTRAINT rollup_1d_not_empty CHECK (starts_at < ends_at)
)""",
    "ALTER TABLE rollup_1d ALTER COLUMN body SET STORAGE EXTERNAL",
)

# In whose calendar the days of a device are kept, and up to when.
_PROGRESS = "ALTER TABLE rollup_progress ADD calendar text, ADD days_until timestamptz"

# Only the owner may drop a chunk. Who writes roll-ups finds its chunk as it plans: so the table is
# closed to writers for the moment in which empty chunks go. One that is in use stays until the next
# time.
_DROP_PACKED = """CREATE FUNCTION door_drop_packed_chunks(before timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  chunk record;
  filled boolean;
  dropped integer := 0;
BEGIN
  SET LOCAL lock_timeout = '200ms';
  FOR chunk IN
    SELECT format('%I.%I', chunk_schema, chunk_name) AS name, range_start, range_end
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'rollup_15m'
      AND range_end <= least(before, now())
    ORDER BY range_end
  LOOP
    BEGIN
      EXECUTE format('SELECT EXISTS (SELECT FROM %s)', chunk.name) INTO filled;
      CONTINUE WHEN filled;
      LOCK TABLE ONLY public.rollup_15m IN SHARE ROW EXCLUSIVE MODE;
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', chunk.name);
      EXECUTE format('SELECT EXISTS (SELECT FROM %s)', chunk.name) INTO filled;
      CONTINUE WHEN filled;
      PERFORM drop_chunks('public.rollup_15m', older_than => chunk.range_end,
        newer_than => chunk.range_start);
      dropped := dropped + 1;
    EXCEPTION WHEN lock_not_available THEN
      CONTINUE;
    END;
  END LOOP;
  RETURN dropped;
END $$"""


def _hypertable(name: str, chunk: timedelta) -> str:
    return (
        f"SELECT create_hypertable('{name}', 'starts_at',"
        f" chunk_time_interval => INTERVAL '{int(chunk.total_seconds())} seconds',"
        " create_default_indexes => false,"
        f" associated_schema_name => '{CHUNK_SCHEMA}', associated_table_prefix => '{name}')"
    )


CREATE: Final = [
    *_PACKED,
    *_DAYS,
    _hypertable("rollup_packed", PACKED_CHUNK),
    _hypertable("rollup_1d", DAYS_CHUNK),
    _PROGRESS,
    _DROP_PACKED,
    # Reading by grants on columns, which TimescaleDB does not copy to the chunks; see `schema.py`.
    "REVOKE ALL ON rollup_packed, rollup_1d FROM {app}",
    (
        "GRANT INSERT, SELECT (starts_at, tenant_id, device_id, body), UPDATE (body), DELETE"
        " ON rollup_packed TO {app}"
    ),
    (
        "GRANT INSERT, SELECT (starts_at, ends_at, tenant_id, device_id, body), DELETE"
        " ON rollup_1d TO {app}"
    ),
    # Who packs quarters takes their rows away, in one transaction.
    "GRANT DELETE ON rollup_15m TO {app}",
    "REVOKE ALL ON FUNCTION door_drop_packed_chunks FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION door_drop_packed_chunks TO {app}",
]

DROP: Final = [
    "REVOKE DELETE ON rollup_15m FROM {app}",
    "DROP FUNCTION door_drop_packed_chunks",
    "ALTER TABLE rollup_progress DROP calendar, DROP days_until",
    "DROP TABLE rollup_1d",
    "DROP TABLE rollup_packed",
]
