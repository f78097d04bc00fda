"""Which credits settle which debts of one account.

Pure: items and credits in, allocations out. Amounts are `Decimal` in the currency's main unit; all
of an account are in one currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

_NOTHING: Final = Decimal(0)


class CurrencyMismatch(Exception):  # noqa: N818 - it reads as what happened
    """Money of another currency than the account's cannot settle anything there."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"{found} cannot settle what is owed in {expected}")
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Debit:
    """Something owed: `open` (> 0) of it is not settled yet.

    `only` names the credits that it is taken from before all others (a refund of a payment).
    """

    id: int
    open: Decimal
    due_on: date
    currency: str
    only: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Credit:
    """Money that came in, or was credited: `open` (> 0) of it settles nothing yet.

    `names` are the debits that it is for, in order: they come before older ones.
    """

    id: int
    open: Decimal
    booked_on: date
    currency: str
    names: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """So much of a debit is settled by so much of a credit; negative: taken back."""

    debit: int
    credit: int
    amount: Decimal


@dataclass(slots=True)
class _Book:
    debits: dict[int, Decimal]
    credits: dict[int, Decimal]
    done: list[Settled] = field(default_factory=list)

    def settle(self, debit: int, credit: int) -> None:
        amount = min(self.debits.get(debit, _NOTHING), self.credits.get(credit, _NOTHING))
        if amount > 0:
            self.debits[debit] -= amount
            self.credits[credit] -= amount
            self.done.append(Settled(debit, credit, amount))


def allocate(debits: Iterable[Debit], credits: Iterable[Credit]) -> tuple[Settled, ...]:  # noqa: A002
    """What settles what: first as credits and debits name each other, then the oldest credit the
    debit that was due first. What is paid too much stays open credit.

    Raises CurrencyMismatch where two are in different currencies, before anything is settled.
    """
    owed = sorted(debits, key=lambda one: (one.due_on, one.id))
    paid = sorted(credits, key=lambda one: (one.booked_on, one.id))
    _one_currency([*owed, *paid])
    book = _Book({one.id: one.open for one in owed}, {one.id: one.open for one in paid})
    for debit in owed:
        for credit in paid:
            if credit.id in debit.only:
                book.settle(debit.id, credit.id)
    for credit in paid:
        for debit_id in credit.names:
            book.settle(debit_id, credit.id)
    for credit in paid:
        for debit in owed:
            book.settle(debit.id, credit.id)
    return tuple(book.done)


def take_back(
    settled: Sequence[Settled], *, credit: int, amount: Decimal
) -> tuple[tuple[Settled, ...], Decimal]:
    """Free `amount` of a credit, the latest allocations first; `settled` are those so far, in the
    order in which they were made. Returns what takes them back, and what could not be freed.
    """
    left: dict[int, Decimal] = {}
    for one in settled:
        if one.credit == credit:
            left[one.debit] = left.get(one.debit, _NOTHING) + one.amount
    order = list(dict.fromkeys(one.debit for one in reversed(settled) if one.credit == credit))
    undone = []
    for debit in order:
        part = min(left[debit], amount)
        if part > 0:
            undone.append(Settled(debit, credit, -part))
            amount -= part
    return tuple(undone), amount


def _one_currency(items: Sequence[Debit | Credit]) -> None:
    for one in items:
        if one.currency != items[0].currency:
            raise CurrencyMismatch(items[0].currency, one.currency)
