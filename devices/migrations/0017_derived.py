"""Derived channels: their formulas in versions, what has to be computed again of them, and what
they remember. No device can report them, and who claims a device takes them along."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from devices.telemetry import derived_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0016_meter_tree"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="channel",
            name="derived",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="FormulaVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("valid_from", models.DateTimeField()),
                ("known_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("text", models.CharField(blank=True, max_length=1000)),
                (
                    "names",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=130),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                (
                    "inputs",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "devices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="versions",
                        to="devices.channel",
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
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
                "ordering": ["channel", "valid_from", "pk"],
                "indexes": [
                    models.Index(fields=["channel"], name="devices_formula_channel"),
                    django.contrib.postgres.indexes.GinIndex(
                        fields=["devices"], name="devices_formula_devices"
                    ),
                ],
            },
        ),
        Statements(derived_schema.CREATE, derived_schema.DROP),
        Statements(
            [derived_schema.CREDENTIAL, derived_schema.HAND_OVER],
            [derived_schema.FORMER_CREDENTIAL, derived_schema.FORMER_HAND_OVER],
        ),
        *(
            EnableRowSecurity(table, device_column="device_id", checks_device=True)
            for table in ("devices_formulaversion", "formula_due", "formula_state")
        ),
    ]
