"""Time-of-use plans of open-energy-tariffs as documents of ours.

Times are those of the wall clock. A window that passes midnight belongs, with both ends, to the
days that it names, which a plan “paints”.

Source: https://github.com/botts7/open-energy-tariffs (schema version 1)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
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
    Day,
    calendar_of,
    day_of,
    document_of,
    period_named,
    spans_of,
)
from billing.tariffs.sentences import sentence

WEEK: Final = DAYS[:HOLIDAY]
DAY_SETS: Final = {"all": range(7), "weekday": range(5), "weekend": range(5, 7)}
META: Final = (
    "country", "coverage", "contributor", "distributor", "id", "license", "notes", "region",
    "regions", "source", "sourceId", "sourceUpdated", "sourceUrl", "timezone", "updated",
    "verified", "verifiedAgainst",
)  # fmt: skip


def import_plan(source: Record) -> Imported | Refused:
    """A plan, valid from its `validFrom` on."""
    return imported_from(source, _plan)


def _plan(fields: Fields) -> Dated:
    meta, tariff = fields.inner("meta"), fields.inner("tariff")
    if meta.take("schemaVersion", "1") != "1":
        raise CannotImportError(
            meta.name("schemaVersion"), sentence("is not 1, the one that is known.")
        )
    if meta.take("unit", "kWh") != "kWh":
        raise CannotImportError(
            meta.name("unit"), sentence("is %(take)s; prices are per kWh.", take=meta.take("unit"))
        )
    name = " – ".join(str(one) for one in (meta.take("provider"), meta.take("plan")) if one)
    currency = meta.take("currency", "")
    meta.describe(META)
    meta.finish()
    for reserved in ("controlledLoad", "demand"):
        if tariff.take(reserved):
            raise CannotImportError(
                tariff.name(reserved),
                sentence("needs a meter or a rule that this form does not describe."),
            )
    seasons = _plan_seasons(tariff)
    grids: dict[str, list[list[Day]]] = {}
    components: list[dict[str, Any]] = []
    if "supply" in tariff:
        supply = tariff.inner("supply")
        components.append(daily_supply(supply.number("daily")))
        supply.finish()
    tariff.take("kind")
    for flow in ("import", "export"):
        if flow in tariff:
            structure = tariff.inner(flow)
            components.append(_plan_energy(structure, flow, seasons, grids))
            structure.finish()
    first = _date(tariff, "validFrom")
    tariff.finish()
    document = document_of(meta, name, currency, calendar_of(grids), components)
    return Dated(document, first)


def _plan_seasons(tariff: Fields) -> dict[int, str]:
    """The season of each month from 0 on; empty where a plan has none."""
    months: dict[int, str] = {}
    for number, season in enumerate(tariff.listed("seasons")):
        fields = Fields(season, tariff.name(f"seasons[{number}]"), tariff.notes)
        first, last = int(fields.number("from")), int(fields.number("to"))
        name = str(fields.take("id"))
        fields.describe(["name"])
        fields.finish()
        for step in range((last - first) % 12 + 1):
            month = (first + step) % 12
            if month in months:
                raise CannotImportError(
                    fields.path,
                    sentence(
                        "month %(month)s is of %(months)s, too.",
                        month=month + 1,
                        months=months[month],
                    ),
                )
            months[month] = name
    if months and len(months) < 12:
        raise CannotImportError(
            tariff.name("seasons"), sentence("do not have every month of the year.")
        )
    return months


def _plan_energy(
    fields: Fields, flow: str, seasons: dict[int, str], grids: dict[str, list[list[Day]]]
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": flow, "kind": "energy", "flow": flow}
    if not fields.take("schedule") and not fields.take("bands"):
        return made | {"prices": written(fields.number("flatRate"))}
    if "flatRate" in fields:
        raise CannotImportError(
            fields.name("flatRate"), sentence("is there beside bands: which one holds?")
        )
    prices: dict[tuple[str, str], Decimal] = {}
    names: dict[str, str] = {}
    for number, band in enumerate(fields.listed("bands")):
        inner = Fields(band, fields.name(f"bands[{number}]"), fields.notes)
        key = str(inner.take("id"))
        if key in names:
            raise CannotImportError(inner.name("id"), sentence("%(key)s is there twice.", key=key))
        names[key] = period_named(inner.take("name", key), names.values())
        rate = inner.number("rate")
        own = inner.inner("seasonRates")
        for season in set(seasons.values()) or {""}:
            prices[key, season] = own.number(season, rate) if season else rate
        own.finish()
        inner.describe(["role", "color"])
        if inner.take("tiers"):
            raise CannotImportError(
                inner.name("tiers"), sentence("are reserved in this form and undefined.")
            )
        inner.finish()
    windows = _plan_windows(fields, names)
    # A band whose price depends on the season is a period of its own in each.
    by_season = {key for key, season in prices if prices[key, season] != prices[key, _any(seasons)]}
    week = [day_of(day, f"{fields.name('schedule')} {DAYS[n]}") for n, day in enumerate(windows)]
    grids[flow] = [
        [
            tuple(
                (start, end, f"{names[key]} {seasons[month]}" if key in by_season else names[key])
                for start, end, key in day
            )
            for day in week
        ]
        for month in range(12)
    ]
    used = {period for month in grids[flow] for day in month for _, _, period in day}
    listed: dict[str, str] = {}
    for (key, season), rate in prices.items():
        period = f"{names[key]} {season}" if key in by_season else names[key]
        if period in used:
            listed[period] = written(rate)
        else:
            fields.note(
                "bands", sentence("%(key)s is in no window, and so without effect.", key=key)
            )
    return made | {"schedule": flow, "prices": listed}


def _any(seasons: dict[int, str]) -> str:
    return next(iter(seasons.values()), "")


def _plan_windows(fields: Fields, names: Mapping[str, str]) -> list[list[tuple[int, int, str]]]:
    week: list[list[tuple[int, int, str]]] = [[] for _ in range(7)]
    for number, window in enumerate(fields.listed("schedule")):
        inner = Fields(window, fields.name(f"schedule[{number}]"), fields.notes)
        days = inner.take("days", "all")
        band = str(inner.take("band"))
        if band not in names:
            raise CannotImportError(
                inner.name("band"), sentence("%(band)s is no band of the plan.", band=band)
            )
        spans = spans_of(inner.take("from"), inner.take("to"), inner.path)
        inner.finish()
        try:
            numbers = DAY_SETS[days] if isinstance(days, str) else [WEEK.index(d) for d in days]
        except (KeyError, TypeError, ValueError):
            raise CannotImportError(
                inner.name("days"), sentence("%(days)s are no days.", days=days)
            ) from None
        for day in numbers:
            week[day] += [(start, end, band) for start, end in spans]
    return week


def _date(fields: Fields, name: str) -> date | None:
    value = fields.take(name)
    try:
        return None if value is None else date.fromisoformat(str(value))
    except ValueError:
        raise CannotImportError(
            fields.name(name), sentence("is no date: %(value)s.", value=repr(value))
        ) from None
