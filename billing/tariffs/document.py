"""A tariff's document to the tariff: strict, with every problem by its path."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from babel.numbers import get_currency_precision

from billing.tariffs import form, holidaying, parts
from billing.tariffs.parts import Tariff
from billing.tariffs.reading import Reading
from billing.tariffs.sentences import sentence
from billing.tariffs.shapes import Problems
from billing.tariffs.source import TariffError, canonical, load, plain, sha256_of

__all__ = ["Tariff", "TariffError", "canonical", "load", "plain", "read", "sha256_of"]

_LEAP: Final = 2024


def read(source: str | Mapping[str, Any]) -> Tariff:
    """The tariff that a text (YAML or JSON) or a mapping says. Raises TariffError, whose `problems`
    are all that is wrong: first of the form, and when that is right of what the parts mean.
    """
    document = load(source) if isinstance(source, str) else plain(source)
    problems = Problems()
    found = form.DOCUMENT.read(document, "", problems)
    if problems.shape:
        raise TariffError(problems.shape)
    seasons = _seasons(found["seasons"] or {}, problems)
    holidays = _holidays(found["holidays"], problems)
    reading = Reading(
        problems=problems,
        interval_min=found["interval_min"] or 15,
        seasons=seasons,
        holidays=holidays,
    )
    for name, rules in (found["schedules"] or {}).items():
        reading.schedule(name, rules)
    for n, component in enumerate(found["components"]):
        reading.component(component, f"components[{n}]")
    reading.finish()
    if problems.meaning:
        raise TariffError(problems.meaning)
    return Tariff(
        name=found["name"],
        currency=found["currency"],
        interval_min=reading.interval_min,
        schedules=tuple(reading.schedules.values()),
        components=tuple(reading.components),
        rounding=_rounding(found["rounding"] or {}, found["currency"]),
        sha256=sha256_of(document),
    )


def _rounding(found: Mapping[str, Any], currency: str) -> parts.Rounding:
    """Without a step, to the smallest coin of the currency."""
    usual = parts.Rounding()
    return parts.Rounding(
        found.get("step") or Decimal(1).scaleb(-get_currency_precision(currency)),
        parts.Mode(found.get("mode") or usual.mode),
        parts.At(found.get("at") or usual.at),
        found.get("total_step"),
    )


def _seasons(found: Mapping[str, list[str]], problems: Problems) -> tuple[parts.Season, ...]:
    made = []
    days: dict[tuple[int, int], str] = {}
    for name, texts in found.items():
        pairs = []
        for n, text in enumerate(texts):
            path = f"seasons.{name}[{n}]"
            try:
                first, last = (
                    date.fromisoformat(f"{_LEAP}-{end}") for end in text.split("..", maxsplit=1)
                )
            except ValueError:
                problems.meaning.append(
                    (path, sentence("“%(text)s” has a day that no month has.", text=text))
                )
                continue
            pairs.append(((first.month, first.day), (last.month, last.day)))
            for day in days_of(pairs[-1]):
                if day in days:
                    problems.meaning.append(
                        (
                            path,
                            sentence(
                                "%(day)s is in %(name)s and in %(days)s as well.",
                                day=_day(day),
                                name=name,
                                days=days[day],
                            ),
                        )
                    )
                    break
                days[day] = name
        made.append(parts.Season(name, tuple(pairs)))
    if found and not problems.meaning:
        for day in days_of(((1, 1), (12, 31))):
            if day not in days:
                problems.meaning.append(
                    ("seasons", sentence("%(day)s is in no season.", day=_day(day)))
                )
                break
    return tuple(made)


def days_of(part: tuple[tuple[int, int], tuple[int, int]]) -> list[tuple[int, int]]:
    """The (month, day) pairs of a part of the year, 29 February among them."""
    every = [(m, d + 1) for m in range(1, 13) for d in range(parts.MONTH_LENGTHS[m - 1])]
    first, last = every.index(part[0]), every.index(part[1])
    return every[first : last + 1] if first <= last else every[first:] + every[: last + 1]


def _day(day: tuple[int, int]) -> str:
    return f"{day[0]:02}-{day[1]:02}"


def _holidays(found: str | list[str] | None, problems: Problems) -> tuple[str, ...]:
    texts = [found] if isinstance(found, str) else found or []
    for n, text in enumerate(texts):
        path = "holidays" if isinstance(found, str) else f"holidays[{n}]"
        if not holidaying.known(text):
            problems.meaning.append(
                (
                    path,
                    sentence(
                        "“%(text)s” is neither a region such as DE-BY nor a date such as"
                        " 2027-12-24.",
                        text=text,
                    ),
                )
            )
    return tuple(texts)
