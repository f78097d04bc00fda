"""When a device was last told what is wanted of it."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0031_command_requests")]

    operations = [
        migrations.AddField(
            model_name="deviceconfiguration",
            name="tried_at",
            field=models.DateTimeField(null=True),
        ),
    ]
