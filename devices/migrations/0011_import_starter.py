"""Who had an import run, which need not be who brought the file."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from tenants.rowsecurity import Statements

# Nobody knows better of those that have run already.
BY_WHO_BROUGHT_THE_FILE = Statements(
    ["UPDATE devices_importrun SET started_by_id = created_by_id WHERE started_at IS NOT NULL"],
    [],
)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0010_counted_mains"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="importrun",
            name="started_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        BY_WHO_BROUGHT_THE_FILE,
    ]
