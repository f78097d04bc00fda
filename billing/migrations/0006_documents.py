"""Documents of bills and their deliveries, behind the wall."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

_TABLES = ("billing_billfile", "billing_billdelivery")
FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_bill_same_tenant"
        " FOREIGN KEY (tenant_id, facility_id, bill_id)"
        " REFERENCES billing_bill (tenant_id, facility_id, id)"
        for table in _TABLES
    ],
    [f"ALTER TABLE {table} DROP CONSTRAINT {table}_bill_same_tenant" for table in _TABLES],
)
# What went out stays; how a delivery stands becomes known later.
FINAL = Statements(
    [
        "REVOKE UPDATE, DELETE ON billing_billfile, billing_billdelivery FROM {app}",
        (
            "GRANT UPDATE (state, attempts, due_at, sent_at, problem)"
            " ON billing_billdelivery TO {app}"
        ),
    ],
    ["GRANT UPDATE, DELETE ON billing_billfile, billing_billdelivery TO {app}"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_carried"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BillDelivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=60)),
                ("to", models.EmailField(max_length=254)),
                ("language", models.CharField(max_length=12)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("sent", "Sent"), ("failed", "Not sent")],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "bill deliveries",
                "ordering": ["bill", "pk"],
            },
        ),
        migrations.CreateModel(
            name="BillFile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("pdf", "PDF"),
                            ("cii", "E-invoice (CII)"),
                            ("ubl", "E-invoice (UBL)"),
                        ],
                        max_length=4,
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("size", models.PositiveIntegerField()),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["bill", "kind"],
            },
        ),
        migrations.AddField(
            model_name="billingsettings",
            name="mail_bills",
            field=models.BooleanField(default=True),
        ),
        migrations.AddIndex(
            model_name="bill",
            index=models.Index(fields=["tenant", "finalised_at"], name="billing_bill_finalised"),
        ),
        migrations.AddField(
            model_name="billdelivery",
            name="bill",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deliveries",
                to="billing.bill",
            ),
        ),
        migrations.AddField(
            model_name="billdelivery",
            name="facility",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.facility"
            ),
        ),
        migrations.AddField(
            model_name="billdelivery",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="billfile",
            name="bill",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="files", to="billing.bill"
            ),
        ),
        migrations.AddField(
            model_name="billfile",
            name="facility",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.facility"
            ),
        ),
        migrations.AddField(
            model_name="billfile",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddIndex(
            model_name="billdelivery",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["tenant", "due_at"],
                name="billing_billdelivery_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="billdelivery",
            constraint=models.UniqueConstraint(
                fields=("tenant", "key"), name="billing_billdelivery_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="billdelivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("sent_at__isnull", False), ("state", "sent")),
                    models.Q(("state__in", ["waiting", "failed"]), ("sent_at__isnull", True)),
                    _connector="OR",
                ),
                name="billing_billdelivery_states",
            ),
        ),
        migrations.AddConstraint(
            model_name="billfile",
            constraint=models.UniqueConstraint(
                fields=("bill", "kind"), name="billing_billfile_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="billfile",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["pdf", "cii", "ubl"])),
                name="billing_billfile_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="billfile",
            constraint=models.CheckConstraint(
                condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$"), ("size__gt", 0)),
                name="billing_billfile_digest",
            ),
        ),
        FOREIGN_KEYS,
        FINAL,
        *(EnableRowSecurity(table, facility_column="facility_id") for table in _TABLES),
    ]
