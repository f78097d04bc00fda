"""The tables of segments: their SQL, which a migration of this app runs.

As with frames (`schema.py`): what a released migration ran stays as it is here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from devices.telemetry.schema import CHUNK_SCHEMA

# What is kept for years is dropped by the week.
SEGMENT_CHUNK: Final = timedelta(days=7)

# Bodies are compressed already: EXTERNAL spares the attempt to do it again.
_SEGMENT = (
    """CREATE TABLE telemetry_segment (
  starts_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  value_count integer NOT NULL,
  body bytea NOT NULL,
  CONSTRAINT telemetry_segment_pkey PRIMARY KEY (device_id, starts_at)
)""",
    "ALTER TABLE telemetry_segment ALTER COLUMN body SET STORAGE EXTERNAL",
)
_HYPERTABLE = (
    "SELECT create_hypertable('telemetry_segment', 'starts_at',"
    f" chunk_time_interval => INTERVAL '{int(SEGMENT_CHUNK.total_seconds())} seconds',"
    " create_default_indexes => false,"
    f" associated_schema_name => '{CHUNK_SCHEMA}', associated_table_prefix => 'telemetry_segment')"
)

# The last reading of each channel among the frames that have become segments: pages ask for it
# all the time, and a device may have been silent for a year.
_LATEST = """CREATE TABLE telemetry_latest (
  device_id bigint CONSTRAINT telemetry_latest_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  channels smallint[] NOT NULL,
  times_ms bigint[] NOT NULL,
  raws bigint[] NOT NULL,
  CONSTRAINT telemetry_latest_device_same_tenant FOREIGN KEY (tenant_id, device_id)
    REFERENCES devices_device (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70)"""

# How many frames of a device have become segments: the ledger counts them with those that have
# not.
_PROGRESS = """ALTER TABLE rollup_progress
  ADD moved_frames bigint NOT NULL DEFAULT 0,
  ADD moved_values bigint NOT NULL DEFAULT 0"""

# Only the owner may drop a chunk. Nothing is lost by it: the chunk is locked, so that no writer is
# at it, and dropped only when it is empty. One that is in use is left for the next time.
_DROP_EMPTY = """CREATE FUNCTION door_drop_empty_chunks(before timestamptz) RETURNS integer
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
    WHERE hypertable_schema = 'public' AND hypertable_name = 'telemetry_frame'
      AND range_end <= least(before, now())
    ORDER BY range_end
  LOOP
    BEGIN
      EXECUTE format('SELECT EXISTS (SELECT FROM %s)', chunk.name) INTO filled;
      CONTINUE WHEN filled;
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', chunk.name);
      EXECUTE format('SELECT EXISTS (SELECT FROM %s)', chunk.name) INTO filled;
      CONTINUE WHEN filled;
      PERFORM drop_chunks('public.telemetry_frame', older_than => chunk.range_end,
        newer_than => chunk.range_start);
      dropped := dropped + 1;
    EXCEPTION WHEN lock_not_available THEN
      CONTINUE;
    END;
  END LOOP;
  RETURN dropped;
END $$"""

_KEY: Final = "starts_at, tenant_id, device_id"
_VALUES: Final = "value_count, body"

CREATE: Final = [
    *_SEGMENT,
    _HYPERTABLE,
    _LATEST,
    _PROGRESS,
    _DROP_EMPTY,
    # Reading by grants on columns, which TimescaleDB does not copy to the chunks; see `schema.py`.
    "REVOKE ALL ON telemetry_segment FROM {app}",
    (
        f"GRANT INSERT, SELECT ({_KEY}, {_VALUES}), UPDATE ({_VALUES})"
        " ON telemetry_segment TO {app}"
    ),
    # Who moves frames into segments takes them away, in one transaction.
    "GRANT DELETE ON telemetry_frame TO {app}",
    "REVOKE ALL ON FUNCTION door_drop_empty_chunks FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION door_drop_empty_chunks TO {app}",
]

DROP: Final = [
    "REVOKE DELETE ON telemetry_frame FROM {app}",
    "DROP FUNCTION door_drop_empty_chunks",
    "ALTER TABLE rollup_progress DROP moved_frames, DROP moved_values",
    "DROP TABLE telemetry_latest",
    "DROP TABLE telemetry_segment",
]
