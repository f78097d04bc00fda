"""What the use of an agreement would cost by a tariff that nobody has agreed yet, beside what it
costs by what is agreed.

Reads alone, nothing is kept. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from billing.domain.calendars import midnight, seconds
from billing.domain.contexts import PriceTable, context_of, former_bills
from billing.domain.drafts import Account, accounts_of
from billing.domain.pages_queries import NotThere
from billing.domain.terms import terms_of
from billing.domain.usage import usage_of
from billing.models import Agreement
from billing.tariffs.calendar import CoverageError
from billing.tariffs.parts import Dynamic, Tariff
from billing.tariffs.rating import RatingError, Terms, rate
from billing.tariffs.values import Context, Period, Rating, Usage, UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """A bill by some terms, or a sentence that says why there is none."""

    rating: Rating | None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """The use of an agreement in a period, rated by a draft and by what is agreed."""

    account: Account
    period: Period
    usage: Usage
    draft: Rated
    agreed: Rated


class NoUse(Exception):  # noqa: N818 - it reads as what happened
    """The agreement does not hold in the period."""


def agreement_choices(*, tenant_id: int) -> tuple[tuple[int, str], ...]:
    """Agreements of a tenant to preview with, by number, with their facilities; one query."""
    rows = Agreement.objects.filter(tenant_id=tenant_id).order_by("number", "pk")
    return tuple(
        (pk, f"{number} · {facility}")
        for pk, number, facility in rows.values_list("pk", "number", "facility__name")
    )


def preview(tariff: Tariff, *, agreement_id: int, first: date, end: date, now: datetime) -> Preview:
    """An agreement's days of [first, end) by a tariff and by what holds. Raises NotThere, NoUse,
    and `SeriesRefusedError` for a time that cannot be read.
    """
    account = accounts_of([agreement_id]).get(agreement_id)
    if account is None:
        raise NotThere
    first = max(first, account.starts_on)
    end = min([end, *([account.ends_on] if account.ends_on else [])])
    if end <= first:
        raise NoUse
    usage = usage_of([agreement_id], first=first, end=end).get(agreement_id)
    if usage is None:
        raise NoUse
    agreed = terms_of([agreement_id], first=first, end=end, known_at=now)[agreement_id]
    power = agreed[-1].contracted_kw if agreed else None
    draft = (Terms(first, end, tariff, power),)
    period = Period(first, end, account.zone)
    context = _context(account, [*draft, *agreed], period, now)
    return Preview(
        account=account,
        period=period,
        usage=usage,
        draft=_rated(draft, usage, period, context),
        agreed=_rated(agreed, usage, period, context),
    )


def _context(account: Account, terms: Sequence[Terms], period: Period, now: datetime) -> Context:
    """Prices, former peaks and credits as a bill of these days would have them."""
    zone = account.zone
    names = {
        one.series for term in terms for one in term.tariff.components if isinstance(one, Dynamic)
    }
    prices = {}
    if names:
        start, end = midnight(period.first, zone), midnight(period.end, zone)
        table = PriceTable(names, start=start, end=end, known_at=now)
        span = seconds(period.first, zone), seconds(period.end, zone)
        prices = table.between(sorted(names), *span)
    former = former_bills([account.agreement_id], before=period.end).get(account.agreement_id, ())
    return context_of(former, prices, first=period.first)


def _rated(terms: Sequence[Terms], usage: Usage, period: Period, context: Context) -> Rated:
    try:
        return Rated(rate(terms, usage, period, context))
    except (RatingError, CoverageError, UsageError) as error:
        return Rated(None, str(error))


@dataclass(frozen=True, slots=True)
class Difference:
    """A line of either bill: amounts are None where it has no such line."""

    label: str
    kind: str
    period: str
    tier: int
    quantity: Decimal
    unit: str
    agreed: Decimal | None
    draft: Decimal | None

    @property
    def difference(self) -> Decimal:
        """What the draft costs more."""
        return (self.draft or Decimal(0)) - (self.agreed or Decimal(0))


def differences(found: Preview) -> tuple[Difference, ...]:
    """Both bills line by line: lines of the same component, period and tier beside each other,
    their amounts added up over parts of the period.
    """
    sides = [{} if one.rating is None else _sums(one.rating) for one in (found.agreed, found.draft)]
    keys = dict.fromkeys([*sides[1], *sides[0]])
    made = []
    for key in keys:
        agreed, draft = (side.get(key) for side in sides)
        shown = draft or agreed
        assert shown is not None
        made.append(
            Difference(
                shown.label, shown.kind, shown.period, shown.tier, shown.quantity, shown.unit,
                agreed.amount if agreed else None, draft.amount if draft else None,
            )
        )  # fmt: skip
    return tuple(made)


@dataclass(slots=True)
class _Sum:
    label: str
    kind: str
    period: str
    tier: int
    unit: str
    quantity: Decimal
    amount: Decimal


def _sums(rating: Rating) -> dict[tuple[str, str, int], _Sum]:
    made: dict[tuple[str, str, int], _Sum] = {}
    for line in rating.lines:
        key = line.component, line.period, line.tier
        if key in made:
            made[key].quantity += line.quantity
            made[key].amount += line.amount
        else:
            made[key] = _Sum(
                line.label, line.kind.value, line.period, line.tier, line.unit, line.quantity,
                line.amount,
            )  # fmt: skip
    return made
