"""Who was asked to become a member."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from tenants.models.membership import ROLE_CODES
from tenants.models.role import CustomRole
from tenants.models.tenant import TenantOwned
from tenants.permissions import CUSTOM_ROLE


class Invitation(TenantOwned):
    """An offer of a membership to whoever reads the mail of an address; good once, for days.

    The token of its link is drawn when the mail is written and stored as a digest; null until then.
    `facility_ids` null: the membership will not be narrowed. It is open until it is accepted or
    revoked, and good until `expires_at`.
    """

    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=[(code, code) for code in ROLE_CODES])
    custom_role = models.ForeignKey(
        CustomRole, on_delete=models.PROTECT, null=True, blank=True, related_name="invitations"
    )
    facility_ids = ArrayField(models.BigIntegerField(), null=True, blank=True)
    language = models.CharField(max_length=8, default="en")
    message = models.TextField(max_length=1000, blank=True)
    token_sha256 = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 - unique
    invited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Null when the system itself invited.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    # Mails asked for, and when the last one was; `sent_at`: when it went out.
    requests = models.PositiveSmallIntegerField(default=1)
    requested_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="tenants_invitation_one_open",
            ),
            models.UniqueConstraint(
                fields=["token_sha256"], name="tenants_invitation_token_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(email=Lower("email")) & ~models.Q(email=""),
                name="tenants_invitation_email_lower_case",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=ROLE_CODES), name="tenants_invitation_role_known"
            ),
            # Without `custom_role` a closed invitation outlives the role that it offered.
            models.CheckConstraint(
                condition=(
                    models.Q(custom_role__isnull=False, role=CUSTOM_ROLE)
                    | models.Q(custom_role__isnull=True) & ~models.Q(role=CUSTOM_ROLE)
                    | models.Q(accepted_at__isnull=False)
                    | models.Q(revoked_at__isnull=False)
                ),
                name="tenants_invitation_custom_role_named",
            ),
            models.CheckConstraint(
                condition=models.Q(accepted_at__isnull=True, accepted_by__isnull=True)
                | models.Q(
                    accepted_at__isnull=False,
                    accepted_by__isnull=False,
                    revoked_at__isnull=True,
                ),
                name="tenants_invitation_closed_one_way",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.tenant_id}"
