"""What holds for whatever tariff and use: properties of the engine over drawn ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from billing.tariffs.calendar import midnight, next_month
from billing.tariffs.document import read
from billing.tariffs.explaining import explain
from billing.tariffs.parts import Demand, Energy, Pool
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Int64s, Kind, Line, Period, Quality, Rating, Usage

MILLIWH = 1_000_000
PLACES = 10
# A line is rounded to ten places: two that are compared differ by at most one of them.
TOLERANCE = Decimal("0.000000001")
# Clocks changed by an hour and by half of one, and offsets that are no whole hours.
ZONES = [
    "Europe/Berlin",
    "America/Los_Angeles",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Etc/GMT+8",
]
# Months with a clock change in most of these zones, a leap day and a turn of the year.
MONTHS = [
    date(2028, 2, 1),
    date(2028, 3, 1),
    date(2028, 10, 1),
    date(2028, 4, 1),
    date(2027, 12, 1),
]

PER = ("month", "average_day", "day", "bill")
SHARED = ("proportional", "per_period", "chronological")

price = st.decimals(-2, 2, places=5)
positive = st.decimals(0, 9, places=3)
few = settings(max_examples=40, deadline=None)


def text(number: Decimal) -> str:
    return format(number, "f")


@st.composite
def schedules(draw: st.DrawFn, interval_min: int) -> list[dict[str, Any]]:
    """Rules that cover each minute once: rest days, and workdays that differ by season."""
    edges = draw(st.lists(st.integers(1, 24 * 60 // interval_min - 1), max_size=3, unique=True))
    clocks = [f"{m // 60:02d}:{m % 60:02d}" for m in sorted(edge * interval_min for edge in edges)]
    rules: list[dict[str, Any]] = [{"period": "rest", "days": ["sat", "sun", "holiday"]}]
    for season in ("warm", "cold"):
        for start, end in zip(["00:00", *clocks], [*clocks, "24:00"], strict=True):
            rules.append(
                {
                    "period": draw(st.sampled_from(["low", "high", season])),
                    "seasons": [season],
                    "days": ["mon", "tue", "wed", "thu", "fri"],
                    "from": start,
                    "to": end,
                }
            )
    return rules


def prices_of(draw: st.DrawFn, rules: list[dict[str, Any]], bounds: list[Decimal]) -> Any:
    def one() -> Any:
        if not bounds:
            return text(draw(price))
        limits = [{"up_to": text(bound)} for bound in bounds]
        return [limit | {"price": text(draw(price))} for limit in [*limits, {}]]

    return {period: one() for period in dict.fromkeys(rule["period"] for rule in rules)}


@st.composite
def documents(
    draw: st.DrawFn, *, tiers: bool = True, linear: bool = False, nets: bool = False
) -> dict[str, Any]:
    """A tariff of many components. `linear`: only those whose parts of a month add up."""
    interval_min = draw(st.sampled_from([15, 30, 60]))
    rules = draw(schedules(interval_min))
    limit = st.decimals("0.001", 400, places=3)
    bounds = sorted(draw(st.lists(limit, max_size=2, unique=True))) if tiers else []
    energy: dict[str, Any] = {
        "kind": "energy",
        "name": "energy",
        "schedule": "hours",
        "prices": prices_of(draw, rules, bounds),
    }
    if bounds:
        ways = ["proportional", "per_period"] if nets else [*SHARED]
        energy["tiers"] = {
            "per": draw(st.sampled_from(["month", "average_day"] if nets else [*PER])),
            "unit": draw(st.sampled_from(["kWh", "kWh/kW", "kWh/kW_contracted"])),
            "pro_rated": draw(st.booleans()),
            "window_min": 60,
            "shared": draw(st.sampled_from(ways)),
        }
        if energy["tiers"]["per"] in {"day", "bill"}:
            # The highest demand is one of a month.
            energy["tiers"]["unit"] = "kWh"
    feed_in: dict[str, Any] = {
        "kind": "energy",
        "name": "sold",
        "flow": "export",
        "prices": text(draw(price)),
    }
    if nets:
        energy["flow"] = "net"
        carry = draw(st.sampled_from(["energy", "money", "none"]))
        settles = {} if carry == "none" else {"settle_month": draw(st.integers(1, 12))}
        feed_in = settles | {
            "kind": "netting",
            "name": "netting",
            "within": "period",
            "schedule": "hours",
            "carry": carry,
            "sell_price": text(draw(positive)),
        }
    components: list[dict[str, Any]] = [
        {
            "kind": "standing",
            "name": "fee",
            "amount": text(draw(price)),
            "per": draw(st.sampled_from(["day", "month", "year", "kW_month"])),
        },
        energy,
        feed_in,
        {"kind": "levy", "name": "levy", "per_kWh": text(draw(price))},
    ]
    if not linear:
        components.append(demand(draw, rules))
        components.append(
            {"kind": "discount", "name": "off", "percent": text(draw(positive)), "of": ["energy"]}
        )
        components.append(
            {"kind": "minimum", "name": "least", "amount": text(draw(positive)), "of": "all"}
        )
    components += [
        {"kind": "tax", "name": "vat", "percent": text(draw(positive)), "of": "all"},
        {"kind": "tax", "name": "more", "percent": "7", "of": ["energy", "vat"]},
    ]
    return {
        "tariff": 1,
        "name": "drawn",
        "currency": "EUR",
        "interval_min": interval_min,
        "holidays": "DE",
        "seasons": {"warm": ["03-16..10-09"], "cold": ["10-10..03-15"]},
        "schedules": {"hours": rules},
        "components": components,
        "rounding": {"step": "0.0000000001"},
    }


def demand(draw: st.DrawFn, rules: list[dict[str, Any]]) -> dict[str, Any]:
    made = {
        "kind": "demand",
        "name": "demand",
        "window_min": draw(st.sampled_from([15, 30, 60])),
        "schedule": "hours",
        "minimum_kw": text(draw(positive)),
        "prices": prices_of(draw, rules, []),
    }
    if draw(st.booleans()):
        made["ratchet"] = {"percent": "80", "months": draw(st.integers(1, 12))}
    return made


@st.composite
def uses(draw: st.DrawFn, /, zone: str, first: date, end: date, *, step_s: int = 900) -> Usage:
    """Quarters with gaps, guesses, bursts and feed-in."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    starts: Int64s = np.arange(midnight(zone, first), midnight(zone, end), step_s, dtype=np.int64)
    scale = 10 ** draw(st.integers(1, 7))
    bought = numbers.integers(0, scale, len(starts)) * (numbers.random(len(starts)) < 0.9)
    sold = numbers.integers(0, scale, len(starts)) * (numbers.random(len(starts)) < 0.3)
    quality = numbers.choice(
        [Quality.MEASURED, Quality.ESTIMATED, Quality.MISSING], len(starts), p=[0.9, 0.07, 0.03]
    ).astype(np.uint8)
    kept = numbers.random(len(starts)) < draw(st.sampled_from([1.0, 0.97]))
    return Usage.of(step_s, starts[kept], bought[kept], sold[kept], quality=quality[kept])


@st.composite
def cases(draw: st.DrawFn, /, months: int = 1, **kind: bool) -> tuple[Terms, Usage, Period]:
    first = draw(st.sampled_from(MONTHS))
    end = first
    for _ in range(months):
        end = next_month(end)
    zone = draw(st.sampled_from(ZONES))
    terms = Terms(date(2020, 1, 1), date(2040, 1, 1), read(draw(documents(**kind))), Decimal(7))
    return terms, draw(uses(zone, first, end)), Period(first, end, zone)


def told(rating: Rating) -> list[Any]:
    return [
        (line.component, line.first, line.period, line.tier, line.quantity, line.amount, line.at)
        for line in rating.lines
    ]


def by_component(*ratings: Rating) -> dict[str, Decimal]:
    made: dict[str, Decimal] = {}
    for rating in ratings:
        for line in rating.lines:
            made[line.component] = made.get(line.component, Decimal(0)) + line.amount
    return made


def near(one: dict[str, Decimal], other: dict[str, Decimal], lines: int) -> None:
    for name in one.keys() | other.keys():
        difference = one.get(name, Decimal(0)) - other.get(name, Decimal(0))
        assert abs(difference) <= TOLERANCE * lines, (name, difference)


@few
@given(case=cases(), seed=st.integers(0, 2**32))
def test_order_and_repetition_of_intervals_change_nothing(
    case: tuple[Terms, Usage, Period], seed: int
) -> None:
    terms, usage, period = case
    numbers = np.random.default_rng(seed)
    order = numbers.permutation(len(usage.starts))
    order = np.concatenate([order, order[: len(order) // 3]])
    again = Usage.of(
        usage.step_s,
        usage.starts[order],
        usage.imported[order],
        usage.exported[order],
        quality=usage.quality[order],
    )

    assert told(rate([terms], again, period)) == told(rate([terms], usage, period))


@few
@given(case=cases())
def test_lines_add_up_to_the_total(case: tuple[Terms, Usage, Period]) -> None:
    terms, usage, period = case

    rating = rate([terms], usage, period)

    taxes = [line.amount for line in rating.lines if line.kind is Kind.TAX]
    assert rating.tax == sum(taxes, Decimal(0))
    assert rating.total == sum((line.amount for line in rating.lines), Decimal(0))
    assert rating.total == rating.net + rating.tax
    for line in rating.lines:
        if line.kind in {Kind.ENERGY, Kind.EXPORT} and line.price is not None:
            sign = -1 if line.kind is Kind.EXPORT else 1
            assert abs(line.quantity * line.price * sign - line.amount) <= TOLERANCE


@few
@given(case=cases())
def test_every_kwh_is_billed_once(case: tuple[Terms, Usage, Period]) -> None:
    """Whatever the zone's offset: what is drawn is in a line of energy, and in the levy."""
    terms, usage, period = case
    there = usage.quality != Quality.MISSING
    guessed = usage.quality == Quality.ESTIMATED

    lines = rate([terms], usage, period).lines

    for component, column in (
        ("energy", usage.imported),
        ("sold", usage.exported),
        ("levy", usage.imported),
    ):
        own = [line for line in lines if line.component == component]
        assert sum((line.quantity * MILLIWH for line in own), Decimal(0)) == int(
            column[there].sum()
        )
        estimated = sum((line.estimated * MILLIWH for line in own), Decimal(0))
        # A part is dealt to tiers rounded down.
        assert 0 <= int(column[guessed].sum()) - estimated <= len(own)


@few
@given(case=cases(tiers=False, linear=True), data=st.data())
def test_parts_of_a_month_add_up(case: tuple[Terms, Usage, Period], data: st.DataObject) -> None:
    terms, usage, period = case
    days = (period.end - period.first).days
    cut = period.first + timedelta(days=data.draw(st.integers(1, days - 1)))

    whole = rate([terms], usage, period)
    parts = [
        rate([terms], usage, replace(period, end=cut)),
        rate([terms], usage, replace(period, first=cut)),
    ]

    near(by_component(whole), by_component(*parts), len(whole.lines) + 2)


@few
@given(case=cases(months=3))
def test_months_add_up_with_what_one_hands_to_the_next(case: tuple[Terms, Usage, Period]) -> None:
    months_add_up(*case)


@few
@given(case=cases(months=3, nets=True))
def test_months_of_netting_add_up_with_what_one_hands_to_the_next(
    case: tuple[Terms, Usage, Period],
) -> None:
    months_add_up(*case)


def months_add_up(terms: Terms, usage: Usage, period: Period) -> None:
    """A bill of three months costs what three bills do that hand on peaks and credits; but for
    tiers of a bill, which are longer in a longer one.
    """
    tiers = [one.tiers.per for one in terms.tariff.components if isinstance(one, Energy)]
    assume(Pool.BILL not in tiers)
    whole = rate([terms], usage, period)
    context, parts, month = Context(), [], period.first
    while month < period.end:
        part = rate([terms], usage, Period(month, next_month(month), period.zone), context)
        parts.append(part)
        context = Context(
            peaks=(*context.peaks, *part.peaks),
            credit=part.credit,
            credit_milliwh=part.credit_milliwh,
        )
        month = next_month(month)

    near(by_component(whole), by_component(*parts), len(whole.lines) + 2)
    assert abs(parts[-1].credit - whole.credit) <= TOLERANCE
    assert dict(parts[-1].credit_milliwh) == dict(whole.credit_milliwh)
    assert {one for part in parts for one in part.peaks} == set(whole.peaks)


@few
@given(case=cases(), cut=st.integers(1, 27))
def test_a_change_of_terms_that_changes_nothing_leaves_energy_as_it_is(
    case: tuple[Terms, Usage, Period], cut: int
) -> None:
    """A tariff replaced by itself within a month: parts of the month by days, nothing lost."""
    terms, usage, period = case
    day = period.first + timedelta(days=cut)

    one = rate([terms], usage, period)
    two = rate([replace(terms, end=day), replace(terms, first=day)], usage, period)

    for component in ("fee", "levy", "sold"):
        found = [by_component(rating).get(component, Decimal(0)) for rating in (one, two)]
        assert abs(found[0] - found[1]) <= 2 * TOLERANCE, component


@few
@given(case=cases(tiers=False), factor=st.integers(2, 50))
def test_more_use_costs_in_proportion(case: tuple[Terms, Usage, Period], factor: int) -> None:
    terms, usage, period = case
    tariff = terms.tariff
    bare = tuple(
        replace(one, minimum_kw=Decimal(0)) if isinstance(one, Demand) else one
        for one in tariff.components
    )
    terms = replace(terms, tariff=replace(tariff, components=bare))
    more = replace(usage, imported=usage.imported * factor, exported=usage.exported * factor)

    once, many = (by_component(rate([terms], one, period)) for one in (usage, more))

    for component in ("energy", "sold", "levy", "demand"):
        difference = many.get(component, Decimal(0)) - factor * once.get(component, Decimal(0))
        assert abs(difference) <= TOLERANCE * factor * 10, component


@few
@given(case=cases(), seed=st.integers(0, 2**32))
def test_a_finer_grid_with_the_same_energies_gives_the_same_lines(
    case: tuple[Terms, Usage, Period], seed: int
) -> None:
    """Each quarter of an hour as three intervals, in whatever parts."""
    terms, usage, period = case
    numbers = np.random.default_rng(seed)
    starts = (usage.starts[:, None] + np.array([0, 300, 600])).ravel()
    finer = Usage.of(
        300,
        starts,
        split(usage.imported, numbers),
        split(usage.exported, numbers),
        quality=np.repeat(usage.quality, 3),
    )

    assert told(rate([terms], finer, period)) == told(rate([terms], usage, period))


def split(energies: Int64s, numbers: np.random.Generator) -> Int64s:
    """Each energy in three parts that are not negative."""
    first = (energies * numbers.random(len(energies))).astype(np.int64)
    second = ((energies - first) * numbers.random(len(energies))).astype(np.int64)
    return np.stack([first, second, energies - first - second], axis=1).ravel()


@few
@given(case=cases())
def test_a_line_opens_to_intervals_that_add_up_to_it(case: tuple[Terms, Usage, Period]) -> None:
    opened(*case)


@few
@given(case=cases(nets=True))
def test_a_line_of_netted_energy_opens_to_intervals_that_add_up_to_it(
    case: tuple[Terms, Usage, Period],
) -> None:
    opened(*case)


def opened(terms: Terms, usage: Usage, period: Period) -> None:
    for line in rate([terms], usage, period).lines:
        if line.component not in {"energy", "sold", "levy"}:
            continue
        found = explain([terms], usage, period, None, line)
        assert len(found.starts) == len(found.milliwh) == len(found.amounts)
        assert int(found.milliwh.sum()) == line.quantity * MILLIWH
        assert abs(sum(found.amounts, Decimal(0)) - line.amount) <= TOLERANCE
        assert within(found.starts, line, period.zone)


def within(starts: Int64s, line: Line, zone: str) -> bool:
    """Whether intervals begin in the days of a line."""
    begin, end = midnight(zone, line.first), midnight(zone, line.end)
    return bool(np.all((starts >= begin) & (starts < end)))
