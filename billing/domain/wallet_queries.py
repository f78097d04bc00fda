"""Wallets as people see them. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from billing.accounts.wallet import LOOKED_AT_DAYS, Forecast, forecast
from billing.domain.ledger_queries import told_customer
from billing.domain.pages_queries import NotThere
from billing.domain.paging import page_of
from billing.models import MovementKind, Wallet, WalletMovement
from devices.domain.catalogue import Page

RECENT: Final = 30


@dataclass(frozen=True, slots=True)
class MovementFacts:
    """A movement: `text` is that of the account's entry, `bill_number` of the bill that settled."""

    at: datetime
    kind: str
    amount: Decimal
    balance_after: Decimal
    month: date | None
    text: str
    bill_id: int | None
    bill_number: str


@dataclass(frozen=True, slots=True)
class WalletFacts:
    """A wallet, how long it lasts, what the whole local days before took, and its newest
    movements.
    """

    wallet_id: int
    agreement_id: int
    number: str
    facility_id: int
    time_zone: str
    currency: str
    balance: Decimal
    state: str
    state_at: datetime | None
    low_balance: Decimal
    emergency_credit: Decimal
    friendly_from: time | None
    friendly_to: time | None
    friendly_weekend: bool
    holidays: str
    burned_at: datetime | None
    switched_off_at: datetime | None
    problem: str
    forecast: Forecast
    days: tuple[tuple[date, Decimal], ...]
    movements: tuple[MovementFacts, ...]


def wallet_rows(*, user_id: int | None = None) -> QuerySet[Wallet]:
    """Wallets for a list, with `user_id` only that person's."""
    rows = Wallet.objects.select_related("agreement", "facility")
    return rows if user_id is None else rows.filter(agreement__user=user_id)


def wallet_page(
    *,
    limit: int,
    after: int = 0,
    facility_id: int | None = None,
    state: str | None = None,
    user_id: int | None = None,
) -> Page[Wallet]:
    """Wallets by id; one query."""
    wanted = {"facility_id": facility_id, "state": state}
    return page_of(wallet_rows(user_id=user_id), limit=limit, after=after, wanted=wanted)


def movement_page(
    *, agreement_id: int, limit: int, after: int = 0, user_id: int | None = None
) -> Page[WalletMovement]:
    """All that moved the wallet of an agreement, by id; two queries. Raises NotThere."""
    wallet = wallet_rows(user_id=user_id).filter(agreement=agreement_id).first()
    if wallet is None:
        raise NotThere(f"wallet of agreement {agreement_id}")
    rows = WalletMovement.objects.select_related("entry", "bill").filter(wallet=wallet)
    return page_of(rows, limit=limit, after=after)


def wallet_there(*, agreement_id: int, now: datetime, user_id: int | None = None) -> WalletFacts:
    """The wallet of an agreement. Raises NotThere where it has none."""
    found = wallet_of(agreement_id=agreement_id, now=now, user_id=user_id)
    if found is None:
        raise NotThere(f"wallet of agreement {agreement_id}")
    return found


def wallet_of(
    *, agreement_id: int, now: datetime, user_id: int | None = None
) -> WalletFacts | None:
    """The wallet of an agreement, None where it has none (or is not that person's); three
    queries.
    """
    row = wallet_rows(user_id=user_id).filter(agreement=agreement_id).first()
    if row is None:
        return None
    movements = WalletMovement.objects.select_related("entry", "bill").filter(wallet=row)
    days = _days(row, now)
    return WalletFacts(
        wallet_id=row.pk,
        agreement_id=row.agreement_id,
        number=row.agreement.number,
        facility_id=row.facility_id,
        time_zone=row.facility.time_zone,
        currency=row.currency,
        balance=row.balance,
        state=row.state,
        state_at=row.state_at,
        low_balance=row.low_balance,
        emergency_credit=row.emergency_credit,
        friendly_from=row.friendly_from,
        friendly_to=row.friendly_to,
        friendly_weekend=row.friendly_weekend,
        holidays=row.holidays,
        burned_at=row.burned_at,
        switched_off_at=row.switched_off_at,
        problem=row.problem,
        forecast=forecast(
            row.balance, [taken for _day, taken in days], emergency=row.emergency_credit
        ),
        days=days,
        movements=tuple(
            _movement(one, customer=user_id is not None)
            for one in movements.order_by("-pk")[:RECENT]
        ),
    )


def _days(row: Wallet, now: datetime) -> tuple[tuple[date, Decimal], ...]:
    """What the whole local days before today have taken, at most LOOKED_AT_DAYS, in order."""
    zone = ZoneInfo(row.facility.time_zone)
    today = now.astimezone(zone).date()
    first = max(
        today - timedelta(days=LOOKED_AT_DAYS),
        row.created_at.astimezone(zone).date() + timedelta(days=1),
    )
    days = {first + timedelta(days=n): Decimal(0) for n in range((today - first).days)}
    burned = WalletMovement.objects.filter(
        wallet=row,
        kind__in=[MovementKind.BURN, MovementKind.BILL],
        at__gte=datetime.combine(first, time(0), zone),
        at__lt=datetime.combine(today, time(0), zone),
    )
    for at, amount in burned.values_list("at", "amount"):
        days[at.astimezone(zone).date()] -= amount
    return tuple(sorted(days.items()))


def _movement(row: WalletMovement, *, customer: bool) -> MovementFacts:
    text = row.entry.text if row.entry is not None else ""
    if customer and row.entry is not None:
        text = told_customer(row.entry.kind, text)
    return MovementFacts(
        at=row.at,
        kind=row.kind,
        amount=row.amount,
        balance_after=row.balance_after,
        month=row.month,
        text=text,
        bill_id=row.bill_id,
        bill_number=row.bill.number if row.bill is not None else "",
    )
