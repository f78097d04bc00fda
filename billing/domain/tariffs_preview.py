"""What a tariff that nobody has published would have cost: rated over what was really used.

Needs an open scope that is not narrowed to facilities, since it reads prices; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.agreements_queries import agreement
from billing.domain.calendars import midnight
from billing.domain.contexts import PriceTable
from billing.domain.tariffs_checks import Problem, in_words
from billing.domain.usage import usage_of
from billing.tariffs import document
from billing.tariffs.check import CoverageError
from billing.tariffs.parts import Dynamic
from billing.tariffs.pieces import RatingError
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Context, Period, Rating, UsageError
from devices.domain.series_bounds import SeriesRefusedError

MOST_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class PreviewValues:
    """A tariff as text, the agreement whose use is taken, and the days [first_on, end_on)."""

    source: str
    agreement_id: int
    first_on: date
    end_on: date
    contracted_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What it would have cost in `currency`. Nothing of former bills goes into it: no credit of
    theirs, no ratchet.
    """

    rating: Rating
    currency: str
    imported_kwh: Decimal
    exported_kwh: Decimal


def preview(*, values: PreviewValues, now: datetime) -> Preview:
    """Rate a tariff over an agreement's own use; ten queries at most. Raises AgreementNotFound, and
    ValidationError at `source` or `end_on`.
    """
    found = agreement(agreement_id=values.agreement_id)
    _require_days(values)
    zone = found.facility.time_zone
    try:
        tariff = document.read(values.source)
    except document.TariffError as error:
        problems = [in_words(Problem(text, path)) for path, text in error.problems]
        raise ValidationError({"source": problems}) from error
    start, end = (midnight(day, zone) for day in (values.first_on, values.end_on))
    names = [one.series for one in tariff.components if isinstance(one, Dynamic)]
    prices = PriceTable(names, start=start, end=end, known_at=now.astimezone(UTC))
    context = Context(prices.between(names, int(start.timestamp()), int(end.timestamp())))
    try:
        usage = usage_of([found.pk], first=values.first_on, end=values.end_on).get(found.pk)
    except SeriesRefusedError as error:
        raise ValidationError({"end_on": [str(error)]}) from error
    if usage is None:
        raise ValidationError({"first_on": [_("The agreement does not hold on these days.")]})
    terms = Terms(values.first_on, values.end_on, tariff, values.contracted_kw)
    try:
        rating = rate((terms,), usage, Period(values.first_on, values.end_on, zone), context)
    except (RatingError, CoverageError, UsageError) as error:
        raise ValidationError({"source": [str(error)]}) from error
    imported, exported = (int(column.sum()) for column in (usage.imported, usage.exported))
    return Preview(
        rating, tariff.currency, Decimal(imported).scaleb(-6), Decimal(exported).scaleb(-6)
    )


def _require_days(values: PreviewValues) -> None:
    days = (values.end_on - values.first_on).days
    if not 0 < days <= MOST_DAYS:
        message = _("The end lies after the beginning, at most %(most)d days.")
        raise ValidationError({"end_on": [message % {"most": MOST_DAYS}]})
