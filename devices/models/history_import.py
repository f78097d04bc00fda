"""Imports of history: a meter data file, what it would store, and what it stored."""

from __future__ import annotations

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from devices.models.device import Device
from devices.models.facility import Facility
from tenants.models import TenantOwned


class HistoryState(models.TextChoices):
    """How far an import of history has come.

    UPLOADED: the file is kept, and what its columns mean is not known yet. CHECKED: the dry run is
    there.
    """

    UPLOADED = "uploaded", _("Uploaded")
    CHECKED = "checked", _("Checked")
    RUNNING = "running", _("Running")
    FINISHED = "finished", _("Finished")


class KeptFile(TenantOwned):
    """The bytes of a file that history was taken from, kept as evidence: once for each tenant,
    found by their SHA-256, which is compared whenever they are read.
    """

    sha256 = models.BinaryField(max_length=32)
    size = models.PositiveIntegerField(help_text="Bytes as they came.")
    content = models.BinaryField(help_text="Compressed by zstd.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sha256"], name="devices_keptfile_once"),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_keptfile_tenant_id"),
            models.CheckConstraint(
                condition=Exact(Length("sha256"), 32),
                name="devices_keptfile_hash_length",
            ),
        ]

    def __str__(self) -> str:
        return f"{bytes(self.sha256).hex()[:12]}… ({self.size} bytes)"


class HistoryImport(TenantOwned):
    """One import of history. `mapping` says what a table's columns mean, `options` which meters are
    taken in and where; `report` is the dry run as JSON, `plan` where each stream goes.

    `created_by` brought the file; what is done by it is done by `started_by`, who had it run.
    """

    file = models.ForeignKey(KeptFile, on_delete=models.PROTECT, related_name="imports")
    file_name = models.CharField(max_length=200)
    state = models.CharField(max_length=16, choices=HistoryState, default=HistoryState.UPLOADED)
    facility = models.ForeignKey(
        Facility, on_delete=models.PROTECT, null=True, related_name="+", help_text="Of new meters."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    language = models.CharField(max_length=8, default="en")
    mapping = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    options = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    report = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    plan = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(auto_now_add=True)
    checked_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    # Written with every part: an import that stands still is taken up again.
    advanced_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "id"], name="devices_historyimport_tenant_id"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=HistoryState.values),
                name="devices_historyimport_state_known",
            ),
        ]

    def __str__(self) -> str:
        return self.file_name


class HistoryImportPart(TenantOwned):
    """A device and a period [starts_at, ends_at) of an import.

    `done_at` is written in the transaction that stores the part's readings, so that a part is
    stored once however often the import is taken up again.
    """

    run = models.ForeignKey(HistoryImport, on_delete=models.CASCADE, related_name="parts")
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)
    new = models.PositiveIntegerField(default=0, help_text="Readings where there was none.")
    changed = models.PositiveIntegerField(default=0, help_text="Readings that were another.")
    same = models.PositiveIntegerField(default=0, help_text="Readings that were there already.")

    class Meta:
        ordering = ["run", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "device", "starts_at"], name="devices_historyimportpart_once"
            ),
            models.CheckConstraint(
                condition=models.Q(starts_at__lt=models.F("ends_at")),
                name="devices_historyimportpart_period_ordered",
            ),
        ]
        indexes = [
            models.Index(
                fields=["run", "id"],
                condition=models.Q(done_at__isnull=True),
                name="devices_histpart_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"device {self.device_id} from {self.starts_at}"
