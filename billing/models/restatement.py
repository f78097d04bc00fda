"""Final bills whose past has changed, and what became of them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.bill import Bill
from billing.models.fields import MoneyField
from devices.models import Facility
from tenants.models import TenantOwned


class RestatementState(models.TextChoices):
    """FOUND: the bill is to be computed anew. UNCHANGED: it came out as it was. DRAFTED: the new
    bill waits for somebody to settle it. SETTLED: credit note and new bill are final. DISMISSED:
    the bill was left as it is. FAILED: it cannot be computed; `problem` says why.
    """

    FOUND = "found", _("To be computed")
    UNCHANGED = "unchanged", _("Unchanged")
    DRAFTED = "drafted", _("To be settled")
    SETTLED = "settled", _("Settled")
    DISMISSED = "dismissed", _("Let stand")
    FAILED = "failed", _("Failed")


class Restatement(TenantOwned):
    """That a final bill may not be right any more.

    `causes` are what has changed since (`billing.domain.restatement_finding.Because`), joined while
    it is open. `difference`: the new total less the one of the bill. There is one open row of a
    bill at most.
    """

    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="restatements")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(
        max_length=12, choices=RestatementState, default=RestatementState.FOUND
    )
    causes = models.JSONField(default=list)
    difference = MoneyField(null=True)
    credit_note = models.ForeignKey(Bill, on_delete=models.SET_NULL, null=True, related_name="+")
    new_bill = models.ForeignKey(Bill, on_delete=models.SET_NULL, null=True, related_name="+")
    problem = models.CharField(max_length=400, blank=True)
    reason = models.CharField(max_length=400, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    found_at = models.DateTimeField()
    computed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-found_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["bill"],
                condition=models.Q(ended_at__isnull=True),
                name="billing_restatement_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["found", "drafted", "failed"], ended_at__isnull=True)
                | models.Q(state__in=["unchanged", "settled", "dismissed"], ended_at__isnull=False),
                name="billing_restatement_ended",
            ),
        ]
        indexes = [
            models.Index(
                fields=["state"],
                condition=models.Q(ended_at__isnull=True),
                name="billing_restatement_open",
            )
        ]

    def __str__(self) -> str:
        return f"restatement of bill {self.bill_id}"


class ChangesRead(TenantOwned):
    """Up to which announced change of readings (`devices.domain.changes`) bills were looked up."""

    change_id = models.BigIntegerField(default=0)
    read_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["tenant"]
        verbose_name_plural = "changes read"
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="billing_changesread_once"),
        ]

    def __str__(self) -> str:
        return f"changes of tenant {self.tenant_id} up to {self.change_id}"
