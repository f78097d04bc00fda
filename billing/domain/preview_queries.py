"""What the use of an agreement would cost by a tariff that nobody has agreed yet, beside what it
costs by what is agreed.

Reads alone, nothing is kept. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.calendars import midnight, seconds
from billing.domain.contexts import PriceTable, context_of, former_bills
from billing.domain.drafts import Account, accounts_of
from billing.domain.pages_queries import NotThere
from billing.domain.sentences import spoken, spoken_of
from billing.domain.tariffs_checks import Problem, in_words
from billing.domain.terms import terms_of
from billing.domain.usage import usage_of
from billing.models import Agreement
from billing.tariffs import document
from billing.tariffs.calendar import CoverageError
from billing.tariffs.parts import Dynamic
from billing.tariffs.rating import RatingError, Terms, rate
from billing.tariffs.values import (
    MILLIWH_PER_KWH,
    Context,
    Period,
    Rating,
    Usage,
    UsageError,
)
from devices.domain.series_bounds import SeriesRefusedError

MOST_DAYS: Final = 400


@dataclass(frozen=True, slots=True, eq=False)
class Rated:
    """A bill by some terms, or a sentence that says why there is none."""

    rating: Rating | None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """The use of an agreement in a period, rated by a draft, in `currency`, and by what is
    agreed.
    """

    account: Account
    period: Period
    usage: Usage
    currency: str
    draft: Rated
    agreed: Rated

    @property
    def imported_kwh(self) -> Decimal:
        """What was drawn."""
        return Decimal(int(self.usage.imported.sum())) / MILLIWH_PER_KWH

    @property
    def exported_kwh(self) -> Decimal:
        """What was given to the grid."""
        return Decimal(int(self.usage.exported.sum())) / MILLIWH_PER_KWH


def agreement_choices(*, tenant_id: int) -> tuple[tuple[int, str], ...]:
    """Agreements of a tenant to preview with, by number, with their facilities; one query."""
    rows = Agreement.objects.filter(tenant_id=tenant_id).order_by("number", "pk")
    return tuple(
        (pk, f"{number} · {facility}")
        for pk, number, facility in rows.values_list("pk", "number", "facility__name")
    )


def preview(
    source: str | Mapping[str, Any],
    *,
    agreement_id: int,
    first: date,
    end: date,
    now: datetime,
) -> Preview:
    """An agreement's days of [first, end) by a tariff, as text or as a document, and by what holds.

    Raises NotThere, and ValidationError at `source`, `first_on` or `end_on`.
    """
    if not 0 < (end - first).days <= MOST_DAYS:
        message = _("The end lies after the beginning, at most %(most)d days.")
        raise ValidationError({"end_on": [message % {"most": MOST_DAYS}]})
    try:
        tariff = document.read(source)
    except document.TariffError as error:
        problems = [in_words(Problem(spoken(text), path)) for path, text in error.problems]
        raise ValidationError({"source": problems}) from error
    account = accounts_of([agreement_id]).get(agreement_id)
    if account is None:
        raise NotThere
    first = max(first, account.starts_on)
    end = min([end, *([account.ends_on] if account.ends_on else [])])
    try:
        usage = usage_of([agreement_id], first=first, end=end) if first < end else {}
    except SeriesRefusedError as error:
        raise ValidationError({"end_on": [str(error)]}) from error
    if agreement_id not in usage:
        raise ValidationError({"first_on": [_("The agreement does not hold on these days.")]})
    agreed = terms_of([agreement_id], first=first, end=end, known_at=now)[agreement_id]
    power = agreed[-1].contracted_kw if agreed else None
    draft = (Terms(first, end, tariff, power),)
    period = Period(first, end, account.zone)
    context = _context(account, [*draft, *agreed], period, now)
    return Preview(
        account=account,
        period=period,
        usage=usage[agreement_id],
        currency=tariff.currency,
        draft=_rated(draft, usage[agreement_id], period, context),
        agreed=_rated(agreed, usage[agreement_id], period, context),
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
        return Rated(None, spoken_of(error))


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
