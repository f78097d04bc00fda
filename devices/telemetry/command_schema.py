"""What the tables of commands need besides their columns, and the inbox: their SQL, which a
migration of this app runs (see `schema.py`).
"""

from __future__ import annotations

from typing import Final

# What devices have said that the application must act on; the writer adds to it in the transaction
# that stores the message. Rows of a device get their ids in the order in which it spoke, because
# whoever adds them holds its cursor. Whoever takes them deletes them in the transaction in which
# they take effect.
_INBOX: Final = """CREATE TABLE device_inbox (
  id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT device_inbox_pkey PRIMARY KEY,
  tenant_id bigint NOT NULL,
  device_id bigint NOT NULL,
  topic text NOT NULL,
  kind text NOT NULL,
  occurred_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  body jsonb NOT NULL
)"""
INBOX: Final = [
    _INBOX,
    "CREATE INDEX device_inbox_topic ON device_inbox (topic, id)",
    "REVOKE INSERT, UPDATE ON device_inbox FROM {app}",
    "GRANT INSERT ON device_inbox TO {ingest}",
]
NO_INBOX: Final = ["DROP TABLE device_inbox"]

# What a device said of itself when it last connected; null until it has. `image_sha256` (hex) is
# empty for a firmware that does not tell.
_TOLD: Final = (
    "capabilities bigint",
    "hardware_revision text",
    "boot_count bigint",
    "image_sha256 text",
)
LINK: Final = ["ALTER TABLE device_link " + ", ".join(f"ADD COLUMN {column}" for column in _TOLD)]
NO_LINK: Final = [
    "ALTER TABLE device_link "
    + ", ".join(f"DROP COLUMN {column.split(maxsplit=1)[0]}" for column in _TOLD)
]

# Who has connected since some instant.
LINK_CHANGED: Final = [
    "CREATE INDEX device_link_changed ON device_link (changed_at) WHERE connected"
]
NO_LINK_CHANGED: Final = ["DROP INDEX device_link_changed"]

_ONLY_ADDED: Final = """CREATE FUNCTION devices_commandevent_only_added() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the history of commands is only added to: % is refused', TG_OP;
END $$"""
CREATE: Final = [
    (
        "ALTER TABLE devices_command ADD CONSTRAINT devices_command_device_same_tenant"
        " FOREIGN KEY (tenant_id, device_id) REFERENCES devices_device (tenant_id, id)"
    ),
    (
        "ALTER TABLE devices_command ADD CONSTRAINT devices_command_batch_same_tenant"
        " FOREIGN KEY (tenant_id, batch_id) REFERENCES devices_commandbatch (tenant_id, id)"
    ),
    (
        "ALTER TABLE devices_commandevent ADD CONSTRAINT devices_commandevent_same_device"
        " FOREIGN KEY (tenant_id, device_id, command_id)"
        " REFERENCES devices_command (tenant_id, device_id, id)"
    ),
    _ONLY_ADDED,
    (
        "CREATE TRIGGER devices_commandevent_only_added"
        " BEFORE UPDATE OR DELETE ON devices_commandevent"
        " FOR EACH STATEMENT EXECUTE FUNCTION devices_commandevent_only_added()"
    ),
    "ALTER TABLE devices_commandevent ENABLE ALWAYS TRIGGER devices_commandevent_only_added",
    "REVOKE UPDATE, DELETE ON devices_commandevent FROM {app}",
    "REVOKE UPDATE, DELETE ON devices_commandbatch FROM {app}",
    "REVOKE DELETE ON devices_command FROM {app}",
    # A device moves with each command: free space keeps what does not touch an index on the page.
    "ALTER TABLE devices_command SET (fillfactor = 80)",
]
DROP: Final = [
    "DROP TRIGGER devices_commandevent_only_added ON devices_commandevent",
    "DROP FUNCTION devices_commandevent_only_added()",
    "ALTER TABLE devices_commandevent DROP CONSTRAINT devices_commandevent_same_device",
    "ALTER TABLE devices_command DROP CONSTRAINT devices_command_batch_same_tenant",
    "ALTER TABLE devices_command DROP CONSTRAINT devices_command_device_same_tenant",
]

# A device that was ever commanded stays with its tenant: its history names who asked for what.
_IS_FRESH: Final = """CREATE OR REPLACE FUNCTION devices_is_fresh(device bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM public.devices_device d WHERE d.id = device AND d.state = 'planned')
    AND NOT EXISTS (SELECT FROM public.device_cursor c
                    WHERE c.device_id = device AND c.produced + c.committed > 0)
    AND NOT EXISTS (SELECT FROM public.telemetry_latest l WHERE l.device_id = device)
    AND NOT EXISTS (SELECT FROM public.devices_historyimportpart i WHERE i.device_id = device)
    AND NOT EXISTS (SELECT FROM public.devices_hold h WHERE h.device_id = device)
    {more}AND NOT EXISTS (SELECT FROM public.devices_allocation a
                    JOIN public.devices_channel ch ON ch.id = a.channel_id
                    WHERE ch.device_id = device);
END"""
_NOT_COMMANDED: Final = (
    "AND NOT EXISTS (SELECT FROM public.devices_command k WHERE k.device_id = device)\n    "
)
FRESH: Final = [_IS_FRESH.format(more=_NOT_COMMANDED)]
FORMER_FRESH: Final = [_IS_FRESH.format(more="")]
