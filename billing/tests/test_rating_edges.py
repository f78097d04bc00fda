"""Edges that a slip of the engine would move: ratchets, carried credit, rounding, tax, clocks."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from billing.tariffs.calendar import midnight
from billing.tariffs.document import read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Kind, Peak, Period, Rating, Usage
from billing.tests.tariffs import BERLIN, KWH, bill, document, flat, told

APRIL, MAY = date(2026, 4, 1), date(2026, 5, 1)


def peak(month: date) -> Peak:
    return Peak("d", "", month, Decimal(5))


@pytest.mark.parametrize(
    ("ratchet", "month", "kw"),
    [
        ({"percent": 80, "months": 12}, date(2025, 4, 1), "4"),
        ({"percent": 80, "months": 11}, date(2025, 4, 1), "2.4"),
        ({"percent": 80, "months": 1}, date(2026, 3, 1), "4"),
        ({"percent": 80, "months": 12, "of_months": [6, 7, 8]}, date(2025, 8, 1), "4"),
        ({"percent": 80, "months": 12, "of_months": [6, 7, 8]}, date(2025, 9, 1), "2.4"),
    ],
)
def test_a_ratchet_looks_back_as_far_as_it_says(
    ratchet: dict[str, object], month: date, kw: str
) -> None:
    of = document({"kind": "demand", "name": "d", "prices": 1, "ratchet": ratchet})

    made = bill(of, flat(600_000, APRIL, MAY), APRIL, MAY, context=Context(peaks=(peak(month),)))

    assert [line.quantity for line in made.lines] == [Decimal(kw)]


def test_a_ratchet_does_not_look_at_its_own_month() -> None:
    """A tariff that is replaced within a month: the second part has its own demand."""
    change = date(2026, 4, 16)
    tariff = read(
        document(
            {
                "kind": "demand",
                "name": "d",
                "prices": 1,
                "ratchet": {"percent": 80, "months": 12},
            }
        )
    )
    usage = flat(250_000, APRIL, MAY)
    usage.imported[10] = 2_500_000

    made = rate(
        [Terms(APRIL, change, tariff), Terms(change, MAY, tariff)],
        usage,
        Period(APRIL, MAY, BERLIN),
    )

    assert [(line.quantity, line.amount) for line in made.lines] == [
        (Decimal(10), Decimal("5.00")),
        (Decimal(1), Decimal("0.50")),
    ]


def test_carried_money_pays_no_more_than_there_is() -> None:
    """A credit of 0.126 pays 0.12: rounded to the nearest it would pay what nobody earned."""
    of = document(
        {"kind": "energy", "name": "energy", "flow": "net", "prices": 1},
        {"kind": "netting", "name": "net", "within": "interval", "carry": "money", "sell_price": 0},
    )
    usage = flat(1000, APRIL, MAY)

    made = bill(of, usage, APRIL, MAY, context=Context(credit=Decimal("0.126")))

    assert by_kind(made, Kind.CREDIT) == [Decimal("-0.12")]
    assert made.credit == Decimal("0.006")


def by_kind(rating: Rating, kind: Kind) -> list[Decimal]:
    return [line.amount for line in rating.lines if line.kind is kind]


def test_the_tax_of_a_rounded_bill_is_on_what_was_rounded() -> None:
    """10.23 becomes 10.25, half of which is 5.125; of 10.23 it would be 5.115 and so 5.10."""
    of = document(
        {"kind": "standing", "name": "fee", "amount": "10.23", "per": "month"},
        {"kind": "tax", "name": "vat", "percent": 50, "of": "all"},
        rounding={"step": "0.05", "at": "bill"},
    )

    made = bill(of, flat(0, APRIL, MAY), APRIL, MAY)

    assert (made.net, made.tax, made.total) == (
        Decimal("10.25"),
        Decimal("5.15"),
        Decimal("15.40"),
    )


def test_the_rounding_of_a_bill_is_taxed_once() -> None:
    """5.05 by one tariff and 5.00 by the next are 10.10: the 0.05 more are the last one's."""
    change = date(2026, 4, 16)
    tariffs = [
        read(
            document(
                {"kind": "standing", "name": "fee", "amount": amount, "per": "month"},
                {"kind": "tax", "name": "vat", "percent": percent, "of": "all"},
                rounding={"step": "0.1", "at": "bill"},
            )
        )
        for amount, percent in (("10.10", 50), ("10", 10))
    ]
    terms = [Terms(APRIL, change, tariffs[0]), Terms(change, MAY, tariffs[1])]

    made = rate(terms, flat(0, APRIL, MAY), Period(APRIL, MAY, BERLIN))

    assert made.net == Decimal("10.1")
    assert by_kind(made, Kind.TAX) == [Decimal("2.5"), Decimal("0.5")]


@pytest.mark.parametrize("at", ["line", "bill"])
def test_a_tax_is_an_amount_that_can_be_paid(at: str) -> None:
    of = document(
        {"kind": "standing", "name": "fee", "amount": "9.99", "per": "month"},
        {"kind": "tax", "name": "vat", "percent": 19, "of": "all"},
        rounding={"at": at},
    )

    made = bill(of, flat(0, APRIL, MAY), APRIL, MAY)

    assert by_kind(made, Kind.TAX) == [Decimal("1.90")]


@pytest.mark.parametrize(
    ("zone", "day", "quarters"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 92),
        ("Europe/Berlin", date(2026, 10, 25), 100),
        ("Australia/Lord_Howe", date(2026, 10, 4), 94),
        ("Australia/Lord_Howe", date(2026, 4, 5), 98),
        ("Africa/Cairo", date(2026, 4, 24), 92),
        ("America/Santiago", date(2026, 9, 6), 92),
    ],
)
def test_a_day_of_a_clock_change_is_as_long_as_it_is(zone: str, day: date, quarters: int) -> None:
    """Also where the clock is changed at midnight or by half an hour."""
    following = date.fromordinal(day.toordinal() + 1)
    starts = np.arange(midnight(zone, day) - 7200, midnight(zone, following) + 7200, 900)
    usage = Usage.of(900, starts, np.full(len(starts), KWH))
    of = document({"kind": "energy", "name": "energy", "prices": 1})

    made = bill(of, usage, day, following, zone=zone)

    assert told(made) == [("energy", "", 0, Decimal(quarters), Decimal(quarters))]


def test_of_two_hours_at_the_same_clock_each_has_its_own_demand() -> None:
    """02:00 comes twice: the windows are not added up."""
    day, following = date(2026, 10, 25), date(2026, 10, 26)
    usage = flat(KWH, day, following)
    of = document({"kind": "demand", "name": "d", "window_min": 60, "prices": 31})

    made = bill(of, usage, day, following)

    assert told(made) == [("d", "", 0, Decimal(4), Decimal("4.00"))]


def test_the_leap_day_is_a_day_of_february() -> None:
    first, end = date(2028, 2, 29), date(2028, 3, 1)
    of = document({"kind": "standing", "name": "fee", "amount": 29, "per": "month"})

    made = bill(of, flat(0, first, end), first, end)

    assert made.total == Decimal("1.00")


def test_tiers_of_a_bill_are_shared_by_the_days_of_its_terms() -> None:
    """120 kWh in 30 days; each of two tariffs has half of the limit of 100 kWh for its half."""
    change = date(2026, 4, 16)
    tiers = [{"up_to": 100, "price": 1}, {"price": 2}]
    tariffs = [
        read(
            document(
                {"kind": "energy", "name": name, "prices": tiers, "tiers": {"per": "bill"}},
            )
        )
        for name in ("old", "new")
    ]
    usage = flat(4 * KWH // 96, APRIL, MAY)
    terms = [Terms(APRIL, change, tariffs[0]), Terms(change, MAY, tariffs[1])]

    made = rate(terms, usage, Period(APRIL, MAY, BERLIN))

    left = Decimal(4 * KWH // 96 * 96 * 15).scaleb(-6) - 50
    assert [(line.component, line.tier, line.quantity) for line in made.lines] == [
        ("old", 1, Decimal(50)),
        ("old", 2, left),
        ("new", 1, Decimal(50)),
        ("new", 2, left),
    ]


def test_a_year_has_twelve_equal_months() -> None:
    of = document({"kind": "standing", "name": "meter", "amount": 30, "per": "year"})
    nothing = flat(0, APRIL, MAY)

    whole = bill(of, nothing, date(2026, 1, 1), date(2027, 1, 1))

    assert {line.amount for line in whole.lines} == {Decimal("2.50")}
    assert whole.total == 30
    assert bill(of, nothing, APRIL, date(2026, 4, 16)).total == Decimal("1.25")
