"""What is given to the grid: sold, netted and carried; computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import midnight
from billing.tariffs.rating import RatingError
from billing.tariffs.values import Context, Kind, Rating, Usage
from billing.tests.tariffs import BERLIN, HOURS, KWH, NIGHT, bill, document

FIRST, END = date(2026, 4, 1), date(2026, 5, 1)


def _use(*intervals: tuple[int, int, int], first: date = FIRST) -> Usage:
    """Quarters by (hour since the beginning of the month, kWh drawn, kWh given)."""
    begin = midnight(BERLIN, first)
    hours, drawn, given = (np.array(column, np.int64) for column in zip(*intervals, strict=True))
    return Usage.of(900, begin + hours * 3600, drawn * KWH, given * KWH)


# At night 10 kWh are drawn and 4 given, by day 20 drawn and 50 given, in one quarter 5 and 3.
USE = _use((1, 10, 0), (2, 0, 4), (10, 20, 0), (11, 0, 50), (12, 5, 3))


def _net(within: str, *, price: Any = None, sell: Any = "0.08", **more: Any) -> dict[str, Any]:
    return document(
        {**HOURS, "flow": "net", "prices": price or HOURS["prices"]},
        {
            "kind": "netting",
            "name": "net",
            "within": within,
            "schedule": "hours",
            "sell_price": sell,
            **more,
        },
        schedules={"hours": [dict(rule) for rule in NIGHT["schedules"]["hours"]]},
    )


def _told(made: Rating) -> list[tuple[str, str, Decimal, Decimal]]:
    return [(line.component, line.period, line.quantity, line.amount) for line in made.lines]


def _expected(*lines: tuple[str, str, str, str]) -> list[tuple[str, str, Decimal, Decimal]]:
    return [(name, period, Decimal(many), Decimal(cost)) for name, period, many, cost in lines]


def test_what_is_given_is_sold_at_its_own_price() -> None:
    of = document(
        HOURS,
        {
            "kind": "energy",
            "name": "feed_in",
            "flow": "export",
            "prices": [{"up_to": 50, "price": "0.10"}, {"price": "0.05"}],
        },
        **NIGHT,
    )

    made = bill(of, USE, FIRST, END)

    assert _told(made) == _expected(
        ("energy", "night", "10", "2"),
        ("energy", "day", "25", "10"),
        ("feed_in", "", "50", "-5"),
        ("feed_in", "", "7", "-0.35"),
    )
    assert {line.kind for line in made.lines if line.component == "feed_in"} == {Kind.EXPORT}


@pytest.mark.parametrize(
    ("within", "expected"),
    [
        (
            "interval",
            [
                ("energy", "night", "10", "2"),
                ("energy", "day", "22", "8.8"),
                ("net", "", "54", "-4.32"),
            ],
        ),
        ("period", [("energy", "night", "6", "1.2"), ("net", "day", "28", "-2.24")]),
        ("month", [("net", "", "22", "-1.76")]),
    ],
)
def test_netting_reaches_as_far_as_the_tariff_says(
    within: str, expected: list[tuple[str, str, str, str]]
) -> None:
    assert _told(bill(_net(within), USE, FIRST, END)) == _expected(*expected)


def test_a_surplus_by_period_has_the_prices_of_its_periods() -> None:
    made = bill(_net("interval", sell={"day": "0.10", "night": "0.01"}), USE, FIRST, END)

    assert _told(made)[2:] == _expected(("net", "night", "4", "-0.04"), ("net", "day", "50", "-5"))


def test_what_a_month_leaves_to_buy_is_dealt_to_periods_in_proportion() -> None:
    of = _net("month")
    of["schedules"]["hours"].insert(2, {"period": "evening", "from": "20:00", "to": "22:00"})
    of["schedules"]["hours"][1]["to"] = "20:00"
    of["components"][0]["prices"] = {"night": "0.2", "day": "0.4", "evening": "0.6"}
    # Net: 10 kWh by night, 20 in the evening, by day 12 left over.
    use = _use((1, 10, 0), (10, 20, 0), (11, 0, 32), (21, 20, 0))

    made = bill(of, use, FIRST, END)

    assert _told(made) == _expected(
        ("energy", "night", "6", "1.2"), ("energy", "evening", "12", "7.2")
    )


def test_energy_is_carried_by_period_and_settled_once_a_year() -> None:
    of = _net("period", carry="energy", settle_month=6)

    april = bill(of, USE, FIRST, END)
    assert _told(april) == _expected(("energy", "night", "6", "1.2"))
    assert april.credit_milliwh == {"day": 28 * KWH}

    may = date(2026, 5, 1), date(2026, 6, 1)
    use = _use((10, 20, 0), (1, 3, 0), first=may[0])
    second = bill(of, use, *may, context=Context(credit_milliwh=april.credit_milliwh))
    assert _told(second) == _expected(("energy", "night", "3", "0.6"), ("net", "day", "20", "0"))
    assert second.credit_milliwh == {"day": 8 * KWH}

    june = date(2026, 6, 1), date(2026, 7, 1)
    use = _use((1, 1, 0), (12, 0, 2), first=june[0])
    third = bill(of, use, *june, context=Context(credit_milliwh=second.credit_milliwh))
    assert _told(third) == _expected(("energy", "night", "1", "0.2"), ("net", "day", "10", "-0.8"))
    assert third.credit_milliwh == {}


def test_money_is_carried_until_it_is_used_up() -> None:
    of = _net("interval", carry="money", sell="0.30")
    of["components"].append({"kind": "standing", "name": "base", "amount": 9, "per": "month"})

    # Bought for 10.80, sold for 16.20.
    april = bill(of, USE, FIRST, END)
    assert _told(april)[2:] == _expected(("net", "", "1", "-10.8"), ("base", "", "1", "9"))
    assert april.credit == Decimal("5.4")

    may = date(2026, 5, 1), date(2026, 6, 1)
    use = _use((10, 20, 0), first=may[0])
    second = bill(of, use, *may, context=Context(credit=april.credit))
    assert _told(second) == _expected(
        ("energy", "day", "20", "8"), ("net", "", "1", "-5.4"), ("base", "", "1", "9")
    )
    assert second.credit == 0


def test_money_is_paid_out_in_the_month_of_settlement() -> None:
    of = _net("interval", carry="money", sell="0.30", settle_month=4)

    made = bill(of, USE, FIRST, END, context=Context(credit=Decimal(2)))

    assert (made.total, made.credit) == (Decimal("-7.4"), Decimal(0))


def test_a_part_of_the_settling_month_that_does_not_end_it_settles_nothing() -> None:
    of = _net("interval", carry="money", sell="0.30", settle_month=4)

    made = bill(of, USE, FIRST, date(2026, 4, 15))

    assert made.credit == Decimal("5.4")


def test_two_months_in_one_bill_carry_as_two_bills_do() -> None:
    of = _net("period", carry="energy")
    may = date(2026, 5, 1), date(2026, 6, 1)
    later = _use((10, 20, 0), (1, 3, 0), first=may[0])
    both = Usage.of(
        900,
        np.concatenate([USE.starts, later.starts]),
        np.concatenate([USE.imported, later.imported]),
        np.concatenate([USE.exported, later.exported]),
    )

    april = bill(of, USE, FIRST, END)
    second = bill(of, later, *may, context=Context(credit_milliwh=april.credit_milliwh))
    whole = bill(of, both, FIRST, may[1])

    assert whole.lines == april.lines + second.lines
    assert whole.credit_milliwh == second.credit_milliwh


def test_credit_pays_no_more_than_there_is_when_lines_are_rounded() -> None:
    of = _net("interval", carry="money")
    context = Context(credit=Decimal("1.2399"))

    made = bill(of, _use((10, 20, 0)), FIRST, END, context=context)

    assert _told(made)[1:] == _expected(("net", "", "1", "-1.23"))
    assert made.credit == Decimal("0.0099")


def test_what_was_estimated_either_way_counts_as_estimated_after_netting() -> None:
    use = _use((1, 10, 0), (2, 0, 4), (10, 20, 0), (11, 0, 50))
    use.quality[:] = [0, 1, 1, 0]

    made = bill(_net("period"), use, FIRST, END)

    # Of what was bought at night: what was given may be less than thought.
    assert [(line.quantity, line.estimated) for line in made.lines[:1]] == [
        (Decimal(6), Decimal(4))
    ]


@pytest.mark.parametrize(("period", "told"), [("", "of no period"), ("dusk", "“dusk”")])
def test_energy_of_a_former_tariff_is_not_settled_without_a_price(period: str, told: str) -> None:
    carried = Context(credit_milliwh={period: 5 * KWH})
    more = {"carry": "energy", "settle_month": 4}
    by_period = _net("period", sell={"day": "0.10", "night": "0.05"}, **more)

    with pytest.raises(RatingError, match=f"{told} was carried from a former tariff"):
        bill(by_period, USE, FIRST, END, context=carried)

    # A single price is for whatever is carried: 28 kWh of this month, and 5.
    made = bill(_net("period", sell="0.10", **more), USE, FIRST, END, context=carried)
    assert sum(line.amount for line in made.lines[1:]) == Decimal("-3.3")
    assert made.credit_milliwh == {}
