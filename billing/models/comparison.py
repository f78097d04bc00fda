"""Comparisons of tariffs that were asked for, and what came out."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.fields import CurrencyField
from devices.models import Facility
from tenants.models import TenantOwned


class ComparisonState(models.TextChoices):
    """WAITING: agreements are still to be computed. FAILED: workers have tried too often."""

    WAITING = "waiting", _("Is being computed")
    DONE = "done", _("Computed")
    FAILED = "failed", _("Failed")


class TariffComparison(TenantOwned):
    """What agreements would have cost by other tariffs in the days [first_on, end_on).

    `agreements` are computed one after the other: the first `done` of them are in `sums`, in the
    form of `billing.domain.comparison_values.Sums`. `question` is what else was asked
    (`comparison_values.Question`). `turn` counts the workers that have taken it up: only the last
    one writes. With a `user` it is of one person's own agreement and shown to that person alone;
    with a `facility` all its agreements are there, and who reaches that sees it.
    """

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, null=True, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    title = models.CharField(max_length=160, blank=True)
    currency = CurrencyField()
    first_on = models.DateField()
    end_on = models.DateField()
    agreements = ArrayField(models.BigIntegerField())
    question = models.JSONField(default=dict)
    state = models.CharField(
        max_length=12, choices=ComparisonState, default=ComparisonState.WAITING
    )
    done = models.PositiveIntegerField(default=0)
    turn = models.PositiveIntegerField(default=0)
    sums = models.JSONField(default=dict)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    advanced_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["-asked_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(first_on__lt=models.F("end_on")),
                name="billing_tariffcomparison_days",
            ),
            models.CheckConstraint(
                condition=models.Q(state=ComparisonState.WAITING, ended_at__isnull=True)
                | models.Q(
                    state__in=[ComparisonState.DONE, ComparisonState.FAILED],
                    ended_at__isnull=False,
                ),
                name="billing_tariffcomparison_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="billing_tariffcomparison_over"),
        ]

    def __str__(self) -> str:
        return f"comparison {self.pk} of tariffs"
