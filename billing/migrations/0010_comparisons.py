"""Comparisons of tariffs, and tariffs that customers may be told of."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEYS = Statements(
    [
        (
            "ALTER TABLE billing_tariffcomparison"
            " ADD CONSTRAINT billing_tariffcomparison_facility_same_tenant"
            " FOREIGN KEY (tenant_id, facility_id) REFERENCES devices_facility (tenant_id, id)"
        )
    ],
    [
        (
            "ALTER TABLE billing_tariffcomparison"
            " DROP CONSTRAINT billing_tariffcomparison_facility_same_tenant"
        )
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0009_claims"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="tariff",
            name="offered",
            field=models.BooleanField(default=False),
        ),
        migrations.CreateModel(
            name="TariffComparison",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(blank=True, max_length=160)),
                ("currency", models.CharField(max_length=3)),
                ("first_on", models.DateField()),
                ("end_on", models.DateField()),
                (
                    "agreements",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
                ("question", models.JSONField(default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Is being computed"),
                            ("done", "Computed"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=12,
                    ),
                ),
                ("done", models.PositiveIntegerField(default=0)),
                ("turn", models.PositiveIntegerField(default=0)),
                ("sums", models.JSONField(default=dict)),
                ("asked_at", models.DateTimeField()),
                ("advanced_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField()),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "facility",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.facility",
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
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-asked_at", "-pk"],
                "indexes": [
                    models.Index(fields=["expires_at"], name="billing_tariffcomparison_over")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("first_on__lt", models.F("end_on"))),
                        name="billing_tariffcomparison_days",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("state", "waiting")),
                            models.Q(
                                ("ended_at__isnull", False), ("state__in", ["done", "failed"])
                            ),
                            _connector="OR",
                        ),
                        name="billing_tariffcomparison_ended",
                    ),
                ],
            },
        ),
        FOREIGN_KEYS,
        EnableRowSecurity("billing_tariffcomparison", facility_column="facility_id"),
    ]
