"""What has to be rolled up again, and the announcement of what has changed in the past."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import redo_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0014_seals")]

    operations = [
        Statements(redo_schema.CREATE, redo_schema.DROP),
        EnableRowSecurity("rollup_redo", device_column="device_id", checks_device=True),
        EnableRowSecurity("history_change", facility_column="facility_id"),
    ]
