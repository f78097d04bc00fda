"""Tariffs, customers, agreements, bills and payments."""

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("devices", "0034_looks"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Agreement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.CharField(max_length=40)),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("postpaid", "Postpaid"),
                            ("prepaid", "Prepaid wallet"),
                            ("payg", "Pay as you go"),
                        ],
                        default="postpaid",
                        max_length=8,
                    ),
                ),
                (
                    "cycle",
                    models.CharField(
                        choices=[
                            ("month", "Monthly"),
                            ("quarter", "Quarterly"),
                            ("year", "Yearly"),
                        ],
                        default="month",
                        max_length=8,
                    ),
                ),
                ("currency", models.CharField(max_length=3)),
                ("payment_days", models.PositiveSmallIntegerField(default=14)),
                ("cost_centre", models.CharField(blank=True, max_length=60)),
                ("starts_on", models.DateField()),
                ("ends_on", models.DateField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["number", "pk"],
            },
        ),
        migrations.CreateModel(
            name="BillRun",
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
                        choices=[("regular", "Regular"), ("restatement", "Restatement")],
                        default="regular",
                        max_length=12,
                    ),
                ),
                (
                    "cycle",
                    models.CharField(
                        choices=[
                            ("month", "Monthly"),
                            ("quarter", "Quarterly"),
                            ("year", "Yearly"),
                        ],
                        default="month",
                        max_length=8,
                    ),
                ),
                ("first_on", models.DateField()),
                ("end_on", models.DateField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("rating", "Rating"),
                            ("checking", "To be approved"),
                            ("approved", "Being finalised"),
                            ("finished", "Finished"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="rating",
                        max_length=12,
                    ),
                ),
                ("known_at", models.DateTimeField()),
                ("issued_on", models.DateField(blank=True, null=True)),
                ("cause", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("approved_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
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
            },
        ),
        migrations.CreateModel(
            name="Bill",
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
                        choices=[("invoice", "Bill"), ("credit_note", "Credit note")],
                        default="invoice",
                        max_length=12,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("final", "Final"), ("void", "Void")],
                        default="draft",
                        max_length=8,
                    ),
                ),
                ("series", models.CharField(blank=True, max_length=20)),
                ("number", models.CharField(blank=True, max_length=48)),
                ("revision", models.PositiveSmallIntegerField(default=1)),
                ("cause", models.CharField(blank=True, max_length=400)),
                ("first_on", models.DateField()),
                ("end_on", models.DateField()),
                ("zone", models.CharField(max_length=64)),
                ("currency", models.CharField(max_length=3)),
                ("net", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("tax", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("total", models.DecimalField(decimal_places=4, default=0, max_digits=18)),
                ("imported_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("exported_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("estimated_kwh", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("missing_intervals", models.PositiveIntegerField(default=0)),
                ("parties", models.JSONField(default=dict)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("issued_on", models.DateField(blank=True, null=True)),
                ("due_on", models.DateField(blank=True, null=True)),
                ("finalised_at", models.DateTimeField(blank=True, null=True)),
                ("voided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bills",
                        to="billing.agreement",
                    ),
                ),
                (
                    "corrects",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
                        to="billing.bill",
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
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bills",
                        to="billing.billrun",
                    ),
                ),
            ],
            options={
                "ordering": ["-first_on", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="BillRunItem",
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
                            ("waiting", "Waiting"),
                            ("drafted", "Drafted"),
                            ("held", "To be looked at"),
                            ("final", "Final"),
                            ("skipped", "Left out"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=8,
                    ),
                ),
                ("findings", models.JSONField(blank=True, default=list)),
                ("problem", models.CharField(blank=True, max_length=400)),
                ("accepted_at", models.DateTimeField(null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
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
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="items",
                        to="billing.billrun",
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
                "ordering": ["run", "pk"],
            },
        ),
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.CharField(max_length=40)),
                (
                    "kind",
                    models.CharField(
                        choices=[("person", "Person"), ("company", "Company")],
                        default="person",
                        max_length=8,
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("phone", models.CharField(blank=True, max_length=32)),
                ("language", models.CharField(default="en", max_length=8)),
                ("street", models.CharField(blank=True, max_length=120)),
                ("postal_code", models.CharField(blank=True, max_length=16)),
                ("city", models.CharField(blank=True, max_length=80)),
                (
                    "country",
                    models.CharField(blank=True, help_text="ISO 3166-1 alpha-2.", max_length=2),
                ),
                ("vat_id", models.CharField(blank=True, max_length=20)),
                ("buyer_reference", models.CharField(blank=True, max_length=60)),
                ("protected", models.BooleanField(default=False)),
                ("protected_reason", models.CharField(blank=True, max_length=200)),
                ("protected_until", models.DateField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
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
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name", "pk"],
            },
        ),
        migrations.AddField(
            model_name="agreement",
            name="customer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="agreements",
                to="billing.customer",
            ),
        ),
        migrations.CreateModel(
            name="NumberSeries",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=20)),
                ("prefix", models.CharField(blank=True, max_length=20)),
                ("next_number", models.PositiveBigIntegerField(default=1)),
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
                "verbose_name_plural": "number series",
                "ordering": ["tenant", "code"],
            },
        ),
        migrations.CreateModel(
            name="Payment",
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
                ("external_id", models.CharField(max_length=200)),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("currency", models.CharField(max_length=3)),
                ("received_on", models.DateField()),
                ("payer", models.CharField(blank=True, max_length=140)),
                ("payer_account", models.CharField(blank=True, max_length=34)),
                ("text", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payments",
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
                    "refunds",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunded_by",
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
            ],
            options={
                "ordering": ["-received_on", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="AccountEntry",
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
                            ("bill", "Bill"),
                            ("credit_note", "Credit note"),
                            ("payment", "Payment"),
                            ("refund", "Refund"),
                            ("fee", "Fee"),
                            ("write_off", "Write-off"),
                        ],
                        max_length=12,
                    ),
                ),
                ("key", models.CharField(max_length=80)),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("currency", models.CharField(max_length=3)),
                ("booked_on", models.DateField()),
                ("due_on", models.DateField()),
                ("text", models.CharField(blank=True, max_length=200)),
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
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.agreement",
                    ),
                ),
                (
                    "bill",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.bill",
                    ),
                ),
                (
                    "payment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="entries",
                        to="billing.payment",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "account entries",
                "ordering": ["agreement", "due_on", "pk"],
            },
        ),
        migrations.CreateModel(
            name="PriceSeries",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                ("currency", models.CharField(max_length=3)),
                ("step_s", models.PositiveIntegerField(default=3600)),
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
                "verbose_name_plural": "price series",
                "ordering": ["name", "pk"],
            },
        ),
        migrations.CreateModel(
            name="PriceValue",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("price", models.DecimalField(decimal_places=12, max_digits=28)),
                ("entered_at", models.DateTimeField()),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="values",
                        to="billing.priceseries",
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
                "ordering": ["series", "starts_at", "entered_at"],
            },
        ),
        migrations.CreateModel(
            name="Tariff",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("description", models.CharField(blank=True, max_length=400)),
                ("currency", models.CharField(max_length=3)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
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
                "ordering": ["name", "pk"],
            },
        ),
        migrations.CreateModel(
            name="AgreementTariff",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "contracted_kw",
                    models.DecimalField(
                        blank=True,
                        decimal_places=12,
                        max_digits=28,
                        null=True,
                        validators=[django.core.validators.MinValueValidator(0)],
                    ),
                ),
                ("starts_on", models.DateField()),
                ("ends_on", models.DateField(blank=True, null=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tariffs",
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
                (
                    "tariff",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.tariff",
                    ),
                ),
            ],
            options={
                "ordering": ["agreement", "starts_on"],
            },
        ),
        migrations.CreateModel(
            name="TariffVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("valid_from", models.DateField()),
                ("revision", models.PositiveSmallIntegerField(default=1)),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "Draft"), ("published", "Published")],
                        default="draft",
                        max_length=12,
                    ),
                ),
                ("document", models.JSONField()),
                ("source", models.TextField(blank=True)),
                ("sha256", models.CharField(max_length=64)),
                ("reason", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("published_at", models.DateTimeField(blank=True, null=True)),
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
                    "published_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tariff",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="billing.tariff",
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
                "ordering": ["tariff", "valid_from", "revision"],
            },
        ),
        migrations.CreateModel(
            name="AgreementMeter",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "flow",
                    models.CharField(
                        choices=[
                            ("import", "Drawn from the grid"),
                            ("export", "Given to the grid"),
                            ("reactive", "Reactive energy"),
                        ],
                        default="import",
                        max_length=8,
                    ),
                ),
                ("share", models.DecimalField(decimal_places=8, default=1, max_digits=9)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(blank=True, null=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="meters",
                        to="billing.agreement",
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.channel",
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
                "ordering": ["agreement", "starts_at", "pk"],
                "indexes": [
                    models.Index(fields=["channel"], name="billing_agreementmeter_channel")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("agreement", "channel", "flow", "starts_at"),
                        name="billing_agreementmeter_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at__isnull", True),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="billing_agreementmeter_period",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("share__gte", -1),
                            ("share__lte", 1),
                            models.Q(("share", 0), _negated=True),
                        ),
                        name="billing_agreementmeter_share",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Allocation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount", models.DecimalField(decimal_places=4, max_digits=18)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "agreement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.agreement",
                    ),
                ),
                (
                    "credit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="settles",
                        to="billing.accountentry",
                    ),
                ),
                (
                    "debit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="settled_by",
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
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount", 0), _negated=True),
                        name="billing_allocation_amount",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BillEvidence",
            fields=[
                (
                    "bill",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="evidence",
                        serialize=False,
                        to="billing.bill",
                    ),
                ),
                ("known_at", models.DateTimeField()),
                ("format", models.PositiveSmallIntegerField(default=1)),
                ("body", models.BinaryField()),
                ("sha256", models.CharField(max_length=64)),
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
                "verbose_name_plural": "bill evidence",
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="BillingSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("legal_name", models.CharField(max_length=120)),
                ("street", models.CharField(blank=True, max_length=120)),
                ("postal_code", models.CharField(blank=True, max_length=16)),
                ("city", models.CharField(blank=True, max_length=80)),
                ("country", models.CharField(blank=True, max_length=2)),
                ("vat_id", models.CharField(blank=True, max_length=20)),
                ("tax_number", models.CharField(blank=True, max_length=30)),
                ("email", models.EmailField(blank=True, max_length=254)),
                ("phone", models.CharField(blank=True, max_length=32)),
                ("iban", models.CharField(blank=True, max_length=34)),
                ("bic", models.CharField(blank=True, max_length=11)),
                ("bank_name", models.CharField(blank=True, max_length=80)),
                ("footer", models.CharField(blank=True, max_length=400)),
                ("currency", models.CharField(default="EUR", max_length=3)),
                ("second_person", models.BooleanField(default=True)),
                (
                    "estimate_percent",
                    models.DecimalField(decimal_places=2, default=20, max_digits=5),
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
                "verbose_name_plural": "billing settings",
                "ordering": ["tenant"],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant",), name="billing_billingsettings_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="BillLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("position", models.PositiveSmallIntegerField()),
                ("component", models.CharField(max_length=60)),
                ("kind", models.CharField(max_length=16)),
                ("label", models.CharField(max_length=200)),
                ("first_on", models.DateField()),
                ("end_on", models.DateField()),
                ("period", models.CharField(blank=True, max_length=60)),
                ("tier", models.PositiveSmallIntegerField(default=0)),
                ("quantity", models.DecimalField(decimal_places=12, max_digits=28)),
                ("unit", models.CharField(max_length=16)),
                ("price", models.DecimalField(decimal_places=12, max_digits=28, null=True)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=28)),
                ("estimated", models.DecimalField(decimal_places=12, default=0, max_digits=28)),
                ("at", models.DateTimeField(null=True)),
                ("tax_percent", models.DecimalField(decimal_places=3, max_digits=6, null=True)),
                ("detail", models.JSONField(default=dict)),
                (
                    "bill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="billing.bill",
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
                "ordering": ["bill", "position"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("bill", "position"), name="billing_billline_once"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="billrun",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True)),
                fields=["id"],
                name="billing_billrun_open",
            ),
        ),
        migrations.AddConstraint(
            model_name="billrun",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_billrun_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="billrun",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_on__gt", models.F("first_on"))),
                name="billing_billrun_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="billrun",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["rating", "checking", "approved", "finished", "cancelled"])
                ),
                name="billing_billrun_state_known",
            ),
        ),
        migrations.AddIndex(
            model_name="bill",
            index=models.Index(fields=["tenant", "-first_on"], name="billing_bill_recent"),
        ),
        migrations.AddIndex(
            model_name="bill",
            index=models.Index(fields=["run", "state"], name="billing_bill_run_state"),
        ),
        migrations.AddIndex(
            model_name="bill",
            index=models.Index(fields=["user"], name="billing_bill_user"),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.UniqueConstraint(
                fields=("agreement", "first_on", "end_on", "kind", "revision"),
                name="billing_bill_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.UniqueConstraint(
                condition=models.Q(("number", ""), _negated=True),
                fields=("tenant", "series", "number"),
                name="billing_bill_number_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.UniqueConstraint(
                fields=("tenant", "facility", "id"), name="billing_bill_tenant_facility_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.CheckConstraint(
                condition=models.Q(("end_on__gt", models.F("first_on"))), name="billing_bill_period"
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finalised_at__isnull", True), ("number", ""), ("state", "draft")),
                    models.Q(
                        ("due_on__isnull", False),
                        ("finalised_at__isnull", False),
                        ("issued_on__isnull", False),
                        ("state__in", ["final", "void"]),
                        models.Q(("number", ""), _negated=True),
                        models.Q(("sha256", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="billing_bill_final_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind", "invoice"),
                    models.Q(("corrects__isnull", False), ("kind", "credit_note")),
                    _connector="OR",
                ),
                name="billing_bill_credit_of",
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "total",
                        django.db.models.expressions.CombinedExpression(
                            models.F("net"), "+", models.F("tax")
                        ),
                    )
                ),
                name="billing_bill_adds_up",
            ),
        ),
        migrations.AddConstraint(
            model_name="bill",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=models.Q(("kind", "invoice"), ("state", "final")),
                expressions=[
                    ("agreement", "="),
                    (
                        models.Func(
                            "first_on",
                            "end_on",
                            django.contrib.postgres.fields.ranges.RangeBoundary(),
                            function="DATERANGE",
                            output_field=django.contrib.postgres.fields.ranges.DateRangeField(),
                        ),
                        "&&",
                    ),
                ],
                name="billing_bill_no_overlap",
            ),
        ),
        migrations.AddIndex(
            model_name="billrunitem",
            index=models.Index(fields=["run", "state"], name="billing_billrunitem_state"),
        ),
        migrations.AddConstraint(
            model_name="billrunitem",
            constraint=models.UniqueConstraint(
                fields=("run", "agreement"), name="billing_billrunitem_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.UniqueConstraint(
                fields=("tenant", "number"), name="billing_customer_number_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_customer_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("name", ""), _negated=True), models.Q(("number", ""), _negated=True)
                ),
                name="billing_customer_named",
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("country", ""), ("country__regex", "^[A-Z]{2}$"), _connector="OR"
                ),
                name="billing_customer_country_code",
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("protected", False),
                    models.Q(("protected_reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="billing_customer_protected_why",
            ),
        ),
        migrations.AddIndex(
            model_name="agreement",
            index=models.Index(fields=["customer"], name="billing_agreement_customer"),
        ),
        migrations.AddIndex(
            model_name="agreement",
            index=models.Index(fields=["user"], name="billing_agreement_user"),
        ),
        migrations.AddConstraint(
            model_name="agreement",
            constraint=models.UniqueConstraint(
                fields=("tenant", "number"), name="billing_agreement_number_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="agreement",
            constraint=models.UniqueConstraint(
                fields=("tenant", "facility", "id"), name="billing_agreement_tenant_facility_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="agreement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_on__isnull", True),
                    ("ends_on__gt", models.F("starts_on")),
                    _connector="OR",
                ),
                name="billing_agreement_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="agreement",
            constraint=models.CheckConstraint(
                condition=models.Q(("number", ""), _negated=True), name="billing_agreement_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="agreement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("mode__in", ["postpaid", "prepaid", "payg"]),
                    ("cycle__in", ["month", "quarter", "year"]),
                ),
                name="billing_agreement_kinds_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="numberseries",
            constraint=models.UniqueConstraint(
                fields=("tenant", "code"), name="billing_numberseries_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                fields=("tenant", "provider", "external_id"), name="billing_payment_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_payment_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount", 0), _negated=True), name="billing_payment_amount"
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(("provider__in", ["manual", "bank", "csv", "stripe"])),
                name="billing_payment_provider_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="accountentry",
            constraint=models.UniqueConstraint(
                fields=("tenant", "key"), name="billing_accountentry_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="accountentry",
            constraint=models.UniqueConstraint(
                fields=("tenant", "agreement", "id"), name="billing_accountentry_tenant_agreement"
            ),
        ),
        migrations.AddConstraint(
            model_name="accountentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("kind__in", ["bill", "credit_note", "payment", "refund", "fee", "write_off"])
                ),
                name="billing_accountentry_kind_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="priceseries",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"), name="billing_priceseries_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="priceseries",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_priceseries_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="priceseries",
            constraint=models.CheckConstraint(
                condition=models.Q(("step_s__in", [900, 1800, 3600])),
                name="billing_priceseries_step_known",
            ),
        ),
        migrations.AddIndex(
            model_name="pricevalue",
            index=models.Index(fields=["series", "entered_at"], name="billing_pricevalue_entered"),
        ),
        migrations.AddConstraint(
            model_name="pricevalue",
            constraint=models.UniqueConstraint(
                fields=("series", "starts_at", "entered_at"), name="billing_pricevalue_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="tariff",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"), name="billing_tariff_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="tariff",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_tariff_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="tariff",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="billing_tariff_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="tariff",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency__regex", "^[A-Z]{3}$")),
                name="billing_tariff_currency_code",
            ),
        ),
        migrations.AddIndex(
            model_name="agreementtariff",
            index=models.Index(fields=["tariff"], name="billing_agreementtariff_of"),
        ),
        migrations.AddConstraint(
            model_name="agreementtariff",
            constraint=models.UniqueConstraint(
                fields=("agreement", "starts_on"), name="billing_agreementtariff_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="agreementtariff",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("ends_on__isnull", True),
                    ("ends_on__gt", models.F("starts_on")),
                    _connector="OR",
                ),
                name="billing_agreementtariff_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="agreementtariff",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("contracted_kw__isnull", True), ("contracted_kw__gte", 0), _connector="OR"
                ),
                name="billing_agreementtariff_power",
            ),
        ),
        migrations.AddConstraint(
            model_name="agreementtariff",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[
                    ("agreement", "="),
                    (
                        models.Func(
                            "starts_on",
                            "ends_on",
                            django.contrib.postgres.fields.ranges.RangeBoundary(),
                            function="DATERANGE",
                            output_field=django.contrib.postgres.fields.ranges.DateRangeField(),
                        ),
                        "&&",
                    ),
                ],
                name="billing_agreementtariff_no_overlap",
            ),
        ),
        migrations.AddConstraint(
            model_name="tariffversion",
            constraint=models.UniqueConstraint(
                fields=("tariff", "valid_from", "revision"),
                name="billing_tariffversion_revision_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="tariffversion",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="billing_tariffversion_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="tariffversion",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("published_at__isnull", True), ("state", "draft")),
                    models.Q(("published_at__isnull", False), ("state", "published")),
                    _connector="OR",
                ),
                name="billing_tariffversion_published_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="tariffversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")),
                name="billing_tariffversion_hashed",
            ),
        ),
    ]
