"""Corrections of readings, and their withdrawals: both are only ever added."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import models
from django.db.models.functions import Trim
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from devices.models.device import Device
from tenants.models import TenantOwned

MOST_DAYS: Final = 3_660
REASON_LENGTH: Final = 500


class Kind(models.TextChoices):
    """What a correction does with the readings of its period; see `devices.telemetry.corrections`.

    The values are those of its `CorrectionKind`.
    """

    SCALE = "scale", _("Scale")
    REPLACE = "replace", _("Replace")
    SHIFT = "shift", _("Shift in time")
    REMOVE = "remove", _("Remove")


class Correction(TenantOwned):
    """A layer over the readings of a channel in [starts_at, ends_at); nothing measured changes.

    `factor` and `offset` (in the channel's unit) belong to SCALE, `shift_ms` to SHIFT, `readings`
    (packed as `correction_store` does) and their count to REPLACE. `known_at`, a whole second, is
    when reads as of an instant begin to see it: the database sets it, past the moment of the
    commit, so that no such read has been answered without it. Corrections of a device are made one
    after the other, so that ids rise with `known_at`. The application may add rows and no more.
    """

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="corrections")
    channel = models.PositiveSmallIntegerField()  # number of the device's channel
    kind = models.CharField(max_length=8, choices=Kind)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    factor = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    offset = models.DecimalField(max_digits=24, decimal_places=10, null=True)
    shift_ms = models.BigIntegerField(null=True)
    readings = models.BinaryField(null=True)
    reading_count = models.PositiveIntegerField(null=True)
    reason = models.CharField(max_length=REASON_LENGTH)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    known_at = models.DateTimeField(db_default=models.Func(function="devices_correction_second"))

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["device", "channel"], name="devices_correction_channel"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("starts_at"))
                & models.Q(ends_at__lte=models.F("starts_at") + timedelta(days=MOST_DAYS)),
                name="devices_correction_period_ordered",
            ),
            models.CheckConstraint(
                condition=(
                    models.Q(kind=Kind.SCALE, factor__isnull=False, offset__isnull=False)
                    & ~models.Q(factor=0)
                    & models.Q(shift_ms__isnull=True, readings__isnull=True)
                )
                | models.Q(
                    kind=Kind.REPLACE,
                    readings__isnull=False,
                    reading_count__gt=0,
                    factor__isnull=True,
                    offset__isnull=True,
                    shift_ms__isnull=True,
                )
                | (
                    models.Q(kind=Kind.SHIFT, shift_ms__isnull=False)
                    & ~models.Q(shift_ms=0)
                    & models.Q(factor__isnull=True, offset__isnull=True, readings__isnull=True)
                )
                | models.Q(
                    kind=Kind.REMOVE,
                    factor__isnull=True,
                    offset__isnull=True,
                    shift_ms__isnull=True,
                    readings__isnull=True,
                ),
                name="devices_correction_kind_told",
            ),
            models.CheckConstraint(
                condition=~Exact(Trim("reason"), ""), name="devices_correction_reasoned"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of channel {self.channel} of device {self.device_id}"


class CorrectionWithdrawal(TenantOwned):
    """A correction that does not count any more, from `known_at` on (as for a correction)."""

    correction = models.OneToOneField(
        Correction, on_delete=models.PROTECT, related_name="withdrawal"
    )
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=REASON_LENGTH)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    known_at = models.DateTimeField(db_default=models.Func(function="devices_correction_second"))

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~Exact(Trim("reason"), ""), name="devices_correctionwithdrawal_reasoned"
            ),
        ]

    def __str__(self) -> str:
        return f"withdrawal of correction {self.correction_id}"
