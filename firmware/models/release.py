"""Releases: a version of the firmware of a device type, signed, and approved by a second person."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from devices.models import DeviceType
from firmware.models.artifact import Artifact
from firmware.models.signing import SigningKey
from tenants.models import TenantOwned


class ReleaseState(models.TextChoices):
    """The life of a release: no step back. Only an approved one may be rolled out anew."""

    DRAFT = "draft", _("Draft")
    APPROVED = "approved", _("Approved")
    RETIRED = "retired", _("Retired")


class Release(TenantOwned):
    """A version of the firmware of a device type; it serves the tenant and all below it.

    Devices are matched by the *code* of the type (`type_code`), which the signed manifest carries,
    since tenants below may have the type as a row of their own. `version_key` sorts by precedence
    (`devices.versions`). `manifest` and `signature` are what devices verify. What was
    signed is final, and nobody approves what he made: the database refuses both.
    """

    device_type = models.ForeignKey(DeviceType, on_delete=models.PROTECT, related_name="+")
    # As it was signed; tenants below see the release, and not the row of the type.
    type_code = models.CharField(max_length=64)
    version = models.CharField(max_length=64)
    version_key = models.CharField(max_length=2000, db_collation="C", editable=False)
    hardware_revisions = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    artifact = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="releases")
    manifest = models.BinaryField(max_length=2048)
    signature = models.BinaryField(max_length=64)
    signing_key = models.ForeignKey(SigningKey, on_delete=models.PROTECT, related_name="releases")
    notes = models.TextField(max_length=20_000, blank=True)
    from_versions = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=8, choices=ReleaseState, default=ReleaseState.DRAFT)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    approved_at = models.DateTimeField(null=True)
    retired_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    retired_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            # Versions that differ in their build metadata alone have no order.
            models.UniqueConstraint(
                fields=["tenant", "device_type", "version_key"],
                name="firmware_release_version_unique",
            ),
            models.UniqueConstraint(fields=["tenant", "id"], name="firmware_release_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(state__in=ReleaseState.values),
                name="firmware_release_state_known",
            ),
            models.CheckConstraint(
                condition=Exact(Length("signature"), 64), name="firmware_release_signed"
            ),
            models.CheckConstraint(
                condition=~models.Q(type_code=""), name="firmware_release_type_named"
            ),
            models.CheckConstraint(
                condition=models.Q(approved_at__isnull=True, approved_by__isnull=True)
                | models.Q(
                    approved_at__isnull=False,
                    approved_by__isnull=False,
                    created_by__isnull=False,
                ),
                name="firmware_release_approval_whole",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by__isnull=True)
                | ~models.Q(approved_by=models.F("created_by")),
                name="firmware_release_second_person",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state=ReleaseState.DRAFT, approved_at__isnull=True, retired_at__isnull=True
                )
                | models.Q(
                    state=ReleaseState.APPROVED, approved_at__isnull=False, retired_at__isnull=True
                )
                | models.Q(state=ReleaseState.RETIRED, retired_at__isnull=False),
                name="firmware_release_state_told",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type_code} {self.version}"
