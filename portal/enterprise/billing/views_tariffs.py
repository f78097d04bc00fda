"""Tariffs: the list, one with its versions, its name, its place in the archive."""

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

from billing.domain import (
    pages_queries,
    tariffs_imports,
    tariffs_operations,
    tariffs_queries,
)
from billing.domain.tariffs_queries import TariffNotFound
from billing.models import Tariff
from billing.tariffs.recognising import Wishes
from portal.enterprise.billing import pages_tariffs
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_tariffs import ImportForm, TariffForm, TariffNameForm
from portal.enterprise.billing.tables import TariffFilter, TariffTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


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
        context={"may_change": may(request, Permission.TARIFFS_CHANGE)},
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
    context["may_change"] = may(request, Permission.TARIFFS_CHANGE)
    return render(request, "enterprise/billing/tariff.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new tariff; its first version is written next."""
    form = TariffForm(posted(request))

    def do() -> Done:
        made = tariffs_operations.create_tariff(
            tenant_id=own_tenant_id(request), **form.cleaned_data, actor_id=actor_id(request)
        )
        said = _("“%(name)s” was created. Write its first version.") % {"name": made.name}
        return Done(said, reverse("tariff-draft", args=[made.pk]))

    page = FormPage(_("New tariff"), ((_("Tariffs"), reverse("tariff-list")),), _("Create"))
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Another name or description."""
    row = _row(pk)
    initial = {"name": row.name, "description": row.description, "offered": row.offered}
    form = TariffNameForm(posted(request), initial=initial)

    def do() -> Done:
        tariffs_operations.change_tariff(
            tariff_id=pk, **form.cleaned_data, actor_id=actor_id(request)
        )
        return Done(_("The changes were saved."), reverse("tariff", args=[pk]))

    parents = (
        (_("Tariffs"), reverse("tariff-list")),
        (row.name, reverse("tariff", args=[pk])),
    )
    return answer(request, form, FormPage(_("Name the tariff"), parents, _("Save")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def import_published(request: HttpRequest) -> HttpResponse:
    """Take a published tariff in as drafts, or say which field cannot be expressed."""
    files = request.FILES if request.method == "POST" else None
    form = ImportForm(posted(request), files)

    def do() -> Done:
        data = form.cleaned_data
        taken = tariffs_imports.import_tariff(
            tenant_id=own_tenant_id(request),
            content=data["content"],
            wishes=Wishes(currency=data["currency"].upper()),
            name=data["name"],
            valid_from=data["valid_from"],
            actor_id=actor_id(request),
        )
        said = _("“%(name)s” was taken in as a draft: read it, preview it, publish it.")
        address = reverse("tariff", args=[taken.tariff.pk])
        return Done(said % {"name": taken.tariff.name}, address)

    page = FormPage(_("Import a tariff"), ((_("Tariffs"), reverse("tariff-list")),), _("Import"))
    return answer(request, form, page, do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def archive(request: HttpRequest, *, pk: int) -> HttpResponse:
    """No new agreement may choose it."""
    try:
        tariffs_operations.archive_tariff(
            tariff_id=pk, now=datetime.now(UTC), actor_id=actor_id(request)
        )
    except TariffNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("New agreements can no longer choose the tariff."))
    return redirect("tariff", pk=pk)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.TARIFFS_CHANGE)
def restore(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Agreements may choose it again."""
    try:
        tariffs_operations.restore_tariff(tariff_id=pk, actor_id=actor_id(request))
    except TariffNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("Agreements can choose the tariff again."))
    return redirect("tariff", pk=pk)


def _row(pk: int) -> Tariff:
    try:
        return tariffs_queries.tariff(tariff_id=pk)
    except TariffNotFound as error:
        raise Http404 from error
