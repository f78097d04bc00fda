"""Drafts of a run that somebody has approved, made final.

What has changed since a draft was computed is in the bill: it is computed anew first, unless the
checklist then asks something that nobody was asked before. Needs an open scope that is not narrowed
to facilities, and a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.domain import drafts, finalising, staleness
from billing.domain.checklist import Code, Finding
from billing.domain.contexts import Former, former_bills
from billing.domain.restatement_finding import place_exists
from billing.domain.runs_drafts import hold, rate, remove_drafts, save
from billing.models import (
    Bill,
    BillKind,
    BillRun,
    BillRunItem,
    BillState,
    ItemState,
)
from billing.tariffs.sentences import sentence

_TAKEN: Final = sentence("These days were billed meanwhile: the draft was not made final.")
_ASKED: Final = sentence(
    "Something has changed since the draft was approved, and the checklist asks about the new one:"
    " bill this account in another run."
)


def finalise(run: BillRun, items: Sequence[BillRunItem], now: datetime) -> None:
    """Make the drafts of some items final that the caller has claimed, and save what became of
    them. Raises `staleness.ChangesAreReadError`.
    """
    assert run.issued_on is not None
    ids = [item.agreement_id for item in items]
    place_exists(run.tenant_id)
    hold(ids)
    taken = _billed_meanwhile(run, ids)
    for item in items:
        if item.agreement_id in taken:
            item.state, item.problem = ItemState.FAILED, _TAKEN
    remove_drafts(run, sorted(taken))
    looked = staleness.look(run_id=run.pk, agreement_ids=ids)
    _rate_again(run, [item for item in items if item.agreement_id in looked.stale], now)
    good = [item for item in items if item.state == ItemState.DRAFTED]
    made = finalising.finalise(_drafts(run, good), issued_on=run.issued_on, now=now)
    for item in good:
        item.state = ItemState.FINAL
    save(items)
    staleness.made_final(made, after=looked.change, now=now)


def _drafts(run: BillRun, items: Sequence[BillRunItem]) -> list[int]:
    rows = Bill.objects.filter(
        run=run,
        agreement_id__in=[item.agreement_id for item in items],
        kind=BillKind.INVOICE,
        state=BillState.DRAFT,
    )
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _rate_again(run: BillRun, items: Sequence[BillRunItem], now: datetime) -> None:
    """Compute drafts anew, as everything is known now. What was accepted of an account holds for
    the new one, but nothing else.
    """
    if not items:
        return
    ids = [item.agreement_id for item in items]
    before = _totals(run, ids)
    accepted = {item.pk: {one["code"] for one in item.findings} for item in items}
    for item in items:
        item.state = ItemState.WAITING
    rate(run, items, drafts.known_now(now))
    after = _totals(run, ids)
    for item in items:
        if item.state == ItemState.HELD:
            if {one["code"] for one in item.findings} <= accepted[item.pk]:
                item.state = ItemState.DRAFTED
            else:
                item.state, item.problem = ItemState.FAILED, _ASKED
        old, new = before.get(item.agreement_id), after.get(item.agreement_id)
        if new is not None and old != new:
            figures = {"before": str(old), "after": str(new)}
            item.findings = [*item.findings, Finding(Code.COMPUTED_ANEW, figures).as_json()]
    remove_drafts(run, [item.agreement_id for item in items if item.state != ItemState.DRAFTED])


def _totals(run: BillRun, agreement_ids: Sequence[int]) -> dict[int, Decimal]:
    rows = Bill.objects.filter(run=run, agreement_id__in=list(agreement_ids), state=BillState.DRAFT)
    found: dict[int, Decimal] = {}
    for agreement_id, total in rows.values_list("agreement_id", "total"):
        found[agreement_id] = found.get(agreement_id, Decimal(0)) + total
    return found


def _billed_meanwhile(run: BillRun, agreement_ids: Sequence[int]) -> set[int]:
    """The agreements with a draft of the run for days that another final bill is for."""
    former: Mapping[int, Sequence[Former]] = former_bills(agreement_ids, before=run.end_on)
    return {
        agreement_id
        for agreement_id, bills in former.items()
        if any(
            one.run_id == run.pk
            and one.state is BillState.DRAFT
            and other.state is BillState.FINAL
            and other.first < one.end
            and other.end > one.first
            for one in bills
            for other in bills
        )
    }
