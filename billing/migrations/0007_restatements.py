"""What final bills were computed from, compared with what is known since."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE billing_restatement ADD CONSTRAINT billing_restatement_{column}_same_tenant"
        f" FOREIGN KEY (tenant_id, facility_id, {column}_id)"
        " REFERENCES billing_bill (tenant_id, facility_id, id)"
        for column in ("bill", "credit_note", "new_bill")
    ],
    [
        f"ALTER TABLE billing_restatement DROP CONSTRAINT billing_restatement_{column}_same_tenant"
        for column in ("bill", "credit_note", "new_bill")
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0006_documents"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="billevidence",
            name="change_id",
            field=models.BigIntegerField(default=0),
        ),
        migrations.CreateModel(
            name="ChangesRead",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("change_id", models.BigIntegerField(default=0)),
                ("read_at", models.DateTimeField(null=True)),
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
                "verbose_name_plural": "changes read",
                "ordering": ["tenant"],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="billing_changesread_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Restatement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("found", "To be computed"),
                            ("unchanged", "Unchanged"),
                            ("drafted", "To be settled"),
                            ("settled", "Settled"),
                            ("dismissed", "Let stand"),
                            ("failed", "Failed"),
                        ],
                        default="found",
                        max_length=12,
                    ),
                ),
                ("causes", models.JSONField(default=list)),
                ("difference", models.DecimalField(decimal_places=4, max_digits=18, null=True)),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("reason", models.CharField(blank=True, max_length=400)),
                ("found_at", models.DateTimeField()),
                ("computed_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "bill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="restatements",
                        to="billing.bill",
                    ),
                ),
                (
                    "credit_note",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="billing.bill",
                    ),
                ),
                (
                    "decided_by",
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
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.facility",
                    ),
                ),
                (
                    "new_bill",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="billing.bill",
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
                "ordering": ["-found_at", "-pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=["state"],
                        name="billing_restatement_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("bill",),
                        name="billing_restatement_one_open",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("ended_at__isnull", True),
                                ("state__in", ["found", "drafted", "failed"]),
                            ),
                            models.Q(
                                ("ended_at__isnull", False),
                                ("state__in", ["unchanged", "settled", "dismissed"]),
                            ),
                            _connector="OR",
                        ),
                        name="billing_restatement_ended",
                    ),
                ],
            },
        ),
        FOREIGN_KEYS,
        EnableRowSecurity("billing_restatement", facility_column="facility_id"),
        EnableRowSecurity("billing_changesread", tenant_wide=True),
    ]
