"""How many devices of a facility may connect, and are connected, beside what it does now."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0008_claim_rollups"),
    ]

    operations = [
        migrations.AddField(
            model_name="facilitynow",
            name="connected",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="facilitynow",
            name="devices",
            field=models.PositiveIntegerField(default=0),
        ),
    ]
