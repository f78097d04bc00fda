"""Which credits settle which debts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.accounts.allocation import (
    Credit,
    CurrencyMismatch,
    Debit,
    Settled,
    allocate,
    take_back,
)


def debit(pk: int, amount: str, day: int, only: frozenset[int] = frozenset()) -> Debit:
    return Debit(pk, Decimal(amount), date(2026, 3, day), "EUR", only)


def credit(pk: int, amount: str, day: int = 1, names: tuple[int, ...] = ()) -> Credit:
    return Credit(pk, Decimal(amount), date(2026, 3, day), "EUR", names)


def settled(debit_id: int, credit_id: int, amount: str) -> Settled:
    return Settled(debit_id, credit_id, Decimal(amount))


def test_what_was_due_first_is_settled_first() -> None:
    found = allocate([debit(1, "50", 20), debit(2, "30", 10)], [credit(9, "60")])
    assert found == (settled(2, 9, "30"), settled(1, 9, "30"))


def test_a_payment_settles_what_it_names_before_what_is_older() -> None:
    found = allocate([debit(1, "50", 20), debit(2, "30", 10)], [credit(9, "60", names=(1,))])
    assert found == (settled(1, 9, "50"), settled(2, 9, "10"))


def test_what_is_named_counts_before_the_order_of_credits() -> None:
    found = allocate([debit(1, "50", 20)], [credit(8, "50"), credit(9, "20", 5, names=(1,))])
    assert found == (settled(1, 9, "20"), settled(1, 8, "30"))


def test_a_debit_is_taken_from_its_own_credit() -> None:
    owed = [debit(1, "50", 1), debit(2, "20", 20, only=frozenset({9}))]
    assert allocate(owed, [credit(9, "40")]) == (settled(2, 9, "20"), settled(1, 9, "20"))


def test_what_is_paid_too_much_stays_open() -> None:
    assert allocate([debit(1, "50", 1)], [credit(9, "80")]) == (settled(1, 9, "50"),)
    assert allocate([], [credit(9, "80")]) == ()


def test_another_currency_settles_nothing() -> None:
    other = Credit(9, Decimal(50), date(2026, 3, 1), "CHF")
    with pytest.raises(CurrencyMismatch) as refused:
        allocate([debit(1, "50", 1)], [other])
    assert (refused.value.expected, refused.value.found) == ("EUR", "CHF")


def test_the_latest_allocations_are_taken_back_first() -> None:
    before = [settled(1, 9, "50"), settled(2, 9, "30"), settled(2, 8, "5")]
    undone, missing = take_back(before, credit=9, amount=Decimal(40))
    assert (undone, int(missing)) == ((settled(2, 9, "-30"), settled(1, 9, "-10")), 0)


def test_what_was_taken_back_before_is_not_taken_back_again() -> None:
    before = [settled(1, 9, "50"), settled(1, 9, "-50"), settled(2, 9, "20")]
    undone, missing = take_back(before, credit=9, amount=Decimal(40))
    assert (undone, int(missing)) == ((settled(2, 9, "-20"),), 20)


_amounts = st.integers(1, 10_000).map(lambda cents: Decimal(cents) / 100)
_days = st.integers(1, 28).map(lambda day: date(2026, 3, day))


@st.composite
def _accounts(draw: st.DrawFn) -> tuple[list[Debit], list[Credit]]:
    owed = [
        Debit(number, draw(_amounts), draw(_days), "EUR")
        for number in range(draw(st.integers(0, 6)))
    ]
    names = st.lists(st.integers(0, 7), max_size=3).map(tuple)
    paid = [
        Credit(100 + number, draw(_amounts), draw(_days), "EUR", draw(names))
        for number in range(draw(st.integers(0, 6)))
    ]
    return owed, paid


@given(_accounts())
def test_money_is_kept_and_order_changes_nothing(
    account: tuple[list[Debit], list[Credit]],
) -> None:
    owed, paid = account
    found = allocate(owed, paid)
    for one in owed:
        assert sum(s.amount for s in found if s.debit == one.id) <= one.open
    for other in paid:
        assert sum(s.amount for s in found if s.credit == other.id) <= other.open
    assert all(one.amount > 0 for one in found)
    total = sum(one.amount for one in found)
    assert total == min(sum(one.open for one in owed), sum(one.open for one in paid))
    assert allocate(reversed(owed), reversed(paid)) == found
