"""What prepaid agreements cost so far, by month: what was billed, and the open days rated as they
are known now. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from billing.domain.drafts import Account, Known, Undone, Wanted, accounts_of, compute_many
from billing.models import Bill, BillKind, BillState

_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an agreement costs by month (its first day). `bills`: the newest bill of months that are
    billed and have no open day. `problem`: why the open days cannot be rated; then nothing is known
    of them.
    """

    months: Mapping[date, Decimal]
    bills: Mapping[date, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(slots=True)
class _Billed:
    months: dict[date, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    newest: dict[date, int] = field(default_factory=dict)
    days: list[tuple[date, date]] = field(default_factory=list)


def costs_of(agreement_ids: Sequence[int], *, known: Known) -> dict[int, Cost]:
    """What agreements cost so far, up to the end of the local day of `known.at`; some ten queries,
    however many they are.

    The open days are rated by calendar month as a bill of these days would be, so that what a month
    costs at its end is its bill.
    """
    accounts = accounts_of(agreement_ids)
    billed = _billed(list(accounts))
    wanted = {pk: _open_days(one, billed[pk], known.at) for pk, one in accounts.items()}
    drafts = compute_many(
        [one for some in wanted.values() for one in some], accounts=accounts, known=known
    )
    found = {}
    for pk in accounts:
        months = dict(billed[pk].months)
        problem = ""
        for one in wanted[pk]:
            draft = drafts[one]
            if isinstance(draft, Undone):
                problem = draft.problem
                break
            month = one.first.replace(day=1)
            months[month] = months.get(month, _NOTHING) + draft.rating.total
        opened = {one.first.replace(day=1) for one in wanted[pk]}
        bills = {month: pk for month, pk in billed[pk].newest.items() if month not in opened}
        found[pk] = Cost(months, bills, problem)
    return found


def _billed(agreement_ids: Sequence[int]) -> dict[int, _Billed]:
    """What was billed and taken back, by the month in which the bill begins; one query."""
    found: dict[int, _Billed] = defaultdict(_Billed)
    rows = Bill.objects.filter(agreement__in=agreement_ids).exclude(state=BillState.DRAFT)
    for bill in rows.order_by("pk").only(
        "agreement_id", "first_on", "end_on", "kind", "state", "total"
    ):
        own, month = found[bill.agreement_id], bill.first_on.replace(day=1)
        own.months[month] += bill.total
        own.newest[month] = bill.pk
        if bill.kind == BillKind.INVOICE and bill.state == BillState.FINAL:
            own.days.append((bill.first_on, bill.end_on))
    return found


def _open_days(account: Account, billed: _Billed, at: datetime) -> list[Wanted]:
    """The days from the beginning of an agreement until today that no final bill is for, by
    calendar month.
    """
    end = at.astimezone(ZoneInfo(account.zone)).date() + timedelta(days=1)
    if account.ends_on is not None:
        end = min(end, account.ends_on)
    found = []
    first = account.starts_on
    for begins, ends in [*sorted(billed.days), (end, end)]:
        if first < begins:
            found += list(_months(account.agreement_id, first, min(begins, end)))
        first = max(first, ends)
    return found


def _months(agreement_id: int, first: date, end: date) -> Iterator[Wanted]:
    while first < end:
        following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield Wanted(agreement_id, first, min(following, end))
        first = following
