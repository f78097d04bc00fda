"""Pay-as-you-go units and the tokens that were issued for them."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.accounts.tokens import Keys
from billing.models.account import Agreement
from billing.models.fields import CurrencyField, MoneyField
from billing.models.ledger import Payment
from devices.models import Device, Facility
from tenants import sealing
from tenants.models import TenantOwned

_PURPOSE = "payg"


class PaygUnit(TenantOwned):
    """A device that works while time is paid for (OpenPAYGO Token), and who pays for it.

    `sealed_keys` are its key and starting code. `count` is that of the newest token issued,
    `divider` how many units of a token make a day, `carried` money that was too little for another
    unit. `paid_until` is until when it is paid if every token was typed in when it was issued
    (null: none yet); `released_at`: no longer limited.
    """

    device = models.OneToOneField(Device, on_delete=models.PROTECT, related_name="+")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    agreement = models.OneToOneField(Agreement, on_delete=models.PROTECT, related_name="payg_unit")
    sealed_keys = models.TextField(editable=False)
    count = models.PositiveIntegerField(default=0)
    divider = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(96)]
    )
    extended = models.BooleanField(default=False)
    restricted_digits = models.BooleanField(default=False)
    price_per_day = MoneyField(validators=[MinValueValidator(Decimal("0.0001"))])
    currency = CurrencyField()
    carried = MoneyField(default=0)
    paid_until = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["device"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="billing_paygunit_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(price_per_day__gt=0, carried__gte=0, divider__gte=1),
                name="billing_paygunit_price",
            ),
        ]

    def __str__(self) -> str:
        return f"pay-as-you-go unit {self.device_id}"

    def seal_keys(self, keys: Keys) -> None:
        """Keep the keys, encrypted for this tenant alone."""
        text = f"{keys.secret}:{keys.starting_code}"
        self.sealed_keys = sealing.seal(text, purpose=_PURPOSE, owner=str(self.tenant_id))

    def open_keys(self) -> Keys:
        """The keys; raises Unsealable."""
        text = sealing.unseal(self.sealed_keys, purpose=_PURPOSE, owner=str(self.tenant_id))
        secret, _, starting_code = text.partition(":")
        return Keys(secret, int(starting_code))


class TokenKind(models.TextChoices):
    """What a token does to its unit."""

    ADD_TIME = "add_time", _("Adds time")
    SET_TIME = "set_time", _("Sets the time")
    DISABLE_PAYG = "disable_payg", _("Ends pay as you go")
    COUNTER_SYNC = "counter_sync", _("Sets the counter")


class Delivery(models.TextChoices):
    """How the customer gets a token. PORTAL: somebody reads it out, or it is looked up."""

    PORTAL = "portal", _("In the portal")
    MAIL = "mail", _("E-mail")
    WIRE = "wire", _("Straight to the unit")


class PaygToken(TenantOwned):
    """A token as it is typed in. Issued once for a payment; `amount` is what was paid for it, with
    what was carried. `value` is in units of the unit's `divider` per day.
    """

    unit = models.ForeignKey(PaygUnit, on_delete=models.PROTECT, related_name="tokens")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=TokenKind)
    token = models.CharField(max_length=20)
    count = models.PositiveIntegerField()
    value = models.PositiveIntegerField(default=0)
    amount = MoneyField(null=True, blank=True)
    payment = models.OneToOneField(
        Payment, on_delete=models.PROTECT, null=True, blank=True, related_name="payg_token"
    )
    reason = models.CharField(max_length=200, blank=True)
    delivery = models.CharField(max_length=8, choices=Delivery, default=Delivery.PORTAL)
    delivered_at = models.DateTimeField(null=True, blank=True)
    issued_at = models.DateTimeField()
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["unit", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["unit", "count"], name="billing_paygtoken_count_once"),
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="billing_paygtoken_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=TokenKind.values)
                & models.Q(delivery__in=Delivery.values),
                name="billing_paygtoken_kinds_known",
            ),
        ]

    def __str__(self) -> str:
        return f"token {self.count} of unit {self.unit_id}"


class TokenRequestState(models.TextChoices):
    """WAITING: somebody else is to agree. ISSUED, REFUSED: decided."""

    WAITING = "waiting", _("Waits for a second person")
    ISSUED = "issued", _("Issued")
    REFUSED = "refused", _("Refused")


class TokenRequest(TenantOwned):
    """That somebody wants a token which nobody has paid for. `days` are those that it adds or sets.

    Where the tenant's rule says so (`BillingSettings.second_person`), another person decides.
    """

    unit = models.ForeignKey(PaygUnit, on_delete=models.PROTECT, related_name="requests")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=TokenKind)
    days = MoneyField(default=0)
    reason = models.CharField(max_length=200)
    state = models.CharField(
        max_length=8, choices=TokenRequestState, default=TokenRequestState.WAITING
    )
    token = models.OneToOneField(
        PaygToken, on_delete=models.PROTECT, null=True, blank=True, related_name="request"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=TokenKind.values, days__gte=0),
                name="billing_tokenrequest_known",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    state=TokenRequestState.WAITING, token__isnull=True, decided_at__isnull=True
                )
                | models.Q(
                    state=TokenRequestState.ISSUED, token__isnull=False, decided_at__isnull=False
                )
                | models.Q(
                    state=TokenRequestState.REFUSED, token__isnull=True, decided_at__isnull=False
                ),
                name="billing_tokenrequest_decided",
            ),
        ]
        indexes = [
            models.Index(
                fields=["unit"],
                condition=models.Q(state=TokenRequestState.WAITING),
                name="billing_tokenrequest_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"request {self.pk} for a token of unit {self.unit_id}"
