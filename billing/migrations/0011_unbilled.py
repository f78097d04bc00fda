"""What was supplied and is in no final bill yet, behind the wall."""

import django.db.models.deletion
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEY = Statements(
    [
        (
            "ALTER TABLE billing_unbilledaccount ADD CONSTRAINT"
            " billing_unbilledaccount_agreement_same_tenant"
            " FOREIGN KEY (tenant_id, facility_id, agreement_id)"
            " REFERENCES billing_agreement (tenant_id, facility_id, id)"
        )
    ],
    [
        (
            "ALTER TABLE billing_unbilledaccount"
            " DROP CONSTRAINT billing_unbilledaccount_agreement_same_tenant"
        )
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0010_comparisons"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
    ]

    operations = [
        migrations.CreateModel(
            name="UnbilledAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("first_on", models.DateField(null=True)),
                ("valued_from", models.DateField(null=True)),
                ("end_on", models.DateField()),
                ("imported_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("exported_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("estimated_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("missing_intervals", models.PositiveIntegerField(default=0)),
                ("net", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("computed_at", models.DateTimeField()),
                (
                    "agreement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="unbilled",
                        to="billing.agreement",
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
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["agreement"],
                "indexes": [
                    models.Index(fields=["tenant", "computed_at"], name="billing_unbilled_computed")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("exported_kwh", 0),
                                ("first_on__isnull", True),
                                ("imported_kwh", 0),
                                ("net", 0),
                                ("valued_from__isnull", True),
                            ),
                            models.Q(
                                ("first_on__isnull", False),
                                ("first_on__lte", models.F("valued_from")),
                                ("valued_from__isnull", False),
                                ("valued_from__lt", models.F("end_on")),
                            ),
                            _connector="OR",
                        ),
                        name="billing_unbilledaccount_days",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="UnbilledDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("on", models.DateField()),
                ("accounts", models.PositiveIntegerField()),
                ("problems", models.PositiveIntegerField()),
                ("oldest_on", models.DateField(null=True)),
                ("imported_kwh", models.DecimalField(decimal_places=12, max_digits=28)),
                ("exported_kwh", models.DecimalField(decimal_places=12, max_digits=28)),
                ("estimated_kwh", models.DecimalField(decimal_places=12, max_digits=28)),
                ("net", models.DecimalField(decimal_places=4, max_digits=18)),
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
                "ordering": ["tenant", "currency", "on"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "currency", "on"), name="billing_unbilledday_once"
                    )
                ],
            },
        ),
        FOREIGN_KEY,
        EnableRowSecurity("billing_unbilledaccount", facility_column="facility_id"),
        EnableRowSecurity("billing_unbilledday", tenant_wide=True),
    ]
