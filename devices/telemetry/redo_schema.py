"""The tables of what has to be computed again, and of what has changed in the past: their SQL,
which a migration of this app runs (see `schema.py`).
"""

from __future__ import annotations

from typing import Final

_REDO = """CREATE TABLE rollup_redo (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT rollup_redo_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  cause text NOT NULL,
  cause_id bigint,
  CONSTRAINT rollup_redo_rising CHECK (starts_at < ends_at),
  CONSTRAINT rollup_redo_device_same_tenant FOREIGN KEY (tenant_id, device_id)
    REFERENCES devices_device (tenant_id, id) ON DELETE CASCADE
)"""

# Told for ever, also of devices that are gone: what was billed rests on it.
_CHANGE = """CREATE TABLE history_change (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT history_change_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  facility_id bigint NOT NULL,
  device_id bigint NOT NULL,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  known_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  cause text NOT NULL,
  cause_id bigint,
  CONSTRAINT history_change_rising CHECK (starts_at < ends_at)
)"""

CREATE: Final = [
    _REDO,
    "CREATE INDEX rollup_redo_device ON rollup_redo (device_id, id)",
    _CHANGE,
    "CREATE INDEX history_change_facility ON history_change (facility_id, id)",
    "REVOKE UPDATE, DELETE ON history_change FROM {app}",
]
DROP: Final = ["DROP TABLE history_change", "DROP TABLE rollup_redo"]
