"""Which meter a device lies behind, within its facility."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from tenants.rowsecurity import Statements

# Of a meter that is removed, what lay behind it lies behind the mains; its facility stays.
SAME_FACILITY = Statements(
    [
        (
            "ALTER TABLE devices_device ADD CONSTRAINT devices_device_behind_same_facility"
            " FOREIGN KEY (facility_id, behind_id) REFERENCES devices_device (facility_id, id)"
            " ON DELETE SET NULL (behind_id)"
        )
    ],
    ["ALTER TABLE devices_device DROP CONSTRAINT devices_device_behind_same_facility"],
)


class Migration(migrations.Migration):
    dependencies = [("devices", "0015_redo")]

    operations = [
        migrations.AddField(
            model_name="device",
            name="behind",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="feeds",
                to="devices.device",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.UniqueConstraint(
                fields=("facility", "id"), name="devices_device_facility_id"
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(behind__isnull=True) | ~models.Q(behind=models.F("id")),
                name="devices_device_behind_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(behind__isnull=True) | ~models.Q(placement="mains"),
                name="devices_device_mains_first",
            ),
        ),
        SAME_FACILITY,
    ]
