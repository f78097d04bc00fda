"""Making bills final, and taking final ones back: numbers, due dates and the account, at once.

Each function is one transaction: a bill has its number, its state and its entry in the account, or
it is a draft as before. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from django.db import transaction

from billing.domain import ledger_operations
from billing.domain.numbering import Series, take
from billing.domain.parties import parties_of
from billing.models import (
    AccountEntry,
    Agreement,
    Bill,
    BillEvidence,
    BillKind,
    BillLine,
    BillState,
    EntryKind,
)
from tenants.domain import audit

_WRITTEN: Final = (
    "state", "series", "number", "parties", "user", "issued_on", "due_on", "finalised_at",
)  # fmt: skip
_TURNED: Final = ("quantity", "amount", "estimated")
_AT_ONCE: Final = 2_000


class NotFinalError(Exception):
    """Only a bill that is final can be taken back, and once."""


@transaction.atomic
def finalise(bill_ids: Sequence[int], *, issued_on: date, now: datetime) -> list[Bill]:
    """Make drafts final: in the order of their ids they get consecutive numbers, are due as their
    agreements say, and are booked. What is final already stays as it is and is not returned.
    """
    rows = Bill.objects.select_for_update(of=("self",)).filter(
        pk__in=list(bill_ids), state=BillState.DRAFT, kind=BillKind.INVOICE
    )
    bills = list(rows.order_by("pk"))
    _finish(bills, series=Series.BILL, issued_on=issued_on, now=now)
    return bills


@transaction.atomic
def take_back(
    bill_ids: Sequence[int],
    *,
    cause: str,
    issued_on: date,
    now: datetime,
    actor_id: int | None,
    run_id: int | None = None,
) -> list[Bill]:
    """Make final bills void, each by a credit note with its lines negated and a number of its own
    series; returns the credit notes. Raises NotFinalError.
    """
    rows = Bill.objects.select_for_update(of=("self",)).filter(
        pk__in=list(bill_ids), state=BillState.FINAL, kind=BillKind.INVOICE
    )
    bills = list(rows.order_by("pk"))
    if len(bills) != len(set(bill_ids)):
        raise NotFinalError("Only a bill that is final and not void yet can be taken back.")
    notes = [_note(bill, cause, run_id) for bill in bills]
    Bill.objects.bulk_create(notes)
    _copy_parts({bill.pk: note for bill, note in zip(bills, notes, strict=True)})
    _finish(notes, series=Series.CREDIT_NOTE, issued_on=issued_on, now=now)
    for bill, note in zip(bills, notes, strict=True):
        bill.state, bill.voided_at = BillState.VOID, now
        bill.save(update_fields=["state", "voided_at"])
        audit.record(
            tenant_id=bill.tenant_id,
            actor_id=actor_id,
            action="bill.void",
            subject=bill,
            after={"credit_note": note.number, "total": str(note.total), "cause": cause},
        )
    return notes


def _finish(bills: Sequence[Bill], *, series: Series, issued_on: date, now: datetime) -> None:
    """Number, state, due date and entry of bills that the transaction holds."""
    if not bills:
        return
    agreement_ids = {bill.agreement_id for bill in bills}
    agreements = Agreement.objects.only("payment_days", "user").in_bulk(agreement_ids)
    parties = parties_of(sorted(agreement_ids))
    for tenant_id in sorted({bill.tenant_id for bill in bills}):
        own = [bill for bill in bills if bill.tenant_id == tenant_id]
        numbers = take(tenant_id=tenant_id, series=series, count=len(own))
        for bill, number in zip(own, numbers, strict=True):
            agreement = agreements[bill.agreement_id]
            wait = agreement.payment_days if series is Series.BILL else 0
            bill.state, bill.series, bill.number = BillState.FINAL, series.value, number
            if bill.kind == BillKind.INVOICE:
                bill.parties = parties[bill.agreement_id]
                # Whose agreement it is now, not when the draft was computed.
                bill.user_id = agreement.user_id
            bill.issued_on, bill.finalised_at = issued_on, now
            bill.due_on = issued_on + timedelta(days=wait)
    # An INSERT whose rows are all there: one UPDATE of many rows.
    Bill.objects.bulk_create(
        bills, update_conflicts=True, unique_fields=["id"], update_fields=list(_WRITTEN)
    )
    _book(bills, issued_on)
    _settle(agreement_ids)
    # Drafts of the time after these bills were computed without them.
    Bill.objects.filter(
        agreement_id__in=agreement_ids,
        state=BillState.DRAFT,
        run__isnull=False,
        first_on__gte=min(bill.first_on for bill in bills),
    ).update(is_stale=True)


def _book(bills: Sequence[Bill], issued_on: date) -> None:
    AccountEntry.objects.bulk_create(
        AccountEntry(
            tenant_id=bill.tenant_id,
            agreement_id=bill.agreement_id,
            facility_id=bill.facility_id,
            kind=EntryKind.BILL if bill.kind == BillKind.INVOICE else EntryKind.CREDIT_NOTE,
            key=f"bill:{bill.pk}",
            amount=bill.total,
            currency=bill.currency,
            bill=bill,
            booked_on=issued_on,
            due_on=bill.due_on or issued_on,
            text=bill.number,
        )
        for bill in bills
    )


def _settle(agreement_ids: Collection[int]) -> None:
    """Let what accounts have in credit pay for what was booked; most of them have nothing."""
    entries = AccountEntry.objects.filter(agreement_id__in=agreement_ids, amount__lt=0)
    with_credit = entries.order_by("agreement").values_list("agreement_id", flat=True).distinct()
    ledger_operations.allocate(list(with_credit))


def _note(bill: Bill, cause: str, run_id: int | None) -> Bill:
    """The draft of the credit note of a bill."""
    return Bill(
        tenant_id=bill.tenant_id,
        run_id=run_id,
        agreement_id=bill.agreement_id,
        facility_id=bill.facility_id,
        user_id=bill.user_id,
        kind=BillKind.CREDIT_NOTE,
        revision=bill.revision,
        corrects=bill,
        cause=cause,
        first_on=bill.first_on,
        end_on=bill.end_on,
        zone=bill.zone,
        currency=bill.currency,
        net=-bill.net,
        tax=-bill.tax,
        total=-bill.total,
        imported_kwh=-bill.imported_kwh,
        exported_kwh=-bill.exported_kwh,
        estimated_kwh=-bill.estimated_kwh,
        missing_intervals=bill.missing_intervals,
        parties=bill.parties,
        sha256=bill.sha256,
    )


def _copy_parts(notes: dict[int, Bill]) -> None:
    """The lines of bills, negated, and their evidence, for the credit notes by bill."""
    lines = []
    for line in BillLine.objects.filter(bill__in=notes).order_by("bill", "position"):
        line.bill, line.pk = notes[line.bill_id], None
        for name in _TURNED:
            setattr(line, name, -getattr(line, name))
        lines.append(line)
    BillLine.objects.bulk_create(lines, batch_size=_AT_ONCE)
    kept = []
    for row in BillEvidence.objects.filter(bill__in=notes):
        row.bill = notes[row.bill_id]
        kept.append(row)
    BillEvidence.objects.bulk_create(kept)
