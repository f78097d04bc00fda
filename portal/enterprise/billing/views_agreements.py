"""Customers and agreements: lists, one of them, and the steps that people take."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import pages_queries
from portal.enterprise.billing import pages
from portal.enterprise.billing.tables import (
    AgreementFilter,
    AgreementTable,
    CustomerFilter,
    CustomerTable,
)
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, requires


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
    return render(request, "enterprise/billing/agreement.html", context)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def customer_list(request: HttpRequest) -> HttpResponseBase:
    """Who is billed."""
    return render_list(
        request,
        table_class=CustomerTable,
        rows=pages_queries.customers(),
        filterset_class=CustomerFilter,
        template="enterprise/billing/customers.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def customer(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A customer with its agreements."""
    try:
        found = pages_queries.customer_page(customer_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    return render(request, "enterprise/billing/customer.html", pages.customer(found))
