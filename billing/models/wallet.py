"""Prepaid wallets: what is left of the money of an agreement, and every movement of it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.account import Agreement
from billing.models.bill import Bill
from billing.models.fields import CurrencyField, MoneyField
from billing.models.ledger import AccountEntry
from devices.models import Facility
from tenants.models import TenantOwned


class WalletState(models.TextChoices):
    """How a wallet stands (`billing.accounts.wallet`). EMERGENCY: below zero, within what is lent.
    FRIENDLY: spent, but nobody is switched off at this hour. PROTECTED: spent, and the customer
    must not be cut off. SPENT: switched off.
    """

    GOOD = "good", _("Enough left")
    LOW = "low", _("Little left")
    EMERGENCY = "emergency", _("Emergency credit")
    FRIENDLY = "friendly", _("Spent, friendly hours")
    PROTECTED = "protected", _("Spent, protected customer")
    SPENT = "spent", _("Spent")


class Wallet(TenantOwned):
    """The wallet of a prepaid agreement. `balance` is that after the newest movement.

    `friendly_from` … `friendly_to`: local wall clock within which nobody is switched off (over
    midnight where the first is later), on Saturdays and Sundays and on public holidays of
    `holidays` (ISO 3166-2) all day where so said. `burned_at`: use has been charged as it was known
    then; `look_at`: when to look again, though no money moves. `switched_off_at`: since when the
    output is off, or to be off, for want of money; `switchings` counts these changes.
    """

    agreement = models.OneToOneField(Agreement, on_delete=models.PROTECT, related_name="wallet")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    currency = CurrencyField()
    balance = MoneyField(default=0)
    state = models.CharField(max_length=12, choices=WalletState, default=WalletState.GOOD)
    # What the customer was told last.
    told_state = models.CharField(max_length=12, choices=WalletState, default=WalletState.GOOD)
    state_at = models.DateTimeField(null=True, blank=True)
    low_balance = MoneyField(default=5, validators=[MinValueValidator(0)])
    emergency_credit = MoneyField(default=0, validators=[MinValueValidator(0)])
    friendly_from = models.TimeField(null=True, blank=True)
    friendly_to = models.TimeField(null=True, blank=True)
    friendly_weekend = models.BooleanField(default=False)
    holidays = models.CharField(max_length=12, blank=True)
    burned_at = models.DateTimeField(null=True, blank=True)
    look_at = models.DateTimeField(null=True, blank=True)
    switched_off_at = models.DateTimeField(null=True, blank=True)
    switchings = models.PositiveIntegerField(default=0)
    # Why the last burn did not come about; empty where it did.
    problem = models.CharField(max_length=400, blank=True)
    # Of units that could not be asked to switch, the ids.
    missed = ArrayField(models.BigIntegerField(), default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["agreement"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="billing_wallet_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=WalletState.values), name="billing_wallet_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(low_balance__gte=0, emergency_credit__gte=0),
                name="billing_wallet_limits",
            ),
            models.CheckConstraint(
                condition=models.Q(friendly_from__isnull=True, friendly_to__isnull=True)
                | models.Q(friendly_from__isnull=False, friendly_to__isnull=False),
                name="billing_wallet_friendly_both",
            ),
        ]

    def __str__(self) -> str:
        return f"wallet of agreement {self.agreement_id}"


class MovementKind(models.TextChoices):
    """Why a wallet's balance changes. ENTRY: an entry of the account (payment, refund, fee,
    adjustment). BURN: use, as it is known until now. BILL: what a final bill says otherwise.
    """

    ENTRY = "entry", _("Account entry")
    BURN = "burn", _("Use")
    BILL = "bill", _("Settled by the bill")


class WalletMovement(TenantOwned):
    """A change of a wallet by `amount`, positive where it gets fuller; added, and never changed.

    `month` is the first day of the billing month that a burn is for. `key` makes a movement the
    only one for its cause: `entry:7`, `burn:3:2026-03-01:12`.
    """

    wallet = models.ForeignKey(Wallet, on_delete=models.PROTECT, related_name="movements")
    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="+")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=MovementKind)
    key = models.CharField(max_length=80)
    amount = MoneyField()
    balance_after = MoneyField()
    month = models.DateField(null=True, blank=True)
    entry = models.ForeignKey(
        AccountEntry, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    bill = models.ForeignKey(
        Bill, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    at = models.DateTimeField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["wallet", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="billing_walletmovement_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=MovementKind.values),
                name="billing_walletmovement_kind_known",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=MovementKind.ENTRY, entry__isnull=False, month__isnull=True)
                | models.Q(
                    kind__in=[MovementKind.BURN, MovementKind.BILL],
                    entry__isnull=True,
                    month__isnull=False,
                ),
                name="billing_walletmovement_of",
            ),
        ]
        indexes = [models.Index(fields=["wallet", "month"], name="billing_walletmovement_month")]

    def __str__(self) -> str:
        return self.key
