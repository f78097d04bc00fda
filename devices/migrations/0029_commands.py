"""Commands to devices with their history, the inbox, and what devices say of themselves."""

from __future__ import annotations

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from devices.telemetry import command_schema
from tenants.rowsecurity import EnableFacilitiesRowSecurity, EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0028_held_devices"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CommandBatch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=32)),
                ("arguments", models.JSONField(default=dict)),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("person", "A person"),
                            ("api", "An application"),
                            ("billing", "A bill"),
                            ("reconciliation", "Reconciliation"),
                            ("rollout", "A roll-out"),
                        ],
                        default="person",
                        max_length=16,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                (
                    "facilities",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
                (
                    "devices",
                    models.PositiveIntegerField(help_text="Devices that the command was made for."),
                ),
                ("refused", models.JSONField(default=dict)),
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
                    "retry_of",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="retries",
                        to="devices.commandbatch",
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
            name="Command",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uid", models.UUIDField(default=uuid.uuid4)),
                ("kind", models.CharField(max_length=32)),
                ("arguments", models.JSONField(default=dict)),
                (
                    "subjects",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=32), default=list, size=None
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "origin",
                    models.CharField(
                        choices=[
                            ("person", "A person"),
                            ("api", "An application"),
                            ("billing", "A bill"),
                            ("reconciliation", "Reconciliation"),
                            ("rollout", "A roll-out"),
                        ],
                        default="person",
                        max_length=16,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("queued_at", models.DateTimeField(null=True)),
                ("lifetime_s", models.PositiveIntegerField()),
                ("expires_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("awaiting_approval", "Awaiting approval"),
                            ("queued", "Queued"),
                            ("sent", "Sent"),
                            ("acknowledged", "Acknowledged"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("expired", "Expired"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=18,
                    ),
                ),
                ("state_at", models.DateTimeField()),
                ("cause", models.CharField(blank=True, max_length=20)),
                ("detail", models.TextField(blank=True, help_text="What the device said.")),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                ("connection", models.BigIntegerField(default=0)),
                ("answered_at", models.DateTimeField(null=True)),
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
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commands",
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
                (
                    "batch",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="commands",
                        to="devices.commandbatch",
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="CommandEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("step", models.CharField(max_length=16)),
                ("state", models.CharField(max_length=18)),
                ("cause", models.CharField(blank=True, max_length=20)),
                ("attempt", models.PositiveSmallIntegerField(default=0)),
                ("detail", models.TextField(blank=True)),
                ("connection", models.BigIntegerField(default=0)),
                (
                    "by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "command",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="devices.command",
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
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="CommandPolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("two_persons", models.BooleanField(default=False)),
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
                "ordering": ["tenant"],
            },
        ),
        migrations.AddIndex(
            model_name="commandbatch",
            index=models.Index(fields=["tenant", "-id"], name="devices_commandbatch_newest"),
        ),
        migrations.AddConstraint(
            model_name="commandbatch",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="devices_commandbatch_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="commandbatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("facilities__len__gt", 0)),
                name="devices_commandbatch_somewhere",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("state__in", ["queued", "sent"])),
                fields=["device", "queued_at", "id"],
                name="devices_command_due",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("state__in", ["awaiting_approval", "queued", "sent"])),
                fields=["expires_at"],
                name="devices_command_over",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("state", "acknowledged")),
                fields=["next_at"],
                name="devices_command_unfinished",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["device", "-id"], name="devices_command_of_device"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["batch", "state"], name="devices_command_of_batch"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["tenant", "-id"], name="devices_command_newest"),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.UniqueConstraint(fields=("uid",), name="devices_command_uid_unique"),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.UniqueConstraint(
                fields=("tenant", "device", "id"), name="devices_command_whole"
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "sent")),
                fields=("device",),
                name="devices_command_one_unanswered",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "awaiting_approval",
                            "queued",
                            "sent",
                            "acknowledged",
                            "succeeded",
                            "failed",
                            "expired",
                            "cancelled",
                        ],
                    )
                ),
                name="devices_command_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("origin__in", ["person", "api", "billing", "reconciliation", "rollout"])
                ),
                name="devices_command_origin_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("state__in", ["queued", "sent", "acknowledged"]), _negated=True),
                    ("queued_at__isnull", False),
                    _connector="OR",
                ),
                name="devices_command_queued_once",
            ),
        ),
        migrations.AddIndex(
            model_name="commandevent",
            index=models.Index(fields=["command", "id"], name="devices_commandevent_of"),
        ),
        migrations.AddConstraint(
            model_name="commandpolicy",
            constraint=models.UniqueConstraint(
                fields=("tenant",), name="devices_commandpolicy_once"
            ),
        ),
        Statements(command_schema.CREATE, command_schema.DROP),
        Statements(command_schema.INBOX, command_schema.NO_INBOX),
        Statements(command_schema.LINK, command_schema.NO_LINK),
        Statements(command_schema.FRESH, command_schema.FORMER_FRESH),
        EnableRowSecurity("devices_command", device_column="device_id", checks_device=True),
        EnableRowSecurity("devices_commandevent", device_column="device_id", checks_device=True),
        EnableFacilitiesRowSecurity("devices_commandbatch"),
        EnableRowSecurity("devices_commandpolicy"),
        EnableRowSecurity("device_inbox", device_column="device_id"),
    ]
