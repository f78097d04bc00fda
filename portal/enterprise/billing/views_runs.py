"""Bill runs: the list, and one with its checklist."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import pages_queries
from portal.enterprise.billing import pages_runs
from portal.enterprise.billing.tables import RunFilter, RunTable
from portal.enterprise.billing.tables_runs import ItemFilter, ItemTable
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, requires


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def run_list(request: HttpRequest) -> HttpResponseBase:
    """The tenant's bill runs."""
    return render_list(
        request,
        table_class=RunTable,
        rows=pages_queries.runs(),
        filterset_class=RunFilter,
        template="enterprise/billing/runs.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """A run: how far it is, its checklist, its accounts."""
    try:
        found = pages_queries.run_page(run_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    return render_list(
        request,
        table_class=ItemTable,
        rows=pages_queries.run_items(run_id=pk),
        filterset_class=ItemFilter,
        template="enterprise/billing/run.html",
        context=pages_runs.run(found),
    )
