"""Dunning, instalments, files of payments and those who tell of payments, behind the wall."""

from __future__ import annotations

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

_TENANT_WIDE = ("billing_paymentprovider", "billing_paymentimport", "billing_dunningpolicy")
_OF_FACILITY = ("billing_dunningcase", "billing_dunningevent", "billing_instalmentplan")
# Table, its columns, the table and columns that they name.
_TOGETHER = (
    ("billing_dunningcase", "agreement", "billing_agreement", ("facility_id",)),
    ("billing_dunningevent", "agreement", "billing_agreement", ("facility_id",)),
    ("billing_dunningevent", "case", "billing_dunningcase", ("agreement_id",)),
    ("billing_dunningevent", "fee", "billing_accountentry", ("agreement_id",)),
    ("billing_instalmentplan", "agreement", "billing_agreement", ("facility_id",)),
)

FOREIGN_KEYS = Statements(
    [
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_same_tenant FOREIGN KEY"
        f" ({', '.join(('tenant_id', *others, column + '_id'))})"
        f" REFERENCES {target} ({', '.join(('tenant_id', *others, 'id'))})"
        for table, column, target, others in _TOGETHER
    ],
    [
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_same_tenant"
        for table, column, _target, _others in reversed(_TOGETHER)
    ],
)

KEPT = Statements(
    [
        "REVOKE UPDATE, DELETE ON billing_dunningevent, billing_paymentimport FROM {app}",
        "GRANT UPDATE (mailed_at) ON billing_dunningevent TO {app}",
        "REVOKE DELETE ON billing_dunningcase, billing_instalmentplan FROM {app}",
    ],
    [
        "GRANT DELETE ON billing_dunningcase, billing_instalmentplan TO {app}",
        "GRANT UPDATE, DELETE ON billing_dunningevent, billing_paymentimport TO {app}",
    ],
)

# Whom a payment service speaks to, by the address that it posts to: asked before a scope can be
# opened, and worth nothing without the signature.
DOOR = Statements(
    [
        """CREATE FUNCTION door_payment_provider(provider text, tenant text)
RETURNS TABLE (tenant_id bigint, sealed_secret text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT t.id, p.sealed_secret
  FROM public.tenants_tenant t
  JOIN public.billing_paymentprovider p ON p.tenant_id = t.id
  WHERE t.slug = door_payment_provider.tenant
    AND p.provider = door_payment_provider.provider AND p.is_active;
END""",
        "REVOKE EXECUTE ON FUNCTION door_payment_provider(text, text) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_payment_provider(text, text) TO {app}",
    ],
    ["DROP FUNCTION door_payment_provider(text, text)"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0003_prepaid"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DunningCase",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("opened_at", models.DateTimeField()),
                ("counts_from", models.DateField()),
                ("taken", models.PositiveSmallIntegerField(default=0)),
                ("last_on", models.DateField(blank=True, null=True)),
                ("limited", models.BooleanField(default=False)),
                ("disabled", models.BooleanField(default=False)),
                ("owed_at_cut", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("next_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("outcome", models.CharField(blank=True, max_length=16)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="dunning",
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
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="DunningEvent",
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
                            ("reminder", "Reminder"),
                            ("fee", "Dunning with a fee"),
                            ("limit", "Power limited"),
                            ("disable", "Supply switched off"),
                            ("spared", "Not cut off: protected"),
                            ("restored", "Supply restored"),
                            ("closed", "Closed"),
                        ],
                        max_length=12,
                    ),
                ),
                ("step", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                ("overdue", models.DecimalField(decimal_places=4, max_digits=18)),
                ("currency", models.CharField(max_length=3)),
                ("text", models.CharField(blank=True, max_length=400)),
                (
                    "commands",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                (
                    "missed",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), blank=True, default=list, size=None
                    ),
                ),
                ("limits_before", models.JSONField(blank=True, default=dict)),
                ("mail_to", models.EmailField(blank=True, max_length=254)),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.agreement",
                    ),
                ),
                (
                    "case",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="billing.dunningcase",
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
                    "fee",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.accountentry",
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
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="DunningPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("is_active", models.BooleanField(default=True)),
                ("steps", models.JSONField(default=list)),
                ("minimum", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                (
                    "quiet_weekdays",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.PositiveSmallIntegerField(),
                        blank=True,
                        default=list,
                        size=None,
                    ),
                ),
                ("region", models.CharField(blank=True, max_length=8)),
                ("hour_from", models.PositiveSmallIntegerField(default=8)),
                ("hour_to", models.PositiveSmallIntegerField(default=18)),
                ("restore_percent", models.PositiveSmallIntegerField(default=100)),
                ("next_at", models.DateTimeField(default=django.utils.timezone.now)),
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
                "verbose_name_plural": "dunning policies",
                "ordering": ["tenant"],
            },
        ),
        migrations.CreateModel(
            name="InstalmentPlan",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("instalments", models.JSONField()),
                ("paid_before", models.DecimalField(decimal_places=4, max_digits=18)),
                ("grace_days", models.PositiveSmallIntegerField(default=3)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("active", "Running"),
                            ("kept", "Kept"),
                            ("broken", "Broken"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="active",
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="plans",
                        to="billing.agreement",
                    ),
                ),
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
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="PaymentImport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("file_name", models.CharField(max_length=200)),
                (
                    "format",
                    models.CharField(
                        choices=[("camt053", "Bank statement (CAMT.053)"), ("csv", "CSV file")],
                        max_length=8,
                    ),
                ),
                ("content", models.BinaryField(help_text="Compressed by zstd.")),
                ("size", models.PositiveIntegerField(help_text="Bytes as they came.")),
                ("lines", models.PositiveIntegerField()),
                ("taken", models.PositiveIntegerField()),
                ("matched", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
            name="PaymentProvider",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "provider",
                    models.CharField(
                        choices=[
                            ("manual", "Entered by hand"),
                            ("bank", "Bank statement"),
                            ("csv", "CSV file"),
                            ("stripe", "Stripe"),
                        ],
                        max_length=8,
                    ),
                ),
                ("sealed_secret", models.TextField(editable=False)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
                "ordering": ["tenant", "provider"],
            },
        ),
        migrations.AddIndex(
            model_name="dunningcase",
            index=models.Index(
                condition=models.Q(("closed_at__isnull", True)),
                fields=["next_at"],
                name="billing_dunningcase_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningcase",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_at__isnull", True)),
                fields=("agreement",),
                name="billing_dunningcase_one_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningcase",
            constraint=models.UniqueConstraint(
                fields=("tenant", "agreement", "id"), name="billing_dunningcase_tenant_agreement"
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningcase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("outcome", "")),
                    models.Q(
                        ("closed_at__isnull", False), models.Q(("outcome", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="billing_dunningcase_over",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningcase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closed_at__isnull", True),
                    models.Q(("disabled", False), ("limited", False)),
                    _connector="OR",
                ),
                name="billing_dunningcase_restored",
            ),
        ),
        migrations.AddIndex(
            model_name="dunningevent",
            index=models.Index(
                condition=models.Q(
                    ("mailed_at__isnull", True), models.Q(("mail_to", ""), _negated=True)
                ),
                fields=["id"],
                name="billing_dunningevent_to_mail",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningevent",
            constraint=models.UniqueConstraint(
                condition=models.Q(("step__isnull", False)),
                fields=("case", "kind", "step"),
                name="billing_dunningevent_step_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        ["reminder", "fee", "limit", "disable", "spared", "restored", "closed"],
                    )
                ),
                name="billing_dunningevent_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningpolicy",
            constraint=models.UniqueConstraint(
                fields=("tenant",), name="billing_dunningpolicy_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("hour_from__lt", models.F("hour_to")), ("hour_to__lte", 24)),
                name="billing_dunningpolicy_hours",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("restore_percent__gte", 1), ("restore_percent__lte", 100)),
                name="billing_dunningpolicy_restore",
            ),
        ),
        migrations.AddConstraint(
            model_name="dunningpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("minimum__gte", 0)), name="billing_dunningpolicy_minimum"
            ),
        ),
        migrations.AddConstraint(
            model_name="instalmentplan",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "active")),
                fields=("agreement",),
                name="billing_instalmentplan_one_active",
            ),
        ),
        migrations.AddConstraint(
            model_name="instalmentplan",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at__isnull", True), ("state", "active")),
                    models.Q(
                        ("ended_at__isnull", False), models.Q(("state", "active"), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="billing_instalmentplan_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentimport",
            constraint=models.UniqueConstraint(
                fields=("tenant", "sha256"), name="billing_paymentimport_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentimport",
            constraint=models.CheckConstraint(
                condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")),
                name="billing_paymentimport_hashed",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentprovider",
            constraint=models.UniqueConstraint(
                fields=("tenant", "provider"), name="billing_paymentprovider_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentprovider",
            constraint=models.CheckConstraint(
                condition=models.Q(("provider", "stripe")), name="billing_paymentprovider_signs"
            ),
        ),
        FOREIGN_KEYS,
        KEPT,
        DOOR,
        *(EnableRowSecurity(table, tenant_wide=True) for table in _TENANT_WIDE),
        *(EnableRowSecurity(table, facility_column="facility_id") for table in _OF_FACILITY),
    ]
