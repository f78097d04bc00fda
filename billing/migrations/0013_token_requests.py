"""Tokens that nobody has paid for are asked for, and a second person agrees."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE billing_tokenrequest ADD CONSTRAINT billing_tokenrequest_{column}_same_tenant"
        f" FOREIGN KEY (tenant_id, facility_id, {column}_id)"
        f" REFERENCES {target} (tenant_id, facility_id, id)"
        for column, target in (("unit", "billing_paygunit"), ("token", "billing_paygtoken"))
    ],
    [
        f"ALTER TABLE billing_tokenrequest DROP CONSTRAINT billing_tokenrequest_{column}_same_tenant"
        for column in ("unit", "token")
    ],
)
# Who has asked for what stays; what is decided is added to it.
KEPT = Statements(
    ["REVOKE DELETE ON billing_tokenrequest FROM {app}"],
    ["GRANT DELETE ON billing_tokenrequest TO {app}"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0012_paused_cases"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="TokenRequest",
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
                            ("add_time", "Adds time"),
                            ("set_time", "Sets the time"),
                            ("disable_payg", "Ends pay as you go"),
                            ("counter_sync", "Sets the counter"),
                        ],
                        max_length=12,
                    ),
                ),
                ("days", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("reason", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waits for a second person"),
                            ("issued", "Issued"),
                            ("refused", "Refused"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.AddConstraint(
            model_name="paygtoken",
            constraint=models.UniqueConstraint(
                fields=("tenant", "facility", "id"), name="billing_paygtoken_tenant_facility_id"
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="asked_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="decided_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="facility",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="devices.facility"
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="token",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="request",
                to="billing.paygtoken",
            ),
        ),
        migrations.AddField(
            model_name="tokenrequest",
            name="unit",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="requests",
                to="billing.paygunit",
            ),
        ),
        migrations.AddIndex(
            model_name="tokenrequest",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["unit"],
                name="billing_tokenrequest_waiting",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokenrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("days__gte", 0),
                    ("kind__in", ["add_time", "set_time", "disable_payg", "counter_sync"]),
                ),
                name="billing_tokenrequest_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="tokenrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("decided_at__isnull", True), ("state", "waiting"), ("token__isnull", True)
                    ),
                    models.Q(
                        ("decided_at__isnull", False), ("state", "issued"), ("token__isnull", False)
                    ),
                    models.Q(
                        ("decided_at__isnull", False), ("state", "refused"), ("token__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="billing_tokenrequest_decided",
            ),
        ),
        FOREIGN_KEYS,
        EnableRowSecurity("billing_tokenrequest", facility_column="facility_id"),
        KEPT,
    ]
