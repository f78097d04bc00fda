"""Who is signed in to the consumer view: its own sessions, as an application has them."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models.fields import DigestField
from tenants.models.oauth import Application
from tenants.models.tenant import TenantOwned


class HomeSession(TenantOwned):
    """One browser's session of the consumer view, with the tokens that it got from the provider.

    The browser holds a secret: its SHA-256 finds the row and a key that is derived from it opens
    `sealed` (`portal/consumer/vault.py`), so that neither this table nor the application's own keys
    are enough to read a token. `sid` is the provider's name of the session that it came of.
    """

    secret = DigestField(unique=True)
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    sid = models.UUIDField(db_index=True)
    sealed = models.BinaryField(max_length=8192)
    access_expires_at = models.DateTimeField()
    renewed_at = models.DateTimeField()
    # The facility that was looked at last. No foreign key, because facilities belong to a higher
    # layer: a number that is none within reach is passed over.
    facility_id = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.user_id} in {self.sid}"
