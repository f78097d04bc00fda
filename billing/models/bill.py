"""Bills, their lines and evidence, the runs that make them and the numbers they get."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.account import Agreement, Cycle
from billing.models.fields import CurrencyField, ExactField, MoneyField, days
from devices.models import Facility
from tenants.models import TenantOwned


class BillingSettings(TenantOwned):
    """Who a tenant is on its bills, and how it bills.

    `mail_bills`: who has an e-mail address gets bills there once they are final.
    `second_person`: a run is approved by somebody else than who asked for it, and so is a token
    that nobody has paid for. `estimate_percent`: with a larger part of a bill's energy not
    measured, the checklist holds it.
    """

    legal_name = models.CharField(max_length=120)
    street = models.CharField(max_length=120, blank=True)
    postal_code = models.CharField(max_length=16, blank=True)
    city = models.CharField(max_length=80, blank=True)
    country = models.CharField(max_length=2, blank=True)
    vat_id = models.CharField(max_length=20, blank=True)
    tax_number = models.CharField(max_length=30, blank=True)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=32, blank=True)
    iban = models.CharField(max_length=34, blank=True)
    bic = models.CharField(max_length=11, blank=True)
    bank_name = models.CharField(max_length=80, blank=True)
    footer = models.CharField(max_length=400, blank=True)
    currency = CurrencyField(default="EUR")
    mail_bills = models.BooleanField(default=True)
    second_person = models.BooleanField(default=True)
    estimate_percent = models.DecimalField(max_digits=5, decimal_places=2, default=20)

    class Meta:
        verbose_name_plural = "billing settings"
        ordering = ["tenant"]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="billing_billingsettings_once"),
        ]

    def __str__(self) -> str:
        return f"billing of tenant {self.tenant_id}"


class NumberSeries(TenantOwned):
    """Consecutive numbers of a tenant's documents, for each series without a gap.

    A number is taken by locking the row, in the transaction that makes the document final.
    """

    code = models.CharField(max_length=20)
    prefix = models.CharField(max_length=20, blank=True)
    next_number = models.PositiveBigIntegerField(default=1)

    class Meta:
        verbose_name_plural = "number series"
        ordering = ["tenant", "code"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "code"], name="billing_numberseries_once"),
        ]

    def __str__(self) -> str:
        return f"{self.code} of tenant {self.tenant_id}"


class RunState(models.TextChoices):
    """RATING: drafts are being made. CHECKING: somebody looks at the checklist. APPROVED: drafts
    are being made final. FINISHED and CANCELLED are the end.
    """

    RATING = "rating", _("Rating")
    CHECKING = "checking", _("To be approved")
    APPROVED = "approved", _("Being finalised")
    FINISHED = "finished", _("Finished")
    CANCELLED = "cancelled", _("Cancelled")


class RunKind(models.TextChoices):
    """Why bills are made."""

    REGULAR = "regular", _("Regular")
    RESTATEMENT = "restatement", _("Restatement")


class BillRun(TenantOwned):
    """The bills of a period [first_on, end_on), for all agreements of a cycle or for some.

    `listed_to`: up to which agreement accounts were listed as items; none where all are there.
    """

    kind = models.CharField(max_length=12, choices=RunKind, default=RunKind.REGULAR)
    cycle = models.CharField(max_length=8, choices=Cycle, default=Cycle.MONTH)
    first_on = models.DateField()
    end_on = models.DateField()
    state = models.CharField(max_length=12, choices=RunState, default=RunState.RATING)
    # What the run knows: readings, corrections and tariffs until then.
    known_at = models.DateTimeField()
    issued_on = models.DateField(null=True, blank=True)
    cause = models.CharField(max_length=400, blank=True)
    listed_to = models.BigIntegerField(null=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    approved_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="billing_billrun_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(end_on__gt=models.F("first_on")), name="billing_billrun_period"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=RunState.values), name="billing_billrun_state_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(ended_at__isnull=True),
                name="billing_billrun_open",
            )
        ]

    def __str__(self) -> str:
        return f"run {self.pk} for {self.first_on}"


class ItemState(models.TextChoices):
    """How far an account of a run has come. HELD: the checklist asks a person."""

    WAITING = "waiting", _("Waiting")
    DRAFTED = "drafted", _("Drafted")
    HELD = "held", _("To be looked at")
    FINAL = "final", _("Final")
    SKIPPED = "skipped", _("Left out")
    FAILED = "failed", _("Failed")


class BillRunItem(TenantOwned):
    """One account of a run. `findings` are the codes of the checklist with their figures,
    `problem` why it failed, `reason` why findings were accepted or the account left out.
    """

    run = models.ForeignKey(BillRun, on_delete=models.PROTECT, related_name="items")
    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="+")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=8, choices=ItemState, default=ItemState.WAITING)
    findings = models.JSONField(default=list, blank=True)
    problem = models.CharField(max_length=400, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    accepted_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["run", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["run", "agreement"], name="billing_billrunitem_once"),
        ]
        indexes = [models.Index(fields=["run", "state"], name="billing_billrunitem_state")]

    def __str__(self) -> str:
        return f"agreement {self.agreement_id} in run {self.run_id}"


class BillKind(models.TextChoices):
    """What a document asks for: money, or that it was asked for wrongly."""

    INVOICE = "invoice", _("Bill")
    CREDIT_NOTE = "credit_note", _("Credit note")


class BillState(models.TextChoices):
    """A draft may be computed anew; what is final never changes, but for being void: then a credit
    note has taken it back.
    """

    DRAFT = "draft", _("Draft")
    FINAL = "final", _("Final")
    VOID = "void", _("Void")


class Bill(TenantOwned):
    """What an agreement costs for the days [first_on, end_on).

    `revision` counts the bills of the same agreement and period; a credit note has the revision of
    the bill that it takes back (`corrects`), the new bill the next one. `cause` says why there is
    more than one. `parties` repeats seller and customer as they were (`documents.values.Parties`).
    `is_stale`: what a draft was computed from has changed since, so that it is computed anew before
    it becomes final. `carried` goes into the next bill (`billing.domain.evidence.carried_of`: peaks
    and credits). `user` is who may see it as a consumer. `sha256` is that of the evidence; the
    amounts are in `currency`, those of a credit note negative.
    """

    run = models.ForeignKey(BillRun, on_delete=models.PROTECT, null=True, related_name="bills")
    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="bills")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    kind = models.CharField(max_length=12, choices=BillKind, default=BillKind.INVOICE)
    state = models.CharField(max_length=8, choices=BillState, default=BillState.DRAFT)
    series = models.CharField(max_length=20, blank=True)
    number = models.CharField(max_length=48, blank=True)
    revision = models.PositiveSmallIntegerField(default=1)
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrections"
    )
    cause = models.CharField(max_length=400, blank=True)
    first_on = models.DateField()
    end_on = models.DateField()
    zone = models.CharField(max_length=64)
    currency = CurrencyField()
    net = MoneyField(default=0)
    tax = MoneyField(default=0)
    total = MoneyField(default=0)
    imported_kwh = ExactField(default=0)
    exported_kwh = ExactField(default=0)
    estimated_kwh = ExactField(default=0)
    missing_intervals = models.PositiveIntegerField(default=0)
    parties = models.JSONField(default=dict)
    is_stale = models.BooleanField(default=False)
    carried = models.JSONField(default=dict)
    sha256 = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    issued_on = models.DateField(null=True, blank=True)
    due_on = models.DateField(null=True, blank=True)
    finalised_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-first_on", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["agreement", "first_on", "end_on", "kind", "revision"],
                name="billing_bill_once",
            ),
            models.UniqueConstraint(
                fields=["tenant", "series", "number"],
                condition=~models.Q(number=""),
                name="billing_bill_number_unique",
            ),
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="billing_bill_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(end_on__gt=models.F("first_on")), name="billing_bill_period"
            ),
            models.CheckConstraint(
                condition=models.Q(state=BillState.DRAFT, number="", finalised_at__isnull=True)
                | (
                    models.Q(
                        state__in=[BillState.FINAL, BillState.VOID],
                        finalised_at__isnull=False,
                        issued_on__isnull=False,
                        due_on__isnull=False,
                    )
                    & ~models.Q(number="")
                    & ~models.Q(sha256="")
                ),
                name="billing_bill_final_told",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=BillKind.INVOICE)
                | models.Q(kind=BillKind.CREDIT_NOTE, corrects__isnull=False),
                name="billing_bill_credit_of",
            ),
            models.CheckConstraint(
                condition=models.Q(total=models.F("net") + models.F("tax")),
                name="billing_bill_adds_up",
            ),
            # No day is billed twice.
            ExclusionConstraint(
                name="billing_bill_no_overlap",
                expressions=[
                    ("agreement", RangeOperators.EQUAL),
                    (days("first_on", "end_on"), RangeOperators.OVERLAPS),
                ],
                condition=models.Q(kind=BillKind.INVOICE, state=BillState.FINAL),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-first_on"], name="billing_bill_recent"),
            models.Index(fields=["run", "state"], name="billing_bill_run_state"),
            models.Index(fields=["user"], name="billing_bill_user"),
            models.Index(fields=["tenant", "finalised_at"], name="billing_bill_finalised"),
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"


class BillLine(TenantOwned):
    """A line of a bill: a `billing.tariffs.values.Line`, whose fields these are."""

    bill = models.ForeignKey(Bill, on_delete=models.CASCADE, related_name="lines")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    position = models.PositiveSmallIntegerField()
    component = models.CharField(max_length=60)
    kind = models.CharField(max_length=16)
    label = models.CharField(max_length=200)
    first_on = models.DateField()
    end_on = models.DateField()
    period = models.CharField(max_length=60, blank=True)
    tier = models.PositiveSmallIntegerField(default=0)
    quantity = ExactField()
    unit = models.CharField(max_length=16)
    price = ExactField(null=True)
    amount = ExactField()
    estimated = ExactField(default=0)
    at = models.DateTimeField(null=True)
    tax_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["bill", "position"]
        constraints = [
            models.UniqueConstraint(fields=["bill", "position"], name="billing_billline_once"),
        ]

    def __str__(self) -> str:
        return f"line {self.position} of bill {self.bill_id}"


class BillEvidence(TenantOwned):
    """What a bill was computed from: `body` is a record of `billing.domain.evidence`
    (packed intervals, tariff documents with their hashes, agreement, prices, peaks, credits),
    `sha256` its hash. `change_id`: of the past of devices it knows all changes up to the one with
    this number (`devices.domain.changes`).
    """

    bill = models.OneToOneField(
        Bill, on_delete=models.CASCADE, primary_key=True, related_name="evidence"
    )
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    known_at = models.DateTimeField()
    change_id = models.BigIntegerField(default=0)
    format = models.PositiveSmallIntegerField(default=1)
    body = models.BinaryField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "bill evidence"
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"evidence of bill {self.bill_id}"
