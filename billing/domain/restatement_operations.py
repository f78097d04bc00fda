"""Settling what has changed: a credit note and a new bill, or the bill as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import finalising, restatement_finding
from billing.domain.restatement_words import told
from billing.models import Agreement, Bill, Restatement, RestatementState
from tenants.domain import audit


class RestatementNotFound(LookupError):  # noqa: N818 - it reads as what happened
    """There is no such open restatement in the scope."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a bill: the credit note that took it back, and the bill in its place; none
    where the agreement does not hold on its days any more.
    """

    restatement_id: int
    credit_note: Bill
    new_bill: Bill | None


@transaction.atomic
def settle(
    *, agreement_id: int, issued_on: date, now: datetime, actor_id: int | None
) -> list[Settled]:
    """Settle all restatements of an agreement that are drafted: each bill is taken back by a credit
    note and a new one takes its place; both tell why. All of them or none.

    Raises ValidationError while one of them is still to be computed, cannot be, or none is there.
    """
    tenants = Agreement.objects.filter(pk=agreement_id).values_list("tenant_id", flat=True)
    if (tenant_id := tenants.first()) is not None:
        # Who reads changes at this moment would not see the new bills.
        restatement_finding.hold_place(tenant_id)
    rows = _held(agreement_id)
    if not rows:
        raise ValidationError(_("Nothing of this agreement waits to be settled."))
    if any(row.state == RestatementState.FOUND for row in rows):
        raise ValidationError(
            _("Something has changed once more: the bills are being computed. Look again soon.")
        )
    if any(row.state == RestatementState.FAILED for row in rows):
        raise ValidationError(_("A bill cannot be computed: mend what its problem names first."))
    language = Agreement.objects.values_list("customer__language", flat=True).get(pk=agreement_id)
    settled = [
        _settle(row, language, issued_on=issued_on, now=now, actor_id=actor_id) for row in rows
    ]
    made = finalising.finalise(
        [one.new_bill.pk for one in settled if one.new_bill], issued_on=issued_on, now=now
    )
    new = {bill.pk: bill for bill in made}
    return [
        Settled(one.restatement_id, one.credit_note, new[one.new_bill.pk] if one.new_bill else None)
        for one in settled
    ]


def settle_with(
    *, restatement_id: int, issued_on: date, now: datetime, actor_id: int | None
) -> list[Settled]:
    """Settle an open restatement, with all others of its agreement. Raises RestatementNotFound, and
    ValidationError as `settle`.
    """
    rows = Restatement.objects.filter(pk=restatement_id, ended_at=None)
    agreement_id = rows.values_list("bill__agreement_id", flat=True).first()
    if agreement_id is None:
        raise RestatementNotFound
    return settle(agreement_id=agreement_id, issued_on=issued_on, now=now, actor_id=actor_id)


def _settle(
    row: Restatement, language: str, *, issued_on: date, now: datetime, actor_id: int | None
) -> Settled:
    cause = told(row.causes, language=language)
    (note,) = finalising.take_back(
        [row.bill_id], cause=cause, issued_on=issued_on, now=now, actor_id=actor_id
    )
    if row.new_bill is not None:
        row.new_bill.cause = cause
        row.new_bill.save(update_fields=["cause"])
    row.state, row.credit_note, row.ended_at = RestatementState.SETTLED, note, now
    row.decided_by_id = actor_id
    row.save(update_fields=["state", "credit_note", "ended_at", "decided_by"])
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="bill.restate",
        subject=row.bill,
        after={
            "credit_note": note.number,
            "difference": str(row.difference),
            "causes": row.causes,
        },
    )
    return Settled(row.pk, note, row.new_bill)


@transaction.atomic
def void(*, bill_id: int, cause: str, issued_on: date, now: datetime, actor_id: int | None) -> Bill:
    """Take a final bill back by a credit note, which is returned; its days can be billed again.

    What was to be restated of it needs no bill any more; those after it are computed anew. Raises
    `finalising.NotFinalError`.
    """
    found = Bill.objects.filter(pk=bill_id).values_list("agreement_id", flat=True).first()
    if found is None:
        raise finalising.NotFinalError("There is no such bill.")
    # In the order of everybody else: the agreement first.
    for row in _held(found):
        if row.bill_id == bill_id:
            draft, row.new_bill = row.new_bill, None
            row.state, row.reason, row.ended_at = RestatementState.DISMISSED, cause, now
            row.decided_by_id = actor_id
            row.save(update_fields=["state", "reason", "ended_at", "decided_by", "new_bill"])
            if draft is not None:
                draft.delete()
    (note,) = finalising.take_back(
        [bill_id], cause=cause, issued_on=issued_on, now=now, actor_id=actor_id
    )
    bill = Bill.objects.get(pk=bill_id)
    if restatement_finding.leaves_something(bill):
        restatement_finding.ask_followers([bill], now=now)
    return note


@transaction.atomic
def dismiss(
    *, restatement_id: int, reason: str, now: datetime, actor_id: int | None
) -> Restatement:
    """Let a final bill stand as it is. Raises RestatementNotFound, and ValidationError without a
    reason.
    """
    if not reason.strip():
        raise ValidationError({"reason": _("Say why the bill is to stand.")})
    found = Restatement.objects.filter(pk=restatement_id, ended_at=None).first()
    if found is None:
        raise RestatementNotFound
    # In the order of everybody else: the agreement first.
    rows = _held(Bill.objects.values_list("agreement_id", flat=True).get(pk=found.bill_id))
    row = next((one for one in rows if one.pk == restatement_id), None)
    if row is None:
        raise RestatementNotFound
    draft_id, row.new_bill = row.new_bill_id, None
    row.state, row.reason, row.ended_at = RestatementState.DISMISSED, reason.strip(), now
    row.decided_by_id = actor_id
    row.save(update_fields=["state", "reason", "ended_at", "decided_by", "new_bill"])
    if draft_id is not None:
        Bill.objects.filter(pk=draft_id).delete()
    # What comes after was computed with its draft in its place.
    later = [one.pk for one in rows if one.bill.first_on > row.bill.first_on]
    Restatement.objects.filter(pk__in=later).update(state=RestatementState.FOUND)
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="bill.let_stand",
        subject=row.bill,
        after={"reason": row.reason, "causes": row.causes},
    )
    return row


def _held(agreement_id: int) -> Sequence[Restatement]:
    Agreement.objects.select_for_update(no_key=True).filter(pk=agreement_id).first()
    rows = Restatement.objects.select_related("bill", "new_bill").filter(
        bill__agreement_id=agreement_id, ended_at=None
    )
    return list(rows.select_for_update(of=("self",)).order_by("bill__first_on", "bill_id"))
