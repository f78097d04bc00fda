"""Channels that were corrected say so."""

from __future__ import annotations

from django.db import migrations, models

from devices.telemetry import correction_schema
from tenants.rowsecurity import Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0026_prepared_chunks")]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="corrected",
            field=models.BooleanField(db_default=False, default=False, editable=False),
        ),
        Statements(correction_schema.MARKING, correction_schema.NO_MARKING),
    ]
