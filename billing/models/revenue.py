"""Energy that was supplied and is in no final bill yet, as it was valued last."""

from __future__ import annotations

from django.db import models

from billing.models.account import Agreement
from billing.models.fields import CurrencyField, ExactField, MoneyField
from devices.models import Facility
from tenants.models import TenantOwned


class UnbilledAccount(TenantOwned):
    """What an agreement has used on days that are over and that no final bill is for.

    `first_on` is the oldest of these days (empty: there is none), `end_on` the local day on which
    it was valued. `valued_from`: energy and `net` are those of these days from this one on, since
    days that lie far back are not rated anew each night. `net` is what a bill would come to, before
    tax, rounded once. `problem` says why some of the days could not be rated: then energy and `net`
    are those of the others.
    """

    agreement = models.OneToOneField(Agreement, on_delete=models.CASCADE, related_name="unbilled")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    currency = CurrencyField()
    first_on = models.DateField(null=True)
    valued_from = models.DateField(null=True)
    end_on = models.DateField()
    imported_kwh = ExactField(default=0)
    exported_kwh = ExactField(default=0)
    estimated_kwh = ExactField(default=0)
    missing_intervals = models.PositiveIntegerField(default=0)
    net = MoneyField(default=0)
    problem = models.CharField(max_length=400, blank=True)
    computed_at = models.DateTimeField()

    class Meta:
        ordering = ["agreement"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    first_on__isnull=True,
                    valued_from__isnull=True,
                    imported_kwh=0,
                    exported_kwh=0,
                    net=0,
                )
                | models.Q(
                    first_on__isnull=False,
                    valued_from__isnull=False,
                    first_on__lte=models.F("valued_from"),
                    valued_from__lt=models.F("end_on"),
                ),
                name="billing_unbilledaccount_days",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "computed_at"], name="billing_unbilled_computed"),
        ]

    def __str__(self) -> str:
        return f"unbilled of agreement {self.agreement_id}"


class UnbilledDay(TenantOwned):
    """What a tenant's unbilled energy came to, in a currency, when it was valued on a day (UTC).

    `accounts` have unbilled days, the oldest of which is `oldest_on`; of `problems` some days could
    not be rated.
    """

    currency = CurrencyField()
    on = models.DateField()
    accounts = models.PositiveIntegerField()
    problems = models.PositiveIntegerField()
    oldest_on = models.DateField(null=True)
    imported_kwh = ExactField()
    exported_kwh = ExactField()
    estimated_kwh = ExactField()
    net = MoneyField()

    class Meta:
        ordering = ["tenant", "currency", "on"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "currency", "on"], name="billing_unbilledday_once"
            ),
        ]

    def __str__(self) -> str:
        return f"unbilled of tenant {self.tenant_id} on {self.on}"
