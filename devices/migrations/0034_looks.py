"""Indexes for looking at commands: at what has moved, at a rare state, at the last of a kind; and
reasons of a change of settings as long as those of its command.
"""

from __future__ import annotations

from django.db import migrations, models

from devices.telemetry import command_schema
from tenants.rowsecurity import Statements


class Migration(migrations.Migration):
    dependencies = [("devices", "0033_command_rules")]

    operations = [
        migrations.AlterField(
            model_name="configurationchange",
            name="reason",
            field=models.CharField(blank=True, max_length=500),
        ),
        # Nobody could walk along it in a scope of tenants; the next one is asked for each of them.
        migrations.RemoveIndex(model_name="command", name="devices_command_newest"),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                "tenant",
                "state",
                models.F("id").desc(nulls_last=True),
                name="devices_command_in_state",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["device", "kind", "-id"], name="devices_command_of_kind"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(fields=["state_at"], name="devices_command_moved"),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("state", "sent")),
                fields=["next_at"],
                name="devices_command_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(
                    ("state__in", ["awaiting_approval", "queued", "sent", "acknowledged"])
                ),
                fields=["device"],
                name="devices_command_open",
            ),
        ),
        Statements(command_schema.LINK_CHANGED, command_schema.NO_LINK_CHANGED),
    ]
