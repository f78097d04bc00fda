"""How long a tenant keeps what, legal holds, and the doors that remove what is over."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from devices.telemetry import retention_schema
from tenants.rowsecurity import EnableRowSecurity, Statements

# What is held is of the tenant; a hold is released, never changed or taken away.
HOLD = Statements(
    [
        *(
            f"ALTER TABLE devices_hold ADD CONSTRAINT devices_hold_{name}_same_tenant"
            f" FOREIGN KEY (tenant_id, {name}_id) REFERENCES devices_{name} (tenant_id, id)"
            for name in ("facility", "device")
        ),
        "REVOKE UPDATE, DELETE ON devices_hold FROM {app}",
        "GRANT UPDATE (released_at, released_by_id) ON devices_hold TO {app}",
    ],
    [
        "ALTER TABLE devices_hold DROP CONSTRAINT devices_hold_facility_same_tenant",
        "ALTER TABLE devices_hold DROP CONSTRAINT devices_hold_device_same_tenant",
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0017_derived"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Hold",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "devices",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), default=list, editable=False, size=None
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(max_length=400)),
                (
                    "cause",
                    models.CharField(
                        choices=[("person", "A person"), ("bill", "A bill")],
                        default="person",
                        max_length=16,
                    ),
                ),
                ("cause_id", models.BigIntegerField(null=True)),
                ("created_at", models.DateTimeField()),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "created_by",
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
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
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
                    "released_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
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
                "ordering": ["-created_at", "-pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=["tenant", "starts_at"],
                        name="devices_hold_standing",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at__isnull", True),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="devices_hold_period_ordered",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True),
                        name="devices_hold_has_reason",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("released_at__isnull", True)),
                        fields=("tenant", "cause", "cause_id"),
                        name="devices_hold_cause_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Retention",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "data_class",
                    models.CharField(
                        choices=[
                            ("readings", "Readings as measured"),
                            ("logs", "Log lines of devices"),
                            ("events", "Events and connections of devices"),
                            ("quarantine", "Quarantined messages"),
                        ],
                        max_length=16,
                    ),
                ),
                ("days", models.PositiveIntegerField(null=True)),
                ("shorter", models.BooleanField(default=False)),
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
                "ordering": ["tenant", "data_class"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "data_class"), name="devices_retention_class_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("days__isnull", True), ("days__gte", 31), _connector="OR"
                        ),
                        name="devices_retention_days_enough",
                    ),
                ],
            },
        ),
        HOLD,
        EnableRowSecurity("devices_retention", tenant_wide=True),
        EnableRowSecurity("devices_hold", facility_column="facility_id"),
        Statements(retention_schema.CREATE, retention_schema.DROP),
        EnableRowSecurity("retention_removal", tenant_wide=True),
    ]
