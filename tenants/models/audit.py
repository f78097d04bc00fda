"""Who changed what, when and from where."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models.tenant import TenantOwned


class AuditChannel(models.TextChoices):
    """The way by which a change came in."""

    PORTAL = "portal", _("Portal")
    API = "api", _("API")
    TASK = "task", _("Background task")
    COMMAND = "command", _("Command line")
    DEVICE = "device", _("Device")


class AuditEntry(TenantOwned):
    """One change or event. Rows are appended only: a trigger refuses everything else to everybody.

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
        db_index=False,
        help_text="Null when the system itself or nobody known acted.",
    )
    impersonator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Who really acted while the actor was impersonated.",
    )
    reason = models.CharField(
        max_length=300, blank=True, default="", help_text="Why the actor was impersonated."
    )
    channel = models.CharField(max_length=16, choices=AuditChannel, default=AuditChannel.COMMAND)
    address = models.GenericIPAddressField(null=True)
    action = models.CharField(max_length=64)
    # Empty and null: an event that concerns no row, such as a sign-in.
    subject_type = models.CharField(max_length=64, blank=True, default="")
    subject_id = models.BigIntegerField(null=True)
    # What the subject was called then: it may be gone, or belong to a higher layer.
    subject_name = models.CharField(max_length=254, blank=True, default="")
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            # Each ends with what a list is sorted by, so that a page of it is read from one place,
            # and has the tenant, so that the entries of others are passed over without a look.
            models.Index(fields=["tenant", "-at", "-id"], name="tenants_audit_recent"),
            models.Index(fields=["-at", "-id"], include=["tenant"], name="tenants_audit_latest"),
            models.Index(
                fields=["subject_type", "subject_id", "-at", "-id"], name="tenants_audit_subject"
            ),
            models.Index(
                fields=["actor", "-at", "-id"], include=["tenant"], name="tenants_audit_actor"
            ),
            models.Index(
                fields=["impersonator", "-at", "-id"],
                name="tenants_audit_impersonator",
                condition=models.Q(impersonator__isnull=False),
            ),
            models.Index(
                fields=["action", "-at", "-id"], include=["tenant"], name="tenants_audit_action"
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(channel__in=AuditChannel.values),
                name="tenants_auditentry_channel_known",
            ),
            models.CheckConstraint(
                condition=models.Q(impersonator__isnull=True) | ~models.Q(reason=""),
                name="tenants_auditentry_impersonation_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%dT%H:%M:%SZ} {self.action} {self.subject_type} {self.subject_id}"
