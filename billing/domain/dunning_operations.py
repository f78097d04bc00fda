"""Dunning goes on: steps are taken, and what was cut is given back.

What to do is decided by `billing.accounts.dunning`; here it is done, a case in a transaction that
holds its agreement, so that a worker may be killed at any moment and two do no harm. Commands and
notices follow from what is kept. Needs an open scope that is not narrowed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from billing.accounts import dunning
from billing.accounts.dunning import (
    Decision,
    Outcome,
    Policy,
    PolicyError,
    Step,
    StepKind,
    decide,
)
from billing.accounts.instalments import Standing
from billing.domain import dunning_facts, dunning_units, ledger_operations
from billing.domain.dunning_facts import Account
from billing.domain.dunning_units import Done
from billing.domain.ledger_operations import Draft
from billing.models import (
    AccountEntry,
    Agreement,
    DunningCase,
    DunningEvent,
    DunningKind,
    DunningPolicy,
    EntryKind,
    InstalmentPlan,
    PlanState,
)
from tenants.domain import audit

logger = logging.getLogger(__name__)

_Stored = tuple[Policy | None, bool]
# A case that waits for something that nobody tells of is looked at so often.
_LONGEST_WAIT: Final = timedelta(hours=24)
# Cases that one round takes.
MOST_DRIVEN: Final = 1_000
# What the customer is told by mail.
_MAILED: Final = frozenset({*(kind.value for kind in StepKind), DunningKind.RESTORED.value})


def due_cases(*, now: datetime) -> list[tuple[int, int]]:
    """Tenant and id of the cases that are to be looked at, those first that have waited longest."""
    rows = DunningCase.objects.filter(closed_at__isnull=True, next_at__lte=now)
    return list(rows.order_by("next_at", "pk").values_list("tenant_id", "pk")[:MOST_DRIVEN])


def held(agreement_ids: Sequence[int]) -> list[Agreement]:
    """The agreements with their rows held, and what dunning reads of them, by id."""
    ids = ledger_operations.hold(agreement_ids)
    rows = Agreement.objects.filter(pk__in=ids).select_related("facility", "customer")
    return list(rows.order_by("pk"))


@transaction.atomic
def drive(*, case_id: int, now: datetime) -> bool:
    """Look at a case, and do what is to be done; returns whether anything was."""
    agreement_id = (
        DunningCase.objects.filter(pk=case_id, closed_at__isnull=True, next_at__lte=now)
        .values_list("agreement", flat=True)
        .first()
    )
    return agreement_id is not None and review(agreement_ids=[agreement_id], now=now) > 0


@transaction.atomic
def review(*, agreement_ids: Sequence[int], now: datetime) -> int:
    """Look at the open cases of agreements at once, as after a payment; returns in how many of them
    something was done.
    """
    with_case = DunningCase.objects.filter(agreement__in=agreement_ids, closed_at__isnull=True)
    behind = set(with_case.values_list("agreement", flat=True))
    with_plan = InstalmentPlan.objects.filter(agreement__in=agreement_ids, state=PlanState.ACTIVE)
    concerned = behind | set(with_plan.values_list("agreement", flat=True))
    done = 0
    policies: dict[int, _Stored] = {}
    for agreement in held(sorted(concerned)):
        account = dunning_facts.account_of(agreement, now=now)
        _note_plan(account, now)
        case = DunningCase.objects.filter(agreement=agreement, closed_at__isnull=True).first()
        if case is None:
            continue
        case.agreement = agreement
        if agreement.tenant_id not in policies:
            policies[agreement.tenant_id] = _stored_policy(account)
        policy, usable = policies[agreement.tenant_id]
        decision = Decision()
        if usable or account.facts.overdue <= 0:
            decision = decide(policy, account.facts, dunning_facts.case_value(case), account.clock)
        done += _do(case, account, decision, now)
    return done


def _stored_policy(account: Account) -> _Stored:
    """The policy of an account's tenant, and whether it can be used. One that held when it was set
    and does not any more refuses no payment: what is paid comes back by it, and no step is taken.
    """
    tenant_id = account.agreement.tenant_id
    row = DunningPolicy.objects.filter(tenant=tenant_id).first()
    try:
        return dunning_facts.policy_of(row, year=account.today.year), True
    except PolicyError:
        logger.exception("dunning.policy_unusable tenant=%d", tenant_id)
        return None, False


def _note_plan(account: Account, now: datetime) -> None:
    """Note that a plan was kept, or broken."""
    plan, standing = account.plan, account.standing
    if plan is None or standing is None or standing is Standing.RUNNING:
        return
    state = PlanState.KEPT if standing is Standing.KEPT else PlanState.BROKEN
    audit.update(
        plan,
        {"state": state, "ended_at": now},
        actor_id=None,
        action=f"instalments.{state.value}",
        validate=False,
    )


def _do(case: DunningCase, account: Account, decision: Decision, now: datetime) -> bool:
    with translation.override(account.agreement.customer.language):
        if decision.outcome is not None:
            close(case, account, decision.outcome, now)
            return True
        if decision.step is not None:
            _take(case, account, decision.step, now)
            return True
    if decision.spares:
        _spare(case, account, now)
    case.next_at = _next_look(account, decision.wait_until, now)
    case.save(update_fields=["next_at"])
    return False


def _next_look(account: Account, wait_until: datetime | None, now: datetime) -> datetime:
    """When a case is looked at again: at the local time that was decided, within a day, and when
    the agreement ends.
    """
    latest = now + _LONGEST_WAIT
    ends_on = account.agreement.ends_on
    if ends_on is not None and ends_on > account.today:
        latest = min(latest, datetime.combine(ends_on, time(), account.zone))
    if wait_until is None:
        return latest
    return min(latest, max(now, wait_until.replace(tzinfo=account.zone)))


def _take(case: DunningCase, account: Account, step: Step, now: datetime) -> None:
    """Take the next step: keep what was done with it, then wait for the one after."""
    number = case.taken + 1
    done, fee = Done(), None
    if step.kind is StepKind.FEE:
        fee = _book_fee(case, account, step.fee, number, now)
    elif step.kind is StepKind.LIMIT:
        done = dunning_units.limit(case, step=number, watts=step.limit_w, now=now)
    elif step.kind is StepKind.DISABLE:
        done = dunning_units.disable(case, step=number, now=now)
    text = _missed_text(done) if step.kind in dunning.CUTS else ""
    note(
        case, account, DunningKind(step.kind.value), now, step=number, done=done, fee=fee, text=text
    )
    case.taken, case.last_on, case.next_at = number, account.today, now
    if step.kind in dunning.CUTS and done.commands:
        case.limited = case.limited or step.kind is StepKind.LIMIT
        case.disabled = case.disabled or step.kind is StepKind.DISABLE
        case.owed_at_cut = account.facts.overdue
    case.save(update_fields=["taken", "last_on", "next_at", "limited", "disabled", "owed_at_cut"])


def _missed_text(done: Done) -> str:
    if done.commands:
        return ""
    if done.missed:
        return _("No unit could be asked, or it was cut already.")
    return _("No unit supplies this agreement alone.")


def _book_fee(
    case: DunningCase, account: Account, amount: Decimal, step: int, now: datetime
) -> AccountEntry:
    draft = Draft(
        EntryKind.FEE,
        f"fee:case {case.pk} step {step}",
        amount,
        account.today,
        account.today + timedelta(days=account.agreement.payment_days),
        text=_("Dunning fee"),
    )
    return ledger_operations.charge(account.agreement, draft, actor_id=None, now=now)


def _spare(case: DunningCase, account: Account, now: datetime) -> None:
    """Note once that a step is not taken because the customer is protected."""
    number = case.taken + 1
    if not case.events.filter(kind=DunningKind.SPARED, step=number).exists():
        reason = account.agreement.customer.protected_reason
        note(case, account, DunningKind.SPARED, now, step=number, text=reason)


def close(
    case: DunningCase,
    account: Account,
    outcome: Outcome,
    now: datetime,
    *,
    reason: str = "",
    actor_id: int | None = None,
) -> None:
    """Give back what was cut, and end the case; its agreement's row must be held. `reason`: why a
    person wants it.
    """
    if case.limited or case.disabled:
        why = _why_back(outcome, account.agreement.number)
        done = dunning_units.restore(case, reason=why, now=now)
        note(case, account, DunningKind.RESTORED, now, done=done, text=why)
    note(case, account, DunningKind.CLOSED, now, text=reason or outcome.value, actor_id=actor_id)
    case.limited = case.disabled = False
    case.closed_at, case.outcome = now, outcome.value
    case.save(update_fields=["limited", "disabled", "closed_at", "outcome"])


def _why_back(outcome: Outcome, number: str) -> str:
    words = {
        Outcome.PAID: _("Paid: agreement %(number)s"),
        Outcome.PART: _("Paid in part: agreement %(number)s"),
        Outcome.PLAN: _("A plan of payments was agreed: agreement %(number)s"),
        Outcome.PROTECTED: _("The customer is protected: agreement %(number)s"),
        Outcome.NO_POLICY: _("Dunning was switched off: agreement %(number)s"),
        Outcome.DROPPED: _("Dunning was ended by a person: agreement %(number)s"),
        Outcome.MOVED: _("The agreement is over: agreement %(number)s"),
    }
    return words[outcome] % {"number": number}


def note(
    case: DunningCase,
    account: Account,
    kind: DunningKind,
    now: datetime,
    *,
    step: int | None = None,
    done: Done | None = None,
    fee: AccountEntry | None = None,
    text: str = "",
    actor_id: int | None = None,
) -> DunningEvent:
    """Add what happened in a case, and tell the audit log of it."""
    done = done or Done()
    # Who has left need not know that the supply is there again.
    told = kind.value in _MAILED and not (account.facts.over and kind is DunningKind.RESTORED)
    event = DunningEvent.objects.create(
        tenant_id=case.tenant_id,
        case=case,
        agreement=account.agreement,
        facility_id=case.facility_id,
        kind=kind,
        step=step,
        at=now,
        overdue=account.facts.overdue,
        currency=account.agreement.currency,
        text=text[:400],
        fee=fee,
        commands=done.commands,
        missed=done.missed,
        limits_before=done.limits,
        mail_to=account.agreement.customer.email if told else "",
    )
    audit.record(
        tenant_id=case.tenant_id,
        actor_id=actor_id,
        action=f"dunning.{kind.value}",
        subject=account.agreement,
        after={
            "step": step,
            "overdue": str(account.facts.overdue),
            "commands": done.commands,
            "missed": done.missed,
            **({"reason": text} if actor_id is not None else {}),
        },
    )
    return event
