"""The telemetry store; its SQL lies with the code that reads it (`devices/telemetry/schema.py`)."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0002_wall")]

    operations = [
        Statements(schema.CREATE, schema.DROP),
        *(
            EnableRowSecurity(
                table,
                device_column="device_id",
                checks_device=table not in schema.REFERENCING_TABLES,
            )
            for table in schema.TABLES
        ),
    ]
