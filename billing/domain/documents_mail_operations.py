"""Bills by e-mail: queued once when they are final, again when somebody asks, tried until the mail
server takes them. The entry point sends (`portal.tasks`), between `take` and `note_sent`.

Needs an open scope of the tenant that is not narrowed to facilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils.translation import gettext as _

from billing.documents import figures
from billing.documents.values import Parties
from billing.domain import documents_operations, documents_queries
from billing.domain.documents_queries import Content, NoDocument
from billing.models import (
    Bill,
    BillDelivery,
    BillFile,
    BillingSettings,
    BillKind,
    DeliveryState,
    FileKind,
)
from tenants.domain import audit
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, open_scope

# Waits after the first, the second … attempt that failed; after the last one it is given up.
WAITS: Final = (
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(days=1),
)
# Who takes a delivery and is killed leaves it to others after this time. The message may have gone
# out: better twice than never.
LEASE: Final = timedelta(minutes=15)
_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class BillLetter:
    """A message to be sent now; `context` is what the template `bill` reads."""

    delivery_id: int
    to: str
    language: str
    reply_to: str
    context: dict[str, Any]
    attachment: Content


def queue_final(*, tenant_id: int, now: datetime) -> int:
    """Queue bills that became final lately, have their PDF and have not been sent, to customers
    with an e-mail address; returns how many. Twice at once queues once.
    """
    settings = BillingSettings.objects.filter(tenant_id=tenant_id).first()
    if settings is None or not settings.mail_bills:
        return 0
    files = BillFile.objects.filter(bill=OuterRef("pk"), kind=FileKind.PDF)
    rows = documents_queries.final_bills().filter(
        Exists(files),
        ~Exists(BillDelivery.objects.filter(bill=OuterRef("pk"))),
        tenant_id=tenant_id,
        finalised_at__gte=now - documents_operations.LOOKS_BACK,
        parties__buyer__email__gt="",
    )
    made = [
        _delivery(bill, Parties.of(bill.parties).buyer.email, f"final:{bill.pk}", now)
        for bill in rows.order_by("pk")[:_AT_ONCE]
    ]
    BillDelivery.objects.bulk_create(made, ignore_conflicts=True)
    return len(made)


@transaction.atomic
def ask(*, bill_id: int, to: str, actor_id: int, now: datetime) -> BillDelivery:
    """Send a final bill to an address, perhaps again. Raises NoDocument, ValidationError."""
    try:
        validate_email(to)
    except ValidationError:
        raise ValidationError({"to": [_("Enter an e-mail address.")]}) from None
    rows = documents_queries.final_bills().select_for_update(of=("self",))
    bill = rows.filter(pk=bill_id).first()
    if bill is None:
        raise NoDocument(f"bill {bill_id}")
    count = BillDelivery.objects.filter(bill=bill).count()
    made = _delivery(bill, to, f"asked:{bill.pk}:{count + 1}", now)
    made.save(force_insert=True)
    audit.record(
        tenant_id=bill.tenant_id,
        actor_id=actor_id,
        action="bill.mail",
        subject=bill,
        after={"to": to},
    )
    return made


def tenants_due(*, now: datetime) -> list[int]:
    """Tenants with a delivery that is due. Opens scopes itself."""
    found: list[int] = []
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            rows = BillDelivery.objects.filter(
                tenant_id__in=tenant_ids, state=DeliveryState.WAITING, due_at__lte=now
            )
            found += sorted(set(rows.order_by().values_list("tenant_id", flat=True).distinct()))
    return found


def take(*, tenant_id: int, now: datetime) -> int | None:
    """The id of the delivery that is due first, taken for LEASE; None when none is due."""
    due = BillDelivery.objects.filter(
        tenant_id=tenant_id, state=DeliveryState.WAITING, due_at__lte=now
    )
    while (row := due.order_by("due_at", "pk").first()) is not None:
        taken = due.filter(pk=row.pk, attempts=row.attempts).update(
            due_at=now + LEASE, attempts=F("attempts") + 1
        )
        if taken == 1:
            return row.pk
    return None


def write_letter(*, delivery_id: int, now: datetime) -> BillLetter:
    """The message of a delivery; the files of its bill are made if they are not there. Raises what
    `documents_operations.ensure` and `documents_queries.content_of` raise.
    """
    row = BillDelivery.objects.select_related("bill").get(pk=delivery_id)
    bill, parties = row.bill, Parties.of(row.bill.parties)
    files = documents_operations.ensure(bill_id=bill.pk, now=now)
    language = "de" if row.language[:2].lower() == "de" else "en"
    assert bill.due_on is not None, "it is final"
    return BillLetter(
        delivery_id=row.pk,
        to=row.to,
        language=language,
        reply_to=parties.seller.email,
        context={
            "seller": parties.seller.name,
            "buyer": parties.buyer.name,
            "number": bill.number,
            "credit_note": bill.kind == BillKind.CREDIT_NOTE,
            "period": figures.period(bill.first_on, bill.end_on, language),
            "total": figures.money(abs(bill.total), bill.currency, language),
            "to_pay": bill.total > 0,
            "due": figures.day(bill.due_on, language),
        },
        attachment=documents_queries.content_of(files[0]),
    )


def note_sent(*, delivery_id: int, now: datetime) -> None:
    """The mail server has taken the message."""
    BillDelivery.objects.filter(pk=delivery_id, state=DeliveryState.WAITING).update(
        state=DeliveryState.SENT, sent_at=now, problem=""
    )


def note_failed(*, delivery_id: int, problem: str, now: datetime) -> None:
    """It has not: it is tried again later, or given up after the last of WAITS."""
    rows = BillDelivery.objects.filter(pk=delivery_id, state=DeliveryState.WAITING)
    row = rows.first()
    if row is None:
        return
    if row.attempts > len(WAITS):
        rows.update(state=DeliveryState.FAILED, problem=problem[:400])
    else:
        rows.update(due_at=now + WAITS[row.attempts - 1], problem=problem[:400])


def _delivery(bill: Bill, to: str, key: str, now: datetime) -> BillDelivery:
    return BillDelivery(
        tenant_id=bill.tenant_id,
        bill=bill,
        facility_id=bill.facility_id,
        key=key,
        to=to,
        language=Parties.of(bill.parties).buyer.language,
        due_at=now,
        created_at=now,
    )
