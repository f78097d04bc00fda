"""Customers, what was agreed with them, by which meters and tariffs."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.fields import CurrencyField, ExactField, days
from billing.models.tariff import Tariff
from devices.models import Channel, Facility
from tenants.models import TenantOwned
from tenants.models.fields import LanguageField


class CustomerKind(models.TextChoices):
    """Who is billed."""

    PERSON = "person", _("Person")
    COMPANY = "company", _("Company")


class Customer(TenantOwned):
    """Somebody who gets bills. `user` is the account with which a consumer sees them, if any.

    `protected`: must not be cut off (for medical or legal reasons; `protected_reason` says which),
    until `protected_until` where that is known.
    """

    number = models.CharField(max_length=40)
    kind = models.CharField(max_length=8, choices=CustomerKind, default=CustomerKind.PERSON)
    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=32, blank=True)
    language = LanguageField()
    street = models.CharField(max_length=120, blank=True)
    postal_code = models.CharField(max_length=16, blank=True)
    city = models.CharField(max_length=80, blank=True)
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166-1 alpha-2.")
    vat_id = models.CharField(max_length=20, blank=True)
    # What a buyer wants to read on its bills (EN 16931 BT-10), for example a Leitweg-ID.
    buyer_reference = models.CharField(max_length=60, blank=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    protected = models.BooleanField(default=False)
    protected_reason = models.CharField(max_length=200, blank=True)
    protected_until = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "number"], name="billing_customer_number_unique"
            ),
            models.UniqueConstraint(fields=["tenant", "id"], name="billing_customer_tenant_id"),
            models.CheckConstraint(
                condition=~models.Q(name="") & ~models.Q(number=""), name="billing_customer_named"
            ),
            models.CheckConstraint(
                condition=models.Q(country="") | models.Q(country__regex=r"^[A-Z]{2}$"),
                name="billing_customer_country_code",
            ),
            models.CheckConstraint(
                condition=models.Q(protected=False) | ~models.Q(protected_reason=""),
                name="billing_customer_protected_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


class Mode(models.TextChoices):
    """POSTPAID: bills for what was used. PREPAID: a wallet that use burns down. PAYG: days of use
    bought by tokens.
    """

    POSTPAID = "postpaid", _("Postpaid")
    PREPAID = "prepaid", _("Prepaid wallet")
    PAYG = "payg", _("Pay as you go")


class Cycle(models.TextChoices):
    """How often a bill is made."""

    MONTH = "month", _("Monthly")
    QUARTER = "quarter", _("Quarterly")
    YEAR = "year", _("Yearly")


class Agreement(TenantOwned):
    """That a customer is supplied at a facility, from the local midnight of `starts_on` to that of
    `ends_on` (empty: until further notice).

    Dates are those of the facility's calendar. `user` repeats the customer's account, because who
    sees some facilities alone does not see customers. A facility may have several agreements at
    once: shared meters, or several meters.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="agreements")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    number = models.CharField(max_length=40)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.POSTPAID)
    cycle = models.CharField(max_length=8, choices=Cycle, default=Cycle.MONTH)
    currency = CurrencyField()
    payment_days = models.PositiveSmallIntegerField(default=14)
    cost_centre = models.CharField(max_length=60, blank=True)
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "number"], name="billing_agreement_number_unique"
            ),
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="billing_agreement_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_on__isnull=True)
                | models.Q(ends_on__gt=models.F("starts_on")),
                name="billing_agreement_period",
            ),
            models.CheckConstraint(condition=~models.Q(number=""), name="billing_agreement_named"),
            models.CheckConstraint(
                condition=models.Q(mode__in=Mode.values) & models.Q(cycle__in=Cycle.values),
                name="billing_agreement_kinds_known",
            ),
        ]
        indexes = [
            models.Index(fields=["customer"], name="billing_agreement_customer"),
            models.Index(fields=["user"], name="billing_agreement_user"),
        ]

    def __str__(self) -> str:
        return self.number


class Flow(models.TextChoices):
    """What a meter's channel counts for a bill."""

    IMPORT = "import", _("Drawn from the grid")
    EXPORT = "export", _("Given to the grid")
    REACTIVE = "reactive", _("Reactive energy")


class AgreementMeter(TenantOwned):
    """A channel that an agreement is billed by, from an instant to another (empty: for ever).

    `share`: the part of it that counts, for meters that several share; negative where a sub-meter
    of somebody else is taken off. Instants are full quarters of an hour.
    """

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="meters")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="+")
    flow = models.CharField(max_length=8, choices=Flow, default=Flow.IMPORT)
    share = models.DecimalField(max_digits=9, decimal_places=8, default=1)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["agreement", "starts_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["agreement", "channel", "flow", "starts_at"],
                name="billing_agreementmeter_once",
            ),
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="billing_agreementmeter_period",
            ),
            models.CheckConstraint(
                condition=models.Q(share__gte=-1, share__lte=1) & ~models.Q(share=0),
                name="billing_agreementmeter_share",
            ),
        ]
        indexes = [models.Index(fields=["channel"], name="billing_agreementmeter_channel")]

    def __str__(self) -> str:
        return f"channel {self.channel_id} of agreement {self.agreement_id}"


class AgreementTariff(TenantOwned):
    """The tariff of an agreement from the local midnight of a day to that of another."""

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="tariffs")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    tariff = models.ForeignKey(Tariff, on_delete=models.PROTECT, related_name="+")
    contracted_kw = ExactField(null=True, blank=True, validators=[MinValueValidator(0)])
    starts_on = models.DateField()
    ends_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["agreement", "starts_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["agreement", "starts_on"], name="billing_agreementtariff_once"
            ),
            models.CheckConstraint(
                condition=models.Q(ends_on__isnull=True)
                | models.Q(ends_on__gt=models.F("starts_on")),
                name="billing_agreementtariff_period",
            ),
            models.CheckConstraint(
                condition=models.Q(contracted_kw__isnull=True) | models.Q(contracted_kw__gte=0),
                name="billing_agreementtariff_power",
            ),
            ExclusionConstraint(
                name="billing_agreementtariff_no_overlap",
                expressions=[
                    ("agreement", RangeOperators.EQUAL),
                    (days("starts_on", "ends_on"), RangeOperators.OVERLAPS),
                ],
            ),
        ]
        indexes = [models.Index(fields=["tariff"], name="billing_agreementtariff_of")]

    def __str__(self) -> str:
        return f"tariff {self.tariff_id} of agreement {self.agreement_id}"
