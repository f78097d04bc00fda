"""Plans of payments."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.accounts.instalments import Part, Plan, PlanError, Standing

FIRST, SECOND = date(2026, 4, 1), date(2026, 5, 1)
PLAN = Plan.of(
    [Part(FIRST, Decimal(60)), Part(SECOND, Decimal(40))], total=Decimal(100), grace_days=3
)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "no_parts"),
        ([(FIRST, 100)] * 121, "too_many"),
        ([(FIRST, 0), (SECOND, 100)], "amount"),
        ([(SECOND, 50), (FIRST, 50)], "order"),
        ([(FIRST, 50), (FIRST, 50)], "order"),
        ([(FIRST, 50), (SECOND, 49)], "sum"),
    ],
)
def test_a_plan_that_does_not_add_up_is_refused(parts: list[tuple[date, int]], code: str) -> None:
    with pytest.raises(PlanError) as refused:
        Plan.of([Part(day, Decimal(amount)) for day, amount in parts], total=Decimal(100))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("paid", "on", "standing"),
    [
        ("0", date(2026, 4, 4), Standing.RUNNING),
        ("0", date(2026, 4, 5), Standing.MISSED),
        ("59.99", date(2026, 4, 5), Standing.MISSED),
        ("60", date(2026, 4, 5), Standing.RUNNING),
        ("60", date(2026, 5, 4), Standing.RUNNING),
        ("99.99", date(2026, 5, 5), Standing.MISSED),
        ("100", date(2026, 5, 5), Standing.KEPT),
        ("100", date(2026, 4, 1), Standing.KEPT),
    ],
)
def test_an_instalment_is_missed_when_its_grace_is_over(
    paid: str, on: date, standing: Standing
) -> None:
    assert PLAN.stands(paid=Decimal(paid), on=on) is standing


def test_the_next_look_is_when_an_instalment_may_be_missed() -> None:
    assert PLAN.next_look(date(2026, 4, 1)) == date(2026, 4, 5)
    assert PLAN.next_look(date(2026, 4, 5)) == date(2026, 5, 5)
    assert PLAN.next_look(date(2026, 5, 5)) is None


def test_a_plan_survives_its_json() -> None:
    assert Plan.from_json(PLAN.to_json(), grace_days=3) == PLAN
    with pytest.raises(PlanError):
        Plan.from_json([{"due_on": "soon", "amount": "1"}], grace_days=3)


@given(st.integers(1, 10**9), st.integers(1, 24))
def test_even_parts_add_up(cents: int, count: int) -> None:
    total = Decimal(cents) / 100
    days = [date(2026 + month // 12, month % 12 + 1, 1) for month in range(count)]
    if cents < count:
        with pytest.raises(PlanError):
            Plan.even(total, days)
        return
    amounts = [part.amount for part in Plan.even(total, days).parts]
    assert sum(amounts) == total
    assert len(set(amounts[1:])) <= 1
    assert all(amount == amount.quantize(Decimal("0.01")) for amount in amounts)
