"""Who changed what and when."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from tenants.models.tenant import TenantOwned


class AuditEntry(TenantOwned):
    """One change. Rows are appended only: the application may neither update nor delete them.

    The key is made by the application, so that an entry can be written by a scope that may not read
    it (an INSERT that returns its key must pass the reading policy).
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Null when the system itself acted.",
    )
    action = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=64)
    subject_id = models.BigIntegerField()
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        ordering = ["-at", "id"]
        indexes = [
            models.Index(fields=["tenant", "-at"], name="tenants_audit_recent"),
            models.Index(
                fields=["subject_type", "subject_id", "-at"], name="tenants_audit_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ} {self.action} {self.subject_type} {self.subject_id}"
