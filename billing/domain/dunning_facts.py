"""What dunning goes by: policies, accounts as they stand, plans. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import holidays
from django.db.models import Sum

from billing.accounts import dunning
from billing.accounts.dunning import Facts, Policy, PolicyError, Quiet, gettext_noop
from billing.accounts.instalments import Plan, Standing
from billing.domain.ledger_queries import Balance, balance_of, open_items
from billing.models import (
    AccountEntry,
    Agreement,
    Customer,
    DunningCase,
    DunningPolicy,
    EntryKind,
    InstalmentPlan,
    PlanState,
)

# Outcomes after which the account is behind as before: the steps count from that day on.
_BEGUN_ANEW: Final = ("part", "plan", "protected", "dropped", "moved")


@dataclass(frozen=True, slots=True)
class Account:
    """An agreement as dunning sees it at an instant; `clock` is the facility's, without a zone."""

    agreement: Agreement
    zone: ZoneInfo
    clock: datetime
    balance: Balance
    facts: Facts
    plan: InstalmentPlan | None
    standing: Standing | None

    @property
    def today(self) -> date:
        """The facility's day."""
        return self.clock.date()


def policy_of(row: DunningPolicy | None, *, year: int) -> Policy | None:
    """A tenant's policy as a value, with the holidays of a year and the next; None: no dunning."""
    if row is None or not row.is_active:
        return None
    return checked(
        {
            "steps": row.steps,
            "minimum": row.minimum,
            "quiet_weekdays": row.quiet_weekdays,
            "region": row.region,
            "hour_from": row.hour_from,
            "hour_to": row.hour_to,
            "restore_percent": row.restore_percent,
        },
        year=year,
    )


def checked(values: dict[str, Any], *, year: int) -> Policy:
    """The policy that these columns of `DunningPolicy` say. Raises PolicyError."""
    if not 0 <= values["hour_from"] < values["hour_to"] <= 24:
        raise PolicyError(gettext_noop("The hours begin before they end, between 0 and 24."))
    if not 1 <= values["restore_percent"] <= 100:
        raise PolicyError(gettext_noop("The part that gives the supply back is 1 to 100 per cent."))
    if values["minimum"] < 0:
        raise PolicyError(gettext_noop("The minimum is an amount of nothing or more."))
    if not set(values["quiet_weekdays"]) <= set(range(7)):
        raise PolicyError(gettext_noop("Weekdays are numbers from 0 (Monday) to 6."))
    quiet = Quiet(
        weekdays=frozenset(values["quiet_weekdays"]),
        holidays=_holidays(values["region"], year),
        hour_from=values["hour_from"],
        hour_to=values["hour_to"],
    )
    return Policy.of(
        values["steps"],
        quiet=quiet,
        minimum=values["minimum"],
        restore_percent=values["restore_percent"],
    )


@lru_cache(maxsize=64)
def _holidays(region: str, year: int) -> frozenset[date]:
    """The public holidays of a year, the one before and the next one, in a region (ISO 3166-1 or
    -2): at the turn of the year it is both in the zones of one tenant.
    """
    if not region:
        return frozenset()
    country, _, part = region.partition("-")
    try:
        return frozenset(
            holidays.country_holidays(
                country, subdiv=part or None, years=[year - 1, year, year + 1]
            )
        )
    except NotImplementedError as error:
        raise PolicyError(
            gettext_noop(
                "The public holidays of %(region)s are not known: write a code such as DE-BY."
            ),
            region=region,
        ) from error


def account_of(agreement: Agreement, *, now: datetime) -> Account:
    """How an agreement stands at an instant. `agreement.facility` and `.customer` are read."""
    zone = ZoneInfo(agreement.facility.time_zone)
    clock = now.astimezone(zone).replace(tzinfo=None)
    items = open_items(agreement_ids=[agreement.pk])[agreement.pk]
    balance = balance_of(items, on=clock.date())
    row = InstalmentPlan.objects.filter(agreement=agreement, state=PlanState.ACTIVE).first()
    standing = _standing(row, balance, clock.date())
    return Account(
        agreement=agreement,
        zone=zone,
        clock=clock,
        balance=balance,
        facts=Facts(
            overdue=balance.overdue,
            oldest_due=balance.oldest_due,
            protected=is_protected(agreement.customer, clock.date()),
            rests=standing is Standing.RUNNING,
            over=is_over(agreement, clock.date()),
        ),
        plan=row,
        standing=standing,
    )


def is_over(agreement: Agreement, day: date) -> bool:
    """Whether an agreement has ended; its last day is the one before `ends_on`."""
    return agreement.ends_on is not None and agreement.ends_on <= day


def is_protected(customer: Customer, day: date) -> bool:
    """Whether a customer must not be cut off on a day; the last day of protection is one."""
    until = customer.protected_until
    return customer.protected and (until is None or day <= until)


def paid_in(*, agreement_id: int) -> Decimal:
    """What was ever paid into an account, less what went back."""
    entries = AccountEntry.objects.filter(
        agreement=agreement_id, kind__in=(EntryKind.PAYMENT, EntryKind.REFUND)
    )
    return -(entries.aggregate(total=Sum("amount"))["total"] or Decimal(0))


def _standing(row: InstalmentPlan | None, balance: Balance, day: date) -> Standing | None:
    if row is None:
        return None
    plan = Plan.from_json(row.instalments, grace_days=row.grace_days)
    return plan.stands(paid=paid_of(row, plan, balance), on=day)


def paid_of(row: InstalmentPlan, plan: Plan, balance: Balance) -> Decimal:
    """How much of a plan is done with: what was paid since, or need not be paid any more because it
    was credited or given up. Who owes no more than the parts to come has missed none.
    """
    paid: Decimal = paid_in(agreement_id=row.agreement_id) - row.paid_before
    return max(paid, plan.total - balance.balance)


def counts_from(account: Account) -> date:
    """The day that the steps of a new case count from."""
    oldest = account.facts.oldest_due or account.today
    last = DunningCase.objects.filter(agreement=account.agreement, outcome__in=_BEGUN_ANEW).first()
    if last is None or last.closed_at is None:
        return oldest
    return max(oldest, last.closed_at.astimezone(account.zone).date())


def case_value(row: DunningCase) -> dunning.Case:
    """A case as the engine takes it."""
    return dunning.Case(
        counts_from=row.counts_from,
        taken=row.taken,
        last_on=row.last_on,
        limited=row.limited,
        disabled=row.disabled,
        owed_at_cut=row.owed_at_cut,
        paused_until=row.paused_until,
    )
