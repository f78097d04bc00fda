"""Australian plans of retailers and networks as documents of ours.

The form is that of UNSW's Bill Calculator. A network's tariff has parts that it charges (DUOS,
TUOS, JUOS) and NUOS, their sum, which is what a customer pays. A window that passes midnight
belongs, with both ends, to the days that it names: read otherwise, the published plans would have
hours with two prices and hours with none.

Source: https://github.com/UNSW-CEEM/Bill_Calculator
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from billing.tariffs.importing import (
    CannotImportError,
    Dated,
    Fields,
    Imported,
    Record,
    Refused,
    daily_supply,
    imported_from,
    written,
)
from billing.tariffs.importing_times import (
    DAYS,
    HOLIDAY,
    LONGEST_KEY,
    MINUTES,
    Day,
    calendar_of,
    day_of,
    document_of,
    period_named,
    spans_of,
)
from billing.tariffs.sentences import sentence

Windows = list[list[list[tuple[int, int, str]]]]
"""For 12 months and the days of the week: windows of a day, with their periods."""

ABOUT: Final = (
    "CustomerType", "Date_accessed", "Date_accessed ", "Description", "Distributor", "ProviderType",
    "State", "Tariff Code", "Tariff ID", "Type", "Year",
)  # fmt: skip
ALL_MONTHS: Final = list(range(1, 13))
# Dollars a day. The dearest sound plan of small customers has 2.54: above this a charge for a year
# was entered as one for a day.
DEAREST_DAY: Final = Decimal(20)
# Demand windows are counted in the half hours of the meters that the form was made for.
HALF_HOUR: Final = 30


def import_retail(source: Record) -> Imported | Refused:
    """A plan of a retailer."""
    return imported_from(source, lambda fields: _tariff(fields, fields.inner("Parameters")))


def import_network(source: Record, *, part: str = "NUOS") -> Imported | Refused:
    """A part of the tariff of a network."""
    return imported_from(source, lambda fields: _network(fields, part))


def _network(fields: Fields, part: str) -> Dated:
    parts = fields.inner("Parameters")
    if part not in parts:
        raise CannotImportError(parts.name(part), sentence("is not there."))
    if fields.number("Discount (%)", Decimal(0)):
        raise CannotImportError(
            fields.name("Discount (%)"), sentence("does not say on what it is given.")
        )
    chosen = parts.inner(part)
    for other in parts.record:
        if other != part:
            parts.take(other)
            parts.note(
                other, sentence("another part of the tariff; %(part)s was asked for.", part=part)
            )
    whole = parts.record.get("NUOS")
    if part != "NUOS" and isinstance(whole, Mapping):
        least = chosen.inner("Daily").number("Value", Decimal(0))
        most = Fields(whole, parts.name("NUOS")).inner("Daily").number("Value", Decimal(0))
        if least > most > 0 and least > DEAREST_DAY:
            raise CannotImportError(
                chosen.name("Daily"),
                sentence(
                    "is %(least)s a day, and the whole of which it is a part %(most)s.",
                    least=written(least),
                    most=written(most),
                ),
            )
    return _tariff(fields, chosen, part)


def _tariff(fields: Fields, parameters: Fields, part: str = "") -> Dated:
    state = str(fields.take("State", ""))
    provider, plan = str(fields.take("Provider", "")).strip(), str(fields.take("Name", "")).strip()
    name = plan if plan.startswith(provider) else f"{provider} {plan}"
    fields.describe(ABOUT)
    grids: dict[str, list[list[Day]]] = {}
    components = []
    if "Daily" in parameters:
        daily = parameters.inner("Daily")
        if (amount := _value(daily, "$/day")) > DEAREST_DAY:
            raise CannotImportError(
                daily.path,
                sentence(
                    "is %(amount)s a day, more than any small customer pays: a year's?",
                    amount=written(amount),
                ),
            )
        daily.finish()
        components.append(daily_supply(amount))
    holidays = any("public holiday" in one.lower() for one in parameters.inner("TOU").record)
    components += _blocks(parameters)
    if "FlatRate" in parameters:
        flat = parameters.inner("FlatRate")
        components.append(_energy(written(_value(flat, "$/kWh"))))
        flat.finish()
    if "TOU" in parameters:
        components.append(_time_of_use(parameters.inner("TOU"), grids, holidays))
    if "Demand" in parameters:
        components += _demands(parameters.inner("Demand"), grids)
    if "FiT" in parameters:
        feed_in = parameters.inner("FiT")
        price = written(_value(feed_in, "$/kWh"))
        components.append({"name": "feed_in", "kind": "energy", "flow": "export", "prices": price})
        feed_in.finish()
    parameters.finish()
    document = document_of(
        fields, f"{name} – {part}" if part else name, "AUD", calendar_of(grids), components,
        holidays=f"AU-{state}" if holidays else "",
    )  # fmt: skip
    return Dated(document)


def _energy(prices: Any) -> dict[str, Any]:
    return {"name": "energy", "kind": "energy", "prices": prices}


def _value(fields: Fields, unit: str) -> Decimal:
    if (given := fields.take("Unit")) != unit:
        raise CannotImportError(
            fields.name("Unit"),
            sentence("is %(given)s, expected %(unit)s.", given=given, unit=unit),
        )
    return fields.number("Value")


def _blocks(parameters: Fields) -> list[dict[str, Any]]:
    for name in ("BlockQuarterly", "BlockAnnual"):
        if parameters.take(name):
            raise CannotImportError(
                parameters.name(name),
                sentence("has blocks of longer than a month, which no tiers have."),
            )
    if "BlockDaily" not in parameters:
        return []
    blocks = parameters.inner("BlockDaily")
    tiers = []
    for name in blocks.record:
        block = blocks.inner(name)
        tiers.append((block.number("HighBound", endless=True), _value(block, "$/kWh")))
        block.finish()
    tiers.sort()
    if not tiers:
        raise CannotImportError(blocks.path, sentence("has no blocks in it."))
    if tiers[-1][0].is_finite():
        raise CannotImportError(
            blocks.path, sentence("has no price above %(tiers)s kWh.", tiers=written(tiers[-1][0]))
        )
    prices = [
        ({"up_to": written(bound)} if bound.is_finite() else {}) | {"price": written(price)}
        for bound, price in tiers
    ]
    return [_energy(prices) | {"tiers": {"per": "day", "unit": "kWh", "shared": "chronological"}}]


def _time_of_use(
    entries: Fields, grids: dict[str, list[list[Day]]], holidays: bool
) -> dict[str, Any]:
    year: Windows = [[[] for _ in range(8 if holidays else 7)] for _ in range(12)]
    prices: dict[str, str] = {}
    for name in entries.record:
        entry = entries.inner(name)
        period = period_named(name, prices)
        prices[period] = written(_value(entry, "$/kWh"))
        for month, day, start, end in _times(entry, holidays):
            year[month][day].append((start, end, period))
        entry.finish()
    grids["energy"] = [
        [
            day_of(day, f"{entries.path}, month {month + 1}, {DAYS[number]}")
            for number, day in enumerate(week)
        ]
        for month, week in enumerate(year)
    ]
    if len(prices) == 1:
        del grids["energy"]
        return _energy(next(iter(prices.values())))
    return _energy(prices) | {"schedule": "energy"}


def _demands(entries: Fields, grids: dict[str, list[list[Day]]]) -> list[dict[str, Any]]:
    """A component for each entry, entries of one group together, free at other times."""
    made: dict[str, dict[str, Any]] = {}
    windows: dict[str, Windows] = {}
    for name in entries.record:
        entry = entries.inner(name)
        group = entry.take("Group")
        key = f"demand_{_key(f'group {group}' if group is not None else name)}"
        component = _demand(entry, key)
        if made.setdefault(key, component) != component:
            raise CannotImportError(
                entry.path, sentence("differs from the others of group %(group)s.", group=group)
            )
        year = windows.setdefault(key, [[[] for _ in range(7)] for _ in range(12)])
        for month, day, start, end in _times(entry, holidays=False):
            year[month][day].append((start, end, "measured"))
        entry.finish()
    for key, year in windows.items():
        grids[key] = [[day_of(_filled(day), entries.path) for day in week] for week in year]
    return list(made.values())


def _demand(entry: Fields, key: str) -> dict[str, Any]:
    unit = entry.take("Unit")
    if unit == "$/kW/Day":
        raise CannotImportError(
            entry.name("Unit"),
            sentence("is a price per kW and day; demand is priced per kW and month."),
        )
    price = _value(entry, "$/kW/Month")
    for name, sound, why in (
        ("Number of Peaks", 1, sentence("is the mean of several peaks, not the highest demand.")),
        ("Day Average", False, sentence("is the mean of a day's window, not the highest demand.")),
        (
            "Based on Network Peak",
            False,
            sentence("is the demand at the network's peak, not the customer's."),
        ),
        ("Min Demand Charge ($)", 0, sentence("is a least amount for demand alone.")),
    ):
        if entry.take(name, sound) != sound:
            raise CannotImportError(entry.name(name), why)
    minutes = entry.number("Demand Window Length", Decimal(1)) * HALF_HOUR
    if minutes not in (30, 60):
        raise CannotImportError(
            entry.name("Demand Window Length"), sentence("is %(minutes)s minutes.", minutes=minutes)
        )
    component = {"name": key, "kind": "demand", "window_min": int(minutes), "schedule": key}
    if least := entry.number("Min Demand (kW)", Decimal(0)):
        component["minimum_kw"] = written(least)
    return component | {"prices": {"measured": written(price)}}


def _times(entry: Fields, holidays: bool) -> Iterable[tuple[int, int, int, int]]:
    """Month (from 0), day of the week, start and end in minutes of each window of an entry."""
    months = entry.listed("Month") or ALL_MONTHS
    if any(not isinstance(month, int) or month not in ALL_MONTHS for month in months):
        raise CannotImportError(
            entry.name("Month"), sentence("has a month that is none: %(months)s.", months=months)
        )
    doubled = [month for month in ALL_MONTHS if months.count(month) > 1]
    if doubled:
        raise CannotImportError(
            entry.name("Month"), sentence("has month %(doubled)s twice.", doubled=doubled[0])
        )
    week, end = entry.take("Weekday", True), entry.take("Weekend", True)
    days = [*(range(5) if week else ()), *(range(5, 7) if end else ())]
    if holidays and end:
        days.append(HOLIDAY)
    spans = [(0, MINUTES)]
    if "TimeIntervals" in entry:
        times = entry.inner("TimeIntervals")
        spans = [span for name in times.record for span in _interval(times, name)]
    return [(month - 1, day, *span) for month in months for day in days for span in spans]


def _interval(times: Fields, name: str) -> list[tuple[int, int]]:
    pair = times.listed(name)
    if len(pair) != 2:
        raise CannotImportError(times.name(name), sentence("is no start and end."))
    return spans_of(pair[0], pair[1], times.name(name))


def _filled(day: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """A day's windows with the times between them."""
    made, at = [], 0
    for start, end, period in sorted(day):
        if start > at:
            made.append((at, start, "free"))
        made.append((start, end, period))
        at = max(at, end)
    return [*made, (at, MINUTES, "free")] if at < MINUTES else made


def _key(text: str) -> str:
    """A part of the name of a component and its schedule."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[: LONGEST_KEY - len("demand_")]
