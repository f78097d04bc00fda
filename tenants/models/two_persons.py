"""Rules that have two persons agree to something."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models.tenant import TenantOwned


class TwoPersonsRule(TenantOwned):
    """The row of a tenant with such a rule.

    Switching the rule off takes two persons as well: `off_asked_by` has asked for it at
    `off_asked_at`, and somebody else has to agree; both null while nobody has asked.
    """

    off_asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    off_asked_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
