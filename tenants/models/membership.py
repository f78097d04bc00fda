"""Which user plays which part in which tenant."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models.role import CustomRole
from tenants.models.tenant import TenantOwned
from tenants.permissions import CUSTOM_ROLE, NARROWED_ROLES, Role

ROLE_CODES = [*(role.value for role in Role), CUSTOM_ROLE]


class Membership(TenantOwned):
    """One role of one user in one tenant, valid for the tenant and everything below it.

    `narrowed`: only the facilities that are granted one by one are reached; without any it reaches
    none. A suspended membership counts as none. The database sees to it that a custom role belongs
    to the tenant or to one above it.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships"
    )
    role = models.CharField(max_length=16, choices=[(code, code) for code in ROLE_CODES])
    custom_role = models.ForeignKey(
        CustomRole, on_delete=models.PROTECT, null=True, blank=True, related_name="memberships"
    )
    narrowed = models.BooleanField(default=False)
    suspended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "user"], name="tenants_membership_one_per_user"
            ),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="tenants_membership_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(role__in=ROLE_CODES),
                name="tenants_membership_role_known",
            ),
            models.CheckConstraint(
                condition=models.Q(role=CUSTOM_ROLE, custom_role__isnull=False)
                | (~models.Q(role=CUSTOM_ROLE) & models.Q(custom_role__isnull=True)),
                name="tenants_membership_custom_role_named",
            ),
            models.CheckConstraint(
                condition=~models.Q(role__in=sorted(role.value for role in NARROWED_ROLES))
                | models.Q(narrowed=True),
                name="tenants_membership_consumer_narrowed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.tenant_id}"

    @property
    def audit_name(self) -> str:
        """The member's address: the audit trail tells of people by it."""
        return self.user.email
