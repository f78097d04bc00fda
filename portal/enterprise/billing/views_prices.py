"""Price series: the list, one with its last days, entering prices."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import prices_operations, prices_queries
from billing.domain import prices_pages_queries as queries
from billing.domain.pages_queries import NotThere
from billing.domain.prices_operations import Entered
from billing.domain.prices_queries import SeriesNotFound
from billing.models import PriceSeries
from portal.enterprise.billing import pages_prices
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_prices import PriceFileForm, PriceForm, SeriesForm
from portal.enterprise.billing.tables_prices import SeriesFilter, SeriesTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def series_list(request: HttpRequest) -> HttpResponseBase:
    """The tenant's price series."""
    return render_list(
        request,
        table_class=SeriesTable,
        rows=queries.series_rows(),
        filterset_class=SeriesFilter,
        template="enterprise/billing/price_list.html",
        context={"may_change": may(request, Permission.TARIFFS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def series(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A series: its last days, and where prices are missing."""
    try:
        found = queries.series_page(series_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error
    context = {
        **pages_prices.series(found),
        "may_change": may(request, Permission.TARIFFS_CHANGE),
    }
    return render(request, "enterprise/billing/price_series.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new series."""
    form = SeriesForm(posted(request))

    def do() -> Done:
        made = prices_operations.create_series(
            tenant_id=own_tenant_id(request), actor_id=actor_id(request), **form.cleaned_data
        )
        return Done(_("The series was made."), reverse("price-series", args=[made.pk]))

    parents = ((_("Prices"), reverse("price-series-list")),)
    return answer(request, form, FormPage(_("New price series"), parents, _("Create")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def import_file(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Enter the prices of a file."""
    of = _of(pk)
    files = request.FILES if request.method == "POST" else None
    form = PriceFileForm(posted(request), files)

    def do() -> Done:
        made = prices_operations.import_prices(
            series_id=pk,
            file=form.price_file(),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return _done(made, pk)

    note = _("Prices that are there already change nothing, so a file may be sent again.")
    page = FormPage(_("Import prices"), _parents(of), _("Import"), note)
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def enter(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Enter a price by hand."""
    of = _of(pk)
    form = PriceForm(posted(request), zone=timezone.get_current_timezone_name())

    def do() -> Done:
        made = prices_operations.append_prices(
            series_id=pk,
            prices=form.prices(of.step_s),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return _done(made, pk)

    note = _(
        "What differs from before holds from now on: final bills that rest on it are restated."
    )
    page = FormPage(_("Enter a price"), _parents(of), _("Enter"), note)
    return answer(request, form, page, do)


def _done(made: Entered, pk: int) -> Done:
    said = ngettext(
        "%(count)d price was entered.", "%(count)d prices were entered.", made.entered
    ) % {"count": made.entered}
    if made.unchanged:
        said += " " + ngettext(
            "%(count)d was there already.", "%(count)d were there already.", made.unchanged
        ) % {"count": made.unchanged}
    return Done(said, reverse("price-series", args=[pk]))


def _of(pk: int) -> PriceSeries:
    try:
        return prices_queries.series(series_id=pk)
    except SeriesNotFound as error:
        raise Http404 from error


def _parents(of: PriceSeries) -> tuple[tuple[str, str], ...]:
    return (
        (_("Prices"), reverse("price-series-list")),
        (of.name, reverse("price-series", args=[of.pk])),
    )
