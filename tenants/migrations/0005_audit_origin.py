"""Where entries of the audit trail come from; the trail refuses every change, to its owner too."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import Statements

# Statement by statement, so that it raises where no row matches, and ALWAYS, so that it does for a
# session that plays replica. Whoever may alter the table can take the trigger away, which shows.
APPEND_ONLY = Statements(
    [
        """CREATE FUNCTION refuse_change_of_audit() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is append-only: % is refused', TG_OP
    USING ERRCODE = 'insufficient_privilege';
END $$""",
        "REVOKE EXECUTE ON FUNCTION refuse_change_of_audit() FROM PUBLIC",
        (
            "CREATE TRIGGER tenants_auditentry_append_only"
            " BEFORE UPDATE OR DELETE OR TRUNCATE ON tenants_auditentry"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()"
        ),
        "ALTER TABLE tenants_auditentry ENABLE ALWAYS TRIGGER tenants_auditentry_append_only",
    ],
    [
        "DROP TRIGGER tenants_auditentry_append_only ON tenants_auditentry",
        "DROP FUNCTION refuse_change_of_audit()",
    ],
)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0004_oauth_wall"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="auditentry",
            options={"ordering": ["-at", "-id"]},
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="tenants_audit_recent",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="tenants_audit_subject",
        ),
        migrations.AddField(
            model_name="auditentry",
            name="address",
            field=models.GenericIPAddressField(null=True),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="channel",
            field=models.CharField(
                choices=[
                    ("portal", "Portal"),
                    ("api", "API"),
                    ("task", "Background task"),
                    ("command", "Command line"),
                    ("device", "Device"),
                ],
                default="command",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="impersonator",
            field=models.ForeignKey(
                db_index=False,
                help_text="Who really acted while the actor was impersonated.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="reason",
            field=models.CharField(
                blank=True, default="", help_text="Why the actor was impersonated.", max_length=300
            ),
        ),
        migrations.AddField(
            model_name="auditentry",
            name="subject_name",
            field=models.CharField(blank=True, default="", max_length=254),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="actor",
            field=models.ForeignKey(
                db_index=False,
                help_text="Null when the system itself or nobody known acted.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="subject_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="subject_type",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["tenant", "-at", "-id"], name="tenants_audit_recent"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["-at", "-id"], name="tenants_audit_latest"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["subject_type", "subject_id", "-at", "-id"], name="tenants_audit_subject"
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["actor", "-at", "-id"], name="tenants_audit_actor"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                condition=models.Q(("impersonator__isnull", False)),
                fields=["impersonator", "-at", "-id"],
                name="tenants_audit_impersonator",
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["action", "-at", "-id"], name="tenants_audit_action"),
        ),
        migrations.AddConstraint(
            model_name="auditentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("channel__in", ["portal", "api", "task", "command", "device"])),
                name="tenants_auditentry_channel_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="auditentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("impersonator__isnull", True),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="tenants_auditentry_impersonation_has_reason",
            ),
        ),
        APPEND_ONLY,
    ]
