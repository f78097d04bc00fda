"""Formulas of derived channels, in the versions that people have made of them."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from devices.models.device import Channel, Device
from tenants.models import TenantOwned

# Of the name by which a formula calls a channel: device and key, each at most 64.
NAME_LENGTH = 130


class FormulaVersion(TenantOwned):
    """What a derived channel is computed by, for readings from `valid_from` on.

    It holds until the next `valid_from`; of two with the same, the one that became known later
    counts. Rows are only ever added: what was known at an instant can be told for ever. A `text`
    that is empty says that nothing is computed.

    `names` are the channels as `text` calls them, `inputs` the ids that they stood for when it was
    written, so that nothing changes when a device is renamed; `devices` has those of the inputs.
    """

    device = models.ForeignKey(
        Device, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False
    )
    channel = models.ForeignKey(
        Channel, on_delete=models.DO_NOTHING, related_name="versions", db_constraint=False
    )
    valid_from = models.DateTimeField()
    known_at = models.DateTimeField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.CharField(max_length=200, blank=True)
    text = models.CharField(max_length=1000, blank=True)
    names = ArrayField(models.CharField(max_length=NAME_LENGTH), default=list, blank=True)
    inputs = ArrayField(models.BigIntegerField(), default=list, blank=True)
    devices = ArrayField(models.BigIntegerField(), default=list, blank=True)

    class Meta:
        ordering = ["channel", "valid_from", "pk"]
        indexes = [
            models.Index(fields=["channel"], name="devices_formula_channel"),
            GinIndex(fields=["devices"], name="devices_formula_devices"),
        ]

    def __str__(self) -> str:
        return f"version {self.pk} of channel {self.channel_id}"
