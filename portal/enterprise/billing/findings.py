"""What the checklist of a run asks of a person, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.models import BillRunItem
from portal.frame.quantities import number

# By the codes of `billing.domain.checklist`.
TITLES: Final = {
    "missing_reads": gettext_lazy("Readings are missing"),
    "estimated": gettext_lazy("Much is estimated"),
    "implausible_use": gettext_lazy("Use is implausible"),
    "above_contract": gettext_lazy("More power than agreed"),
    "zero": gettext_lazy("Nothing to pay"),
    "first": gettext_lazy("First bill"),
    "negative": gettext_lazy("Negative total"),
    "tariff_missing": gettext_lazy("No tariff"),
}
CHOICES: Final = list(TITLES.items())


def title(code: str) -> str:
    """What a finding is called."""
    return str(TITLES.get(code, code))


def sentences(item: BillRunItem) -> list[str]:
    """What was found of an account, why it failed, and who has accepted it with which reason."""
    told = [_sentence(one) for one in item.findings]
    if item.problem:
        told.append(item.problem)
    if item.accepted_by:
        told.append(_("Accepted by %(person)s") % {"person": item.accepted_by})
    return told


def _sentence(finding: Mapping[str, Any]) -> str:
    """The title with its figures."""
    code = str(finding.get("code", ""))
    figures = [
        f"{name.replace('_', ' ')} {_figure(value)}"
        for name, value in finding.items()
        if name != "code" and value not in (None, "")
    ]
    return f"{title(code)} ({', '.join(figures)})" if figures else title(code)


def _figure(value: Any) -> str:
    try:
        exact = Decimal(str(value))
    except ArithmeticError:
        return str(value)
    return number(exact, 0 if exact == exact.to_integral_value() else 2)
