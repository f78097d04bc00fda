"""Documents of bills as they went out, and to whom."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from billing.models.bill import Bill
from devices.models import Facility
from tenants.models import TenantOwned


class FileKind(models.TextChoices):
    """What a file of a bill is. PDF: for people, with the e-invoice in it. CII and UBL: the
    e-invoice of EN 16931 in its two syntaxes.
    """

    PDF = "pdf", _("PDF")
    CII = "cii", _("E-invoice (CII)")
    UBL = "ubl", _("E-invoice (UBL)")


class BillFile(TenantOwned):
    """A file of a final bill in the store of `STORAGES["bills"]`, found there by its SHA-256
    (hexadecimal); `size` in bytes. Made once and never changed.

    `problem`: why the PDF has no e-invoice in it, empty where it has.
    """

    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="files")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=4, choices=FileKind)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    problem = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["bill", "kind"]
        constraints = [
            models.UniqueConstraint(fields=["bill", "kind"], name="billing_billfile_once"),
            models.CheckConstraint(
                condition=models.Q(kind__in=FileKind.values), name="billing_billfile_kind_known"
            ),
            models.CheckConstraint(
                condition=models.Q(sha256__regex=r"^[0-9a-f]{64}$", size__gt=0),
                name="billing_billfile_digest",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of bill {self.bill_id}"


class DeliveryState(models.TextChoices):
    """WAITING: to be sent, perhaps not for the first time. SENT: the mail server has taken it.
    FAILED: given up; `problem` says why.
    """

    WAITING = "waiting", _("Waiting")
    SENT = "sent", _("Sent")
    FAILED = "failed", _("Not sent")


class BillDelivery(TenantOwned):
    """A bill that goes to an e-mail address. `key` makes it the only one for its cause: `final:7`
    for that bill 7 became final, `asked:7:2` for the second time that somebody asked.
    """

    bill = models.ForeignKey(Bill, on_delete=models.PROTECT, related_name="deliveries")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=60)
    to = models.EmailField()
    language = models.CharField(max_length=12)
    state = models.CharField(max_length=8, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=400, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["bill", "pk"]
        verbose_name_plural = "bill deliveries"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="billing_billdelivery_once"),
            models.CheckConstraint(
                condition=models.Q(state=DeliveryState.SENT, sent_at__isnull=False)
                | (
                    models.Q(state__in=[DeliveryState.WAITING, DeliveryState.FAILED])
                    & models.Q(sent_at__isnull=True)
                ),
                name="billing_billdelivery_states",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "due_at"],
                condition=models.Q(state=DeliveryState.WAITING),
                name="billing_billdelivery_waiting",
            )
        ]

    def __str__(self) -> str:
        return f"bill {self.bill_id} to {self.to}"
