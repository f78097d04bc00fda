"""A release keeps the code of its type as it was signed: tenants below do not see the type's row."""

from __future__ import annotations

from django.db import migrations, models

from tenants.rowsecurity import Statements

# What was approved is final, for everybody but this migration.
FILL = Statements(
    [
        "ALTER TABLE firmware_release DISABLE TRIGGER firmware_release_final",
        (
            "UPDATE firmware_release r SET type_code = t.code FROM devices_devicetype t"
            " WHERE t.id = r.device_type_id"
        ),
        "ALTER TABLE firmware_release ENABLE TRIGGER firmware_release_final",
    ],
    [],
)


class Migration(migrations.Migration):
    dependencies = [("firmware", "0005_gate_reviews"), ("devices", "0028_held_devices")]

    operations = [
        migrations.AddField(
            model_name="release",
            name="type_code",
            field=models.CharField(default="", max_length=64),
            preserve_default=False,
        ),
        FILL,
        migrations.AddConstraint(
            model_name="release",
            constraint=models.CheckConstraint(
                condition=models.Q(("type_code", ""), _negated=True),
                name="firmware_release_type_named",
            ),
        ),
    ]
