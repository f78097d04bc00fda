"""Tariffs: the list, and one with its versions."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import pages_queries
from portal.enterprise.billing import pages_tariffs
from portal.enterprise.billing.tables import TariffFilter, TariffTable
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, requires


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def tariff_list(request: HttpRequest) -> HttpResponseBase:
    """The tenant's tariffs."""
    return render_list(
        request,
        table_class=TariffTable,
        rows=pages_queries.tariffs(today=datetime.now(UTC).date()),
        filterset_class=TariffFilter,
        template="enterprise/billing/tariffs.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A tariff with its versions on a time line."""
    today = datetime.now(UTC).date()
    try:
        found = pages_queries.tariff_page(tariff_id=pk, today=today)
    except pages_queries.NotThere as error:
        raise Http404 from error
    context = pages_tariffs.tariff(found, today=today)
    return render(request, "enterprise/billing/tariff.html", context)
