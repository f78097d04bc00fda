"""Dunning: the cases, one with its history, what people do about it, the policy."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.domain import dunning_pages_queries as queries
from billing.domain import dunning_people_operations as people
from billing.domain import dunning_settings
from billing.domain.dunning_people_operations import CaseNotFound
from billing.domain.pages_queries import NotThere
from portal.enterprise.billing import pages_dunning
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import ReasonForm
from portal.enterprise.billing.forms_dunning import PauseForm, PolicyForm
from portal.enterprise.billing.tables_dunning import CaseFilter, CaseTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def case_list(request: HttpRequest) -> HttpResponseBase:
    """Accounts that are, or were, behind."""
    return render_list(
        request,
        table_class=CaseTable,
        rows=queries.cases(today=datetime.now(UTC).date()),
        filterset_class=CaseFilter,
        template="enterprise/billing/dunning.html",
        context={"may_change": may(request, Permission.PAYMENTS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def case(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A case: what happened, what will, and its commands."""
    try:
        found = queries.case_page(case_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error
    context = {
        **pages_dunning.case(found),
        "may_change": may(request, Permission.PAYMENTS_CHANGE),
    }
    return render(request, "enterprise/billing/dunning_case.html", context)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def account(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What would happen to an account that pays nothing, and when."""
    try:
        found = queries.account_page(agreement_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error
    context = {
        **pages_dunning.account(found),
        "may_change": may(request, Permission.PAYMENTS_CHANGE),
    }
    return render(request, "enterprise/billing/dunning_account.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def pause(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take no further step for some days."""
    form = PauseForm(posted(request))

    def do() -> Done:
        people.pause(
            case_id=pk,
            until=form.cleaned_data["until"],
            reason=form.cleaned_data["reason"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The case is paused."), reverse("dunning-case", args=[pk]))

    _open_case(pk)
    return answer(request, form, FormPage(_("Pause"), _parents(pk), _("Pause")), do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let a case go on."""
    try:
        people.resume(case_id=pk, now=datetime.now(UTC), actor_id=actor_id(request))
    except CaseNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("The case goes on."))
    return redirect("dunning-case", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a case: what was cut comes back."""
    form = ReasonForm(posted(request))

    def do() -> Done:
        people.end(
            case_id=pk,
            reason=form.cleaned_data["reason"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The case is closed."), reverse("dunning-case", args=[pk]))

    _open_case(pk)
    note = _(
        "What was cut is given back at once. While something is overdue, a new case begins within"
        " the hour, whose steps count from today: agree a plan, or write off, where that is not"
        " wanted."
    )
    return answer(request, form, FormPage(_("Close the case"), _parents(pk), _("Close"), note), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def policy(request: HttpRequest) -> HttpResponse:
    """How the tenant duns."""
    tenant_id = own_tenant_id(request)
    row = queries.policy_row(tenant_id=tenant_id)
    form = PolicyForm(posted(request), initial=PolicyForm.initial_of(row))

    def do() -> Done:
        dunning_settings.set_policy(
            tenant_id=tenant_id,
            draft=form.draft(),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The changes were saved."), reverse("dunning-policy"))

    parents = ((_("Dunning"), reverse("dunning-list")),)
    note = _(
        "It holds for open cases too, from their next step on. What it would do to an account is"
        " shown on the page of that account."
    )
    page = FormPage(_("Dunning policy"), parents, _("Save"), note)
    return answer(request, form, page, do)


def _open_case(pk: int) -> None:
    """A form is shown for a case that is open alone."""
    try:
        queries.require_open(case_id=pk)
    except NotThere as error:
        raise Http404 from error


def _parents(pk: int) -> tuple[tuple[str, str], ...]:
    return (
        (_("Dunning"), reverse("dunning-list")),
        (_("Case"), reverse("dunning-case", args=[pk])),
    )
