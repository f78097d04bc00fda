"""Why a bill was computed anew, in words for whoever gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

from django.utils import formats, translation
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from billing.domain.restatement_finding import CauseCode

# As many different causes are told one by one.
_MOST_TOLD: Final = 3
_LENGTH: Final = 400

SENTENCES: Final[Mapping[CauseCode, Promise]] = {
    CauseCode.LATE: _("Readings of %(days)s arrived after the bill was made."),
    CauseCode.CORRECTION: _("Readings of %(days)s were corrected."),
    CauseCode.IMPORT: _("Readings of %(days)s were imported after the bill was made."),
    CauseCode.DERIVED: _("How use is computed was changed for %(days)s."),
    CauseCode.REGISTRY: _("Where a meter counts was changed for %(days)s."),
    CauseCode.TARIFF: _("The tariff was corrected for %(days)s."),
    CauseCode.PRICES: _("Prices of %(days)s were entered or corrected."),
    CauseCode.AGREEMENT: _("The agreement was changed for %(days)s."),
    CauseCode.FORMER_BILL: _("An earlier bill was corrected, which this one rests on."),
}


def days_of(cause: Mapping[str, Any]) -> str:
    """The days of a kept cause, in the language in use."""
    first = date.fromisoformat(cause["first"])
    last = date.fromisoformat(cause["end"]) - timedelta(days=1)
    told = [formats.date_format(day, "SHORT_DATE_FORMAT") for day in (first, last)]
    if first >= last:
        return told[0]
    return gettext("%(first)s to %(last)s") % {"first": told[0], "last": told[1]}


def sentences(causes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each cause once, in the language in use."""
    found = [str(SENTENCES[CauseCode(one["code"])]) % {"days": days_of(one)} for one in causes]
    return list(dict.fromkeys(found))


def told(causes: Sequence[Mapping[str, Any]], *, language: str) -> str:
    """What stands on credit note and new bill, in the language of who gets them."""
    with translation.override(language):
        found = sentences(causes)
        text = " ".join(found[:_MOST_TOLD])
        more = max(0, len(found) - _MOST_TOLD)
        if more:
            text += " " + ngettext(
                "And %(count)d more cause.", "And %(count)d more causes.", more
            ) % {"count": more}
    return text[:_LENGTH]
