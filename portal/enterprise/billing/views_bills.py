"""Bills: the list, and one opened down to the readings."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import pages_queries
from portal.enterprise.billing import pages
from portal.enterprise.billing.tables import BillFilter, BillTable
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, requires


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def bill_list(request: HttpRequest) -> HttpResponseBase:
    """Bills and credit notes of the facilities that the reader sees."""
    return render_list(
        request,
        table_class=BillTable,
        rows=pages_queries.bills(),
        filterset_class=BillFilter,
        template="enterprise/billing/bills.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A bill with its lines, and what it was computed from."""
    try:
        found = pages_queries.bill_page(bill_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    return render(request, "enterprise/billing/bill.html", pages.bill(found))
