"""Groups of devices; how devices are set up, as wanted and as they say."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from devices.telemetry import control_schema
from tenants.rowsecurity import EnableRowSecurity, Statements


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0029_commands"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DeviceGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("description", models.CharField(blank=True, max_length=400)),
                ("rule", models.JSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
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
                "ordering": ["name", "pk"],
            },
        ),
        migrations.CreateModel(
            name="DeviceGroupMember",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("added_at", models.DateTimeField(auto_now_add=True)),
                (
                    "device",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="group_members",
                        to="devices.device",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="members",
                        to="devices.devicegroup",
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
            name="ConfigurationChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("changed_at", models.DateTimeField()),
                ("origin", models.CharField(max_length=16)),
                ("reason", models.CharField(blank=True, max_length=400)),
                ("before", models.JSONField()),
                ("after", models.JSONField()),
                (
                    "changed_by",
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
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="configuration_changes",
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
                "ordering": ["-version", "-pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("device", "version"),
                        name="devices_configurationchange_version_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DeviceConfiguration",
            fields=[
                (
                    "device",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="configuration",
                        serialize=False,
                        to="devices.device",
                    ),
                ),
                ("desired", models.JSONField(blank=True, default=dict)),
                ("version", models.PositiveIntegerField(default=0)),
                ("desired_at", models.DateTimeField(null=True)),
                ("reported", models.JSONField(null=True)),
                ("reported_at", models.DateTimeField(null=True)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("next_at", models.DateTimeField(null=True)),
                ("settled_at", models.DateTimeField(null=True)),
                (
                    "drift",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "None"),
                            ("refused", "The device refused the setting"),
                            ("unanswered", "The device did not answer"),
                            ("not_kept", "The device took the setting and did not keep it"),
                            ("unsupported", "The device does not have the setting"),
                        ],
                        default="",
                        max_length=16,
                    ),
                ),
                ("drift_detail", models.CharField(blank=True, max_length=400)),
                (
                    "desired_by",
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
                "ordering": ["pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("next_at__isnull", False)),
                        fields=["next_at"],
                        name="devices_deviceconfig_due",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("drift__in", ["", "refused", "unanswered", "not_kept", "unsupported"])
                        ),
                        name="devices_deviceconfiguration_drift",
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="devicegroup",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name"), name="devices_devicegroup_name_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="devicegroup",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="devices_devicegroup_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="devicegroupmember",
            constraint=models.UniqueConstraint(
                fields=("group", "device"), name="devices_devicegroupmember_once"
            ),
        ),
        Statements(control_schema.CREATE, control_schema.DROP),
        Statements([control_schema.CREDENTIAL], [control_schema.FORMER_CREDENTIAL]),
        # A group concerns the tenant as a whole: which devices it holds is more than some see.
        EnableRowSecurity("devices_devicegroup", tenant_wide=True),
        EnableRowSecurity("devices_devicegroupmember", device_column="device_id"),
        EnableRowSecurity("devices_deviceconfiguration", device_column="device_id"),
        EnableRowSecurity("devices_configurationchange", device_column="device_id"),
    ]
