"""What the pages of dunning and of plans of payments show.

They need an open scope. One narrowed to facilities sees cases, events and plans of these, but no
customers and no policy: nothing is foretold to it then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import OuterRef, QuerySet, Subquery

from billing.accounts.dunning import Case, Facts, Policy, is_behind
from billing.accounts.dunning_forecast import Expected, forecast
from billing.accounts.instalments import Plan
from billing.domain import dunning_facts
from billing.domain.dunning_facts import Account
from billing.domain.ledger_queries import Balance, OpenItem, balance_of, open_items
from billing.domain.pages_queries import NotThere
from billing.domain.paging import page_of
from billing.models import (
    Agreement,
    Customer,
    DunningCase,
    DunningEvent,
    DunningPolicy,
    InstalmentPlan,
    PlanState,
)
from devices.domain.catalogue import Page
from devices.models import Command


def name_of(of: str) -> Subquery:
    """A customer's name, empty for whoever does not see customers."""
    return Subquery(Customer.objects.filter(pk=OuterRef(of)).values("name")[:1])


def cases(*, today: date) -> QuerySet[DunningCase]:
    """Cases with `customer_name`, `overdue` as their newest event has it, and `state`: off,
    limited, paused, open or closed.
    """
    newest = DunningEvent.objects.filter(case=OuterRef("pk")).order_by("-pk")
    return DunningCase.objects.select_related("agreement", "facility").annotate(
        customer_name=name_of("agreement__customer_id"),
        overdue=Subquery(newest.values("overdue")[:1]),
        state=models.Case(
            models.When(closed_at__isnull=False, then=models.Value("closed")),
            models.When(disabled=True, then=models.Value("off")),
            models.When(limited=True, then=models.Value("limited")),
            models.When(paused_until__gte=today, then=models.Value("paused")),
            default=models.Value("open"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Forecast:
    """What will be done about an account that pays nothing. `begins_on`: the day on which a case
    would be opened, where none is; None: never, or it is open.
    """

    begins_on: date | None
    steps: tuple[Expected, ...]


@dataclass(frozen=True, slots=True)
class AccountPage:
    """How an account stands with dunning. `has_policy`: the tenant duns, and the reader sees it."""

    agreement: Agreement
    balance: Balance
    case: DunningCase | None
    plan: InstalmentPlan | None
    has_policy: bool
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class CasePage:
    """A case with all that happened in it, the newest first, and the commands that it asked for."""

    case: DunningCase
    account: AccountPage
    events: tuple[DunningEvent, ...]
    commands: tuple[Command, ...]


def case_page(*, case_id: int, now: datetime) -> CasePage:
    """One case; raises NotThere."""
    found = cases(today=now.date()).filter(pk=case_id).first()
    if found is None:
        raise NotThere
    events = tuple(found.events.select_related("fee").order_by("-pk"))
    asked = [pk for event in events for pk in event.commands]
    commands = Command.objects.filter(pk__in=asked).select_related("device")
    account = account_page(agreement_id=found.agreement_id, now=now)
    return CasePage(found, account, events, tuple(commands.order_by("-pk")))


def case_list(
    *,
    limit: int,
    after: int = 0,
    agreement_id: int | None = None,
    open: bool | None = None,  # noqa: A002 - as the API calls it
    user_id: int | None = None,
) -> Page[DunningCase]:
    """Cases by id, with `user_id` of that person's own agreements alone; one query."""
    wanted = {
        "agreement_id": agreement_id,
        "closed_at__isnull": open,
        "agreement__user_id": user_id,
    }
    return page_of(DunningCase.objects.all(), limit=limit, after=after, wanted=wanted)


@dataclass(frozen=True, slots=True)
class CaseEvents:
    """A case with all that happened in it, in order."""

    case: DunningCase
    events: tuple[DunningEvent, ...]


def case_events(*, case_id: int, user_id: int | None = None) -> CaseEvents:
    """One case; two queries. Raises NotThere."""
    rows = DunningCase.objects.filter(pk=case_id)
    found = rows.first() if user_id is None else rows.filter(agreement__user=user_id).first()
    if found is None:
        raise NotThere
    return CaseEvents(found, tuple(found.events.order_by("pk")))


def require_open(*, case_id: int) -> None:
    """Raises NotThere for a case that is over, or not the reader's to see."""
    if not DunningCase.objects.filter(pk=case_id, closed_at__isnull=True).exists():
        raise NotThere


def account_page(*, agreement_id: int, now: datetime) -> AccountPage:
    """How an agreement's account stands, and what dunning would do to it; raises NotThere."""
    agreement = (
        Agreement.objects.select_related("facility")
        .annotate(customer_name=name_of("customer_id"))
        .filter(pk=agreement_id)
        .first()
    )
    if agreement is None:
        raise NotThere
    zone = ZoneInfo(agreement.facility.time_zone)
    items = open_items(agreement_ids=[agreement_id])[agreement_id]
    case = DunningCase.objects.filter(agreement=agreement, closed_at__isnull=True).first()
    plan = InstalmentPlan.objects.filter(agreement=agreement, state=PlanState.ACTIVE).first()
    row = DunningPolicy.objects.filter(tenant=agreement.tenant_id).first()
    policy = dunning_facts.policy_of(row, year=now.year)
    expected = Forecast(None, ())
    if policy is not None and Customer.objects.filter(pk=agreement.customer_id).exists():
        account = dunning_facts.account_of(agreement, now=now)
        expected = _forecast(policy, account, items, case)
    return AccountPage(
        agreement=agreement,
        balance=balance_of(items, on=now.astimezone(zone).date()),
        case=case,
        plan=plan,
        has_policy=policy is not None,
        forecast=expected,
    )


def _forecast(
    policy: Policy, account: Account, items: tuple[OpenItem, ...], case: DunningCase | None
) -> Forecast:
    plan: Plan | None = None
    paid = Decimal(0)
    if account.plan is not None:
        plan = Plan.from_json(account.plan.instalments, grace_days=account.plan.grace_days)
        paid = dunning_facts.paid_of(account.plan, plan, account.balance)

    def facts_on(day: date) -> Facts:
        balance = balance_of(items, on=day)
        return Facts(
            overdue=balance.overdue,
            oldest_due=balance.oldest_due,
            protected=dunning_facts.is_protected(account.agreement.customer, day),
            rests=plan is not None and paid < plan.total and paid >= plan.due(day),
            over=dunning_facts.is_over(account.agreement, day),
        )

    if case is not None:
        of = dunning_facts.case_value(case)
        return Forecast(None, forecast(policy, facts_on, of, account.clock))
    # Accounts of other kinds are cut by the wallet, or by the unit itself.
    if account.agreement.mode != "postpaid":
        return Forecast(None, ())
    late = {item.due_on + timedelta(days=1) for item in items if item.open > 0}
    days = sorted({account.today, *(day for day in late if day > account.today)})
    for day in days:
        facts = facts_on(day)
        if not facts.rests and is_behind(policy, facts):
            begins = account.clock
            if day > account.today:
                begins = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - the facility's
            counts = max(facts.oldest_due or day, dunning_facts.counts_from(account))
            return Forecast(day, forecast(policy, facts_on, Case(counts), begins))
    return Forecast(None, ())


def policy_row(*, tenant_id: int) -> DunningPolicy | None:
    """How a tenant duns, if it has ever said."""
    return DunningPolicy.objects.filter(tenant=tenant_id).first()
