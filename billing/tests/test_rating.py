"""What use costs, computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from billing.tariffs.calendar import CoverageError, midnight
from billing.tariffs.document import read
from billing.tariffs.rating import RatingError, Terms, rate
from billing.tariffs.values import Context, Peak, Period, Quality, Usage, UsageError
from billing.tests.tariffs import BERLIN, ENERGY, HOURS, KWH, NIGHT, bill, document, flat, told


@pytest.mark.parametrize(
    ("day", "night_h"),
    [(date(2026, 3, 29), 7), (date(2026, 10, 25), 9), (date(2026, 6, 1), 8)],
)
def test_a_day_of_a_clock_change_has_the_hours_it_has(day: date, night_h: int) -> None:
    end = date.fromordinal(day.toordinal() + 1)
    made = bill(document(HOURS, **NIGHT), flat(250_000, day, end), day, end)

    assert told(made) == [
        ("energy", "night", 0, Decimal(night_h), Decimal(night_h) * Decimal("0.20")),
        ("energy", "day", 0, Decimal(16), Decimal("6.40")),
    ]


def test_a_day_of_february_is_a_smaller_part_in_a_leap_year() -> None:
    base = document({"kind": "standing", "name": "base", "amount": 58, "per": "month"})
    none = Usage.of(900, np.array([], np.int64), np.array([], np.int64))

    leap = bill(base, none, date(2028, 2, 29), date(2028, 3, 1))
    usual = bill(base, none, date(2027, 2, 28), date(2027, 3, 1))

    assert (leap.total, usual.total) == (Decimal("2.00"), Decimal("2.07"))
    assert leap.lines[0].detail == {"days": "1", "of_days": "29"}


def test_terms_that_change_within_a_month_each_have_their_part() -> None:
    old = document({"kind": "standing", "name": "base", "amount": "30", "per": "month"}, ENERGY)
    new = document(
        {"kind": "standing", "name": "base", "amount": "60", "per": "month"},
        {**ENERGY, "prices": "0.50"},
    )
    first, change, end = date(2026, 4, 1), date(2026, 4, 11), date(2026, 5, 1)
    terms = [Terms(change, end, read(new)), Terms(date(2020, 1, 1), change, read(old))]

    made = rate(terms, flat(250_000, first, end), Period(first, end, BERLIN))

    assert [(line.first, line.end, line.amount) for line in made.lines] == [
        (first, change, Decimal("10.00")),
        (first, change, Decimal("72.00")),
        (change, end, Decimal("40.00")),
        (change, end, Decimal("240.00")),
    ]


TIERS = [{"up_to": 100, "price": "0.10"}, {"up_to": 300, "price": "0.20"}, {"price": "0.30"}]


@pytest.mark.parametrize(
    ("milliwh", "expected"),
    [
        (100 * KWH, [(1, 100, "10.00")]),
        (100 * KWH + 1, [(1, 100, "10.00"), (2, "0.000001", "0.00")]),
        (300 * KWH, [(1, 100, "10.00"), (2, 200, "40.00")]),
        (301 * KWH, [(1, 100, "10.00"), (2, 200, "40.00"), (3, 1, "0.30")]),
        (-5 * KWH, [(1, -5, "-0.50")]),
        (0, []),
    ],
)
@pytest.mark.parametrize("shared", ["proportional", "chronological", "per_period"])
def test_tiers_end_at_their_edge(shared: str, milliwh: int, expected: list[Any]) -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    usage = Usage.of(900, np.array([midnight(BERLIN, first)]), np.array([milliwh]))

    made = bill(
        document({**ENERGY, "prices": TIERS, "tiers": {"shared": shared}}), usage, first, end
    )

    assert [(line.tier, line.quantity, line.amount) for line in made.lines] == [
        (tier, Decimal(quantity), Decimal(amount)) for tier, quantity, amount in expected
    ]


def _by_hours(shared: str, per: str = "month") -> dict[str, Any]:
    prices = {
        name: [{"up_to": 4, "price": low}, {"price": high}]
        for name, low, high in (("day", 1, 2), ("night", 10, 20))
    }
    return document({**HOURS, "prices": prices, "tiers": {"shared": shared, "per": per}}, **NIGHT)


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        # 16 kWh by day, 8 by night, 24 in all: a sixth of each is below 4 kWh.
        (
            "proportional",
            [
                ("night", 1, "1.333333"),
                ("night", 2, "6.666667"),
                ("day", 1, "2.666666"),
                ("day", 2, "13.333334"),
            ],
        ),
        # The night until 6 comes first.
        ("chronological", [("night", 1, "4"), ("night", 2, "4"), ("day", 2, "16")]),
        ("per_period", [("night", 1, "4"), ("night", 2, "4"), ("day", 1, "4"), ("day", 2, "12")]),
    ],
)
def test_periods_share_tiers_as_the_tariff_says(
    shared: str, expected: list[tuple[str, int, str]]
) -> None:
    first, end = date(2026, 4, 1), date(2026, 4, 2)
    of = _by_hours(shared)
    of["components"][0]["tiers"]["pro_rated"] = False

    made = bill(of, flat(250_000, first, end), first, end)

    assert [(line.period, line.tier, line.quantity) for line in made.lines] == [
        (period, tier, Decimal(quantity)) for period, tier, quantity in expected
    ]


@pytest.mark.parametrize(
    ("per", "expected"),
    [
        # Two days of 24 and 48 kWh: each has 30 in the first tier, or both together 60.
        ("day", ["54", "18"]),
        ("average_day", ["60", "12"]),
        ("month", ["2", "70"]),
        ("bill", ["30", "42"]),
    ],
)
def test_tiers_fill_over_the_time_the_tariff_says(per: str, expected: list[str]) -> None:
    first, end = date(2026, 4, 1), date(2026, 4, 3)
    usage = flat(250_000, first, end)
    usage.imported[96:] *= 2
    of = document(
        {
            **ENERGY,
            "prices": [{"up_to": 30, "price": 1}, {"price": 2}],
            "tiers": {"per": per},
        }
    )

    made = bill(of, usage, first, end)

    assert [line.quantity for line in made.lines] == [Decimal(one) for one in expected]


@pytest.mark.parametrize("shared", ["proportional", "chronological", "per_period"])
def test_tiers_of_a_bill_fill_over_all_of_its_months_under_the_tariff(shared: str) -> None:
    first, change, end = date(2026, 4, 1), date(2026, 6, 1), date(2026, 7, 1)
    tiers = {"per": "bill", "shared": shared}
    old = {**ENERGY, "prices": [{"up_to": 910, "price": 1}, {"price": 2}], "tiers": tiers}
    new = {**ENERGY, "prices": 3}
    terms = [Terms(first, change, read(document(old))), Terms(change, end, read(document(new)))]

    made = rate(terms, flat(250_000, first, end), Period(first, end, BERLIN))

    # 61 of the bill's 91 days, of 24 kWh each: 610 of their 1464 kWh are in the first tier.
    assert [(line.first, line.end, line.tier, line.quantity) for line in made.lines] == [
        (first, change, 1, Decimal(610)),
        (first, change, 2, Decimal(854)),
        (change, end, 0, Decimal(720)),
    ]


def test_demand_is_the_highest_window_of_local_time() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    usage = flat(100_000, first, end)
    # The half hour with the highest mean is not the one with the highest quarter.
    usage.imported[[40, 41, 43, 44]] = [600_000, 500_000, 900_000, 150_000]
    of = document({"kind": "demand", "name": "demand", "window_min": 30, "prices": 10})

    made = bill(of, usage, first, end)

    assert told(made) == [("demand", "", 0, Decimal("2.2"), Decimal("22.00"))]
    assert made.lines[0].at == midnight(BERLIN, first) + 40 * 900
    assert made.peaks == (Peak("demand", "", first, Decimal("2.2")),)


def test_demand_of_a_period_that_a_month_does_not_have_is_not_billed() -> None:
    """A minimum or ratchet of the summer says nothing about the winter; it holds in a summer month
    without any reading.
    """
    of = document(
        {
            "kind": "demand",
            "name": "peak",
            "schedule": "seasons",
            "prices": {"hot": 10},
            "minimum_kw": "1.5",
            "ratchet": {"percent": 80, "months": 12},
        },
        seasons={"summer": ["04-01..09-30"], "winter": ["10-01..03-31"]},
        schedules={
            "seasons": [
                {"period": "hot", "seasons": ["summer"], "from": "12:00"},
                {"period": "mild", "seasons": ["summer"], "to": "12:00"},
                {"period": "mild", "seasons": ["winter"]},
            ]
        },
    )
    context = Context(peaks=(Peak("peak", "hot", date(2026, 8, 1), Decimal(5)),))
    nothing = Usage.of(900, np.zeros(0, np.int64), np.zeros(0, np.int64))

    winter = bill(of, nothing, date(2026, 10, 1), date(2026, 11, 1), context=context)
    summer = bill(of, nothing, date(2026, 9, 1), date(2026, 10, 1), context=context)
    first_summer = bill(of, nothing, date(2026, 9, 1), date(2026, 10, 1))

    assert told(winter) == []
    assert told(summer) == [("peak", "hot", 0, Decimal(4), Decimal("40.00"))]
    assert told(first_summer) == [("peak", "hot", 0, Decimal("1.5"), Decimal("15.00"))]


def test_where_days_begin_at_half_past_no_energy_changes_the_day() -> None:
    """India's midnight is 18:30 UTC: summed up to hours, its first half hour would be lost, and its
    night would begin at half past.
    """
    first, end = date(2026, 4, 1), date(2026, 4, 2)
    usage = flat(KWH, first, end, zone="Asia/Kolkata")
    of = document(
        {"kind": "energy", "name": "e", "schedule": "hours", "prices": {"night": 1, "day": 2}},
        interval_min=60,
        schedules={
            "hours": [
                {"period": "night", "to": "06:00"},
                {"period": "day", "from": "06:00"},
            ]
        },
    )

    made = bill(of, usage, first, end, zone="Asia/Kolkata")

    quantities = {line.period: line.quantity for line in made.lines}
    assert quantities == {"night": Decimal(24), "day": Decimal(72)}


def test_of_equal_windows_the_first_counts() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    usage = flat(100_000, first, end)
    usage.imported[[40, 80]] = 500_000

    made = bill(document({"kind": "demand", "name": "d", "prices": 1}), usage, first, end)

    assert made.lines[0].at == midnight(BERLIN, first) + 40 * 900


def test_a_window_that_is_not_full_counts_with_what_it_has() -> None:
    first, end = date(2026, 4, 1), date(2026, 4, 2)
    start = midnight(BERLIN, first)
    usage = Usage.of(
        900,
        np.array([start, start + 3600, start + 4500]),
        np.array([400_000, 300_000, 300_000]),
        quality=np.array([0, 0, Quality.MISSING], np.uint8),
    )
    of = document({"kind": "demand", "name": "d", "window_min": 60, "prices": 30})

    made = bill(of, usage, first, end)

    # A day of April is a thirtieth.
    assert told(made) == [("d", "", 0, Decimal("0.4"), Decimal("0.40"))]


@pytest.mark.parametrize(
    ("context", "kw", "by"),
    [
        ((), "2.4", None),
        ((Peak("d", "", date(2026, 3, 1), Decimal(5)),), "4", "ratchet"),
        ((Peak("d", "", date(2025, 3, 1), Decimal(5)),), "2.4", None),
        ((Peak("other", "", date(2026, 3, 1), Decimal(5)),), "2.4", None),
        ((Peak("d", "", date(2026, 3, 1), Decimal(3)),), "2.4", None),
    ],
)
def test_a_ratchet_bills_a_part_of_former_peaks(
    context: tuple[Peak, ...], kw: str, by: str | None
) -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        {"kind": "demand", "name": "d", "prices": 10, "ratchet": {"percent": 80, "months": 12}}
    )

    made = bill(of, flat(600_000, first, end), first, end, context=Context(peaks=context))

    assert told(made) == [("d", "", 0, Decimal(kw), Decimal(kw) * 10)]
    assert made.lines[0].detail.get("by") == by
    assert made.peaks == (Peak("d", "", first, Decimal("2.4")),)


def test_a_ratchet_may_look_at_some_months_alone() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    ratchet = {"percent": 100, "months": 12, "of_months": [7, 8]}
    of = document({"kind": "demand", "name": "d", "prices": 10, "ratchet": ratchet})
    peaks = tuple(
        Peak("d", "", date(2025, month, 1), Decimal(kw)) for month, kw in ((7, 5), (8, 4), (9, 6))
    )

    made = bill(of, flat(600_000, first, end), first, end, context=Context(peaks=peaks))

    assert told(made) == [("d", "", 0, Decimal(5), Decimal(50))]


def test_two_parts_of_a_month_have_their_own_demand_and_one_peak() -> None:
    first, change, end = date(2026, 4, 1), date(2026, 4, 16), date(2026, 5, 1)
    of = document(
        {"kind": "demand", "name": "d", "prices": 10, "ratchet": {"percent": 100, "months": 11}}
    )
    usage = flat(500_000, first, end)
    usage.imported[3] = 1_000_000
    terms = [Terms(first, change, read(of)), Terms(change, end, read(of))]

    made = rate(terms, usage, Period(first, end, BERLIN))

    # A ratchet looks at former months, not at this one.
    assert told(made) == [
        ("d", "", 0, Decimal(4), Decimal(20)),
        ("d", "", 0, Decimal(2), Decimal(10)),
    ]
    assert made.peaks == (Peak("d", "", first, Decimal(4)),)


def test_what_is_estimated_is_told_by_line() -> None:
    first, end = date(2026, 4, 1), date(2026, 4, 2)
    usage = flat(250_000, first, end)
    # Of 8 kWh by night one is estimated, of 16 by day two.
    usage.quality[[0, 1, 2, 3, *range(40, 48)]] = Quality.ESTIMATED
    prices = {"day": 1, "night": [{"up_to": 2, "price": 1}, {"price": 2}]}
    of = document(
        {**HOURS, "prices": prices, "tiers": {"shared": "per_period", "pro_rated": False}},
        {"kind": "levy", "name": "duty", "per_kWh": 1},
        {"kind": "demand", "name": "d", "prices": 1},
        **NIGHT,
    )

    made = bill(of, usage, first, end)

    assert [(line.component, line.period, line.tier, line.estimated) for line in made.lines] == [
        ("energy", "night", 1, Decimal("0.25")),
        ("energy", "night", 2, Decimal("0.75")),
        ("energy", "day", 0, Decimal(2)),
        ("duty", "", 0, Decimal(3)),
        ("d", "", 0, Decimal(1)),
    ]


def test_what_is_missing_in_the_terms_is_told() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    usage = flat(1, first, end)
    tariff = read(document(ENERGY))
    period = Period(first, end, BERLIN)

    with pytest.raises(RatingError, match="No tariff holds from 2026-04-11 until 2026-04-12"):
        rate(
            [Terms(first, date(2026, 4, 11), tariff), Terms(date(2026, 4, 12), end, tariff)],
            usage,
            period,
        )
    with pytest.raises(RatingError, match="Two tariffs hold from 2026-04-10 until 2026-04-11"):
        rate(
            [Terms(first, date(2026, 4, 11), tariff), Terms(date(2026, 4, 10), end, tariff)],
            usage,
            period,
        )
    with pytest.raises(RatingError, match="contracted power"):
        bill(
            document({"kind": "standing", "name": "s", "amount": 1, "per": "kW_month"}),
            usage,
            first,
            end,
        )
    with pytest.raises(UsageError, match="15 minutes: intervals of 1800 s do not add up"):
        bill(document(ENERGY), flat(1, first, end, step_s=1800), first, end)
    gap = {"schedules": {"hours": NIGHT["schedules"]["hours"][:2]}}
    with pytest.raises(CoverageError, match=r"no price at 2026-04-01 22:00 \(Europe/Berlin\)"):
        bill(document(HOURS, **gap), usage, first, end)


def test_a_finer_grid_is_summed_up() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(HOURS, interval_min=60, **NIGHT)

    fine = bill(of, flat(100_000, first, end, step_s=300), first, end)
    hourly = bill(of, flat(1_200_000, first, end, step_s=3600), first, end)

    assert fine.lines == hourly.lines


def test_taxes_follow_each_other_in_the_order_of_the_file() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        {"kind": "standing", "name": "base", "amount": 100, "per": "month"},
        {"kind": "standing", "name": "meter", "amount": 10, "per": "month"},
        {"kind": "levy", "name": "city", "percent": 5, "of": ["base"]},
        {"kind": "tax", "name": "duty", "percent": 10, "of": ["base"]},
        {"kind": "tax", "name": "vat", "percent": 20, "of": ["base", "meter", "city", "duty"]},
    )

    made = bill(of, flat(0, first, end), first, end)

    assert [(line.component, line.amount, line.tax_percent) for line in made.lines] == [
        # 10 % and 20 % on that.
        ("base", Decimal(100), Decimal(32)),
        ("meter", Decimal(10), Decimal(20)),
        ("city", Decimal(5), Decimal(20)),
        ("duty", Decimal(10), Decimal(20)),
        ("vat", Decimal(25), None),
    ]
    assert (made.net, made.tax, made.total) == (Decimal(115), Decimal(35), Decimal(150))


@pytest.mark.parametrize(
    ("mode", "price", "expected"),
    [
        ("half_up", "0.125", "0.13"),
        ("half_up", "-0.125", "-0.13"),
        ("half_even", "0.125", "0.12"),
        ("half_even", "0.135", "0.14"),
        ("up", "0.121", "0.13"),
        ("up", "-0.121", "-0.13"),
        ("down", "0.129", "0.12"),
        ("down", "-0.129", "-0.12"),
    ],
)
def test_a_line_is_rounded_as_the_tariff_says(mode: str, price: str, expected: str) -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        {"kind": "standing", "name": "s", "amount": price, "per": "month"}, rounding={"mode": mode}
    )

    assert bill(of, flat(0, first, end), first, end).total == Decimal(expected)


def test_a_bill_is_rounded_once_with_a_line_that_says_so() -> None:
    first, end = date(2026, 4, 1), date(2026, 4, 16)
    of = document(
        {"kind": "standing", "name": "a", "amount": "0.009", "per": "month"},
        {"kind": "standing", "name": "b", "amount": "0.009", "per": "month"},
        {"kind": "tax", "name": "vat", "percent": 100, "of": "all"},
        rounding={"step": "0.05", "at": "bill", "mode": "up"},
    )

    made = bill(of, flat(0, first, end), first, end)

    assert [(line.component, line.amount) for line in made.lines] == [
        ("a", Decimal("0.0045")),
        ("b", Decimal("0.0045")),
        ("rounding", Decimal("0.041")),
        ("vat", Decimal("0.05")),
    ]
    assert made.total == sum(line.amount for line in made.lines) == Decimal("0.10")


def test_what_is_paid_can_be_rounded_to_larger_coins() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        {"kind": "standing", "name": "a", "amount": "10.01", "per": "month"},
        {"kind": "tax", "name": "vat", "percent": "8.1", "of": "all"},
        rounding={"total_step": "0.05"},
        currency="CHF",
    )

    made = bill(of, flat(0, first, end), first, end)

    assert [(line.component, line.amount, line.tax_percent) for line in made.lines] == [
        ("a", Decimal("10.01"), Decimal("8.1")),
        ("vat", Decimal("0.81"), None),
        ("rounding", Decimal("-0.02"), None),
    ]
    assert (made.net, made.tax, made.total) == (Decimal("9.99"), Decimal("0.81"), Decimal("10.80"))


@pytest.mark.parametrize(
    ("currency", "expected"), [("JPY", "11"), ("EUR", "10.56"), ("KWD", "10.556")]
)
def test_without_a_step_the_smallest_coin_counts(currency: str, expected: str) -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        {"kind": "standing", "name": "a", "amount": "10.5555", "per": "month"}, currency=currency
    )

    assert bill(of, flat(0, first, end), first, end).total == Decimal(expected)


def test_no_days_cost_nothing() -> None:
    day = date(2026, 4, 1)
    of = document(
        {"kind": "standing", "name": "a", "amount": 1, "per": "month"},
        {"kind": "tax", "name": "vat", "percent": 19, "of": "all"},
        rounding={"at": "bill", "total_step": 1},
    )

    made = bill(of, flat(1, day, date(2026, 5, 1)), day, day)

    assert (made.lines, made.total) == ((), Decimal(0))


def test_a_minimum_a_discount_and_a_levy_follow_what_they_name() -> None:
    first, end = date(2026, 4, 1), date(2026, 5, 1)
    of = document(
        ENERGY,
        {"kind": "levy", "name": "duty", "per_kWh": "0.0205"},
        {"kind": "discount", "name": "online", "percent": 10, "of": ["energy"]},
        {"kind": "discount", "name": "welcome", "amount": 50, "of": ["energy", "online"]},
        {"kind": "minimum", "name": "least", "amount": "8", "of": ["duty", "energy", "online"]},
    )

    # 7.2 kWh.
    made = bill(of, flat(2_500, first, end), first, end)

    assert [(line.component, line.amount) for line in made.lines] == [
        ("energy", Decimal("2.16")),
        ("duty", Decimal("0.15")),
        ("online", Decimal("-0.22")),
        ("welcome", Decimal("-1.94")),
        ("least", Decimal("5.91")),
    ]
    assert made.total == sum(line.amount for line in made.lines)
