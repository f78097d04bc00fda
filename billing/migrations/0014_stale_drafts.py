"""Drafts that are to be computed anew, and how far the accounts of a run are listed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0013_token_requests"),
    ]

    operations = [
        migrations.AddField(
            model_name="bill",
            name="is_stale",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="billrun",
            name="listed_to",
            field=models.BigIntegerField(null=True),
        ),
    ]
