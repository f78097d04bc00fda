"""The tenant tree: operator, resellers, clients."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models.fields import LanguageField, TimeZoneField


class TenantKind(models.TextChoices):
    """The place of a tenant in the tree."""

    OPERATOR = "operator", _("Operator")
    RESELLER = "reseller", _("Reseller")
    CLIENT = "client", _("Client")


class Tenant(models.Model):
    """An organisation whose data are walled off from every other.

    Only operators have no parent. The database refuses a cycle. While it is suspended, memberships
    and applications of it and of all tenants below count as none (the doors leave them out): its
    people and the API are refused, those above it still reach it, and devices go on reporting.
    """

    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    kind = models.CharField(max_length=16, choices=TenantKind, default=TenantKind.CLIENT)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60)
    time_zone = TimeZoneField(default="UTC")
    language = LanguageField()
    created_at = models.DateTimeField(auto_now_add=True)
    suspended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["slug"], name="tenants_tenant_slug_unique"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["operator", "reseller", "client"]),
                name="tenants_tenant_kind_known",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="operator", parent__isnull=True)
                | (~models.Q(kind="operator") & models.Q(parent__isnull=False)),
                name="tenants_tenant_only_operators_are_roots",
            ),
            models.CheckConstraint(
                condition=~models.Q(name="") & ~models.Q(slug=""),
                name="tenants_tenant_named",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class TenantOwned(models.Model):
    """A row that belongs to one tenant; its table stands behind the wall (`EnableRowSecurity`)."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")

    class Meta:
        abstract = True
