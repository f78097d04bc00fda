"""How a tenant looks: its name, its logo and its colours in the portal."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models.tenant import TenantOwned

_COLOUR = RegexValidator(r"\A#[0-9a-f]{6}\Z", _("Write the colour as # and six digits: #1d4ed8."))


class Branding(TenantOwned):
    """What a tenant shows instead of the portal's own look; what is empty comes from the tenant
    above.

    `version` is drawn anew with every change: together with the tenant it is the address of style
    sheet and logo, which browsers keep for ever and nobody can guess. `logo` is a PNG that the
    portal itself has written (`portal.frame.logos`).
    """

    name = models.CharField(max_length=60, blank=True)
    accent_light = models.CharField(max_length=7, blank=True, validators=[_COLOUR])
    accent_dark = models.CharField(max_length=7, blank=True, validators=[_COLOUR])
    logo = models.BinaryField(null=True, blank=True)
    version = models.CharField(max_length=24)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="tenants_branding_one_per_tenant"),
            models.CheckConstraint(
                condition=models.Q(accent_light="", accent_dark="")
                | models.Q(
                    accent_light__regex=r"^#[0-9a-f]{6}$", accent_dark__regex=r"^#[0-9a-f]{6}$"
                ),
                name="tenants_branding_accents_together",
            ),
            models.CheckConstraint(
                condition=~models.Q(version=""), name="tenants_branding_versioned"
            ),
        ]

    def __str__(self) -> str:
        return f"branding of {self.tenant_id}"
