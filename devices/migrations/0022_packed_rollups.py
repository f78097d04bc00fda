"""Roll-ups packed by day, and those of local days."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import packed_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0021_corrections")]

    operations = [
        Statements(packed_schema.CREATE, packed_schema.DROP),
        EnableRowSecurity("rollup_packed", device_column="device_id", checks_device=True),
        EnableRowSecurity("rollup_1d", device_column="device_id", checks_device=True),
    ]
