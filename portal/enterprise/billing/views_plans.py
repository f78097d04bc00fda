"""Plans of payments: the list, one, agreeing and ending one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import dunning_settings
from billing.domain import plans_pages_queries as queries
from billing.domain.pages_queries import NotThere
from portal.enterprise.billing import pages_dunning
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_dunning import MOST_PARTS, PlanForm, WishForm
from portal.enterprise.billing.tables_dunning import PlanFilter, PlanTable
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame import quantities
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission

# Rows that are free beside what was proposed.
_MORE = 3


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def plan_list(request: HttpRequest) -> HttpResponseBase:
    """Plans of payments, running and over."""
    return render_list(
        request,
        table_class=PlanTable,
        rows=queries.plans(),
        filterset_class=PlanFilter,
        template="enterprise/billing/plans.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def plan(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A plan with its instalments as they stand."""
    try:
        found = queries.plan_page(plan_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error
    context = {
        **pages_dunning.plan(found),
        "may_change": may(request, Permission.PAYMENTS_CHANGE),
    }
    return render(request, "enterprise/billing/plan.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def agree(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Agree instalments, or a promise: proposed by what is asked for in the query, then changed at
    will.
    """
    wish = WishForm(request.GET) if request.GET else None
    valid = wish is not None and wish.is_valid()
    try:
        found = queries.proposal(
            agreement_id=pk,
            wish=wish.wish() if wish is not None and valid else None,
            now=datetime.now(UTC),
        )
    except NotThere as error:
        raise Http404 from error
    usual = {"count": 3, "first": found.today + timedelta(days=14), "every": 0}
    initial = _rows(found)
    rows = min(MOST_PARTS, len(found.parts) + _MORE)
    if request.method == "POST":
        rows = MOST_PARTS
    form = PlanForm(posted(request), rows=rows, initial=initial)

    def do() -> Done:
        made = dunning_settings.agree_plan(
            agreement_id=pk,
            parts=form.parts(),
            reason=form.cleaned_data["reason"],
            grace_days=form.cleaned_data["grace_days"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The plan was agreed."), reverse("plan", args=[made.pk]))

    number = found.agreement.number
    parents = (
        (_("Agreements"), reverse("agreement-list")),
        (number, reverse("agreement-dunning", args=[pk])),
    )
    currency = found.agreement.currency
    context = {
        "wish": wish or WishForm(initial=usual),
        "overdue": quantities.money(found.balance.overdue, currency),
        "owed": quantities.money(found.balance.balance, currency),
        "running": found.running,
        "late": found.balance.overdue > 0,
    }
    return answer(
        request,
        form,
        FormPage(_("Agree instalments"), parents, _("Agree")),
        do,
        template="enterprise/billing/plan_agree.html",
        context=context,
    )


def _rows(found: queries.Proposal) -> dict[str, Any]:
    initial: dict[str, Any] = {"grace_days": 3}
    for number, part in enumerate(found.parts, 1):
        initial[f"due_{number}"] = part.due_on
        initial[f"amount_{number}"] = part.amount
    return initial


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a plan that is running: dunning goes on."""
    try:
        found = queries.plan_page(plan_id=pk, now=datetime.now(UTC)).plan
    except NotThere as error:
        raise Http404 from error
    form = forms.Form(posted(request))

    def do() -> Done:
        dunning_settings.cancel_plan(plan_id=pk, now=datetime.now(UTC), actor_id=actor_id(request))
        return Done(_("The plan was ended."), reverse("plan", args=[pk]))

    parents = (
        (_("Instalments"), reverse("plan-list")),
        (found.agreement.number, reverse("plan", args=[pk])),
    )
    note = _("Dunning goes on where it rested.")
    page = FormPage(_("End the plan"), parents, _("End the plan"), note, danger=True)
    return answer(request, form, page, do)
