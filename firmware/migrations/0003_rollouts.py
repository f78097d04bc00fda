"""Roll-outs: what a tenant demands of them, their waves, targets and what happened to these."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

# A wave is its roll-out's tenant's; what has happened stays as it was told.
KEPT = Statements(
    [
        (
            "ALTER TABLE firmware_rolloutwave ADD CONSTRAINT firmware_rolloutwave_rollout_same_tenant"
            " FOREIGN KEY (tenant_id, rollout_id) REFERENCES firmware_rollout (tenant_id, id)"
        ),
        "REVOKE UPDATE, DELETE ON firmware_updateevent FROM {app}",
        "REVOKE DELETE ON firmware_rollouttarget, firmware_rolloutwave FROM {app}",
    ],
    [
        "ALTER TABLE firmware_rolloutwave DROP CONSTRAINT firmware_rolloutwave_rollout_same_tenant",
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0028_held_devices"),
        ("firmware", "0002_releases_wall"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Rollout",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                (
                    "kind",
                    models.CharField(
                        choices=[("update", "Update"), ("rollback", "Roll-back")],
                        default="update",
                        max_length=8,
                    ),
                ),
                ("selection", models.JSONField(default=dict)),
                ("strategy", models.JSONField(default=dict)),
                ("priority", models.SmallIntegerField(default=0)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("awaiting_approval", "Awaiting approval"),
                            ("completed", "Completed"),
                            ("aborted", "Aborted"),
                        ],
                        default="draft",
                        max_length=20,
                    ),
                ),
                ("state_reason", models.CharField(blank=True, max_length=32)),
                ("state_data", models.JSONField(blank=True, default=dict)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
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
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "parent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rollbacks",
                        to="firmware.rollout",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="rollouts",
                        to="firmware.release",
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
            name="RolloutWave",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.PositiveSmallIntegerField()),
                ("size", models.PositiveIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("running", "Running"),
                            ("soaking", "Soaking"),
                            ("judged", "Judged"),
                            ("done", "Done"),
                        ],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("updated_at", models.DateTimeField(null=True)),
                ("soaking_at", models.DateTimeField(null=True)),
                ("judged_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("accepted_failures", models.PositiveIntegerField(default=0)),
                ("overruled", models.BooleanField(default=False)),
                ("approved_at", models.DateTimeField(null=True)),
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
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waves",
                        to="firmware.rollout",
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
                "ordering": ["rollout", "number"],
            },
        ),
        migrations.CreateModel(
            name="RolloutTarget",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("update_uid", models.UUIDField(unique=True)),
                (
                    "medium",
                    models.CharField(
                        choices=[("wire", "Device protocol"), ("ddi", "DDI")],
                        default="wire",
                        max_length=8,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Not yet its turn"),
                            ("waiting", "Waiting"),
                            ("offered", "Offered"),
                            ("downloading", "Downloading"),
                            ("installing", "Installing"),
                            ("succeeded", "Updated"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("skipped", "Left out"),
                        ],
                        default="pending",
                        max_length=12,
                    ),
                ),
                ("state_at", models.DateTimeField()),
                ("priority", models.SmallIntegerField(default=0)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("failure_code", models.CharField(blank=True, max_length=16)),
                ("next_at", models.DateTimeField(null=True)),
                ("sent_at", models.DateTimeField(null=True)),
                ("heard_at", models.DateTimeField(null=True)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("connection", models.BigIntegerField(default=0)),
                ("rate", models.PositiveBigIntegerField(default=0)),
                ("offset", models.PositiveBigIntegerField(default=0)),
                ("payload_kind", models.CharField(blank=True, max_length=8)),
                ("payload_sha256", models.CharField(blank=True, max_length=64)),
                ("payload_size", models.PositiveBigIntegerField(default=0)),
                ("base_sha256", models.CharField(blank=True, max_length=64)),
                ("from_version", models.CharField(blank=True, max_length=64)),
                ("from_image", models.CharField(blank=True, max_length=64)),
                ("to_version", models.CharField(blank=True, max_length=64)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="firmware.release",
                    ),
                ),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="targets",
                        to="firmware.rollout",
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
                    "wave",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="targets",
                        to="firmware.rolloutwave",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="UpdateEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(max_length=16)),
                ("code", models.CharField(blank=True, max_length=16)),
                ("detail", models.CharField(blank=True, max_length=400)),
                ("data", models.JSONField(blank=True, default=dict)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="firmware.rollouttarget",
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
                "ordering": ["at", "pk"],
            },
        ),
        migrations.CreateModel(
            name="FirmwarePolicy",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("second_person", models.BooleanField(default=False)),
                ("max_downloads", models.PositiveIntegerField(blank=True, null=True)),
                ("bytes_per_s", models.PositiveBigIntegerField(blank=True, null=True)),
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
                "verbose_name_plural": "firmware policies",
                "ordering": ["tenant"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant",), name="firmware_firmwarepolicy_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("max_downloads__isnull", True),
                            ("max_downloads__gt", 0),
                            _connector="OR",
                        ),
                        name="firmware_firmwarepolicy_downloads_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("bytes_per_s__isnull", True), ("bytes_per_s__gt", 0), _connector="OR"
                        ),
                        name="firmware_firmwarepolicy_rate_positive",
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="rollout",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", True), ("started_at__isnull", False)),
                fields=["-priority", "id"],
                name="firmware_rollout_driven",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.UniqueConstraint(
                fields=("tenant", "id"), name="firmware_rollout_tenant_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        ["draft", "running", "paused", "awaiting_approval", "completed", "aborted"],
                    )
                ),
                name="firmware_rollout_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "update"), ("release__isnull", False)),
                    models.Q(("kind", "rollback"), ("release__isnull", True)),
                    _connector="OR",
                ),
                name="firmware_rollout_release_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("started_at__isnull", True), ("state", "draft")),
                    models.Q(
                        models.Q(("state", "draft"), _negated=True), ("started_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="firmware_rollout_start_told",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="firmware_rollout_named"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollout",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True), ("parent__isnull", False)),
                fields=("parent",),
                name="firmware_rollout_one_rollback",
            ),
        ),
        migrations.AddConstraint(
            model_name="rolloutwave",
            constraint=models.UniqueConstraint(
                fields=("rollout", "number"), name="firmware_rolloutwave_number_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="rolloutwave",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ["pending", "running", "soaking", "judged", "done"])
                ),
                name="firmware_rolloutwave_state_known",
            ),
        ),
        migrations.AddIndex(
            model_name="rollouttarget",
            index=models.Index(fields=["rollout", "state", "id"], name="firmware_target_by_state"),
        ),
        migrations.AddIndex(
            model_name="rollouttarget",
            index=models.Index(fields=["device", "-id"], name="firmware_target_by_device"),
        ),
        migrations.AddIndex(
            model_name="rollouttarget",
            index=models.Index(
                condition=models.Q(("state__in", ("offered", "downloading"))),
                fields=["rollout"],
                name="firmware_target_loading",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollouttarget",
            constraint=models.UniqueConstraint(
                fields=("rollout", "device"), name="firmware_rollouttarget_device_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="rollouttarget",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    ("state__in", ("waiting", "offered", "downloading", "installing"))
                ),
                fields=("device",),
                name="firmware_rollouttarget_device_held",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollouttarget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "pending",
                            "waiting",
                            "offered",
                            "downloading",
                            "installing",
                            "succeeded",
                            "failed",
                            "cancelled",
                            "skipped",
                        ],
                    )
                ),
                name="firmware_rollouttarget_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="rollouttarget",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "skipped"),
                    models.Q(("release__isnull", False), ("wave__isnull", False)),
                    _connector="OR",
                ),
                name="firmware_rollouttarget_gets_release",
            ),
        ),
        migrations.AddIndex(
            model_name="updateevent",
            index=models.Index(fields=["target", "at", "id"], name="firmware_event_of_target"),
        ),
        KEPT,
        EnableRowSecurity("firmware_firmwarepolicy", tenant_wide=True),
        EnableRowSecurity("firmware_rollout", tenant_wide=True),
        EnableRowSecurity("firmware_rolloutwave", tenant_wide=True),
        EnableRowSecurity("firmware_rollouttarget", device_column="device_id", checks_device=True),
        EnableRowSecurity("firmware_updateevent", device_column="device_id", checks_device=True),
    ]
