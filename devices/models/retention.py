"""How long a tenant keeps what, and what must be kept in spite of it."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.models.device import Device
from devices.models.facility import Facility
from tenants.models import TenantOwned

# What is younger is worked with: late frames, corrections, bills of the last month.
LEAST_DAYS: Final = 31


class DataClass(models.TextChoices):
    """What is kept for a time of its own; finer ones first."""

    READINGS = "readings", _("Readings as measured")
    QUARTERS = "quarters", _("Energy and values by the quarter of an hour")
    DAYS = "days", _("Days, and sums of facilities")
    LOGS = "logs", _("Log lines of devices")
    EVENTS = "events", _("Events and connections of devices")
    QUARANTINE = "quarantine", _("Quarantined messages")


class Retention(TenantOwned):
    """A rule: a class of data is kept for some days (null: for ever), by the tenant and by all
    below it that have no rule of their own.

    `shorter`: it may be removed before finer data is; otherwise it is kept as long at least.
    """

    data_class = models.CharField(max_length=16, choices=DataClass)
    days = models.PositiveIntegerField(null=True)
    shorter = models.BooleanField(default=False)

    class Meta:
        ordering = ["tenant", "data_class"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "data_class"], name="devices_retention_class_once"
            ),
            models.CheckConstraint(
                condition=models.Q(days__isnull=True) | models.Q(days__gte=LEAST_DAYS),
                name="devices_retention_days_enough",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.data_class} of tenant {self.tenant_id}"


class HoldCause(models.TextChoices):
    """Who asked for a hold."""

    PERSON = "person", _("A person")
    BILL = "bill", _("A bill")


class Hold(TenantOwned):
    """A legal hold: nothing of [starts_at, ends_at) is removed until it is released; without an
    end, nothing after `starts_at`.

    It holds a device, or a facility with its areas, or (neither) all of the tenant. `devices` are
    those of the facility when the hold was made: they stay held wherever they are later.
    """

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, null=True, related_name="+")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, null=True, related_name="+")
    devices = ArrayField(models.BigIntegerField(), default=list, editable=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=400)
    cause = models.CharField(max_length=16, choices=HoldCause, default=HoldCause.PERSON)
    cause_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="devices_hold_period_ordered",
            ),
            models.CheckConstraint(condition=~models.Q(reason=""), name="devices_hold_has_reason"),
            # What a bill asks for again is the same hold.
            models.UniqueConstraint(
                fields=["tenant", "cause", "cause_id"],
                condition=models.Q(released_at__isnull=True),
                name="devices_hold_cause_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "starts_at"],
                condition=models.Q(released_at__isnull=True),
                name="devices_hold_standing",
            )
        ]

    def __str__(self) -> str:
        return f"hold {self.pk}"
