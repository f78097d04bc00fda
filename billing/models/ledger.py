"""What customers owe and have paid: entries that are added and never changed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.account import Agreement
from billing.models.bill import Bill
from billing.models.fields import CurrencyField, MoneyField
from devices.models import Facility
from tenants.models import TenantOwned


class Provider(models.TextChoices):
    """How a payment reached us."""

    MANUAL = "manual", _("Entered by hand")
    BANK = "bank", _("Bank statement")
    CSV = "csv", _("CSV file")
    STRIPE = "stripe", _("Stripe")


class Payment(TenantOwned):
    """Money that came in, or with a negative amount went back (`refunds` says of what).

    `external_id` is what the provider calls it, or what makes a line of a statement the same line
    again: the same payment is never taken twice. `agreement` is null while nobody knows whose it
    is.
    """

    provider = models.CharField(max_length=8, choices=Provider)
    external_id = models.CharField(max_length=200)
    amount = MoneyField()
    currency = CurrencyField()
    received_on = models.DateField()
    payer = models.CharField(max_length=140, blank=True)
    payer_account = models.CharField(max_length=34, blank=True)
    text = models.CharField(max_length=400, blank=True)
    refunds = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="refunded_by"
    )
    agreement = models.ForeignKey(
        Agreement, on_delete=models.PROTECT, null=True, blank=True, related_name="payments"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["-received_on", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "provider", "external_id"], name="billing_payment_once"
            ),
            models.UniqueConstraint(fields=["tenant", "id"], name="billing_payment_tenant_id"),
            models.CheckConstraint(condition=~models.Q(amount=0), name="billing_payment_amount"),
            models.CheckConstraint(
                condition=models.Q(provider__in=Provider.values),
                name="billing_payment_provider_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.external_id}"


class EntryKind(models.TextChoices):
    """What moves an account."""

    BILL = "bill", _("Bill")
    CREDIT_NOTE = "credit_note", _("Credit note")
    PAYMENT = "payment", _("Payment")
    REFUND = "refund", _("Refund")
    FEE = "fee", _("Fee")
    WRITE_OFF = "write_off", _("Write-off")


class AccountEntry(TenantOwned):
    """Something that an agreement owes (positive) or is owed (negative), due on `due_on`.

    What is open of an entry is its amount less what was allocated to it. `key` makes an entry the
    only one for its cause: `bill:7`, `payment:9`, `fee:case 3 step 2`.
    """

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="entries")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=EntryKind)
    key = models.CharField(max_length=80)
    amount = MoneyField()
    currency = CurrencyField()
    bill = models.ForeignKey(
        Bill, on_delete=models.PROTECT, null=True, blank=True, related_name="entries"
    )
    payment = models.ForeignKey(
        Payment, on_delete=models.PROTECT, null=True, blank=True, related_name="entries"
    )
    booked_on = models.DateField()
    due_on = models.DateField()
    text = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["agreement", "due_on", "pk"]
        verbose_name_plural = "account entries"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="billing_accountentry_once"),
            models.UniqueConstraint(
                fields=["tenant", "agreement", "id"], name="billing_accountentry_tenant_agreement"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=EntryKind.values),
                name="billing_accountentry_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class Allocation(TenantOwned):
    """So much of what is owed (`debit`) is settled by so much of what came in (`credit`).

    Of the same agreement; a negative amount takes a former allocation back.
    """

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="+")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    debit = models.ForeignKey(AccountEntry, on_delete=models.PROTECT, related_name="settled_by")
    credit = models.ForeignKey(AccountEntry, on_delete=models.PROTECT, related_name="settles")
    amount = MoneyField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount=0), name="billing_allocation_amount"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} of {self.credit_id} for {self.debit_id}"
