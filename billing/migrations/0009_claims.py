"""A device by which somebody is billed, or that sells its output by tokens, cannot be claimed."""

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
    AND NOT EXISTS (SELECT FROM public.devices_hold h WHERE h.device_id = device)
    {more}AND NOT EXISTS (SELECT FROM public.devices_allocation a
                    JOIN public.devices_channel ch ON ch.id = a.channel_id
                    WHERE ch.device_id = device);
END"""
_NOT_BILLED = """AND NOT EXISTS (SELECT FROM public.billing_paygunit p WHERE p.device_id = device)
    AND NOT EXISTS (SELECT FROM public.billing_agreementmeter m
                    JOIN public.devices_channel mc ON mc.id = m.channel_id
                    WHERE mc.device_id = device)
    """


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_wallet_notices"), ("devices", "0034_looks")]

    operations = [
        Statements([_IS_FRESH.format(more=_NOT_BILLED)], [_IS_FRESH.format(more="")]),
    ]
