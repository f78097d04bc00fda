"""What happens to accounts that do not pay, what was promised, and how money is told of."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models.account import Agreement
from billing.models.fields import CurrencyField, MoneyField
from billing.models.ledger import AccountEntry, Provider
from devices.models import Facility
from tenants import sealing
from tenants.models import TenantOwned

_PURPOSE = "payment-provider"


class PaymentProvider(TenantOwned):
    """A payment service that tells a tenant of payments; `sealed_secret` signs what it tells."""

    provider = models.CharField(max_length=8, choices=Provider)
    sealed_secret = models.TextField(editable=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["tenant", "provider"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "provider"], name="billing_paymentprovider_once"
            ),
            models.CheckConstraint(
                condition=models.Q(provider=Provider.STRIPE),
                name="billing_paymentprovider_signs",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider} of tenant {self.tenant_id}"

    def seal_secret(self, secret: str) -> None:
        """Keep the signing secret, encrypted for this tenant alone."""
        self.sealed_secret = sealing.seal(secret, purpose=_PURPOSE, owner=str(self.tenant_id))

    @staticmethod
    def open_secret(sealed: str, *, tenant_id: int) -> str:
        """The signing secret of a tenant; raises Unsealable."""
        return sealing.unseal(sealed, purpose=_PURPOSE, owner=str(tenant_id))


class StatementFormat(models.TextChoices):
    """What a file of payments is."""

    CAMT053 = "camt053", _("Bank statement (CAMT.053)")
    CSV = "csv", _("CSV file")


class PaymentImport(TenantOwned):
    """A file of payments that was taken in, kept as evidence: once, found by its SHA-256 (hex).

    `lines` are the payments in it, `taken` those that were new, `matched` of these those whose
    agreement was known at once.
    """

    sha256 = models.CharField(max_length=64)
    file_name = models.CharField(max_length=200)
    format = models.CharField(max_length=8, choices=StatementFormat)
    content = models.BinaryField(help_text="Compressed by zstd.")
    size = models.PositiveIntegerField(help_text="Bytes as they came.")
    lines = models.PositiveIntegerField()
    taken = models.PositiveIntegerField()
    matched = models.PositiveIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "sha256"], name="billing_paymentimport_once"),
            models.CheckConstraint(
                condition=models.Q(sha256__regex=r"^[0-9a-f]{64}$"),
                name="billing_paymentimport_hashed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} ({self.sha256[:12]})"


class DunningPolicy(TenantOwned):
    """What a tenant does about accounts that do not pay; no row, or not active: nothing.

    `steps` is a list as `billing.accounts.dunning.Step.from_json` reads it. Nothing is done below
    `minimum`, on `quiet_weekdays` (0: Monday), on the public holidays of `region` (ISO 3166-2) and
    outside of the hours [`hour_from`, `hour_to`) of the facility. Who has paid `restore_percent` of
    what was overdue when the supply was cut gets it back.
    """

    is_active = models.BooleanField(default=True)
    steps = models.JSONField(default=list)
    minimum = MoneyField(default=0)
    quiet_weekdays = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    region = models.CharField(max_length=8, blank=True)
    hour_from = models.PositiveSmallIntegerField(default=8)
    hour_to = models.PositiveSmallIntegerField(default=18)
    restore_percent = models.PositiveSmallIntegerField(default=100)
    # When accounts that have fallen behind are looked for again.
    next_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "dunning policies"
        ordering = ["tenant"]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="billing_dunningpolicy_once"),
            models.CheckConstraint(
                condition=models.Q(hour_from__lt=models.F("hour_to"), hour_to__lte=24),
                name="billing_dunningpolicy_hours",
            ),
            models.CheckConstraint(
                condition=models.Q(restore_percent__gte=1, restore_percent__lte=100),
                name="billing_dunningpolicy_restore",
            ),
            models.CheckConstraint(
                condition=models.Q(minimum__gte=0), name="billing_dunningpolicy_minimum"
            ),
        ]

    def __str__(self) -> str:
        return f"dunning of tenant {self.tenant_id}"


class DunningCase(TenantOwned):
    """An account that is behind, from when it was noticed until it is over; one at a time.

    `counts_from` is the day that the steps count from, `taken` how many were taken, `last_on` the
    local day of the last one. `limited` and `disabled`: what the supply is cut to. `owed_at_cut` is
    what was overdue then. Up to `paused_until`, that day included, no step is taken. `next_at` is
    when it is looked at again.
    """

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="dunning")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    opened_at = models.DateTimeField()
    counts_from = models.DateField()
    taken = models.PositiveSmallIntegerField(default=0)
    last_on = models.DateField(null=True, blank=True)
    limited = models.BooleanField(default=False)
    disabled = models.BooleanField(default=False)
    owed_at_cut = MoneyField(default=0)
    paused_until = models.DateField(null=True, blank=True)
    next_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["agreement"],
                condition=models.Q(closed_at__isnull=True),
                name="billing_dunningcase_one_open",
            ),
            models.UniqueConstraint(
                fields=["tenant", "agreement", "id"], name="billing_dunningcase_tenant_agreement"
            ),
            models.CheckConstraint(
                condition=models.Q(closed_at__isnull=True, outcome="")
                | (models.Q(closed_at__isnull=False) & ~models.Q(outcome="")),
                name="billing_dunningcase_over",
            ),
            # Nobody stays cut off by a case that is over.
            models.CheckConstraint(
                condition=models.Q(closed_at__isnull=True)
                | models.Q(limited=False, disabled=False),
                name="billing_dunningcase_restored",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_at"],
                condition=models.Q(closed_at__isnull=True),
                name="billing_dunningcase_due",
            )
        ]

    def __str__(self) -> str:
        return f"case {self.pk} of agreement {self.agreement_id}"


class DunningKind(models.TextChoices):
    """What happened in a case; the first four are the steps of a policy."""

    REMINDER = "reminder", _("Reminder")
    FEE = "fee", _("Dunning with a fee")
    LIMIT = "limit", _("Power limited")
    DISABLE = "disable", _("Supply switched off")
    SPARED = "spared", _("Not cut off: protected")
    RESTORED = "restored", _("Supply restored")
    PAUSED = "paused", _("Paused")
    RESUMED = "resumed", _("Goes on")
    CLOSED = "closed", _("Closed")


class DunningEvent(TenantOwned):
    """Something that happened in a case; rows are added and never changed but for `mailed_at`.

    `step` is the number of the step of the policy, from 1, for those that are one. `overdue` is
    what was owed then. `commands` are the ids of what was asked of units, `missed` those units
    that could not be asked. A notice by mail goes to `mail_to`, if anybody.
    """

    case = models.ForeignKey(DunningCase, on_delete=models.PROTECT, related_name="events")
    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="+")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=12, choices=DunningKind)
    step = models.PositiveSmallIntegerField(null=True, blank=True)
    at = models.DateTimeField()
    overdue = MoneyField()
    currency = CurrencyField()
    text = models.CharField(max_length=400, blank=True)
    fee = models.ForeignKey(AccountEntry, on_delete=models.PROTECT, null=True, related_name="+")
    commands = ArrayField(models.BigIntegerField(), default=list, blank=True)
    missed = ArrayField(models.BigIntegerField(), default=list, blank=True)
    # The power limit in W that units had before, by the id of the device (JSON keys are text).
    limits_before = models.JSONField(default=dict, blank=True)
    mail_to = models.EmailField(blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            # Never the same step twice.
            models.UniqueConstraint(
                fields=["case", "kind", "step"],
                condition=models.Q(step__isnull=False),
                name="billing_dunningevent_step_once",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=DunningKind.values),
                name="billing_dunningevent_kind_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(mailed_at__isnull=True) & ~models.Q(mail_to=""),
                name="billing_dunningevent_to_mail",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of case {self.case_id}"


class PlanState(models.TextChoices):
    """KEPT and BROKEN follow from what was paid; a person may end a plan before."""

    ACTIVE = "active", _("Running")
    KEPT = "kept", _("Kept")
    BROKEN = "broken", _("Broken")
    CANCELLED = "cancelled", _("Cancelled")


class InstalmentPlan(TenantOwned):
    """That an agreement pays what it owes in parts; while the plan is kept, dunning rests.

    `instalments` is a list as `billing.accounts.instalments.Plan.from_json` reads it; one alone is
    a promise to pay. `paid_before` is what had been paid in when it was agreed.
    """

    agreement = models.ForeignKey(Agreement, on_delete=models.PROTECT, related_name="plans")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    currency = CurrencyField()
    instalments = models.JSONField()
    paid_before = MoneyField()
    grace_days = models.PositiveSmallIntegerField(default=3)
    state = models.CharField(max_length=12, choices=PlanState, default=PlanState.ACTIVE)
    reason = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["agreement"],
                condition=models.Q(state=PlanState.ACTIVE),
                name="billing_instalmentplan_one_active",
            ),
            models.CheckConstraint(
                condition=models.Q(state=PlanState.ACTIVE, ended_at__isnull=True)
                | (models.Q(ended_at__isnull=False) & ~models.Q(state=PlanState.ACTIVE)),
                name="billing_instalmentplan_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"plan {self.pk} of agreement {self.agreement_id}"
