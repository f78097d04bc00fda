"""Exports of history: what is asked for, how far it has come, and the file in parts."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.models.facility import Facility
from tenants.models import TenantOwned


class ExportState(models.TextChoices):
    """How far an export has come."""

    WAITING = "waiting", _("Waiting")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class ExportFormat(models.TextChoices):
    """The format of the file."""

    CSV = "csv", _("CSV (packed)")
    PARQUET = "parquet", _("Parquet")
    ARROW = "arrow", _("Arrow stream")


class ExportResolution(models.TextChoices):
    """How finely time is told; the codes are those of `devices.telemetry.periods.Resolution`."""

    RAW = "raw", _("Readings")
    QUARTER = "quarter", _("15 minutes")
    HOUR = "hour", _("Hours")
    DAY = "day", _("Days")
    MONTH = "month", _("Months")


class DataExport(TenantOwned):
    """Channels of a period [starts_at, ends_at) as a file. `facility` is that of all channels, null
    when they are of several: then a scope narrowed to facilities does not see it.

    `attempt` counts how often the work was begun: who works on an older one stops.
    """

    facility = models.ForeignKey(
        Facility, on_delete=models.CASCADE, null=True, related_name="+", blank=True
    )
    channels = ArrayField(models.BigIntegerField())
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    resolution = models.CharField(max_length=8, choices=ExportResolution)
    format = models.CharField(max_length=8, choices=ExportFormat)
    as_of = models.DateTimeField(null=True, blank=True)
    time_zone = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=ExportState, default=ExportState.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    progress = models.FloatField(default=0, help_text="Part of the period that is done.")
    parts_written = models.PositiveIntegerField(default=0)
    row_count = models.BigIntegerField(default=0)
    size = models.BigIntegerField(default=0, help_text="Bytes of the parts.")
    problem = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # Written with every step: an export that stands still is begun anew.
    advanced_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            # Target of the composite foreign key that keeps parts in the tenant of their export.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_dataexport_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(state__in=ExportState.values),
                name="devices_dataexport_state_known",
            ),
            models.CheckConstraint(
                condition=models.Q(format__in=ExportFormat.values),
                name="devices_dataexport_format_known",
            ),
            models.CheckConstraint(
                condition=models.Q(starts_at__lt=models.F("ends_at")),
                name="devices_dataexport_period_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.format} of {len(self.channels)} channels"

    @property
    def part_count(self) -> int:
        """How many parts the file has; 0 until it is finished."""
        return self.parts_written if self.state == ExportState.FINISHED else 0


class DataExportPart(TenantOwned):
    """Some of an export's file; `facility` repeats that of the export for the wall."""

    export = models.ForeignKey(DataExport, on_delete=models.CASCADE, related_name="parts")
    facility = models.ForeignKey(Facility, on_delete=models.CASCADE, null=True, related_name="+")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ["export", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["export", "number"], name="devices_dataexportpart_number_unique"
            )
        ]

    def __str__(self) -> str:
        return f"part {self.number} of export {self.export_id}"
