"""The newest sample that is rolled up of a device: who is far behind does not wait."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import rollup_schema
from tenants.rowsecurity import Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0011_import_starter")]

    operations = [Statements([rollup_schema.SAMPLED], [rollup_schema.NOT_SAMPLED])]
