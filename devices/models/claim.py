"""Claim codes: whoever holds the code on a device's label may take it over."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact

from devices.models.device import Device
from tenants.models import TenantOwned


class ClaimCode(TenantOwned):
    """A code that lets its holder claim a planned device, once and until `expires_at`.

    The code has 75 random bits, so that its plain SHA-256 is enough to find it and tells nothing.
    `sealed` is the code encrypted with the installation's secret, so that labels can be printed
    again for a while; it is removed when that time is over or the code is used. `ending` is its
    last group, by which a person tells one label from another.

    The row moves with its device when another tenant claims it (`door_claim_device`).
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="claim_codes")
    code_sha256 = models.BinaryField(max_length=32)
    ending = models.CharField(max_length=4)
    sealed = models.BinaryField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["code_sha256"], name="devices_claimcode_code_unique"),
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(used_at__isnull=True, withdrawn_at__isnull=True),
                name="devices_claimcode_one_open",
            ),
            models.CheckConstraint(
                condition=Exact(Length("code_sha256"), 32), name="devices_claimcode_code_length"
            ),
            models.CheckConstraint(
                condition=models.Q(used_at__isnull=True) | models.Q(withdrawn_at__isnull=True),
                name="devices_claimcode_one_end",
            ),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(sealed__isnull=False),
                name="devices_claimcode_sealed",
            )
        ]

    def __str__(self) -> str:
        return f"…{self.ending} for device {self.device_id}"
