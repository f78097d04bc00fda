"""Whether another tariff would be cheaper for a person: of the own agreement, in plain words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.dispatch.battery import Battery, BatteryError
from billing.dispatch.solar import SolarError
from billing.domain import comparisons_operations, comparisons_queries
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_values import Panels, Question, Sums, Total, Whose, last_year
from billing.domain.pages_queries import NotThere
from billing.models import ComparisonState, TariffComparison
from billing.tasks import compare_tariffs
from portal.consumer import pages
from portal.consumer.bills import person_of
from portal.consumer.guard import AtHome, at_home
from portal.frame import quantities

# A battery of a house: half of what it holds in an hour.
_POWER_SHARE = 0.5


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@at_home
def compare(request: AtHome) -> HttpResponse:
    """Ask; and what was asked within a week."""
    user_id = person_of(request)
    problem = ""
    if request.method == "POST":
        try:
            made = comparisons_operations.ask(
                tenant_id=request.visit.bearer.tenant_id,
                whose=Whose(agreement_id=_number(request.POST.get("agreement", ""))),
                days=last_year(datetime.now(UTC).date()),
                question=_question(request),
                now=datetime.now(UTC),
                actor_id=user_id,
                user_id=user_id,
            )
        except AgreementNotFound as error:
            raise Http404 from error
        except ValidationError as error:
            problem = " ".join(error.messages)
        else:
            ids = {"tenant_id": made.tenant_id, "comparison_id": made.pk}
            transaction.on_commit(partial(compare_tariffs.delay, **ids))
            return redirect("consumer:comparison", pk=made.pk)
    found = comparisons_queries.own(user_id=user_id)
    context = pages.person(request.visit) | {
        "agreements": found.agreements,
        "kept": [_entry(one) for one in found.kept],
        "problem": problem,
        "given": {name: request.POST.get(name, "") for name in ("agreement", "kwp", "kwh")},
    }
    return render(request, "consumer/compare.html", context, status=422 if problem else 200)


@require_safe
@never_cache
@at_home
def comparison(request: AtHome, *, pk: int) -> HttpResponse:
    """What came out."""
    try:
        row = comparisons_queries.comparison(comparison_id=pk, user_id=person_of(request))
    except NotThere as error:
        raise Http404 from error
    context = pages.person(request.visit) | {"one": _entry(row), **_result(row)}
    return render(request, "consumer/comparison.html", context)


def _number(text: str) -> int:
    """Of an agreement; none where it is no number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def _question(request: AtHome) -> Question:
    """Photovoltaics and a battery by their size. Raises ValidationError."""
    kwp, kwh = (_size(request.POST.get(name, "")) for name in ("kwp", "kwh"))
    try:
        return Question(
            offered=True,
            panels=Panels(kwp) if kwp else None,
            battery=Battery(kwh, kwh * _POWER_SHARE) if kwh else None,
        )
    except (SolarError, BatteryError) as error:
        raise ValidationError(_("Give a size from 0 to 1000.")) from error


def _size(text: str) -> float:
    """A size in kWp or kWh as people write it; empty is none."""
    if not text.strip():
        return 0.0
    try:
        size = float(text.strip().replace(",", ".")[:20])
    except ValueError as error:
        raise ValidationError(_("Give a size as a number, for example 5.")) from error
    if not 0 <= size <= 1000:
        raise ValidationError(_("Give a size from 0 to 1000."))
    return size


def _entry(row: TariffComparison) -> dict[str, Any]:
    question = Question.read(row.question)
    changes = []
    if question.panels:
        size = quantities.number(question.panels.kwp, 1)
        changes.append(_("with %(size)s kWp on the roof") % {"size": size})
    if question.battery:
        size = quantities.number(question.battery.capacity_kwh, 1)
        changes.append(_("with a battery of %(size)s kWh") % {"size": size})
    return {
        "address": reverse("consumer:comparison", args=[row.pk]),
        "title": row.title,
        "changes": changes,
        "asked": date_format(row.asked_at, "j F Y"),
        "days": _days(row),
        "waits": row.state == ComparisonState.WAITING,
    }


def _days(row: TariffComparison) -> str:
    """The months that are compared, once they are known: the agreement may have begun since."""
    covered = Sums.read(row.sums).covered(row.first_on, row.end_on)
    if row.state == ComparisonState.WAITING or covered in (None, (row.first_on, row.end_on)):
        return _("Twelve months from %(month)s on") % {"month": date_format(row.first_on, "F Y")}
    assert covered is not None
    months = [date_format(day, "F Y") for day in (covered[0], covered[1] - timedelta(days=1))]
    return " – ".join(dict.fromkeys(months))


def _result(row: TariffComparison) -> dict[str, Any]:
    """The own tariff and the others, in sentences."""
    if row.state == ComparisonState.WAITING:
        return {}
    sums = Sums.read(row.sums)
    current = sums.current
    sound = [one for one in sums.ranked() if not one.problem]
    if row.state == ComparisonState.FAILED or current is None or not sound:
        return {"sentence": _("It could not be computed: too little is known of your use.")}
    best = sound[0]
    saved = current.total - best.total
    own = sums.current_ids == {best.tariff_id}
    if own or saved <= 0:
        sentence = _("Your tariff is the cheapest of those on offer.")
    else:
        sentence = _("With “%(name)s” you would have paid %(amount)s less.") % {
            "name": best.name,
            "amount": quantities.money(saved, row.currency),
        }
    return {
        "sentence": sentence,
        "rows": [_line(one, current, row, sums) for one in sound],
        "estimated": bool(sums.energies.estimated or sums.missing),
        "generated": quantities.quantity(sums.energies.generated * 1000, "Wh")
        if sums.energies.generated
        else "",
        "moved": quantities.quantity(sums.energies.unloaded * 1000, "Wh")
        if sums.energies.unloaded
        else "",
    }


def _line(one: Total, current: Total, of: TariffComparison, sums: Sums) -> dict[str, Any]:
    difference = one.total - current.total
    amount = quantities.money(abs(difference), of.currency)
    own = sums.current_ids == {one.tariff_id}
    if own:
        text = _("your tariff")
    elif difference > 0:
        text = _("%(amount)s more") % {"amount": amount}
    else:
        text = _("%(amount)s less") % {"amount": amount}
    return {"name": one.name, "total": quantities.money(one.total, of.currency), "text": text}
