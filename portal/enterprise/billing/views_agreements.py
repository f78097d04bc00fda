"""Agreements: the list, one, and a new one."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import agreements_operations, choices_queries, pages_queries
from portal.enterprise.billing import pages
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import AgreementForm, PlaceForm
from portal.enterprise.billing.tables import AgreementFilter, AgreementTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def agreement_list(request: HttpRequest) -> HttpResponseBase:
    """Agreements of the facilities that the reader sees, and how their accounts stand."""
    return render_list(
        request,
        table_class=AgreementTable,
        rows=pages_queries.agreements(),
        filterset_class=AgreementFilter,
        template="enterprise/billing/agreements.html",
        context={"may_change": may(request, Permission.BILLS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def agreement(request: HttpRequest, *, pk: int) -> HttpResponse:
    """An agreement with its meters, tariffs, bills and account."""
    try:
        found = pages_queries.agreement_page(agreement_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    context = pages.agreement(found, now=datetime.now(UTC))
    context["may_change"] = may(request, Permission.BILLS_CHANGE)
    context["may_pay"] = may(request, Permission.PAYMENTS_CHANGE)
    return render(request, "enterprise/billing/agreement.html", context)


@require_safe
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def choose_place(request: HttpRequest) -> HttpResponse:
    """Where a new agreement is: what else its form offers depends on it."""
    facilities = choices_queries.facilities(tenant_id=own_tenant_id(request))
    page = FormPage(_("New agreement"), _parents(), _("Continue"))
    context = {
        "form": PlaceForm(facilities=facilities),
        "page": page,
        "action": reverse("agreement-create"),
    }
    return render(request, "enterprise/billing/place.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new agreement at a facility (`?facility=7`): somebody moves in."""
    tenant_id = own_tenant_id(request)
    asked = request.GET.get("facility", "")
    try:
        of = choices_queries.for_agreement(
            tenant_id=tenant_id, facility_id=int(asked) if asked.isdecimal() else 0
        )
    except pages_queries.NotThere as error:
        raise Http404 from error
    initial = {"customer": request.GET.get("customer")}
    form = AgreementForm(posted(request), of=of, initial=initial)

    def do() -> Done:
        made = agreements_operations.create_agreement(
            tenant_id=tenant_id,
            values=form.values(),
            tariff=form.tariff_values(),
            meters=form.meter_values(),
            actor_id=actor_id(request),
        )
        said = _("Agreement %(number)s was made.") % {"number": made.number}
        return Done(said, reverse("agreement", args=[made.pk]))

    heading = _("New agreement at %(facility)s") % {"facility": of.facility.name}
    return answer(request, form, FormPage(heading, _parents(), _("Create")), do)


def _parents() -> tuple[tuple[str, str], ...]:
    return ((_("Agreements"), reverse("agreement-list")),)
