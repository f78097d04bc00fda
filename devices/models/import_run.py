"""Bulk imports of facilities and devices: a file, what it would do, and what it did."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import TenantOwned


class ImportKind(models.TextChoices):
    """What a file lists."""

    FACILITIES = "facilities", _("Facilities")
    DEVICES = "devices", _("Devices")


class ImportState(models.TextChoices):
    """How far an import has come.

    UPLOADED: the file can be read, its columns await their meaning. CHECKED: the dry run is there.
    """

    UPLOADED = "uploaded", _("Uploaded")
    CHECKED = "checked", _("Checked")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")


class Outcome(models.TextChoices):
    """What a row does, or did."""

    CREATE = "create", _("Create")
    CHANGE = "change", _("Change")
    LEAVE = "leave", _("Leave as it is")
    REFUSE = "refuse", _("Refuse")


class ImportRun(TenantOwned):
    """One import. `columns` holds for each column of the file the field that it fills, or ''.

    `created_by` brought the file; what is done by it is done by `started_by`, who had it run.
    `content` is dropped when the import has finished.
    """

    kind = models.CharField(max_length=16, choices=ImportKind)
    state = models.CharField(max_length=16, choices=ImportState, default=ImportState.UPLOADED)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    language = models.CharField(max_length=8, default="en")
    file_name = models.CharField(max_length=200)
    content = models.BinaryField(null=True)
    columns = ArrayField(models.CharField(max_length=32, blank=True), default=list, blank=True)
    options = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(auto_now_add=True)
    checked_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    # Written with every group of rows: a run that stands still is taken up again.
    advanced_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            # Target of the composite foreign key that keeps rows in the tenant of their run.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_importrun_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(kind__in=ImportKind.values), name="devices_importrun_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=ImportState.values),
                name="devices_importrun_state_known",
            ),
        ]

    def __str__(self) -> str:
        return self.file_name


class ImportRow(TenantOwned):
    """One line of the file: what the dry run found, and what became of it.

    `done_at` is written in the transaction that does the row's work, so that a row is done once
    however often the run is taken up again. `sealed` is the new device's secret, encrypted, until
    it is fetched once.
    """

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="rows")
    line = models.PositiveIntegerField(help_text="Line of the file, the header is line 1.")
    label = models.CharField(max_length=200, blank=True)
    values = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    outcome = models.CharField(max_length=8, choices=Outcome)
    changes = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    problems = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    done_at = models.DateTimeField(null=True)
    subject_id = models.BigIntegerField(null=True)
    sealed = models.BinaryField(null=True)

    class Meta:
        ordering = ["run", "line"]
        constraints = [
            models.UniqueConstraint(fields=["run", "line"], name="devices_importrow_line_unique"),
            models.CheckConstraint(
                condition=models.Q(outcome__in=Outcome.values),
                name="devices_importrow_outcome_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["run", "line"],
                condition=models.Q(done_at__isnull=True),
                name="devices_importrow_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"line {self.line}"
