"""What must hold of a tariff's document before customers pay by it.

Needs an open scope that holds the tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.sentences import spoken, spoken_of
from billing.models import PriceSeries
from billing.tariffs import document
from billing.tariffs.check import CoverageError, check
from billing.tariffs.parts import Dynamic, Tariff
from devices.models import Facility

# Every constellation of weekdays and leap days that a bill of the next years will meet.
YEARS: Final = 5
# Where a tenant has no facility yet: with clock changes, so that these are tried.
_DEFAULT_ZONE: Final = "Europe/Berlin"
# What bills keep of an amount (`billing.models.fields.MoneyField`).
_COIN: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong: `path` in the document, `zone` where it shows in the calendar of one."""

    sentence: str
    path: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a document says and what is wrong with it; `tariff` is None where it is no tariff. It
    was tried in the calendars of `zones` for the days [first, end).
    """

    mapping: Mapping[str, Any] | None
    tariff: Tariff | None
    problems: tuple[Problem, ...]
    zones: tuple[str, ...]
    first: date
    end: date


def examine(
    source: str | Mapping[str, Any],
    *,
    tenant_id: int,
    currency: str | None,
    valid_from: date,
    now: datetime,
) -> Checked:
    """Read a document and try it over the years to come in the calendars of the tenant's
    facilities; two queries.
    """
    zones = zones_of(tenant_id)
    first = valid_from
    last = max(valid_from, now.date())
    end = date(last.year + YEARS, last.month, 1)
    try:
        mapping = document.load(source) if isinstance(source, str) else document.plain(source)
        tariff = document.read(mapping)
    except document.TariffError as error:
        wrong = tuple(Problem(spoken(told), path) for path, told in error.problems)
        return Checked(None, None, wrong, zones, first, end)
    problems = [
        *_money(tariff, currency),
        *_series(tariff, tenant_id),
        *_coverage(tariff, zones, first, end),
    ]
    return Checked(mapping, tariff, tuple(problems), zones, first, end)


def readable(source: str, *, currency: str) -> dict[str, Any]:
    """The mapping of a text that is a tariff in a currency; ValidationError at `source`, where all
    that is wrong is told.
    """
    try:
        mapping = document.load(source)
        tariff = document.read(mapping)
    except document.TariffError as error:
        raise ValidationError(
            {"source": [in_words(Problem(spoken(text), path)) for path, text in error.problems]}
        ) from error
    if wrong := _money(tariff, currency):
        raise ValidationError({"source": [in_words(one) for one in wrong]})
    return mapping


def in_words(problem: Problem) -> str:
    """With where it is."""
    at = problem.path or problem.zone
    return f"{at}: {problem.sentence}" if at else problem.sentence


def zones_of(tenant_id: int) -> tuple[str, ...]:
    """The time zones of a tenant's facilities, of a tenant without any a usual one; one query."""
    rows = Facility.objects.filter(tenant_id=tenant_id).order_by("time_zone")
    return tuple(rows.values_list("time_zone", flat=True).distinct()) or (_DEFAULT_ZONE,)


def is_past(day: date, *, zones: tuple[str, ...], now: datetime) -> bool:
    """Whether the day is over in one of the zones: what was used then may be billed."""
    return any(day < now.astimezone(ZoneInfo(zone)).date() for zone in zones)


def _money(tariff: Tariff, currency: str | None) -> list[Problem]:
    problems = [
        Problem(
            _("Bills keep four decimal places of an amount: round to multiples of 0.0001."),
            f"rounding.{name}",
        )
        for name in ("step", "total_step")
        if (getattr(tariff.rounding, name) or _COIN) % _COIN
    ]
    if currency is not None and tariff.currency != currency:
        message = _("The prices are in %(document)s, but the tariff is in %(tariff)s.")
        told = {"document": tariff.currency, "tariff": currency}
        problems.append(Problem(message % told, "currency"))
    return problems


def _series(tariff: Tariff, tenant_id: int) -> list[Problem]:
    named = {one.series: one.name for one in tariff.components if isinstance(one, Dynamic)}
    rows = PriceSeries.objects.filter(tenant_id=tenant_id, name__in=named)
    found = dict(rows.values_list("name", "currency"))
    problems = []
    for series, component in named.items():
        told = {"series": series, "component": component}
        if series not in found:
            message = _("“%(component)s”: there is no series of prices “%(series)s”.")
            problems.append(Problem(message % told))
        elif found[series] != tariff.currency:
            message = _("“%(component)s”: the prices of “%(series)s” are in %(currency)s.")
            problems.append(Problem(message % {**told, "currency": found[series]}))
    return problems


def _coverage(tariff: Tariff, zones: tuple[str, ...], first: date, end: date) -> list[Problem]:
    problems = []
    for zone in zones:
        try:
            check(tariff, zone=zone, first=first, end=end)
        except CoverageError as error:
            problems.append(Problem(spoken_of(error), zone=zone))
    return problems
