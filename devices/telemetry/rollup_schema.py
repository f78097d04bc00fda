"""The tables of roll-ups: their SQL, which a migration of this app runs.

As with frames (`schema.py`): what a released migration ran stays as it is here. Roll-ups are
computed from frames and may be computed again, but frames are not kept for ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from devices.telemetry.schema import CHUNK_SCHEMA

ROLLUP_CHUNK: Final = timedelta(days=1)
FACILITY_CHUNK: Final = timedelta(days=30)

# Rewritten while their quarter lasts, hence room on each page for the next version of its rows.
_ROLLUP = """CREATE TABLE rollup_15m (
  starts_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  channel smallint NOT NULL,
  n integer NOT NULL,
  minimum double precision,
  maximum double precision,
  mean double precision NOT NULL,
  first double precision,
  last double precision,
  energy_wh double precision,
  returned_wh double precision,
  coverage double precision NOT NULL,
  CONSTRAINT rollup_15m_pkey PRIMARY KEY (device_id, channel, starts_at),
  CONSTRAINT rollup_15m_coverage_range CHECK (coverage >= 0 AND coverage <= 1)
) WITH (fillfactor = 70)"""
_ROLLUP_KEY: Final = "starts_at, tenant_id, device_id, channel"
_ROLLUP_VALUES: Final = "n, minimum, maximum, mean, first, last, energy_wh, returned_wh, coverage"

# Up to which sequence number a device's frames are rolled up, and when the last of them arrived.
_PROGRESS = """CREATE TABLE rollup_progress (
  device_id bigint CONSTRAINT rollup_progress_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  sequence bigint NOT NULL DEFAULT 0,
  received_at timestamptz,
  CONSTRAINT rollup_progress_device_same_tenant FOREIGN KEY (tenant_id, device_id)
    REFERENCES devices_device (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50)"""

# Quarters of facilities whose sums no longer agree with the roll-ups of their devices.
_DIRTY = """CREATE TABLE rollup_dirty (
  facility_id bigint NOT NULL,
  starts_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  CONSTRAINT rollup_dirty_pkey PRIMARY KEY (facility_id, starts_at),
  CONSTRAINT rollup_dirty_facility_same_tenant FOREIGN KEY (tenant_id, facility_id)
    REFERENCES devices_facility (tenant_id, id) ON DELETE CASCADE
)"""

_FACILITY = """CREATE TABLE facility_15m (
  starts_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  facility_id bigint NOT NULL,
  import_wh double precision,
  export_wh double precision,
  generation_wh double precision,
  charge_wh double precision,
  discharge_wh double precision,
  covered double precision NOT NULL,
  CONSTRAINT facility_15m_pkey PRIMARY KEY (facility_id, starts_at),
  CONSTRAINT facility_15m_covered_not_negative CHECK (covered >= 0),
  CONSTRAINT facility_15m_facility_same_tenant FOREIGN KEY (tenant_id, facility_id)
    REFERENCES devices_facility (tenant_id, id) ON DELETE CASCADE
)"""
_FACILITY_KEY: Final = "starts_at, tenant_id, facility_id"
_FACILITY_VALUES: Final = "import_wh, export_wh, generation_wh, charge_wh, discharge_wh, covered"

ROLLUP_HYPERTABLES: Final = {"rollup_15m": ROLLUP_CHUNK, "facility_15m": FACILITY_CHUNK}


def _hypertable(name: str, chunk: timedelta) -> str:
    return (
        f"SELECT create_hypertable('{name}', 'starts_at',"
        f" chunk_time_interval => INTERVAL '{int(chunk.total_seconds())} seconds',"
        " create_default_indexes => false,"
        f" associated_schema_name => '{CHUNK_SCHEMA}', associated_table_prefix => '{name}')"
    )


# Reading by grants on columns, which TimescaleDB does not copy to the chunks; see `schema.py`.
def _grants(name: str, key: str, values: str) -> list[str]:
    return [
        f"REVOKE ALL ON {name} FROM {{app}}",
        f"GRANT INSERT, SELECT ({key}, {values}), UPDATE ({values}) ON {name} TO {{app}}",
    ]


CREATE: Final = [
    _ROLLUP,
    _PROGRESS,
    _DIRTY,
    _FACILITY,
    *(_hypertable(name, chunk) for name, chunk in ROLLUP_HYPERTABLES.items()),
    *_grants("rollup_15m", _ROLLUP_KEY, _ROLLUP_VALUES),
    *_grants("facility_15m", _FACILITY_KEY, _FACILITY_VALUES),
]

# The newest sample that is rolled up.
SAMPLED: Final = "ALTER TABLE rollup_progress ADD COLUMN sampled_at timestamptz"
NOT_SAMPLED: Final = "ALTER TABLE rollup_progress DROP COLUMN sampled_at"

DROP: Final = [
    f"DROP TABLE {table}"
    for table in ("facility_15m", "rollup_dirty", "rollup_progress", "rollup_15m")
]
