"""Retention of quarters, days and sums of facilities."""

from __future__ import annotations

from django.db import migrations, models

from devices.telemetry import retention_rollups_schema
from tenants.rowsecurity import Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0024_export_parts_written"),
    ]

    operations = [
        migrations.AlterField(
            model_name="retention",
            name="data_class",
            field=models.CharField(
                choices=[
                    ("readings", "Readings as measured"),
                    ("quarters", "Energy and values by the quarter of an hour"),
                    ("days", "Days, and sums of facilities"),
                    ("logs", "Log lines of devices"),
                    ("events", "Events and connections of devices"),
                    ("quarantine", "Quarantined messages"),
                ],
                max_length=16,
            ),
        ),
        Statements(retention_rollups_schema.CREATE, retention_rollups_schema.DROP),
    ]
