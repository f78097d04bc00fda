"""Revenue with what is owed and unbilled, and cost centres."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import cost_centres_queries, revenue_details, revenue_queries
from billing.domain.revenue_values import Asked
from portal.enterprise.billing import pages_revenue
from portal.enterprise.billing.forms_revenue import CostCentreForm, RevenueForm
from portal.enterprise.registry.requests import actor_id, own_tenant_id
from portal.frame.exporting import CONTENT_TYPE, MARK
from portal.frame.permissions import BILLING_OFFICE, requires
from portal.frame.streaming import Chunks, stream
from tenants.domain import audit
from tenants.scope import open_scope, require_scope


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def revenue(request: HttpRequest) -> HttpResponseBase:
    """What was billed in some months: `?first=2026-01&last=2026-12`, as CSV with `export=csv`."""
    today = datetime.now(UTC).date()
    choices = revenue_details.choices(tenant_id=own_tenant_id(request))
    form = RevenueForm(request.GET.dict(), choices=choices, today=today)
    if not form.is_valid():
        return render(request, "enterprise/billing/revenue.html", {"form": form}, status=422)
    if request.GET.get("export") == "csv":
        return _file(request, form.asked())
    query = request.GET.copy()
    query["export"] = "csv"
    context = pages_revenue.revenue(revenue_queries.revenue(form.asked(), on=today), today)
    context |= {"form": form, "export": query.urlencode()}
    return render(request, "enterprise/billing/revenue.html", context)


def _file(request: HttpRequest, asked: Asked) -> HttpResponseBase:
    """Month by month, each in a transaction of its own; that it was taken is in the audit log."""
    audit.record_event(
        user_id=actor_id(request),
        action="export.revenue",
        tenant_ids=(own_tenant_id(request),),
        details={"first": asked.first.isoformat(), "end": asked.end.isoformat(), "by": asked.by},
    )
    months, scope, language = (
        list(revenue_details.months(asked)), require_scope(), translation.get_language(),
    )  # fmt: skip

    def read(place: int | None) -> tuple[str, int | None]:
        at = place or 0
        with translation.override(language), open_scope(scope):
            text = pages_revenue.csv_rows(revenue_details.details(months[at]), asked.currency)
            if at == 0:
                text = MARK + pages_revenue.csv_head() + text
        return text, at + 1 if at + 1 < len(months) else None

    name = f"revenue-{asked.first.isoformat()}-{asked.end.isoformat()}.csv"
    return stream(request, Chunks(read), content_type=CONTENT_TYPE, file_name=name)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def cost_centres(request: HttpRequest) -> HttpResponse:
    """The cost centres of a month: `?month=2026-10`."""
    choices = revenue_details.choices(tenant_id=own_tenant_id(request))
    today = datetime.now(UTC).date()
    form = CostCentreForm(request.GET.dict(), choices=choices, today=today)
    template = "enterprise/billing/cost_centres.html"
    if not form.is_valid():
        return render(request, template, {"form": form}, status=422)
    found = cost_centres_queries.cost_centres(
        month=form.cleaned_data["month"], currency=form.cleaned_data["currency"]
    )
    return render(request, template, {"form": form, **pages_revenue.cost_centres(found)})
