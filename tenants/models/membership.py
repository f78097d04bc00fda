"""Which user plays which part in which tenant."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models.tenant import TenantOwned
from tenants.permissions import Role


class Membership(TenantOwned):
    """One role of one user in one tenant, valid for the tenant and everything below it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships"
    )
    role = models.CharField(max_length=16, choices=[(role.value, role.value) for role in Role])
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
                condition=models.Q(role__in=[role.value for role in Role]),
                name="tenants_membership_role_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} of {self.tenant_id}"

    @property
    def audit_name(self) -> str:
        """The member's address: the audit trail tells of people by it."""
        return self.user.email
