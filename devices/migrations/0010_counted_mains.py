"""How many devices of a facility measure its mains: one without any is a plant."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0009_connected_counts"),
    ]

    operations = [
        migrations.AddField(
            model_name="facilitynow",
            name="mains",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
