"""Roll-ups of a quarter of an hour, and the narrow tables of what the park does now."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from devices.telemetry import rollup_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0006_restriction"),
        ("tenants", "0005_audit_origin"),
    ]

    operations = [
        migrations.CreateModel(
            name="DevicePower",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="power",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                ("power_w", models.FloatField(null=True)),
                ("measured_at", models.DateTimeField(null=True)),
                ("sampled_at", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="FacilityNow",
            fields=[
                (
                    "facility",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="now",
                        serialize=False,
                        to="devices.facility",
                    ),
                ),
                ("measured_at", models.DateTimeField(null=True)),
                ("known_until", models.DateTimeField(null=True)),
                ("grid_w", models.FloatField(null=True)),
                ("generation_w", models.FloatField(null=True)),
                ("storage_w", models.FloatField(null=True)),
                ("home_w", models.FloatField(null=True)),
                ("counted_at", models.DateTimeField(null=True)),
                ("day", models.DateField(null=True)),
                ("used_wh", models.FloatField(null=True)),
                ("used_same_wh", models.FloatField(null=True)),
                ("used_yesterday_wh", models.FloatField(null=True)),
                ("import_wh", models.FloatField(null=True)),
                ("export_wh", models.FloatField(null=True)),
                ("generation_wh", models.FloatField(null=True)),
                ("generation_same_wh", models.FloatField(null=True)),
                ("coverage", models.FloatField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        # Written by one statement for many rows: the owner's foreign keys would let a row of one
        # tenant name the facility of another.
        Statements(
            [
                (
                    "ALTER TABLE devices_devicepower ADD CONSTRAINT devices_devicepower_same_tenant"
                    " FOREIGN KEY (tenant_id, device_id) REFERENCES devices_device (tenant_id, id)"
                    " ON DELETE CASCADE"
                ),
                (
                    "ALTER TABLE devices_facilitynow ADD CONSTRAINT devices_facilitynow_same_tenant"
                    " FOREIGN KEY (tenant_id, facility_id) REFERENCES devices_facility (tenant_id, id)"
                    " ON DELETE CASCADE"
                ),
                "ALTER TABLE devices_devicepower SET (fillfactor = 50)",
                "ALTER TABLE devices_facilitynow SET (fillfactor = 50)",
            ],
            [
                "ALTER TABLE devices_facilitynow DROP CONSTRAINT devices_facilitynow_same_tenant",
                "ALTER TABLE devices_devicepower DROP CONSTRAINT devices_devicepower_same_tenant",
            ],
        ),
        Statements(rollup_schema.CREATE, rollup_schema.DROP),
        EnableRowSecurity("devices_devicepower", device_column="device_id"),
        EnableRowSecurity("devices_facilitynow", facility_column="facility_id"),
        EnableRowSecurity("rollup_15m", device_column="device_id", checks_device=True),
        EnableRowSecurity("rollup_progress", device_column="device_id"),
        EnableRowSecurity("rollup_dirty", facility_column="facility_id"),
        EnableRowSecurity("facility_15m", facility_column="facility_id"),
    ]
