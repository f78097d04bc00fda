"""Bills computed anew, and what comes of it.

All open restatements of an agreement are computed together, in the order of their periods: a bill
leaves peaks and credits to those after it, so the draft of one stands in the place of its final
bill when the next one is computed. Where a draft leaves something else than the final bill did, the
final bills after it are asked for as well.

One transaction for each agreement, which it holds: twice or killed, the drafts are there once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction

from billing.domain import drafts
from billing.domain.contexts import Former, former_bills
from billing.domain.drafts import Draft, Known, Undone, Wanted
from billing.domain.evidence import carried_of
from billing.domain.restatement_finding import MOST_CHANGES, ask_followers, find
from billing.models import (
    Agreement,
    Bill,
    BillLine,
    BillState,
    Restatement,
    RestatementState,
)
from billing.tariffs.values import Line
from tenants.scope import Scope, long_scope, open_scope

# How exactly lines are kept (`billing.models.fields.ExactField`).
_KEPT: Final = Decimal("0.000000000001")
_PROBLEM_LENGTH: Final = 400
_WRITTEN: Final = (
    "state", "problem", "difference", "new_bill", "reason", "computed_at", "ended_at",
)  # fmt: skip


def work(*, tenant_id: int, now: datetime) -> int:
    """Read what has changed in a tenant, and compute what that concerns; returns how many bills
    were computed. Each step is a transaction of its own.
    """
    scope = Scope((tenant_id,))
    more = True
    while more:
        with long_scope(scope):
            more = find(tenant_id=tenant_id, now=now) == MOST_CHANGES
    with open_scope(scope):
        agreements = waiting()
    count = 0
    for agreement_id in agreements:
        with long_scope(scope):
            count += compute(agreement_id=agreement_id, now=now)
    return count


def waiting() -> list[int]:
    """The agreements with something to compute. Needs an open scope."""
    rows = Restatement.objects.filter(state=RestatementState.FOUND, ended_at=None)
    return sorted(set(rows.values_list("bill__agreement_id", flat=True)))


@transaction.atomic
def compute(*, agreement_id: int, now: datetime) -> int:
    """Compute the open restatements of an agreement anew; returns how many there were. Needs an
    open scope that is not narrowed.
    """
    rows = _held(agreement_id)
    if not any(row.state == RestatementState.FOUND for row in rows):
        return 0
    _remove_drafts(rows)
    chain = _Chain(
        agreement_id,
        drafts.known_now(now),
        since=min(row.bill.first_on for row in rows),
        before=max(row.bill.end_on for row in rows),
    )
    made: list[tuple[Restatement, Draft]] = []
    for row in rows:
        row.computed_at, row.new_bill, row.problem = now, None, ""
        if row.bill.state != BillState.FINAL:
            row.state, row.ended_at = RestatementState.DISMISSED, now
            continue
        if chain.is_over(row.bill):
            row.state, row.difference = RestatementState.DRAFTED, -row.bill.total
            continue
        found = chain.computed(row.bill)
        if isinstance(found, Undone):
            row.state, row.problem = RestatementState.FAILED, found.problem[:_PROBLEM_LENGTH]
        elif _same(row.bill, found):
            row.state, row.difference, row.ended_at = RestatementState.UNCHANGED, Decimal(0), now
        else:
            row.state = RestatementState.DRAFTED
            made.append((row, found))
    bills = drafts.store([draft for _, draft in made], run_id=None)
    for (row, _), bill in zip(made, bills, strict=True):
        row.new_bill, row.difference = bill, bill.total - row.bill.total
    for row in rows:
        row.save(update_fields=list(_WRITTEN))
    if chain.differs_from is not None:
        ask_followers([chain.differs_from], besides=[row.bill_id for row in rows], now=now)
    return len(rows)


def _held(agreement_id: int) -> list[Restatement]:
    """The open restatements of an agreement that the transaction now holds, by period."""
    Agreement.objects.select_for_update(no_key=True).filter(pk=agreement_id).first()
    rows = Restatement.objects.select_related("bill").filter(
        bill__agreement_id=agreement_id, ended_at=None
    )
    return list(rows.select_for_update(of=("self",)).order_by("bill__first_on", "bill_id"))


def _remove_drafts(rows: Sequence[Restatement]) -> None:
    ids = [row.new_bill_id for row in rows if row.new_bill_id is not None]
    Restatement.objects.filter(pk__in=[row.pk for row in rows]).update(new_bill=None)
    Bill.objects.filter(pk__in=ids, state=BillState.DRAFT).delete()


class _Chain:
    """The bills of an agreement one after the other, each knowing the drafts before it.

    `differs_from`: the first bill whose draft leaves something else to those after it.
    """

    def __init__(self, agreement_id: int, known: Known, *, since: date, before: date) -> None:
        found = former_bills([agreement_id], before=before, since=since)
        former = found.get(agreement_id, [])
        self._former: list[Former] = list(former)
        self._known = known
        self._accounts = drafts.accounts_of([agreement_id])
        self.differs_from: Bill | None = None

    def is_over(self, bill: Bill) -> bool:
        """Whether the agreement does not hold any more on any day of a bill: then there is no bill
        in its place.
        """
        account = self._accounts[bill.agreement_id]
        gone = bill.end_on <= account.starts_on or (
            account.ends_on is not None and account.ends_on <= bill.first_on
        )
        if gone:
            self._former = [one for one in self._former if one.bill_id != bill.pk]
        return gone

    def computed(self, bill: Bill) -> Draft | Undone:
        """The bill for the same days, as it is now."""
        wanted = Wanted(bill.agreement_id, bill.first_on, bill.end_on)
        found = drafts.compute_many(
            [wanted],
            accounts=self._accounts,
            known=self._known,
            former={bill.agreement_id: self._former},
        )[wanted]
        if isinstance(found, Draft):
            carried = _carried(found)
            if carried != bill.carried and self.differs_from is None:
                self.differs_from = bill
            self._former = [
                replace(one, carried=carried) if one.bill_id == bill.pk else one
                for one in self._former
            ]
        return found


def _carried(draft: Draft) -> Mapping[str, Any]:
    rating = draft.rating
    return carried_of(rating.peaks, rating.credit, rating.credit_milliwh)


def _same(bill: Bill, draft: Draft) -> bool:
    """Whether a draft says what the final bill said: all lines, and what it leaves to the next."""
    kept = BillLine.objects.filter(bill=bill).order_by("position")
    return bill.carried == _carried(draft) and [_kept(line) for line in kept] == [
        _drafted(line) for line in draft.rating.lines
    ]


def _kept(line: BillLine) -> tuple[Any, ...]:
    days = line.first_on, line.end_on
    return (
        line.component, line.kind, *days, line.period, line.tier, line.unit,
        line.quantity, line.price, line.amount, line.tax_percent,
    )  # fmt: skip


def _drafted(line: Line) -> tuple[Any, ...]:
    days = line.first, line.end
    price = None if line.price is None else line.price.quantize(_KEPT)
    quantity, amount = line.quantity.quantize(_KEPT), line.amount.quantize(_KEPT)
    return (
        line.component, line.kind.value, *days, line.period, line.tier, line.unit,
        quantity, price, amount, line.tax_percent,
    )  # fmt: skip
