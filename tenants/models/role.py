"""Roles that a tenant makes itself."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower

from tenants.models.tenant import TenantOwned


class CustomRole(TenantOwned):
    """A named set of permissions (`tenants.permissions.Permission`), for members of the tenant and
    of all tenants below it.

    A permission that does not exist any more allows nothing.
    """

    name = models.CharField(max_length=80)
    description = models.CharField(max_length=240, blank=True)
    permissions = ArrayField(models.CharField(max_length=64))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint("tenant", Lower("name"), name="tenants_customrole_name_unique"),
            models.CheckConstraint(
                condition=~models.Q(name="") & models.Q(permissions__len__gt=0),
                name="tenants_customrole_named_and_allows",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.tenant_id}"
