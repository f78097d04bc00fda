"""Public keys whose signatures a tenant accepts. Private keys never reach the server."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact

from tenants.models import TenantOwned


class SigningKey(TenantOwned):
    """An Ed25519 public key (RFC 8032, 32 bytes).

    `key_id` is the beginning of its SHA-256 in hexadecimal. With a retired key nothing new is
    accepted; what it signed before stays signed.
    """

    name = models.CharField(max_length=120)
    public_key = models.BinaryField(max_length=32)
    key_id = models.CharField(max_length=16)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key_id"], name="firmware_signingkey_once"),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="firmware_signingkey_tenant_id"),
            models.CheckConstraint(
                condition=Exact(Length("public_key"), 32), name="firmware_signingkey_length"
            ),
            models.CheckConstraint(
                condition=models.Q(key_id__regex=r"^[0-9a-f]{16}$"),
                name="firmware_signingkey_id_form",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="firmware_signingkey_named"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key_id})"
