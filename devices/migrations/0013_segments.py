"""Segments: an hour of a device, as it is kept for years."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import segment_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0012_rolled_up_samples")]

    operations = [
        Statements(segment_schema.CREATE, segment_schema.DROP),
        EnableRowSecurity("telemetry_segment", device_column="device_id", checks_device=True),
        EnableRowSecurity("telemetry_latest", device_column="device_id"),
    ]
