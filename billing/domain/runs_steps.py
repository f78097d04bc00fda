"""Brings bill runs on: computes drafts, then makes them final, some accounts in each transaction.

RATING → CHECKING → (a person approves) APPROVED → FINISHED. Accounts are claimed by locking their
items, and what becomes of them is stored in the same transaction: so any number of workers share a
run, and one that is killed leaves whole chunks behind. Whoever computes a bill holds the agreement,
and looks for other bills of the same days after that: two runs never bill a day twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from billing.domain import drafts, finalising, restatement_finding
from billing.domain.checklist import Code, Finding, findings
from billing.domain.contexts import Former, former_bills
from billing.domain.drafts import Account, Draft, Undone, Wanted
from billing.models import (
    Agreement,
    Bill,
    BillingSettings,
    BillKind,
    BillRun,
    BillRunItem,
    BillState,
    ItemState,
    RunState,
)
from tenants.domain import audit
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, long_scope, open_scope

logger = logging.getLogger(__name__)

# Accounts of a transaction: more of them save little, and lose more when a worker is killed.
CHUNK: Final = 250
_PROBLEM_LENGTH: Final = 400
_MOVING: Final = (RunState.RATING, RunState.APPROVED)
_WRITTEN: Final = ("state", "findings", "problem")


def moving() -> tuple[tuple[int, int], ...]:
    """The runs that have something to be done, as (tenant, run), the oldest first."""
    with open_scope(Scope(all_tenant_ids())):
        rows = BillRun.objects.filter(ended_at=None, state__in=_MOVING)
        return tuple(rows.order_by("pk").values_list("tenant_id", "pk"))


def work(
    *,
    tenant_id: int,
    run_id: int,
    go_on: Callable[[], bool],
    clock: Callable[[], datetime],
    limit: int = CHUNK,
) -> int:
    """Take steps of a run while there is something to do and `go_on` says so; returns how many
    accounts they have brought on.
    """
    done = 0
    while go_on():
        count = step(tenant_id=tenant_id, run_id=run_id, now=clock(), limit=limit)
        if not count:
            break
        done += count
    return done


def step(*, tenant_id: int, run_id: int, now: datetime, limit: int = CHUNK) -> int:
    """Bring up to `limit` accounts of a run on, or the run itself when none is left; returns how
    many accounts that were. 0: there is nothing to do, or others are at the rest.
    """
    with long_scope(Scope((tenant_id,))):
        run = BillRun.objects.get(pk=run_id)
        wanted = {RunState.RATING: ItemState.WAITING, RunState.APPROVED: ItemState.DRAFTED}
        state = wanted.get(RunState(run.state))
        if state is None:
            return 0
        items = list(
            run.items.filter(state=state)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("pk")[:limit]
        )
        # Read after the claim: whoever cancels the run waits for the items, or is seen here.
        run.refresh_from_db()
        if not items:
            _move_on(run, now)
            return 0
        if run.state == RunState.RATING and state == ItemState.WAITING:
            _rate(run, items)
        elif run.state == RunState.APPROVED and state == ItemState.DRAFTED:
            _finalise(run, items, now)
        else:
            return 0
        return len(items)


def _move_on(run: BillRun, now: datetime) -> None:
    """The next state of a run of which no account is left; what others hold is still there."""
    rows = BillRun.objects.select_for_update(skip_locked=True, no_key=True)
    row = rows.filter(pk=run.pk).first()
    if row is None:
        return
    if row.state == RunState.RATING:
        left, action = ItemState.WAITING, "bill_run.computed"
        values: dict[str, Any] = {"state": RunState.CHECKING}
    elif row.state == RunState.APPROVED:
        left, action = ItemState.DRAFTED, "bill_run.finish"
        values = {"state": RunState.FINISHED, "ended_at": now}
    else:
        return
    if not row.items.filter(state=left).exists():
        audit.update(row, values, actor_id=None, action=action, validate=False)
        logger.info("bill_run.moved run=%d state=%s", row.pk, row.state)


# --- Drafts ---------------------------------------------------------------------------------------


def _rate(run: BillRun, items: Sequence[BillRunItem]) -> None:
    known = drafts.known_now(run.known_at)
    ids = [item.agreement_id for item in items]
    _hold(ids)
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
    drafts.store(stored, run_id=run.pk, cause=run.cause)
    _save(items)


def _hold(agreement_ids: Sequence[int]) -> None:
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
        item.problem = (
            "Another run has a draft for these days: approve or cancel that run, then compute"
            " this account anew."
        )
        return []
    billed = [(one.first, one.end) for one in near if one.state is BillState.FINAL]
    left = list(_left(first, end, sorted(billed)))
    if not left:
        item.state = ItemState.SKIPPED
        item.problem = "These days are billed already."
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


# --- Final bills ----------------------------------------------------------------------------------


def _finalise(run: BillRun, items: Sequence[BillRunItem], now: datetime) -> None:
    assert run.issued_on is not None
    ids = [item.agreement_id for item in items]
    _hold(ids)
    own: dict[int, list[int]] = {}
    rows = Bill.objects.filter(
        run=run, agreement_id__in=ids, kind=BillKind.INVOICE, state=BillState.DRAFT
    )
    for agreement_id, pk in rows.order_by("pk").values_list("agreement_id", "pk"):
        own.setdefault(agreement_id, []).append(pk)
    taken = _billed_meanwhile(run, ids)
    chosen: list[int] = []
    for item in items:
        if item.agreement_id in taken:
            item.state = ItemState.FAILED
            item.problem = "These days were billed meanwhile: the draft was not made final."
        else:
            item.state = ItemState.FINAL
            chosen += own.get(item.agreement_id, [])
    made = finalising.finalise(chosen, issued_on=run.issued_on, now=now)
    restatement_finding.made_final(made, now=now)
    _save(items)


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


def _save(items: Sequence[BillRunItem]) -> None:
    # An INSERT whose rows are all there: one UPDATE of many rows.
    BillRunItem.objects.bulk_create(
        items, update_conflicts=True, unique_fields=["id"], update_fields=list(_WRITTEN)
    )
