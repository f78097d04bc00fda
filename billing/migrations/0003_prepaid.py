"""Wallets of prepaid agreements, pay-as-you-go units and their tokens, behind the wall."""

from __future__ import annotations

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

# Table, its column, the table and columns that it names.
_TOGETHER = (
    ("billing_wallet", "agreement", "billing_agreement", ("facility_id",)),
    ("billing_walletmovement", "wallet", "billing_wallet", ("facility_id",)),
    ("billing_walletmovement", "agreement", "billing_agreement", ("facility_id",)),
    ("billing_walletmovement", "entry", "billing_accountentry", ("agreement_id",)),
    ("billing_walletmovement", "bill", "billing_bill", ("facility_id",)),
    ("billing_paygunit", "agreement", "billing_agreement", ("facility_id",)),
    ("billing_paygunit", "device", "devices_device", ()),
    ("billing_paygtoken", "unit", "billing_paygunit", ("facility_id",)),
    ("billing_paygtoken", "payment", "billing_payment", ()),
)
_OF_FACILITY = (
    "billing_wallet",
    "billing_walletmovement",
    "billing_paygunit",
    "billing_paygtoken",
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
# Money has moved, and a token was issued: that stays. How a token reached somebody becomes known
# later.
FINAL = Statements(
    [
        "REVOKE UPDATE, DELETE ON billing_walletmovement, billing_paygtoken FROM {app}",
        "GRANT UPDATE (delivery, delivered_at) ON billing_paygtoken TO {app}",
        "REVOKE DELETE ON billing_wallet, billing_paygunit FROM {app}",
    ],
    [
        "GRANT DELETE ON billing_wallet, billing_paygunit TO {app}",
        "GRANT UPDATE, DELETE ON billing_walletmovement, billing_paygtoken TO {app}",
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_wall"),
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PaygUnit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("secret", models.BinaryField()),
                ("starting_code", models.BinaryField()),
                ("count", models.PositiveIntegerField(default=0)),
                (
                    "divider",
                    models.PositiveSmallIntegerField(
                        default=1,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(96),
                        ],
                    ),
                ),
                ("extended", models.BooleanField(default=False)),
                ("restricted_digits", models.BooleanField(default=False)),
                (
                    "price_per_day",
                    models.DecimalField(
                        decimal_places=4,
                        max_digits=18,
                        validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("carried", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("paid_until", models.DateTimeField(blank=True, null=True)),
                ("released_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agreement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payg_unit",
                        to="billing.agreement",
                    ),
                ),
                (
                    "device",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
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
                "ordering": ["device"],
            },
        ),
        migrations.CreateModel(
            name="PaygToken",
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
                ("token", models.CharField(max_length=20)),
                ("count", models.PositiveIntegerField()),
                ("value", models.PositiveIntegerField(default=0)),
                (
                    "amount",
                    models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True),
                ),
                ("reason", models.CharField(blank=True, max_length=200)),
                (
                    "delivery",
                    models.CharField(
                        choices=[
                            ("portal", "In the portal"),
                            ("mail", "E-mail"),
                            ("wire", "Straight to the unit"),
                        ],
                        default="portal",
                        max_length=8,
                    ),
                ),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                ("issued_at", models.DateTimeField()),
                (
                    "facility",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.facility",
                    ),
                ),
                (
                    "issued_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "payment",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payg_token",
                        to="billing.payment",
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
                    "unit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tokens",
                        to="billing.paygunit",
                    ),
                ),
            ],
            options={
                "ordering": ["unit", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="Wallet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("balance", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("good", "Enough left"),
                            ("low", "Little left"),
                            ("emergency", "Emergency credit"),
                            ("friendly", "Spent, friendly hours"),
                            ("protected", "Spent, protected customer"),
                            ("spent", "Spent"),
                        ],
                        default="good",
                        max_length=12,
                    ),
                ),
                ("state_at", models.DateTimeField(blank=True, null=True)),
                (
                    "low_balance",
                    models.DecimalField(
                        decimal_places=4,
                        default=5,
                        max_digits=18,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                (
                    "emergency_credit",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        max_digits=18,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                ("friendly_from", models.TimeField(blank=True, null=True)),
                ("friendly_to", models.TimeField(blank=True, null=True)),
                ("friendly_weekend", models.BooleanField(default=False)),
                ("holidays", models.CharField(blank=True, max_length=12)),
                ("burned_at", models.DateTimeField(blank=True, null=True)),
                ("look_at", models.DateTimeField(blank=True, null=True)),
                ("switched_off_at", models.DateTimeField(blank=True, null=True)),
                ("switchings", models.PositiveIntegerField(default=0)),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agreement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="wallet",
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
            },
        ),
        migrations.CreateModel(
            name="WalletMovement",
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
                            ("entry", "Account entry"),
                            ("burn", "Use"),
                            ("bill", "Settled by the bill"),
                        ],
                        max_length=8,
                    ),
                ),
                ("key", models.CharField(max_length=80)),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("balance_after", models.DecimalField(decimal_places=4, max_digits=18)),
                ("month", models.DateField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.agreement",
                    ),
                ),
                (
                    "bill",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.bill",
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
                    "entry",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.accountentry",
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
                (
                    "wallet",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="billing.wallet",
                    ),
                ),
            ],
            options={
                "ordering": ["wallet", "pk"],
            },
        ),
        migrations.AddConstraint(
            model_name="paygunit",
            constraint=models.UniqueConstraint(
                fields=("tenant", "facility", "id"), name="billing_paygunit_tenant_facility_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="paygunit",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("carried__gte", 0), ("divider__gte", 1), ("price_per_day__gt", 0)
                ),
                name="billing_paygunit_price",
            ),
        ),
        migrations.AddConstraint(
            model_name="paygtoken",
            constraint=models.UniqueConstraint(
                fields=("unit", "count"), name="billing_paygtoken_count_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="paygtoken",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ["add_time", "set_time", "disable_payg", "counter_sync"]),
                    ("delivery__in", ["portal", "mail", "wire"]),
                ),
                name="billing_paygtoken_kinds_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.UniqueConstraint(
                fields=("tenant", "facility", "id"), name="billing_wallet_tenant_facility_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["good", "low", "emergency", "friendly", "protected", "spent"])
                ),
                name="billing_wallet_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(("emergency_credit__gte", 0), ("low_balance__gte", 0)),
                name="billing_wallet_limits",
            ),
        ),
        migrations.AddConstraint(
            model_name="wallet",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("friendly_from__isnull", True), ("friendly_to__isnull", True)),
                    models.Q(("friendly_from__isnull", False), ("friendly_to__isnull", False)),
                    _connector="OR",
                ),
                name="billing_wallet_friendly_both",
            ),
        ),
        migrations.AddIndex(
            model_name="walletmovement",
            index=models.Index(fields=["wallet", "month"], name="billing_walletmovement_month"),
        ),
        migrations.AddConstraint(
            model_name="walletmovement",
            constraint=models.UniqueConstraint(
                fields=("tenant", "key"), name="billing_walletmovement_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="walletmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["entry", "burn", "bill"])),
                name="billing_walletmovement_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletmovement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("entry__isnull", False), ("kind", "entry"), ("month__isnull", True)),
                    models.Q(
                        ("entry__isnull", True),
                        ("kind__in", ["burn", "bill"]),
                        ("month__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="billing_walletmovement_of",
            ),
        ),
        FOREIGN_KEYS,
        FINAL,
        *(EnableRowSecurity(table, facility_column="facility_id") for table in _OF_FACILITY),
    ]
