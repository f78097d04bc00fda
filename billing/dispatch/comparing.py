"""What the same use would have cost by several tariffs, month by month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from billing.tariffs.document import Tariff
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Prices, Usage


@dataclass(frozen=True, slots=True)
class Month:
    """What the days [first, end) of a calendar month cost."""

    first: date
    end: date
    net: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Costs:
    """What use costs by one tariff: its months, and their sums in the tariff's currency."""

    months: tuple[Month, ...]
    net: Decimal
    total: Decimal
    # By the kind of line (`billing.tariffs.values.Kind`).
    by_kind: Mapping[str, Decimal]


def months_of(first: date, end: date) -> Iterator[tuple[date, date]]:
    """The parts of the days [first, end) that lie in one calendar month each."""
    while first < end:
        following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        yield first, min(following, end)
        first = following


def costs(
    tariffs: Sequence[tuple[date, Tariff]],
    usage: Usage,
    period: Period,
    *,
    prices: Mapping[str, Prices] | None = None,
    contracted_kw: Decimal | None = None,
) -> Costs:
    """What `usage` costs by a tariff, whose versions are given with the day each begins on, rising.

    Days before the first version are billed by it. Each month is a bill, with the peaks and credits
    of those before it; the first one has none. Raises what `rate` raises.
    """
    context = Context(prices=prices or {})
    months = []
    by_kind: dict[str, Decimal] = {}
    for first, end in months_of(period.first, period.end):
        rating = rate(
            _terms(tariffs, first, end, contracted_kw),
            usage,
            Period(first, end, period.zone),
            context,
        )
        months.append(Month(first, end, rating.net, rating.total))
        for line in rating.lines:
            by_kind[line.kind] = by_kind.get(line.kind, Decimal(0)) + line.amount
        context = replace(
            context,
            peaks=(*context.peaks, *rating.peaks),
            credit=rating.credit,
            credit_milliwh=rating.credit_milliwh,
        )
    return Costs(
        tuple(months),
        sum((month.net for month in months), Decimal(0)),
        sum((month.total for month in months), Decimal(0)),
        by_kind,
    )


def _terms(
    tariffs: Sequence[tuple[date, Tariff]], first: date, end: date, contracted_kw: Decimal | None
) -> tuple[Terms, ...]:
    found = []
    for at, (begins, tariff) in enumerate(tariffs):
        after = tariffs[at + 1][0] if at + 1 < len(tariffs) else end
        begin, stop = (first if not at else max(first, begins)), min(end, after)
        if begin < stop:
            found.append(Terms(begin, stop, tariff, contracted_kw))
    return tuple(found)
