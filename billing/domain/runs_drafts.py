"""Drafts of a run: accounts computed, and what is made of each.

Whoever computes a bill holds the agreement, and looks for other bills of the same days after that:
two runs never bill a day twice. Needs an open scope that is not narrowed to facilities, and a
transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from billing.domain import drafts
from billing.domain.checklist import Code, Finding, findings
from billing.domain.contexts import Former, former_bills
from billing.domain.drafts import Account, Draft, Known, Undone, Wanted
from billing.models import (
    Agreement,
    Bill,
    BillingSettings,
    BillRun,
    BillRunItem,
    BillState,
    ItemState,
)
from billing.tariffs.sentences import sentence

_PROBLEM_LENGTH: Final = 400
_WRITTEN: Final = ("state", "findings", "problem")


def rate(run: BillRun, items: Sequence[BillRunItem], known: Known) -> None:
    """Compute the accounts of some items that the caller has claimed, store their drafts, and save
    what became of them.
    """
    ids = [item.agreement_id for item in items]
    hold(ids)
    accounts = drafts.accounts_of(ids)
    former = former_bills(ids, before=run.end_on)
    wanted: list[Wanted] = []
    for item in items:
        own = former.get(item.agreement_id, [])
        wanted += _wanted(run, item, accounts[item.agreement_id], own)
    computed = drafts.compute_many(wanted, accounts=accounts, known=known, former=former)
    by_agreement: dict[int, list[Draft | Undone]] = {}
    for one, found in computed.items():
        by_agreement.setdefault(one.agreement_id, []).append(found)
    percent = _estimate_percent(run.tenant_id)
    stored: list[Draft] = []
    for item in items:
        if item.state == ItemState.WAITING:
            stored += _decided(item, by_agreement[item.agreement_id], percent)
    # Also of who cannot be computed any more: a draft that nobody ever makes final would keep other
    # runs from these days for ever.
    remove_drafts(run, sorted(set(ids) - {one.account.agreement_id for one in stored}))
    drafts.store(stored, run_id=run.pk, cause=run.cause)
    save(items)


def remove_drafts(run: BillRun, agreement_ids: Sequence[int]) -> None:
    """Remove what a run has drafted for agreements."""
    Bill.objects.filter(
        run=run, agreement_id__in=list(agreement_ids), state=BillState.DRAFT
    ).delete()


def hold(agreement_ids: Sequence[int]) -> None:
    """Hold agreements until the transaction ends, in the order of everybody."""
    rows = Agreement.objects.select_for_update(no_key=True, of=("self",)).order_by("pk")
    list(rows.filter(pk__in=list(agreement_ids)).values_list("pk", flat=True))


def _wanted(
    run: BillRun, item: BillRunItem, account: Account, former: Sequence[Former]
) -> list[Wanted]:
    """The days of an account that nobody has billed yet; a state that says so where there are
    none, or where another run has a draft of them.
    """
    first = max(run.first_on, account.starts_on)
    end = min(run.end_on, account.ends_on or run.end_on)
    near = [one for one in former if one.first < end and one.end > first]
    if any(one.state is BillState.DRAFT and one.run_id != run.pk for one in near):
        item.state = ItemState.FAILED
        item.problem = sentence(
            "Another run has a draft for these days: approve or cancel that run, then compute"
            " this account anew."
        )
        return []
    billed = [(one.first, one.end) for one in near if one.state is BillState.FINAL]
    left = list(_left(first, end, sorted(billed)))
    if not left:
        item.state = ItemState.SKIPPED
        item.problem = (
            sentence("These days are billed already.")
            if first < end
            else sentence("The agreement does not hold on any of these days.")
        )
    return [Wanted(item.agreement_id, *days) for days in left]


def _left(first: date, end: date, billed: Sequence[tuple[date, date]]) -> list[tuple[date, date]]:
    left, reached = [], first
    for begin, stop in billed:
        if begin > reached:
            left.append((reached, begin))
        reached = max(reached, stop)
    if reached < end:
        left.append((reached, end))
    return left


def _decided(
    item: BillRunItem, computed: Sequence[Draft | Undone], percent: Decimal
) -> list[Draft]:
    """What is stored of an account, whose state follows."""
    found: list[Finding] = []
    for one in computed:
        if isinstance(one, Undone):
            item.state, item.problem = ItemState.FAILED, one.problem[:_PROBLEM_LENGTH]
            item.findings = _without_tariff(one)
            return []
        found += findings(
            period=one.period,
            terms=one.evidence.terms,
            usage=one.usage,
            rating=one.rating,
            former=one.former,
            estimate_percent=percent,
        )
    item.findings = [finding.as_json() for finding in found]
    item.state = ItemState.HELD if found else ItemState.DRAFTED
    return [one for one in computed if isinstance(one, Draft)]


def _without_tariff(one: Undone) -> list[dict[str, Any]]:
    if one.without_tariff is None:
        return []
    first, end = one.without_tariff
    figures = {"first": first.isoformat(), "end": end.isoformat()}
    return [Finding(Code.TARIFF_MISSING, figures).as_json()]


def _estimate_percent(tenant_id: int) -> Decimal:
    rows = BillingSettings.objects.filter(tenant_id=tenant_id)
    found = rows.values_list("estimate_percent", flat=True).first()
    return Decimal(BillingSettings().estimate_percent) if found is None else found


def save(items: Sequence[BillRunItem]) -> None:
    """Keep what became of items."""
    # An INSERT whose rows are all there: one UPDATE of many rows.
    BillRunItem.objects.bulk_create(
        items, update_conflicts=True, unique_fields=["id"], update_fields=list(_WRITTEN)
    )
