"""What energy is in no final bill yet, and what it would cost, kept for pages that could not
compute it: each night for all agreements, within minutes for one whose bills became final or void.

Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet, Sum

from billing.domain.drafts import (
    Account,
    Draft,
    Undone,
    Wanted,
    accounts_of,
    compute_many,
    known_now,
)
from billing.models import (
    Agreement,
    Bill,
    BillKind,
    BillState,
    Mode,
    UnbilledAccount,
    UnbilledDay,
)
from billing.tariffs.values import MILLIWH_PER_KWH, Quality
from tenants.scope import Scope, long_scope

# Accounts that are valued together.
CHUNK: Final = 200
# How far back days are rated each night; older ones are told by their age.
MOST_DAYS: Final = 400
_COIN: Final = Decimal("0.0001")
_WRITTEN: Final = (
    "currency", "first_on", "valued_from", "end_on", "imported_kwh", "exported_kwh",
    "estimated_kwh", "missing_intervals", "net", "problem", "computed_at",
)  # fmt: skip
_SUMS: Final = ("imported_kwh", "exported_kwh", "estimated_kwh", "net")
_NOTHING: Final = Decimal(0)

Days = tuple[date, date]


def work(*, tenant_id: int, now: datetime, go_on: Callable[[], bool]) -> int:
    """Value the accounts of a tenant that are due, a chunk in a transaction, then keep what they
    come to on this day; returns how many were valued.

    Who is killed leaves whole chunks behind, and the next goes on. Two at once do the same twice,
    and it comes out the same.
    """
    scope, done = Scope((tenant_id,)), 0
    while go_on():
        with long_scope(scope):
            due = list(due_accounts(now=now).values_list("pk", flat=True)[:CHUNK])
            if due:
                value(agreement_ids=due, now=now)
            else:
                keep_day(tenant_id=tenant_id, now=now)
        if not due:
            break
        done += len(due)
    return done


def due_accounts(*, now: datetime) -> QuerySet[Agreement]:
    """Agreements whose value is not of this day (UTC), or whose bills have changed since: by id.
    One that is over and billed to its end is looked at no more. Who pays as he goes pays for days
    and is sent no bills.
    """
    since = OuterRef("unbilled__computed_at")
    changed = Bill.objects.filter(agreement=OuterRef("pk")).filter(
        Q(finalised_at__gt=since) | Q(voided_at__gt=since)
    )
    midnight = datetime.combine(now.date(), time(), UTC)
    over = Q(unbilled__first_on__isnull=True, ends_on__lte=F("unbilled__end_on"))
    return (
        Agreement.objects.exclude(mode=Mode.PAYG)
        .filter(starts_on__lte=now.date())
        .filter(
            Q(unbilled__isnull=True)
            | Q(unbilled__computed_at__lt=midnight) & ~over
            | Exists(changed)
        )
        .order_by("pk")
    )


def value(*, agreement_ids: Sequence[int], now: datetime) -> None:
    """Rate the days of agreements that are over and in no final bill, as bills by calendar month
    would be, and keep what that comes to; about ten queries for all days that several have.
    """
    known = known_now(now)
    accounts = accounts_of(agreement_ids)
    billed = _billed(list(accounts))
    opened = {pk: _open_days(one, billed[pk], now) for pk, one in accounts.items()}
    wanted = {pk: list(_wanted(pk, opened[pk], _today(one, now))) for pk, one in accounts.items()}
    found = compute_many(
        [one for some in wanted.values() for one in some], accounts=accounts, known=known
    )
    UnbilledAccount.objects.bulk_create(
        [
            _row(account, opened[pk], [(one, found[one]) for one in wanted[pk]], now)
            for pk, account in accounts.items()
        ],
        update_conflicts=True,
        unique_fields=["agreement"],
        update_fields=list(_WRITTEN),
    )


def keep_day(*, tenant_id: int, now: datetime) -> None:
    """Keep what the accounts of a tenant come to, by currency, as that of this day (UTC)."""
    rows = (
        UnbilledAccount.objects.filter(tenant_id=tenant_id)
        .order_by("currency")
        .values("currency")
        .annotate(
            accounts=Count("pk", filter=Q(first_on__isnull=False)),
            problems=Count("pk", filter=~Q(problem="")),
            oldest_on=Min("first_on"),
            **{name: Sum(name) for name in _SUMS},
        )
    )
    kept = [UnbilledDay(tenant_id=tenant_id, on=now.date(), **row) for row in rows]
    UnbilledDay.objects.bulk_create(
        kept,
        update_conflicts=True,
        unique_fields=["tenant", "currency", "on"],
        update_fields=["accounts", "problems", "oldest_on", *_SUMS],
    )


def _billed(agreement_ids: Sequence[int]) -> Mapping[int, list[Days]]:
    """The days of final bills; one query."""
    found: dict[int, list[Days]] = defaultdict(list)
    rows = Bill.objects.filter(
        agreement__in=agreement_ids, kind=BillKind.INVOICE, state=BillState.FINAL
    )
    for pk, first, end in rows.order_by("first_on").values_list(
        "agreement_id", "first_on", "end_on"
    ):
        found[pk].append((first, end))
    return found


def _today(account: Account, now: datetime) -> date:
    return now.astimezone(ZoneInfo(account.zone)).date()


def _open_days(account: Account, billed: Sequence[Days], now: datetime) -> list[Days]:
    """The days that are over and in no final bill, as stretches in the order of time."""
    today = _today(account, now)
    end = min(today, account.ends_on or today)
    found, first = [], account.starts_on
    for begins, ends in [*billed, (end, end)]:
        if first < min(begins, end):
            found.append((first, min(begins, end)))
        first = max(first, ends)
    return found


def _wanted(agreement_id: int, opened: Sequence[Days], today: date) -> Iterator[Wanted]:
    """What is rated of them: those of the last MOST_DAYS, by calendar month."""
    least = today - timedelta(days=MOST_DAYS)
    for begins, end in opened:
        first = max(begins, least)
        while first < end:
            following = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
            yield Wanted(agreement_id, first, min(following, end))
            first = following


def _row(
    account: Account,
    opened: Sequence[Days],
    parts: Sequence[tuple[Wanted, Draft | Undone]],
    now: datetime,
) -> UnbilledAccount:
    rated = [one for _, one in parts if isinstance(one, Draft)]
    problems = [one.problem for _, one in parts if isinstance(one, Undone)]
    first = opened[0][0] if opened else None
    end = _today(account, now)
    least = end - timedelta(days=MOST_DAYS)
    estimated = sum(
        int(one.usage.imported[mask].sum()) + int(one.usage.exported[mask].sum())
        for one in rated
        for mask in [one.usage.quality == Quality.ESTIMATED]
    )
    return UnbilledAccount(
        tenant_id=account.tenant_id,
        agreement_id=account.agreement_id,
        facility_id=account.facility_id,
        currency=account.currency,
        first_on=first,
        valued_from=None if first is None else max(first, least),
        end_on=end,
        imported_kwh=_kwh(sum(int(one.usage.imported.sum()) for one in rated)),
        exported_kwh=_kwh(sum(int(one.usage.exported.sum()) for one in rated)),
        estimated_kwh=_kwh(estimated),
        missing_intervals=sum(
            int(np.count_nonzero(one.usage.quality == Quality.MISSING)) for one in rated
        ),
        net=sum((one.rating.net for one in rated), _NOTHING).quantize(_COIN),
        problem=problems[0][:400] if problems else "",
        computed_at=now,
    )


def _kwh(milliwh: int) -> Decimal:
    return Decimal(milliwh) / MILLIWH_PER_KWH
