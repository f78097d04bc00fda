"""What a version of a tariff would cost, by the use of an agreement in a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.domain import pages_queries, preview_queries
from billing.models import TariffVersion
from portal.enterprise.billing import pages_preview
from portal.enterprise.billing.forms_tariffs import PreviewForm
from portal.frame.permissions import BILLING_OFFICE, requires


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def preview(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A version beside what is agreed: `?agreement=7&month=2026-10`."""
    try:
        row = pages_queries.version(version_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    now = datetime.now(UTC)
    month = (now.date().replace(day=1) - timedelta(days=1)).replace(day=1)
    form = PreviewForm(
        request.GET or None,
        agreements=preview_queries.agreement_choices(tenant_id=row.tenant_id),
        initial={"month": month},
    )
    context: dict[str, Any] = {"version": row, "tariff": row.tariff, "form": form}
    if form.is_bound and form.is_valid():
        context |= _rated(row, form, now)
    return render(request, "enterprise/billing/preview.html", context)


def _rated(row: TariffVersion, form: PreviewForm, now: datetime) -> dict[str, Any]:
    first = form.month_first
    try:
        found = preview_queries.preview(
            row.document,
            agreement_id=form.cleaned_data["agreement"],
            first=first,
            end=(first + timedelta(days=32)).replace(day=1),
            now=now,
        )
    except pages_queries.NotThere as error:
        raise Http404 from error
    except ValidationError as error:
        return {"problem": " ".join(error.messages)}
    return pages_preview.preview(found)
