"""What accounts owe and have paid. Needs an open scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypedDict

from django.db.models import (
    DecimalField,
    ExpressionWrapper,
    F,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce

from billing.models import AccountEntry, Allocation, EntryKind

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

_MONEY: Final = DecimalField(max_digits=18, decimal_places=4)
_NOTHING: Final = Value(Decimal(0), output_field=_MONEY)
# Their text is why somebody did it.
_NOTED: Final = frozenset({EntryKind.REFUND, EntryKind.WRITE_OFF})


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An entry of which something is open: positive is owed, negative is credit."""

    entry_id: int
    agreement_id: int
    kind: EntryKind
    key: str
    bill_id: int | None
    bill_number: str
    payment_id: int | None
    amount: Decimal
    open: Decimal
    currency: str
    booked_on: date
    due_on: date
    text: str


@dataclass(frozen=True, slots=True)
class Balance:
    """How an account stands: `owed` less `credit` is `balance`; of what is owed, `overdue` was due
    before the day asked for, the oldest of it on `oldest_due`.
    """

    owed: Decimal
    credit: Decimal
    overdue: Decimal
    oldest_due: date | None
    currency: str

    @property
    def balance(self) -> Decimal:
        """Positive: the customer owes it."""
        return self.owed - self.credit


def told_customer(kind: str, text: str) -> str:
    """The text of an entry as its customer reads it: why something was given back or written off
    was noted for those who bill.
    """
    return "" if kind in _NOTED else text


def _allocated(column: str) -> Coalesce:
    sums = (
        Allocation.objects.filter(**{column: OuterRef("pk")})
        .order_by()
        .values(column)
        .annotate(total=Sum("amount"))
        .values("total")
    )
    return Coalesce(Subquery(sums, output_field=_MONEY), _NOTHING)


class _Open(TypedDict):
    open: Decimal


def open_rows() -> QuerySet[WithAnnotations[AccountEntry, _Open]]:
    """Entries with what is open of them, in `open`: positive is owed, negative is credit."""
    remaining = F("amount") - _allocated("debit") + _allocated("credit")
    rows = AccountEntry.objects.annotate(open=ExpressionWrapper(remaining, output_field=_MONEY))
    return rows.exclude(open=0)


def open_items(*, agreement_ids: Sequence[int]) -> dict[int, tuple[OpenItem, ...]]:
    """The open entries of each of the agreements, those first that were due first; one query."""
    found: dict[int, list[OpenItem]] = {pk: [] for pk in agreement_ids}
    rows = open_rows().filter(agreement__in=agreement_ids).select_related("bill")
    for row in rows.order_by("due_on", "pk"):
        found[row.agreement_id].append(
            OpenItem(
                entry_id=row.pk,
                agreement_id=row.agreement_id,
                kind=EntryKind(row.kind),
                key=row.key,
                bill_id=row.bill_id,
                bill_number=row.bill.number if row.bill is not None else "",
                payment_id=row.payment_id,
                amount=row.amount,
                open=row.open,
                currency=row.currency,
                booked_on=row.booked_on,
                due_on=row.due_on,
                text=row.text,
            )
        )
    return {pk: tuple(items) for pk, items in found.items()}


def balances(*, agreement_ids: Sequence[int], on: date) -> dict[int, Balance]:
    """How each of the agreements stands on a day; one query. What is due on a day is overdue from
    the next one on.
    """
    return {
        pk: balance_of(items, on=on)
        for pk, items in open_items(agreement_ids=agreement_ids).items()
    }


def balance_of(items: Sequence[OpenItem], *, on: date) -> Balance:
    """How an account with these open items stands. Credit that is open settles what is overdue, the
    oldest first, even before it was allocated.
    """
    owed = [item for item in items if item.open > 0]
    credit = -sum((item.open for item in items if item.open < 0), Decimal(0))
    late = [item for item in owed if item.due_on < on]
    left, oldest, overdue = credit, None, Decimal(0)
    for item in late:
        covered = min(left, item.open)
        left -= covered
        if item.open > covered:
            overdue += item.open - covered
            oldest = oldest or item.due_on
    return Balance(
        owed=sum((item.open for item in owed), Decimal(0)),
        credit=credit,
        overdue=overdue,
        oldest_due=oldest,
        currency=items[0].currency if items else "",
    )
