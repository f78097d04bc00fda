"""Asking for bill runs, and deciding about what they have found.

What a run does follows by itself (`runs_steps`); people write what they want. As everywhere: an
open scope that is not narrowed to facilities, `actor_id` (None is the system), sentences at fields.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from billing.domain.agreements_checks import told
from billing.domain.checklist import Code
from billing.domain.runs_listing_operations import agreements_of, complete_at, list_all
from billing.domain.runs_queries import RunNotFound, next_end
from billing.models import (
    Bill,
    BillingSettings,
    BillRun,
    BillRunItem,
    BillState,
    Cycle,
    ItemState,
    RunKind,
    RunState,
)
from tenants.domain import audit

REASON_LENGTH: Final = 400
_AT_ONCE: Final = 5_000
_LOOKED_AT: Final = (ItemState.DRAFTED, ItemState.HELD, ItemState.FAILED)


@transaction.atomic
def start(
    *,
    tenant_id: int,
    first_on: date,
    cycle: Cycle = Cycle.MONTH,
    end_on: date | None = None,
    agreement_ids: Collection[int] | None = None,
    now: datetime,
    actor_id: int | None,
) -> BillRun:
    """Begin a run for the period of a cycle that begins on `first_on`, for all postpaid agreements
    of that cycle which hold then, or for some (of any cycle and mode, until `end_on`).

    Accounts named are listed at once, all of a tenant by the workers that compute them. Raises
    ValidationError for a period that is none of the cycle or not over.
    """
    end_on = _period_end(first_on, cycle, end_on, some=agreement_ids is not None)
    if end_on > now.date():
        raise ValidationError(
            {"first_on": _("The period is not over yet: choose one that has ended.")}
        )
    rows = agreements_of(tenant_id, cycle, first_on, end_on, agreement_ids)
    begins = complete_at(rows, end_on)
    if begins is not None and now < begins:
        message = _("The last readings of the period may still come: begin at %(at)s.")
        raise ValidationError({"first_on": message % {"at": told(begins, "UTC")}})
    _refuse_second(tenant_id, cycle, first_on, end_on, agreement_ids)
    run = audit.insert(
        BillRun(
            tenant_id=tenant_id,
            kind=RunKind.REGULAR,
            cycle=cycle,
            first_on=first_on,
            end_on=end_on,
            known_at=now,
            listed_to=0 if agreement_ids is None else None,
            asked_by_id=actor_id,
        ),
        actor_id=actor_id,
        action="bill_run.start",
    )
    if agreement_ids is not None:
        list_all(run, rows)
    return run


@transaction.atomic
def accept(
    *,
    run_id: int,
    item_ids: Collection[int] | None = None,
    codes: Collection[Code] | None = None,
    reason: str,
    now: datetime,
    actor_id: int | None,
) -> int:
    """Let accounts that the checklist holds go on; returns how many.

    All of them, those of `item_ids`, or those of which nothing but `codes` was found. Raises
    RunNotFound, and ValidationError without a reason or when the run is not being checked.
    """
    run = _checked(run_id)
    reason = _reasoned(reason)
    items = _chosen(run, item_ids).filter(state=ItemState.HELD).select_for_update()
    wanted = None if codes is None else {code.value for code in codes}
    chosen = [
        pk
        for pk, findings in items.order_by("pk").values_list("pk", "findings")
        if wanted is None or {one["code"] for one in findings} <= wanted
    ]
    count = BillRunItem.objects.filter(pk__in=chosen, state=ItemState.HELD).update(
        state=ItemState.DRAFTED, accepted_by=actor_id, accepted_at=now, reason=reason
    )
    _told(run, "bill_run.accept", actor_id, accounts=count, reason=reason)
    return count


@transaction.atomic
def leave_out(
    *,
    run_id: int,
    item_ids: Collection[int],
    reason: str,
    now: datetime,
    actor_id: int | None,
) -> int:
    """Leave accounts out of a run and remove their drafts; returns how many. Raises as `accept`."""
    run = _checked(run_id)
    reason = _reasoned(reason)
    items = _chosen(run, item_ids).filter(state__in=_LOOKED_AT).select_for_update()
    agreements = dict(items.order_by("pk").values_list("pk", "agreement_id"))
    _remove_drafts(run, agreements.values())
    count = BillRunItem.objects.filter(pk__in=agreements).update(
        state=ItemState.SKIPPED, accepted_by=actor_id, accepted_at=now, reason=reason
    )
    _told(run, "bill_run.leave_out", actor_id, accounts=count, reason=reason)
    return count


@transaction.atomic
def compute_again(
    *,
    run_id: int,
    item_ids: Collection[int] | None = None,
    now: datetime,
    actor_id: int | None,
) -> int:
    """Compute drafts anew, from what is known now; returns how many. What was accepted is to be
    looked at again. Raises as `accept`.
    """
    run = _checked(run_id)
    count = (
        _chosen(run, item_ids)
        .filter(state__in=_LOOKED_AT)
        .update(
            state=ItemState.WAITING,
            findings=[],
            problem="",
            accepted_by=None,
            accepted_at=None,
            reason="",
        )
    )
    values = {"state": RunState.RATING, "known_at": now}
    audit.update(run, values, actor_id=actor_id, action="bill_run.again", validate=False)
    return count


@transaction.atomic
def approve(*, run_id: int, issued_on: date, now: datetime, actor_id: int | None) -> BillRun:
    """Let the drafts of a run become final, dated `issued_on`.

    Raises RunNotFound, and ValidationError while accounts are to be looked at, for the one who
    asked for the run where it takes a second person, and for a date before the end of the period.
    """
    run = _checked(run_id)
    left = run.items.filter(state=ItemState.HELD).count()
    if left:
        raise ValidationError(
            _("%(count)d accounts are still to be looked at: accept them or leave them out.")
            % {"count": left}
        )
    if issued_on < run.end_on:
        raise ValidationError(
            {"issued_on": _("Bills are dated on or after the day their period ends.")}
        )
    rule = BillingSettings.objects.filter(tenant_id=run.tenant_id).values_list("second_person")
    if rule.first() != (False,) and actor_id is not None and actor_id == run.asked_by_id:
        raise ValidationError(_("You have asked for this run: somebody else has to approve it."))
    audit.update(
        run,
        {
            "state": RunState.APPROVED,
            "approved_by_id": actor_id,
            "approved_at": now,
            "issued_on": issued_on,
        },
        actor_id=actor_id,
        action="bill_run.approve",
        validate=False,
    )
    return run


@transaction.atomic
def cancel(*, run_id: int, reason: str, now: datetime, actor_id: int | None) -> BillRun:
    """End a run and remove its drafts. Raises RunNotFound, and ValidationError when its bills are
    being made final, or without a reason.
    """
    run = _held(run_id)
    reason = _reasoned(reason)
    if run.state not in (RunState.RATING, RunState.CHECKING):
        raise ValidationError(
            _("The bills of this run are final or becoming so: void those that are wrong.")
        )
    values = {"state": RunState.CANCELLED, "ended_at": now, "cause": reason}
    audit.update(run, values, actor_id=actor_id, action="bill_run.cancel", validate=False)
    # Whoever computes drafts at the moment holds their items, and is waited for.
    list(run.items.select_for_update().order_by("pk").values_list("pk", flat=True))
    _remove_drafts(run, None)
    return run


def _period_end(first_on: date, cycle: Cycle, end_on: date | None, *, some: bool) -> date:
    if some and end_on is not None:
        if end_on <= first_on:
            raise ValidationError({"end_on": _("The period ends before it begins.")})
        return end_on
    end = next_end(first_on, cycle)
    if end is None or end_on not in (None, end):
        raise ValidationError(
            {"first_on": _("A run for all agreements is for a full month, quarter or year.")}
        )
    return end


def _refuse_second(
    tenant_id: int,
    cycle: Cycle,
    first_on: date,
    end_on: date,
    agreement_ids: Collection[int] | None,
) -> None:
    """Two runs for all would only be in each other's way."""
    if agreement_ids is not None:
        return
    others = BillRun.objects.filter(
        tenant_id=tenant_id,
        kind=RunKind.REGULAR,
        cycle=cycle,
        ended_at=None,
        first_on__lt=end_on,
        end_on__gt=first_on,
    )
    if others.exists():
        raise ValidationError(
            {"first_on": _("There is a run for this period: approve or cancel it first.")}
        )


def _held(run_id: int) -> BillRun:
    # Not its key: workers that hold items, which are waited for, keep bills that name the run.
    run = BillRun.objects.select_for_update(no_key=True).filter(pk=run_id).first()
    if run is None:
        raise RunNotFound(f"run {run_id}")
    return run


def _checked(run_id: int) -> BillRun:
    run = _held(run_id)
    if run.state != RunState.CHECKING:
        raise ValidationError(
            _("This run is not waiting for a decision: it is still computing, or over.")
        )
    return run


def _reasoned(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise ValidationError({"reason": _("Give a reason: it stays with the bills.")})
    return reason[:REASON_LENGTH]


def _chosen(run: BillRun, item_ids: Collection[int] | None) -> QuerySet[BillRunItem]:
    return run.items.filter(Q() if item_ids is None else Q(pk__in=item_ids))


def _remove_drafts(run: BillRun, agreement_ids: Collection[int] | None) -> None:
    rows = Bill.objects.filter(run=run, state=BillState.DRAFT)
    if agreement_ids is not None:
        rows = rows.filter(agreement_id__in=list(agreement_ids))
    ids: Sequence[int] = list(rows.values_list("pk", flat=True))
    for at in range(0, len(ids), _AT_ONCE):
        Bill.objects.filter(pk__in=ids[at : at + _AT_ONCE]).delete()


def _told(run: BillRun, action: str, actor_id: int | None, **after: Any) -> None:
    audit.record(
        tenant_id=run.tenant_id, actor_id=actor_id, action=action, subject=run, after=after
    )
