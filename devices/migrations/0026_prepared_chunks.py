"""Chunks are made before they are needed."""

from __future__ import annotations

from django.db import migrations

from devices.telemetry import chunk_schema
from tenants.rowsecurity import Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0025_retention_of_rollups")]

    operations = [Statements(chunk_schema.CREATE, chunk_schema.DROP)]
