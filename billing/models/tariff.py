"""Tariffs in dated versions, and series of prices."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.fields import CurrencyField, ExactField
from tenants.models import TenantOwned


class Tariff(TenantOwned):
    """What customers pay by; the prices are those of its versions."""

    name = models.CharField(max_length=120)
    description = models.CharField(max_length=400, blank=True)
    currency = CurrencyField()
    created_at = models.DateTimeField(auto_now_add=True)
    # No new agreement may choose it; the ones that have it keep it.
    archived_at = models.DateTimeField(null=True, blank=True)
    # Customers may be told what they would pay by it.
    offered = models.BooleanField(default=False)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="billing_tariff_name_unique"),
            models.UniqueConstraint(fields=["tenant", "id"], name="billing_tariff_tenant_id"),
            models.CheckConstraint(condition=~models.Q(name=""), name="billing_tariff_named"),
            models.CheckConstraint(
                condition=models.Q(currency__regex=r"^[A-Z]{3}$"),
                name="billing_tariff_currency_code",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class VersionState(models.TextChoices):
    """A published version is final; what it got wrong, the next revision of its date mends."""

    DRAFT = "draft", _("Draft")
    PUBLISHED = "published", _("Published")


class TariffVersion(TenantOwned):
    """What a tariff says from the local midnight of `valid_from` until the next version.

    `document` is what `billing.tariffs.document` reads, `source` the YAML or JSON as it was
    written. Of published versions of the same date the one with the highest `revision` holds;
    `reason` says why it takes the place of the one before it. A version is never taken back: one
    that changes nothing from a date on is a version as well.
    """

    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="versions")
    valid_from = models.DateField()
    revision = models.PositiveSmallIntegerField(default=1)
    state = models.CharField(max_length=12, choices=VersionState, default=VersionState.DRAFT)
    document = models.JSONField()
    source = models.TextField(blank=True)
    # SHA-256 (hex) of the document in its canonical form (`document.canonical`).
    sha256 = models.CharField(max_length=64)
    reason = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["tariff", "valid_from", "revision"]
        constraints = [
            models.UniqueConstraint(
                fields=["tariff", "valid_from", "revision"],
                name="billing_tariffversion_revision_unique",
            ),
            models.UniqueConstraint(
                fields=["tenant", "id"], name="billing_tariffversion_tenant_id"
            ),
            models.CheckConstraint(
                condition=models.Q(state=VersionState.DRAFT, published_at__isnull=True)
                | models.Q(state=VersionState.PUBLISHED, published_at__isnull=False),
                name="billing_tariffversion_published_at",
            ),
            models.CheckConstraint(
                condition=models.Q(sha256__regex=r"^[0-9a-f]{64}$"),
                name="billing_tariffversion_hashed",
            ),
        ]

    def __str__(self) -> str:
        return f"tariff {self.tariff_id} from {self.valid_from} ({self.revision})"


class PriceSeries(TenantOwned):
    """Prices that change by the hour or quarter of an hour, under the name tariffs call them by."""

    name = models.CharField(max_length=60)
    currency = CurrencyField()
    step_s = models.PositiveIntegerField(default=3600)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        verbose_name_plural = "price series"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], name="billing_priceseries_name_unique"
            ),
            models.UniqueConstraint(fields=["tenant", "id"], name="billing_priceseries_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(step_s__in=[900, 1800, 3600]),
                name="billing_priceseries_step_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PriceValue(TenantOwned):
    """The price per kWh of a series from an instant on; a later entry takes its place.

    Rows are added and never changed: as of an instant, the latest that was entered by then holds.
    """

    series = models.ForeignKey(PriceSeries, on_delete=models.PROTECT, related_name="values")
    starts_at = models.DateTimeField()
    price = ExactField()
    entered_at = models.DateTimeField()

    class Meta:
        ordering = ["series", "starts_at", "entered_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["series", "starts_at", "entered_at"], name="billing_pricevalue_once"
            ),
        ]
        indexes = [models.Index(fields=["series", "entered_at"], name="billing_pricevalue_entered")]

    def __str__(self) -> str:
        return f"series {self.series_id} at {self.starts_at}"
