"""What the pages of plans of payments show. They need an open scope; one narrowed to facilities
sees the plans of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from billing.accounts.instalments import Part, Plan, PlanError
from billing.domain import dunning_facts
from billing.domain.dunning_pages_queries import name_of
from billing.domain.ledger_queries import Balance, balance_of, open_items
from billing.domain.pages_queries import NotThere
from billing.domain.paging import page_of
from billing.models import Agreement, InstalmentPlan, PlanState
from devices.domain.catalogue import Page


def plans() -> QuerySet[InstalmentPlan]:
    """Plans with `customer_name`."""
    return InstalmentPlan.objects.select_related("agreement", "facility").annotate(
        customer_name=name_of("agreement__customer_id")
    )


def plan_list(
    *,
    limit: int,
    after: int = 0,
    agreement_id: int | None = None,
    state: str | None = None,
    user_id: int | None = None,
) -> Page[InstalmentPlan]:
    """Plans by id, with `user_id` of that person's own agreements alone; one query."""
    wanted = {"agreement_id": agreement_id, "state": state, "agreement__user_id": user_id}
    return page_of(InstalmentPlan.objects.all(), limit=limit, after=after, wanted=wanted)


@dataclass(frozen=True, slots=True)
class PlanPart:
    """An instalment: `open` of it is what payments since then have not reached."""

    due_on: date
    amount: Decimal
    open: Decimal
    late: bool


@dataclass(frozen=True, slots=True)
class PlanPage:
    """A plan with its instalments as they stand; `paid` since it was agreed."""

    plan: InstalmentPlan
    parts: tuple[PlanPart, ...]
    paid: Decimal


def plan_page(*, plan_id: int, now: datetime) -> PlanPage:
    """One plan; raises NotThere."""
    found = plans().filter(pk=plan_id).first()
    if found is None:
        raise NotThere
    plan = Plan.from_json(found.instalments, grace_days=found.grace_days)
    paid = max(
        Decimal(0), dunning_facts.paid_in(agreement_id=found.agreement_id) - found.paid_before
    )
    today = now.astimezone(ZoneInfo(found.facility.time_zone)).date()
    left = paid
    parts = []
    for part in plan.parts:
        covered = min(left, part.amount)
        left -= covered
        remains = part.amount - covered
        parts.append(
            PlanPart(part.due_on, part.amount, remains, remains > 0 and part.due_on < today)
        )
    return PlanPage(found, tuple(parts), paid)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What may be agreed for an account: what is overdue, and all that is owed; `parts` of one of
    them as it was asked for, none where it cannot be parted so.
    """

    agreement: Agreement
    balance: Balance
    today: date
    running: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """Equal parts: `count` of them from `first` on, each `every` days or (0) months apart. `whole`:
    of all that is owed instead of what is overdue.
    """

    count: int
    first: date
    every_days: int = 0
    whole: bool = False


def proposal(*, agreement_id: int, wish: Wish | None, now: datetime) -> Proposal:
    """Equal instalments for an account; raises NotThere."""
    agreement = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if agreement is None:
        raise NotThere
    today = now.astimezone(ZoneInfo(agreement.facility.time_zone)).date()
    items = open_items(agreement_ids=[agreement_id])[agreement_id]
    balance = balance_of(items, on=today)
    running = InstalmentPlan.objects.filter(agreement=agreement, state=PlanState.ACTIVE).exists()
    parts: tuple[Part, ...] = ()
    if wish is not None:
        total = balance.balance if wish.whole else balance.overdue
        try:
            parts = Plan.even(total, _days(wish)).parts
        except PlanError:
            # Nothing that could be parted is owed: the page says so, and agreeing refuses it.
            parts = ()
    return Proposal(agreement, balance, today, running, parts)


def _days(wish: Wish) -> list[date]:
    if wish.every_days:
        return [wish.first + timedelta(days=wish.every_days * n) for n in range(wish.count)]
    return [_month_later(wish.first, n) for n in range(wish.count)]


def _month_later(day: date, months: int) -> date:
    """The same day of a later month, or its last one."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - timedelta(days=1)).day))
