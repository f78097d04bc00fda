"""What the gate said: in its roll-out's tenant, and final."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

KEPT = Statements(
    [
        (
            "ALTER TABLE firmware_gatereview ADD CONSTRAINT firmware_gatereview_wave_same_rollout"
            " FOREIGN KEY (tenant_id, rollout_id, wave_id)"
            " REFERENCES firmware_rolloutwave (tenant_id, rollout_id, id)"
        ),
        "REVOKE UPDATE, DELETE ON firmware_gatereview FROM {app}",
    ],
    ["ALTER TABLE firmware_gatereview DROP CONSTRAINT firmware_gatereview_wave_same_rollout"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("firmware", "0004_ddi"),
        ("tenants", "0017_sign_on_methods"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="GateReview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("look", models.PositiveSmallIntegerField()),
                ("at", models.DateTimeField()),
                ("begins_at", models.DateTimeField()),
                ("evidence_until", models.DateTimeField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[("pass", "Passed"), ("wait", "Undecided"), ("fail", "Failed")],
                        max_length=4,
                    ),
                ),
                ("needs_person", models.BooleanField(default=False)),
                ("verdict", models.JSONField()),
                ("course", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ["wave", "look"],
            },
        ),
        migrations.AddConstraint(
            model_name="rolloutwave",
            constraint=models.UniqueConstraint(
                fields=("tenant", "rollout", "id"), name="firmware_rolloutwave_tenant_rollout_id"
            ),
        ),
        migrations.AddField(
            model_name="gatereview",
            name="rollout",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gate_reviews",
                to="firmware.rollout",
            ),
        ),
        migrations.AddField(
            model_name="gatereview",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="gatereview",
            name="wave",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gate_reviews",
                to="firmware.rolloutwave",
            ),
        ),
        migrations.AddConstraint(
            model_name="gatereview",
            constraint=models.UniqueConstraint(
                fields=("wave", "look"), name="firmware_gatereview_look_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="gatereview",
            constraint=models.CheckConstraint(
                condition=models.Q(("outcome__in", ["pass", "wait", "fail"])),
                name="firmware_gatereview_outcome_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="gatereview",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("begins_at__lte", models.F("evidence_until")),
                    ("evidence_until__lte", models.F("at")),
                ),
                name="firmware_gatereview_times_ordered",
            ),
        ),
        KEPT,
        EnableRowSecurity("firmware_gatereview", tenant_wide=True),
    ]
