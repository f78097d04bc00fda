"""What migrations say in SQL of groups and configurations; a published statement never changes."""

from __future__ import annotations

from typing import Final


def _same_tenant(table: str) -> str:
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_device_same_tenant"
        " FOREIGN KEY (tenant_id, device_id) REFERENCES devices_device (tenant_id, id)"
        " ON DELETE CASCADE"
    )


_OF_DEVICES: Final = (
    "devices_devicegroupmember",
    "devices_deviceconfiguration",
    "devices_configurationchange",
)

# A bridge reads these two of every device that comes in: one row that cannot be read would keep
# them all out.
_READABLE = """ALTER TABLE devices_deviceconfiguration
ADD CONSTRAINT devices_deviceconfiguration_{key} CHECK (
  CASE WHEN desired ? '{key}' THEN jsonb_typeof(desired -> '{key}') = 'number'
    AND (desired ->> '{key}') ~ '^[0-9]{{{{1,8}}}}$'
    AND (desired ->> '{key}')::integer BETWEEN 1 AND {most} ELSE true END)"""

# Who takes a device over takes nothing along of what its former owner wanted of it.
_FORGET = """CREATE FUNCTION devices_forget_control() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  DELETE FROM devices_devicegroupmember WHERE device_id = OLD.id;
  DELETE FROM devices_configurationchange WHERE device_id = OLD.id;
  DELETE FROM devices_deviceconfiguration WHERE device_id = OLD.id;
  RETURN NEW;
END $$"""

_CREDENTIAL = """CREATE OR REPLACE VIEW devices_credential AS
SELECT d.id AS device_id, d.tenant_id, d.serial, d.secret_sha256, d.certificate_sha256, d.state,
  t.code AS device_type, coalesce(c.committed, 0) AS committed, {step} AS step_ms,
  {samples} AS samples,
  (SELECT coalesce(
     array_agg(ARRAY[ch.number::bigint, ceil(ch.minimum / ch.resolution)::bigint,
                     floor(ch.maximum / ch.resolution)::bigint] ORDER BY ch.number),
     '{{}}'::bigint[])
   FROM devices_channel ch WHERE ch.device_id = d.id AND NOT ch.derived) AS channels
FROM devices_device d
JOIN devices_devicetype t ON t.id = d.device_type_id
{joined}LEFT JOIN device_cursor c ON c.device_id = d.id"""
# How a device shall report: as is wanted of it, else as its type says.
CREDENTIAL: Final = (
    _CREDENTIAL.replace("{step}", "coalesce((w.desired ->> 'step_ms')::integer, t.step_ms)")
    .replace("{samples}", "coalesce((w.desired ->> 'samples')::smallint, t.samples)")
    .replace("{joined}", "LEFT JOIN devices_deviceconfiguration w ON w.device_id = d.id\n")
)
FORMER_CREDENTIAL: Final = (
    _CREDENTIAL.replace("{step}", "t.step_ms")
    .replace("{samples}", "t.samples")
    .replace("{joined}", "")
)

CREATE: Final = [
    *(_same_tenant(table) for table in _OF_DEVICES),
    (
        "ALTER TABLE devices_devicegroupmember ADD CONSTRAINT devices_devicegroupmember_group"
        " FOREIGN KEY (group_id) REFERENCES devices_devicegroup (id) ON DELETE CASCADE"
    ),
    _READABLE.format(key="step_ms", most=86_400_000),
    _READABLE.format(key="samples", most=3_600),
    "ALTER TABLE devices_deviceconfiguration SET (fillfactor = 70)",
    "REVOKE UPDATE, DELETE ON devices_configurationchange FROM {app}",
    _FORGET,
    "REVOKE EXECUTE ON FUNCTION devices_forget_control() FROM PUBLIC",
    (
        "CREATE TRIGGER devices_device_forget_control BEFORE UPDATE OF tenant_id ON devices_device"
        " FOR EACH ROW WHEN (OLD.tenant_id <> NEW.tenant_id)"
        " EXECUTE FUNCTION devices_forget_control()"
    ),
]
DROP: Final = [
    "DROP TRIGGER devices_device_forget_control ON devices_device",
    "DROP FUNCTION devices_forget_control()",
    "ALTER TABLE devices_devicegroupmember DROP CONSTRAINT devices_devicegroupmember_group",
    *(f"ALTER TABLE {table} DROP CONSTRAINT {table}_device_same_tenant" for table in _OF_DEVICES),
]
