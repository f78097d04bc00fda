"""The tables of the telemetry store: their SQL, which migration 0003 of this app runs.

Telemetry is no Django model: rows come by COPY and leave as frames. What a released migration ran
stays as it is here; a later change is a new statement in a new migration.

Chunks of the hypertables lie in a schema of their own, `telemetry_chunks`, which only the owner may
use: TimescaleDB copies a hypertable's grants to its chunks but not its row-level security, so that
in the default schema (usable by everybody) anybody who may read the hypertable could read any
tenant's rows from a chunk directly. The statistics of a chunk (`pg_stats`: the most common log
lines, the bounds of every column) ask for no schema, only for the right to read the chunk: hence
the application reads hypertables by grants on their columns, which TimescaleDB does not copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

CHUNK_SCHEMA: Final = "telemetry_chunks"

# Hour by hour, because a closed hour becomes segments and is dropped as one chunk.
FRAME_CHUNK: Final = timedelta(hours=1)
LOG_CHUNK: Final = timedelta(days=1)
EVENT_CHUNK: Final = timedelta(days=7)

# How far ahead of the clock a sample may lie: beyond it the bridge quarantines (`clock_ahead`).
# Therefore received_at >= ended_at - CLOCK_TOLERANCE, which lets reads leave out older chunks.
CLOCK_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Hypertable:
    """A table that TimescaleDB splits into chunks by `received_at`.

    `columns` are its further columns after `_KEY`; the application may read them all.
    """

    name: str
    chunk: timedelta
    columns: str


_KEY: Final = "received_at, tenant_id, device_id, sequence"
HYPERTABLES: Final = (
    Hypertable("telemetry_frame", FRAME_CHUNK, "started_at, ended_at, value_count, frame"),
    Hypertable("device_log", LOG_CHUNK, "logged_at, level, line"),
    Hypertable("device_event", EVENT_CHUNK, "occurred_at, kind, data"),
)
PLAIN_TABLES: Final = ("telemetry_quarantine", "device_cursor", "device_link", "ledger_hour")
# A foreign key ties them to a device of their tenant; the others would pay for it in each COPY.
REFERENCING_TABLES: Final = ("device_cursor", "device_link")
# All of them have tenant_id and device_id and stand behind the wall.
TABLES: Final = (*(table.name for table in HYPERTABLES), *PLAIN_TABLES)

# Frames are packed already: EXTERNAL spares the attempt to compress large ones. There is no index
# on received_at: chunks are told apart by it, and inside an hour every question names devices.
_FRAME = (
    """CREATE TABLE telemetry_frame (
  received_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  sequence bigint NOT NULL,
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL,
  value_count integer NOT NULL,
  frame bytea NOT NULL
)""",
    "ALTER TABLE telemetry_frame ALTER COLUMN frame SET STORAGE EXTERNAL",
)
# By the end rather than the start: most questions are for the last minutes, and "ended after" finds
# those at the end of the index where "started before" would walk through the whole chunk.
_FRAME_INDEX = "CREATE INDEX telemetry_frame_device ON telemetry_frame (device_id, ended_at)"

_LOG = """CREATE TABLE device_log (
  received_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  sequence bigint NOT NULL,
  logged_at timestamptz NOT NULL,
  level smallint NOT NULL,
  line text NOT NULL
)"""
_LOG_INDEX = "CREATE INDEX device_log_device ON device_log (device_id, received_at DESC)"

_EVENT = """CREATE TABLE device_event (
  received_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  sequence bigint,
  occurred_at timestamptz NOT NULL,
  kind text NOT NULL,
  data jsonb NOT NULL DEFAULT '{{}}'
)"""
_EVENT_INDEX = "CREATE INDEX device_event_device ON device_event (device_id, received_at DESC)"
# A bridge's own event has no sequence number to tell that it was stored before: its time and kind
# do.
_EVENT_UNIQUE = (
    "CREATE UNIQUE INDEX device_event_own ON device_event (device_id, received_at, kind)"
    " WHERE sequence IS NULL"
)

_QUARANTINE = (
    """CREATE TABLE telemetry_quarantine (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT telemetry_quarantine_pkey PRIMARY KEY,
  received_at timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  sequence bigint,
  reason text NOT NULL,
  detail text NOT NULL DEFAULT '',
  message bytea NOT NULL
)""",
    "ALTER TABLE telemetry_quarantine ALTER COLUMN message SET STORAGE EXTERNAL",
    (
        "CREATE INDEX telemetry_quarantine_device ON telemetry_quarantine"
        " (device_id, received_at DESC)"
    ),
    "CREATE INDEX telemetry_quarantine_age ON telemetry_quarantine (received_at)",
)

# One narrow row a device, rewritten with every batch: free space on each page keeps the updates on
# the same page and out of the index.
_CURSOR = """CREATE TABLE device_cursor (
  device_id bigint CONSTRAINT device_cursor_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  committed bigint NOT NULL DEFAULT 0,
  produced bigint NOT NULL DEFAULT 0,
  last_received_at timestamptz,
  last_sample_at timestamptz,
  CONSTRAINT device_cursor_device_same_tenant FOREIGN KEY (tenant_id, device_id)
    REFERENCES devices_device (tenant_id, id),
  CONSTRAINT device_cursor_committed_not_negative CHECK (committed >= 0)
) WITH (fillfactor = 50)"""

_LINK = """CREATE TABLE device_link (
  device_id bigint CONSTRAINT device_link_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  connected boolean NOT NULL DEFAULT false,
  connection bigint NOT NULL DEFAULT 0,
  bridge text NOT NULL DEFAULT '',
  changed_at timestamptz,
  last_seen_at timestamptz,
  firmware_version text NOT NULL DEFAULT '',
  clock_offset_ms bigint,
  CONSTRAINT device_link_device_same_tenant FOREIGN KEY (tenant_id, device_id)
    REFERENCES devices_device (tenant_id, id)
) WITH (fillfactor = 70)"""

_LEDGER = """CREATE TABLE ledger_hour (
  device_id bigint NOT NULL,
  hour timestamptz NOT NULL,
  tenant_id bigint NOT NULL,
  stored bigint NOT NULL DEFAULT 0,
  duplicate bigint NOT NULL DEFAULT 0,
  quarantined bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  other bigint NOT NULL DEFAULT 0,
  stored_values bigint NOT NULL DEFAULT 0,
  CONSTRAINT ledger_hour_pkey PRIMARY KEY (device_id, hour)
) WITH (fillfactor = 70)"""

# What a bridge needs to let a device in and to check its frames. The limits are integers as they
# travel: the physical limits divided by the resolution, rounded inwards. It is a plain view, which
# reads with its owner's rights, past the wall: the application must not have it.
_CREDENTIAL = """CREATE VIEW devices_credential AS
SELECT d.id AS device_id, d.tenant_id, d.serial, d.secret_sha256, d.certificate_sha256, d.state,
  t.code AS device_type, coalesce(c.committed, 0) AS committed, t.step_ms, t.samples,
  (SELECT coalesce(
     array_agg(ARRAY[ch.number::bigint, ceil(ch.minimum / ch.resolution)::bigint,
                     floor(ch.maximum / ch.resolution)::bigint] ORDER BY ch.number),
     '{{}}'::bigint[])
   FROM devices_channel ch WHERE ch.device_id = d.id) AS channels
FROM devices_device d
JOIN devices_devicetype t ON t.id = d.device_type_id
LEFT JOIN device_cursor c ON c.device_id = d.id"""


def _hypertable(table: Hypertable) -> str:
    seconds = int(table.chunk.total_seconds())
    return (
        f"SELECT create_hypertable('{table.name}', 'received_at',"
        f" chunk_time_interval => INTERVAL '{seconds} seconds', create_default_indexes => false,"
        f" associated_schema_name => '{CHUNK_SCHEMA}', associated_table_prefix => '{table.name}')"
    )


def _columns_readable(table: Hypertable) -> list[str]:
    return [
        f"REVOKE ALL ON {table.name} FROM {{app}}",
        f"GRANT SELECT ({_KEY}, {table.columns}) ON {table.name} TO {{app}}",
    ]


# The default privileges of the schema gave the application everything; it keeps what it does.
_GRANTS = (
    f"REVOKE INSERT, UPDATE, DELETE ON {', '.join(TABLES)} FROM {{app}}",
    *(statement for table in HYPERTABLES for statement in _columns_readable(table)),
    "GRANT INSERT ON device_event, device_cursor, device_link TO {app}",
    "GRANT DELETE ON telemetry_quarantine TO {app}",
    # A bridge that was killed says nothing about its devices: the application closes their links.
    "GRANT UPDATE (connected, changed_at) ON device_link TO {app}",
    "REVOKE ALL ON devices_credential FROM {app}",
    "GRANT INSERT ON telemetry_frame, telemetry_quarantine, device_log, device_event TO {ingest}",
    "GRANT SELECT, INSERT, UPDATE ON device_cursor, device_link, ledger_hour TO {ingest}",
    "GRANT SELECT ON devices_credential TO {ingest}",
)

CREATE: Final = [
    # Nobody but the owner has any privilege on a new schema.
    f"CREATE SCHEMA {CHUNK_SCHEMA}",
    *_FRAME,
    _LOG,
    _EVENT,
    *(_hypertable(table) for table in HYPERTABLES),
    _FRAME_INDEX,
    _LOG_INDEX,
    _EVENT_INDEX,
    _EVENT_UNIQUE,
    *_QUARANTINE,
    _CURSOR,
    _LINK,
    _LEDGER,
    _CREDENTIAL,
    *_GRANTS,
]

DROP: Final = [
    "DROP VIEW devices_credential",
    *(f"DROP TABLE {table}" for table in TABLES),
    f"DROP SCHEMA {CHUNK_SCHEMA}",
]
