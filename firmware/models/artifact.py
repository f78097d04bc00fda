"""Artifacts: what devices download, found by its SHA-256; and patches from one to another."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import TenantOwned

DIGEST_PATTERN = r"^[0-9a-f]{64}$"


class ArtifactKind(models.TextChoices):
    """What the bytes are: a whole image, or a patch that makes one out of another."""

    IMAGE = "image", _("Image")
    DELTA = "delta", _("Patch")


class Artifact(TenantOwned):
    """A file in the store of `firmware.artifacts`: there once, however many rows name it.

    `sha256` is in hexadecimal, `size` in bytes, `stored_name` the name in the store. `header` is
    what the file says about itself: `format` (mcuboot, swu, raw, detools), and what its format
    knows beyond that. A row is never changed.
    """

    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=8, choices=ArtifactKind)
    stored_name = models.CharField(max_length=200)
    header = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sha256"], name="firmware_artifact_once"),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="firmware_artifact_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(sha256__regex=DIGEST_PATTERN),
                name="firmware_artifact_digest_form",
            ),
            models.CheckConstraint(
                condition=models.Q(size__gt=0), name="firmware_artifact_not_empty"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=ArtifactKind.values),
                name="firmware_artifact_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sha256[:12]}… ({self.size} bytes)"


class DeltaState(models.TextChoices):
    """WAITING: to be made. READY: verified, and smaller than the image. REFUSED: not worth it, or
    not to be made; `detail` says why.
    """

    WAITING = "waiting", _("Waiting")
    READY = "ready", _("Ready")
    REFUSED = "refused", _("Not used")


class Delta(TenantOwned):
    """A patch that makes the image `target` out of the image `base`; verified before it is READY.

    `attempts` counts how often its making began: one that ends its process each time is given up.
    """

    base = models.ForeignKey(Artifact, on_delete=models.CASCADE, related_name="+")
    target = models.ForeignKey(Artifact, on_delete=models.CASCADE, related_name="deltas")
    patch = models.ForeignKey(Artifact, on_delete=models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=8, choices=DeltaState, default=DeltaState.WAITING)
    detail = models.CharField(max_length=300, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    made_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["base", "target"], name="firmware_delta_once"),
            models.CheckConstraint(
                condition=~models.Q(base=models.F("target")), name="firmware_delta_between_two"
            ),
            models.CheckConstraint(
                condition=models.Q(state=DeltaState.READY, patch__isnull=False)
                | (~models.Q(state=DeltaState.READY) & models.Q(patch__isnull=True)),
                name="firmware_delta_ready_has_patch",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=DeltaState.values), name="firmware_delta_state_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "id"],
                condition=models.Q(state=DeltaState.WAITING),
                name="firmware_delta_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"patch from artifact {self.base_id} to {self.target_id}"
