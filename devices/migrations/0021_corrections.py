"""Corrections of readings, and their withdrawals."""

from __future__ import annotations

import datetime

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.text
import django.db.models.lookups
from django.conf import settings
from django.db import migrations, models

from devices.telemetry import correction_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0020_history_imports_wall"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        Statements(correction_schema.FUNCTIONS, correction_schema.NO_FUNCTIONS),
        migrations.CreateModel(
            name="Correction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.PositiveSmallIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("scale", "Scale"),
                            ("replace", "Replace"),
                            ("shift", "Shift in time"),
                            ("remove", "Remove"),
                        ],
                        max_length=8,
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("factor", models.DecimalField(decimal_places=10, max_digits=20, null=True)),
                ("offset", models.DecimalField(decimal_places=10, max_digits=24, null=True)),
                ("shift_ms", models.BigIntegerField(null=True)),
                ("readings", models.BinaryField(null=True)),
                ("reading_count", models.PositiveIntegerField(null=True)),
                ("reason", models.CharField(max_length=500)),
                (
                    "known_at",
                    models.DateTimeField(
                        db_default=models.Func(function="devices_correction_second")
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
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
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="CorrectionWithdrawal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.CharField(max_length=500)),
                (
                    "known_at",
                    models.DateTimeField(
                        db_default=models.Func(function="devices_correction_second")
                    ),
                ),
                (
                    "author",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "correction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="withdrawal",
                        to="devices.correction",
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
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
        ),
        migrations.AddIndex(
            model_name="correction",
            index=models.Index(fields=["device", "channel"], name="devices_correction_channel"),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_at__gt", models.F("starts_at")),
                    (
                        "ends_at__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("starts_at"), "+", models.Value(datetime.timedelta(days=3660))
                        ),
                    ),
                ),
                name="devices_correction_period_ordered",
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("factor__isnull", False),
                        ("kind", "scale"),
                        ("offset__isnull", False),
                        models.Q(("factor", 0), _negated=True),
                        ("readings__isnull", True),
                        ("shift_ms__isnull", True),
                    ),
                    models.Q(
                        ("factor__isnull", True),
                        ("kind", "replace"),
                        ("offset__isnull", True),
                        ("reading_count__gt", 0),
                        ("readings__isnull", False),
                        ("shift_ms__isnull", True),
                    ),
                    models.Q(
                        ("kind", "shift"),
                        ("shift_ms__isnull", False),
                        models.Q(("shift_ms", 0), _negated=True),
                        ("factor__isnull", True),
                        ("offset__isnull", True),
                        ("readings__isnull", True),
                    ),
                    models.Q(
                        ("factor__isnull", True),
                        ("kind", "remove"),
                        ("offset__isnull", True),
                        ("readings__isnull", True),
                        ("shift_ms__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="devices_correction_kind_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="correction",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.NegatedExpression(
                    django.db.models.lookups.Exact(
                        django.db.models.functions.text.Trim("reason"), ""
                    )
                ),
                name="devices_correction_reasoned",
            ),
        ),
        migrations.AddConstraint(
            model_name="correctionwithdrawal",
            constraint=models.CheckConstraint(
                condition=django.db.models.expressions.NegatedExpression(
                    django.db.models.lookups.Exact(
                        django.db.models.functions.text.Trim("reason"), ""
                    )
                ),
                name="devices_correctionwithdrawal_reasoned",
            ),
        ),
        Statements(correction_schema.CREATE, correction_schema.DROP),
        EnableRowSecurity("devices_correction", device_column="device_id", checks_device=True),
        EnableRowSecurity(
            "devices_correctionwithdrawal", device_column="device_id", checks_device=True
        ),
    ]
