"""Keys of pay-as-you-go units are sealed with keys that can be changed; what a wallet has told."""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0007_restatements"),
    ]

    operations = [
        migrations.RemoveField(
            model_name="paygunit",
            name="secret",
        ),
        migrations.RemoveField(
            model_name="paygunit",
            name="starting_code",
        ),
        migrations.AddField(
            model_name="paygunit",
            name="sealed_keys",
            field=models.TextField(default="", editable=False),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="wallet",
            name="missed",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), blank=True, default=list, size=None
            ),
        ),
        migrations.AddField(
            model_name="wallet",
            name="told_state",
            field=models.CharField(
                choices=[
                    ("good", "Enough left"),
                    ("low", "Little left"),
                    ("emergency", "Emergency credit"),
                    ("friendly", "Spent, friendly hours"),
                    ("protected", "Spent, protected customer"),
                    ("spent", "Spent"),
                ],
                default="good",
                max_length=12,
            ),
        ),
    ]
