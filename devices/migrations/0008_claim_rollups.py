"""A device that is claimed takes no roll-up along: it has never reported, so that what the rollers
keep of it says nothing, and stands in the way of the move."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import Statements

# The function of migration 0005 with a place for what is forgotten.
_HAND_OVER = """CREATE OR REPLACE FUNCTION devices_hand_over(device devices_device, tenant bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  channels devices_channel[];
  codes devices_claimcode[];
  channel devices_channel;
  code devices_claimcode;
BEGIN
  SELECT array_agg(c) INTO channels FROM devices_channel c WHERE c.device_id = device.id;
  SELECT array_agg(c) INTO codes FROM devices_claimcode c WHERE c.device_id = device.id;
  DELETE FROM devices_claimcode c WHERE c.device_id = device.id;
  DELETE FROM devices_channel c WHERE c.device_id = device.id;
  DELETE FROM device_cursor c WHERE c.device_id = device.id;
  DELETE FROM device_link l WHERE l.device_id = device.id;
  -- forgotten
  UPDATE devices_device d SET
    tenant_id = tenant, facility_id = device.facility_id, name = device.name,
    placement = device.placement, device_type_id = devices_type_for(device.device_type_id, tenant)
  WHERE d.id = device.id;
  FOREACH channel IN ARRAY coalesce(channels, '{{}}') LOOP
    channel.tenant_id := tenant;
    INSERT INTO devices_channel SELECT channel.*;
  END LOOP;
  FOREACH code IN ARRAY coalesce(codes, '{{}}') LOOP
    code.tenant_id := tenant;
    INSERT INTO devices_claimcode SELECT code.*;
  END LOOP;
  INSERT INTO device_cursor (device_id, tenant_id) VALUES (device.id, tenant);
  INSERT INTO device_link (device_id, tenant_id) VALUES (device.id, tenant);
END $$"""

FORGET = """DELETE FROM rollup_progress p WHERE p.device_id = device.id;
  DELETE FROM devices_devicepower p WHERE p.device_id = device.id;"""


class Migration(migrations.Migration):
    dependencies = [("devices", "0007_rollups")]

    operations = [
        Statements([_HAND_OVER.replace("-- forgotten", FORGET)], [_HAND_OVER]),
    ]
