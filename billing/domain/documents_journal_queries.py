"""The accounting journal of a period: what was booked, in the order in which it was.

Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import Sum

from billing.documents import journal
from billing.documents.journal import JournalEntry
from billing.documents.values import Parties
from billing.models import AccountEntry, BillLine

_AT_ONCE: Final = 1_000


def portion(*, first: date, end: date, behind: int | None) -> tuple[str, int | None]:
    """The next lines of the journal of what was booked on the days [first, end), after the entry of
    the id `behind` (None: from the beginning, with the head); and the id to go on behind, None at
    the end. Two queries.
    """
    rows = AccountEntry.objects.filter(booked_on__gte=first, booked_on__lt=end)
    rows = rows.select_related("bill", "payment", "agreement__customer").order_by("pk")
    found = list(rows.filter(pk__gt=behind or 0)[: _AT_ONCE + 1])
    entries = found[:_AT_ONCE]
    nets = _nets([row.bill_id for row in entries if row.bill_id is not None])
    text = journal.lines(_entry(row, nets.get(row.bill_id or 0)) for row in entries)
    on = entries[-1].pk if len(found) > _AT_ONCE else None
    return (journal.head() if behind is None else "") + text, on


def _nets(bill_ids: Sequence[int]) -> dict[int, dict[Decimal | None, Decimal]]:
    found: dict[int, dict[Decimal | None, Decimal]] = defaultdict(dict)
    lines = BillLine.objects.filter(bill__in=bill_ids).exclude(kind__in=("tax", "rounding"))
    sums = lines.order_by().values("bill_id", "tax_percent").annotate(net=Sum("amount"))
    for bill_id, percent, net in sums.values_list("bill_id", "tax_percent", "net"):
        found[bill_id][percent] = net
    return found


def _entry(row: AccountEntry, nets: dict[Decimal | None, Decimal] | None) -> JournalEntry:
    agreement, bill, payment = row.agreement, row.bill, row.payment
    booked = JournalEntry(
        kind=row.kind,
        amount=row.amount,
        currency=row.currency,
        booked_on=row.booked_on,
        due_on=row.due_on,
        customer=agreement.customer.number,
        name=agreement.customer.name,
        agreement=agreement.number,
        document=payment.external_id if payment else "",
        text=row.text,
        cost_centre=agreement.cost_centre,
    )
    if bill is None or not nets:
        return booked
    parties = Parties.of(bill.parties)
    return JournalEntry(
        kind=row.kind,
        amount=row.amount,
        currency=row.currency,
        booked_on=row.booked_on,
        due_on=row.due_on,
        customer=parties.buyer.number or agreement.customer.number,
        name=parties.buyer.name or agreement.customer.name,
        agreement=agreement.number,
        document=bill.number,
        text=row.text,
        cost_centre=parties.supply.cost_centre or agreement.cost_centre,
        vat_id=parties.buyer.vat_id,
        net=bill.net,
        tax=bill.tax,
        nets=nets,
        first=bill.first_on,
        last=bill.end_on - timedelta(days=1),
    )
