"""Wallets: burns that add up to the bill, friendly hours, how long money lasts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.accounts.wallet import (
    Burn,
    Forecast,
    Friendly,
    Position,
    Rules,
    Standing,
    burns,
    forecast,
    position,
)

BERLIN = ZoneInfo("Europe/Berlin")
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
NIGHT = Friendly(time(18), time(8))


def at(day: int, hour: int, minute: int = 0, month: int = 3) -> datetime:
    """A local time in Berlin, as UTC."""
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def holiday(day: date) -> bool:
    return day == date(2026, 4, 3)  # Good Friday


def stands(balance: str, rules: Rules, when: datetime, *, off: bool = False) -> Position:
    return position(Decimal(balance), rules, at=when, zone=BERLIN, is_holiday=holiday, off=off)


def test_a_burn_is_what_the_month_costs_less_what_was_taken() -> None:
    taken = burns(
        cost={MARCH: Decimal("10.25"), APRIL: Decimal("3.10")}, charged={MARCH: Decimal("9.75")}
    )
    assert taken == (Burn(MARCH, Decimal("0.50")), Burn(APRIL, Decimal("3.10")))


def test_nothing_is_taken_twice_and_what_is_too_much_is_given_back() -> None:
    assert burns(cost={MARCH: Decimal(5)}, charged={MARCH: Decimal(5)}) == ()
    assert burns(cost={MARCH: Decimal(4)}, charged={MARCH: Decimal(5)}) == (
        Burn(MARCH, -Decimal(1)),
    )
    assert burns(cost={}, charged={MARCH: Decimal(5)}) == (Burn(MARCH, -Decimal(5)),)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([MARCH, APRIL]), st.decimals(-100, 100, places=4), max_size=2
        ),
        min_size=1,
        max_size=8,
    )
)
def test_burns_add_up_to_what_was_known_last(costs: list[dict[date, Decimal]]) -> None:
    charged: dict[date, Decimal] = {}
    for cost in costs:
        for burn in burns(cost=cost, charged=charged):
            charged[burn.month] = charged.get(burn.month, Decimal(0)) + burn.amount
    assert {month: sum_ for month, sum_ in charged.items() if sum_} == {
        month: sum_ for month, sum_ in costs[-1].items() if sum_
    }


@pytest.mark.parametrize(
    ("balance", "standing"),
    [
        ("5.01", Standing.GOOD),
        ("5.00", Standing.LOW),
        ("0.01", Standing.LOW),
        ("0.00", Standing.EMERGENCY),
        ("-9.99", Standing.EMERGENCY),
        ("-10.00", Standing.SPENT),
    ],
)
def test_a_wallet_stands_as_its_balance_says(balance: str, standing: Standing) -> None:
    rules = Rules(low=Decimal(5), emergency=Decimal(10), friendly=NIGHT)
    assert stands(balance, rules, at(10, 12)).standing is standing


def test_nobody_is_switched_off_in_friendly_hours_but_who_is_off_stays_off() -> None:
    rules = Rules(low=Decimal(5), friendly=NIGHT)
    assert stands("0", rules, at(10, 7, 59)) == Position(Standing.FRIENDLY, at(10, 8))
    assert stands("0", rules, at(10, 23)) == Position(Standing.FRIENDLY, at(11, 8))
    assert stands("0", rules, at(10, 8)) == Position(Standing.SPENT)
    assert stands("0", rules, at(10, 23), off=True) == Position(Standing.SPENT)
    assert stands("0.01", rules, at(10, 23), off=True) == Position(Standing.LOW)


def test_friendly_hours_run_on_over_weekends_and_holidays() -> None:
    rules = Rules(low=Decimal(5), friendly=Friendly(time(18), time(8), weekend=True, holidays=True))
    # From the evening before Good Friday to the Saturday, Sunday, and Monday's morning.
    assert stands("0", rules, at(2, 19, month=4)) == Position(Standing.FRIENDLY, at(6, 8, month=4))


def test_friendly_hours_end_by_the_wall_clock_when_the_clocks_change() -> None:
    rules = Rules(low=Decimal(5), friendly=NIGHT)
    looked = stands("0", rules, at(28, 23))  # the night has an hour less
    assert looked.look_at == datetime(2026, 3, 29, 6, tzinfo=UTC)
    autumn = stands("0", rules, at(24, 23, month=10))
    assert autumn.look_at == datetime(2026, 10, 25, 7, tzinfo=UTC)


def test_a_calendar_of_nothing_but_friendly_hours_is_looked_at_again() -> None:
    always = Friendly(weekend=True, holidays=True)
    assert always.until(at(10, 12), BERLIN, lambda _day: True) == datetime(
        2026, 3, 24, 11, tzinfo=UTC
    )


def test_a_protected_customer_is_not_switched_off() -> None:
    rules = Rules(low=Decimal(5), protected=True)
    assert stands("-100", rules, at(10, 12)) == Position(Standing.PROTECTED)


def test_the_last_days_tell_how_long_a_wallet_lasts() -> None:
    days = [Decimal(9)] + [Decimal("1.50")] * 7
    assert forecast(Decimal(10), days, emergency=Decimal(2)) == Forecast(
        Decimal("1.50"), Decimal("8.0")
    )
    assert forecast(Decimal(-3), days, emergency=Decimal(2)).days == 0
    assert forecast(Decimal(10), [Decimal(0)], emergency=Decimal(0)).days is None
    assert forecast(Decimal(10), [], emergency=Decimal(0)).days is None
