"""How the person of a sign-on has signed in, for `amr` and `acr`."""

from __future__ import annotations

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0016_held_roles")]

    operations = [
        migrations.AddField(
            model_name="signon",
            name="methods",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=16),
                blank=True,
                db_default=[],
                default=list,
                size=None,
            ),
        ),
    ]
