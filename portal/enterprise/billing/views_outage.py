"""Why it went dark: a unit found by what a caller can tell, and explained on one screen."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import outage_queries
from devices.domain.queries import DeviceNotFound
from portal.enterprise.billing import outage_words
from portal.frame.permissions import BILLING_OFFICE, requires

# Nobody types more to find a unit.
MAX_TEXT = 80


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def search(request: HttpRequest) -> HttpResponse:
    """Units by serial number, customer number, name or telephone number; one alone is shown at
    once.
    """
    text = request.GET.get("q", "").replace("\0", "")[:MAX_TEXT]
    found = outage_queries.find_units(text=text, now=datetime.now(UTC))
    if len(found) == 1:
        return redirect("outage", pk=found[0].device_id)
    context = {"text": text.strip(), "found": outage_words.hits(found)}
    return render(request, "enterprise/billing/outage_search.html", context)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def outage(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A unit: whether it is on, since when, why, and what to do."""
    now = datetime.now(UTC)
    try:
        found = outage_queries.explain_unit(device_id=pk, now=now)
    except DeviceNotFound as error:
        raise Http404 from error
    return render(request, "enterprise/billing/outage.html", outage_words.page(found, now=now))
