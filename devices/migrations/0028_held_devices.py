"""A device that a hold was made for stays with its tenant, though it has never reported."""

from __future__ import annotations

from django.db import migrations

from tenants.rowsecurity import Statements

_IS_FRESH = """CREATE OR REPLACE FUNCTION devices_is_fresh(device bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT EXISTS (SELECT FROM public.devices_device d WHERE d.id = device AND d.state = 'planned')
    AND NOT EXISTS (SELECT FROM public.device_cursor c
                    WHERE c.device_id = device AND c.produced + c.committed > 0)
    AND NOT EXISTS (SELECT FROM public.telemetry_latest l WHERE l.device_id = device)
    AND NOT EXISTS (SELECT FROM public.devices_historyimportpart i WHERE i.device_id = device)
    {more}AND NOT EXISTS (SELECT FROM public.devices_allocation a
                    JOIN public.devices_channel ch ON ch.id = a.channel_id
                    WHERE ch.device_id = device);
END"""
_NOT_HELD = "AND NOT EXISTS (SELECT FROM public.devices_hold h WHERE h.device_id = device)\n    "


class Migration(migrations.Migration):
    dependencies = [("devices", "0027_corrected_channels")]

    operations = [
        Statements([_IS_FRESH.format(more=_NOT_HELD)], [_IS_FRESH.format(more="")]),
    ]
