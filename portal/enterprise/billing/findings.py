"""What the checklist of a run asks of a person, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.checklist import Code
from billing.domain.sentences import spoken
from billing.models import BillRunItem
from portal.frame.quantities import number

TITLES: Final[dict[str, Promise]] = {
    Code.MISSING_READS: gettext_lazy("Readings are missing"),
    Code.ESTIMATED: gettext_lazy("Much is estimated"),
    Code.IMPLAUSIBLE_USE: gettext_lazy("Use is implausible"),
    Code.ABOVE_CONTRACT: gettext_lazy("More power than agreed"),
    Code.ZERO: gettext_lazy("Nothing to pay"),
    Code.FIRST: gettext_lazy("First bill"),
    Code.NEGATIVE: gettext_lazy("Negative total"),
    Code.TARIFF_MISSING: gettext_lazy("No tariff"),
    Code.COMPUTED_ANEW: gettext_lazy("Computed anew"),
}
# What can be accepted.
CHOICES: Final = [one for one in TITLES.items() if one[0] != Code.COMPUTED_ANEW]


def title(code: str) -> str:
    """What a finding is called."""
    return str(TITLES.get(code, code))


def sentences(item: BillRunItem) -> list[str]:
    """What was found of an account, why it failed, and who has accepted it with which reason."""
    told = [_sentence(one) for one in item.findings]
    if item.problem:
        told.append(spoken(item.problem))
    if item.accepted_by:
        told.append(f"{item.accepted_by}: {item.reason}")
    return told


def _sentence(finding: Mapping[str, Any]) -> str:
    """What was found, with its figures."""
    code = str(finding.get("code", ""))
    text = _texts().get(code)
    if text is None:
        return title(code)
    figures = {name: _figure(value) for name, value in finding.items() if name != "code"}
    try:
        return text % figures
    except KeyError:
        return title(code)


def _texts() -> dict[str, str]:
    return {
        Code.MISSING_READS: _("%(intervals)s of %(of)s intervals are missing"),
        Code.ESTIMATED: _("%(percent)s %% are estimated, above the limit of %(limit)s %%"),
        Code.IMPLAUSIBLE_USE: _("%(kwh_day)s kWh a day, where it was %(former_kwh_day)s before"),
        Code.ABOVE_CONTRACT: _("%(kw)s kW, where %(contracted_kw)s kW are agreed"),
        Code.NEGATIVE: _("%(total)s are owed to the customer"),
        Code.TARIFF_MISSING: _("no tariff from %(first)s to %(end)s"),
        Code.COMPUTED_ANEW: _("computed anew when it became final: %(after)s, before %(before)s"),
    }


def _figure(value: Any) -> str:
    """A figure as text or number; a date and what else is no number stays."""
    try:
        exact = Decimal(str(value))
    except ArithmeticError:
        return str(value)
    places = -int(exact.normalize().as_tuple().exponent)
    return number(exact, min(2, max(0, places)))
