"""Indexes of the audit trail that know the tenant."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0007_people_wall"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="auditentry",
            name="tenants_audit_latest",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="tenants_audit_actor",
        ),
        migrations.RemoveIndex(
            model_name="auditentry",
            name="tenants_audit_action",
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["-at", "-id"], include=("tenant",), name="tenants_audit_latest"
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["actor", "-at", "-id"], include=("tenant",), name="tenants_audit_actor"
            ),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                fields=["action", "-at", "-id"], include=("tenant",), name="tenants_audit_action"
            ),
        ),
    ]
