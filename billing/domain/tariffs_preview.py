"""What a tariff that is only a text would have cost, for clients: see `preview_queries`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.preview_queries import NoUse, Rated, preview
from billing.domain.tariffs_checks import Problem, in_words
from billing.tariffs import document
from billing.tariffs.values import Rating
from devices.domain.series_bounds import SeriesRefusedError

MOST_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class PreviewValues:
    """A tariff as text, the agreement whose use is taken, and the days [first_on, end_on)."""

    source: str
    agreement_id: int
    first_on: date
    end_on: date


@dataclass(frozen=True, slots=True)
class Tried:
    """What the use would have cost in `currency`, and what it costs by what is agreed."""

    currency: str
    rating: Rating
    agreed: Rated
    imported_kwh: Decimal
    exported_kwh: Decimal


def try_text(*, values: PreviewValues, now: datetime) -> Tried:
    """Rate a text over an agreement's own use. Raises NotThere, and ValidationError at `source`,
    `first_on` or `end_on`.
    """
    days = (values.end_on - values.first_on).days
    if not 0 < days <= MOST_DAYS:
        message = _("The end lies after the beginning, at most %(most)d days.")
        raise ValidationError({"end_on": [message % {"most": MOST_DAYS}]})
    try:
        tariff = document.read(values.source)
        found = preview(
            tariff,
            agreement_id=values.agreement_id,
            first=values.first_on,
            end=values.end_on,
            now=now,
        )
    except document.TariffError as error:
        problems = [in_words(Problem(text, path)) for path, text in error.problems]
        raise ValidationError({"source": problems}) from error
    except NoUse as error:
        sentence = _("The agreement does not hold on these days.")
        raise ValidationError({"first_on": [sentence]}) from error
    except SeriesRefusedError as error:
        raise ValidationError({"end_on": [str(error)]}) from error
    if found.draft.rating is None:
        raise ValidationError({"source": [found.draft.problem]})
    imported, exported = (int(one.sum()) for one in (found.usage.imported, found.usage.exported))
    return Tried(
        currency=tariff.currency,
        rating=found.draft.rating,
        agreed=found.agreed,
        imported_kwh=Decimal(imported).scaleb(-6),
        exported_kwh=Decimal(exported).scaleb(-6),
    )
