"""The SQL of the writer; arrays of equal length are its parameters."""

from __future__ import annotations

from typing import Final

from psycopg import sql

from devices.ingest.copy import FRAME_COLUMNS

# Ascending order of the locks: two writers with devices in common wait, they never deadlock.
LOCK_CURSORS: Final = """
SELECT device_id, tenant_id, committed,
       coalesce((extract(epoch FROM last_received_at) * 1000000)::bigint, 0)
FROM device_cursor WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE
"""

COPY_FRAMES: Final = sql.SQL("COPY telemetry_frame ({}) FROM STDIN (FORMAT BINARY)").format(
    sql.SQL(", ").join(map(sql.Identifier, FRAME_COLUMNS))
)

MOVE_CURSORS: Final = """
UPDATE device_cursor AS cursor
SET committed = new.committed,
    produced = greatest(cursor.produced, new.produced),
    last_received_at = greatest(cursor.last_received_at, nullif(new.received_at, '-infinity')),
    last_sample_at = greatest(cursor.last_sample_at, nullif(new.sample_at, '-infinity'))
FROM unnest(%s, %s, %s, %s, %s)
     AS new (device_id, committed, produced, received_at, sample_at)
WHERE cursor.device_id = new.device_id
"""

ADD_TO_LEDGER: Final = """
INSERT INTO ledger_hour AS ledger (device_id, hour, tenant_id, stored, duplicate, quarantined,
                                   skipped, other, stored_values)
SELECT * FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (device_id, hour) DO UPDATE
SET stored = ledger.stored + excluded.stored,
    duplicate = ledger.duplicate + excluded.duplicate,
    quarantined = ledger.quarantined + excluded.quarantined,
    skipped = ledger.skipped + excluded.skipped,
    other = ledger.other + excluded.other,
    stored_values = ledger.stored_values + excluded.stored_values
"""

QUARANTINE: Final = """
INSERT INTO telemetry_quarantine (received_at, tenant_id, device_id, sequence, reason, detail,
                                  message)
SELECT received_at, tenant_id, device_id, nullif(sequence, 0), reason, detail, message
FROM unnest(%s, %s, %s, %s, %s::text[], %s::text[], %s::bytea[])
     AS new (received_at, tenant_id, device_id, sequence, reason, detail, message)
"""

ADD_LOG: Final = """
INSERT INTO device_log (received_at, tenant_id, device_id, sequence, logged_at, level, line)
SELECT * FROM unnest(%s, %s, %s, %s, %s, %s::smallint[], %s::text[])
"""

# A bridge's own event has no sequence number that would tell a second arrival from the first:
# the unique index on such events does.
ADD_EVENTS: Final = """
INSERT INTO device_event (received_at, tenant_id, device_id, sequence, occurred_at, kind, data)
SELECT received_at, tenant_id, device_id, nullif(sequence, 0), occurred_at, kind, data::jsonb
FROM unnest(%s, %s, %s, %s, %s, %s::text[], %s::text[])
     AS new (received_at, tenant_id, device_id, sequence, occurred_at, kind, data)
ON CONFLICT DO NOTHING
"""

ADD_TO_INBOX: Final = """
INSERT INTO device_inbox (received_at, tenant_id, device_id, topic, kind, occurred_at, body)
SELECT received_at, tenant_id, device_id, topic, kind, occurred_at, body::jsonb
FROM unnest(%s, %s, %s, %s::text[], %s::text[], %s, %s::text[])
     AS new (received_at, tenant_id, device_id, topic, kind, occurred_at, body)
"""

# `connected` NULL: the device was heard of, its state is as it was. An older connection's news do
# not touch what a newer one has said.
UPDATE_LINKS: Final = """
INSERT INTO device_link AS link (device_id, tenant_id, connected, connection, bridge, changed_at,
                                 last_seen_at, firmware_version, clock_offset_ms, capabilities,
                                 hardware_revision, boot_count, image_sha256)
SELECT device_id, tenant_id, coalesce(connected, true), connection, bridge, seen_at, seen_at,
       coalesce(firmware_version, ''), clock_offset_ms, capabilities, hardware_revision, boot_count,
       image_sha256
FROM unnest(%s, %s, %s::boolean[], %s, %s::text[], %s, %s::text[], %s::bigint[], %s::bigint[],
            %s::text[], %s::bigint[], %s::text[])
     AS new (device_id, tenant_id, connected, connection, bridge, seen_at, firmware_version,
             clock_offset_ms, capabilities, hardware_revision, boot_count, image_sha256)
ON CONFLICT (device_id) DO UPDATE
SET connected = excluded.connected,
    connection = excluded.connection,
    bridge = excluded.bridge,
    changed_at = CASE WHEN link.connected = excluded.connected
                       AND link.connection = excluded.connection
                      THEN link.changed_at ELSE excluded.changed_at END,
    last_seen_at = greatest(link.last_seen_at, excluded.last_seen_at),
    firmware_version = coalesce(nullif(excluded.firmware_version, ''), link.firmware_version),
    clock_offset_ms = coalesce(excluded.clock_offset_ms, link.clock_offset_ms),
    capabilities = coalesce(excluded.capabilities, link.capabilities),
    hardware_revision = coalesce(excluded.hardware_revision, link.hardware_revision),
    boot_count = coalesce(excluded.boot_count, link.boot_count),
    image_sha256 = coalesce(excluded.image_sha256, link.image_sha256)
WHERE excluded.connection >= link.connection
"""
