"""Seals of segments."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import seal_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0013_segments")]

    operations = [
        Statements(seal_schema.CREATE, seal_schema.DROP),
        EnableRowSecurity("segment_seal", device_column="device_id", checks_device=True),
    ]
