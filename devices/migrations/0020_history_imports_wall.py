"""Imports of history behind the wall. A device whose history was imported has reported."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEYS = Statements(
    [
        (
            "ALTER TABLE devices_historyimport ADD CONSTRAINT devices_historyimport_file_same_tenant"
            " FOREIGN KEY (tenant_id, file_id) REFERENCES devices_keptfile (tenant_id, id)"
        ),
        (
            "ALTER TABLE devices_historyimport ADD CONSTRAINT devices_historyimport_facility_same_tenant"
            " FOREIGN KEY (tenant_id, facility_id) REFERENCES devices_facility (tenant_id, id)"
        ),
        (
            "ALTER TABLE devices_historyimportpart ADD CONSTRAINT devices_historyimportpart_run_same_tenant"
            " FOREIGN KEY (tenant_id, run_id) REFERENCES devices_historyimport (tenant_id, id)"
        ),
        (
            "ALTER TABLE devices_historyimportpart ADD CONSTRAINT devices_historyimportpart_device_same_tenant"
            " FOREIGN KEY (tenant_id, device_id) REFERENCES devices_device (tenant_id, id)"
        ),
        # Compressed already.
        "ALTER TABLE devices_keptfile ALTER COLUMN content SET STORAGE EXTERNAL",
    ],
    [
        "ALTER TABLE devices_historyimportpart DROP CONSTRAINT devices_historyimportpart_device_same_tenant",
        "ALTER TABLE devices_historyimportpart DROP CONSTRAINT devices_historyimportpart_run_same_tenant",
        "ALTER TABLE devices_historyimport DROP CONSTRAINT devices_historyimport_facility_same_tenant",
        "ALTER TABLE devices_historyimport DROP CONSTRAINT devices_historyimport_file_same_tenant",
    ],
)

_KEEP_CHANNEL = """CREATE OR REPLACE FUNCTION devices_keep_channel() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF {condition} THEN
    RAISE EXCEPTION 'channel % cannot be deleted: its device has reported, and stored readings rest on it', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'devices_channel_kept',
            TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
  END IF;
  RETURN OLD;
END $$"""
_KEEP_PLACE = """CREATE OR REPLACE FUNCTION devices_keep_place() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE broken text;
BEGIN
  IF OLD.state = 'revoked' AND NEW.state <> 'revoked' THEN
    broken := 'devices_device_revoked_final';
  ELSIF NEW.facility_id <> OLD.facility_id AND (
    {condition}
    OR EXISTS (SELECT FROM devices_allocation a JOIN devices_channel ch ON ch.id = a.channel_id
               WHERE ch.device_id = OLD.id)) THEN
    broken := 'devices_device_place_final';
  ELSE
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'device % has reported or is revoked: register it anew with another serial', OLD.id
    USING ERRCODE = 'check_violation', CONSTRAINT = broken,
          TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA;
END $$"""
_IS_FRESH = """CREATE OR REPLACE FUNCTION devices_is_fresh(device bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM public.devices_device d WHERE d.id = device AND d.state = 'planned')
    AND NOT EXISTS (SELECT FROM public.device_cursor c
                    WHERE c.device_id = device AND c.produced + c.committed > 0)
    {more}AND NOT EXISTS (SELECT FROM public.devices_allocation a
                    JOIN public.devices_channel ch ON ch.id = a.channel_id
                    WHERE ch.device_id = device);
END"""
_SENT = (
    "EXISTS (SELECT FROM device_cursor c"
    " WHERE c.device_id = OLD.{column} AND c.produced + c.committed > 0)"
)
_STORED = (
    " OR EXISTS (SELECT FROM telemetry_latest l WHERE l.device_id = OLD.{column})"
    " OR EXISTS (SELECT FROM devices_historyimportpart i WHERE i.device_id = OLD.{column})"
)
_NO_HISTORY = (
    "AND NOT EXISTS (SELECT FROM public.telemetry_latest l WHERE l.device_id = device)\n"
    "    AND NOT EXISTS (SELECT FROM public.devices_historyimportpart i WHERE i.device_id = device)\n"
    "    "
)


def _functions(condition: str, more: str) -> list[str]:
    return [
        _KEEP_CHANNEL.format(condition=condition.format(column="device_id")),
        _KEEP_PLACE.format(condition=condition.format(column="id")),
        _IS_FRESH.format(more=more),
    ]


REPORTED = Statements(_functions(_SENT + _STORED, _NO_HISTORY), _functions(_SENT, ""))


class Migration(migrations.Migration):
    dependencies = [("devices", "0019_history_imports")]

    operations = [
        FOREIGN_KEYS,
        REPORTED,
        # A file concerns the whole tenant: it may tell of meters in any of its facilities.
        EnableRowSecurity("devices_keptfile", tenant_wide=True),
        EnableRowSecurity("devices_historyimport", tenant_wide=True),
        EnableRowSecurity("devices_historyimportpart", tenant_wide=True),
    ]
