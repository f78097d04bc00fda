"""Comparisons of tariffs: asking for one, and what came out."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import comparisons_operations, comparisons_queries
from billing.domain.comparison_values import Days, Question, last_year
from billing.domain.pages_queries import NotThere
from billing.models import ComparisonState, TariffComparison
from billing.tasks import compare_tariffs
from portal.enterprise.billing import pages_comparisons
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_comparisons import (
    ComparisonForm,
    initial_again,
    initial_of,
)
from portal.enterprise.registry.requests import actor_id, chosen_ids, own_tenant_id, posted
from portal.frame.permissions import BILLING_OFFICE, requires


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE)
def create(request: HttpRequest) -> HttpResponse:
    """Ask what others would have cost: `?agreement=7`, `?customer=7`, or `?again=7` for a
    comparison with other wishes.
    """
    tenant_id, now = own_tenant_id(request), datetime.now(UTC)
    again = next(iter(chosen_ids(request, "again")), None) if request.method != "POST" else None
    found = comparisons_queries.form_page(tenant_id=tenant_id, again=again)
    if again is not None and found.again is None:
        raise Http404
    form = ComparisonForm(
        posted(request), of=found.choices, initial=_initial(request, found.again, now)
    )

    def do() -> Done:
        made = comparisons_operations.ask(
            tenant_id=tenant_id,
            whose=form.whose_use(),
            days=form.days(),
            question=form.cleaned_data["question"],
            now=now,
            actor_id=actor_id(request),
        )
        if made.state == ComparisonState.WAITING:
            ids = {"tenant_id": made.tenant_id, "comparison_id": made.pk}
            transaction.on_commit(partial(compare_tariffs.delay, **ids))
        return Done(_("The comparison is kept for a week."), reverse("comparison", args=[made.pk]))

    page = FormPage(_("Compare tariffs"), ((_("Tariffs"), reverse("tariff-list")),), _("Compute"))
    context: dict[str, object] = {
        "kept": [pages_comparisons.entry(one) for one in found.recent],
    }
    template = "enterprise/billing/comparison_new.html"
    return answer(request, form, page, do, template=template, context=context)


def _initial(
    request: HttpRequest, again: TariffComparison | None, now: datetime
) -> dict[str, object]:
    if again is not None:
        days = Days(again.first_on, again.end_on)
        return initial_again(Question.read(again.question), days, again.agreements)
    return initial_of(
        last_year(now.date()),
        agreement=request.GET.get("agreement", ""),
        customer=request.GET.get("customer", ""),
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def comparison(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What came out, or how far it is."""
    try:
        row = comparisons_queries.comparison(comparison_id=pk)
    except NotThere as error:
        raise Http404 from error
    context = pages_comparisons.comparison(row)
    return render(request, "enterprise/billing/comparison.html", context)
