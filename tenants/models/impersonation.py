"""Support acting as somebody else, for a while and with a reason."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import GreaterThanOrEqual

from tenants.models.tenant import TenantOwned

MAX_DURATION: Final = timedelta(minutes=30)
MIN_REASON: Final = 10


class Impersonation(TenantOwned):
    """One person of support acts as a member of the tenant, from `started_at` until `ends_at`.

    It may be ended earlier (`ended_at`). `membership_id` is the membership that is acted by; no
    foreign key, because the row outlives it.
    """

    impersonator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    membership_id = models.BigIntegerField()
    reason = models.CharField(max_length=240)
    ticket = models.CharField(max_length=40, blank=True, default="")
    started_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-started_at", "-pk"]
        indexes = [
            models.Index(
                fields=["ends_at"],
                name="tenants_impersonation_open",
                condition=models.Q(ended_at__isnull=True),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(impersonator=models.F("person")),
                name="tenants_impersonation_of_another",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("started_at"))
                & models.Q(ends_at__lte=models.F("started_at") + MAX_DURATION),
                name="tenants_impersonation_short",
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at__isnull=True)
                | models.Q(ended_at__gte=models.F("started_at")),
                name="tenants_impersonation_ends_after_start",
            ),
            models.CheckConstraint(
                condition=GreaterThanOrEqual(Length("reason"), MIN_REASON),
                name="tenants_impersonation_has_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.impersonator_id} as {self.person_id} from {self.started_at:%Y-%m-%dT%H:%MZ}"

    @property
    def audit_name(self) -> str:
        """Whom it concerned."""
        return self.person.email

    @property
    def full_reason(self) -> str:
        """Ticket and reason, as every audit row of it carries them."""
        return f"{self.ticket}: {self.reason}" if self.ticket else self.reason
