"""Files of payments: looked at first, then taken; and payment services."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.domain import dunning_settings, payments_imports
from billing.domain import payments_pages_queries as queries
from billing.domain.sentences import in_words
from billing.models import Provider
from billing.payments.values import StatementError
from portal.enterprise.billing import pages_payments, uploads
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_payments import ServiceForm, StatementForm
from portal.enterprise.billing.tables_payments import ImportTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, access_of, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def import_list(request: HttpRequest) -> HttpResponseBase:
    """Files that were taken in."""
    return render_list(
        request,
        table_class=ImportTable,
        rows=queries.imports(),
        template="enterprise/billing/payment_imports.html",
        context={"may_change": may(request, Permission.PAYMENTS_CHANGE)},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def look(request: HttpRequest) -> HttpResponse:
    """Look at a file: what it would do. Nothing is taken yet."""
    files = request.FILES if request.method == "POST" else None
    form = StatementForm(posted(request), files)
    context: dict[str, object] = {"form": form}
    if request.method == "POST" and form.is_valid():
        upload = form.upload()
        try:
            found = payments_imports.preview(tenant_id=own_tenant_id(request), upload=upload)
        except StatementError as error:
            form.add_error("file", in_words(error))
        else:
            context["preview"] = pages_payments.preview(found, file_name=upload.name)
            context["token"] = uploads.keep(request, upload)
    status = 422 if form.errors else 200
    return render(request, "enterprise/billing/payment_import.html", context, status=status)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def take(request: HttpRequest) -> HttpResponse:
    """Take the payments of a file that was looked at."""
    upload = uploads.kept(request, request.POST.get("token", ""))
    if upload is None:
        messages.error(request, _("The file is kept for an hour alone: choose it again."))
        return redirect("payment-import")
    try:
        made = payments_imports.import_statement(
            tenant_id=own_tenant_id(request),
            upload=upload,
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
    except StatementError as error:
        messages.error(request, in_words(error))
        return redirect("payment-import")
    said = ngettext(
        "%(taken)d payment was taken, %(matched)d of which found its account.",
        "%(taken)d payments were taken, %(matched)d of which found their accounts.",
        made.taken,
    )
    messages.success(request, said % {"taken": made.taken, "matched": made.matched})
    if made.matched < made.taken:
        return redirect(f"{reverse('payment-list')}?whose=unknown")
    return redirect("payment-import-list")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def service(request: HttpRequest) -> HttpResponse:
    """Stripe: what signs its notices, where they go, and the last that it told of."""
    access = access_of(request)
    if access is None:
        raise PermissionDenied
    tenant = access.tenant
    found = queries.provider_page(tenant_id=tenant.tenant_id, provider=Provider.STRIPE)
    initial = {"is_active": found.row is None or found.row.is_active}
    form = ServiceForm(posted(request), initial=initial)

    def do() -> Done:
        dunning_settings.set_provider(
            tenant_id=tenant.tenant_id,
            provider=Provider.STRIPE,
            secret=form.cleaned_data["secret"],
            is_active=form.cleaned_data["is_active"],
            actor_id=actor_id(request),
        )
        return Done(_("The changes were saved."), reverse("payment-service"))

    return answer(
        request,
        form,
        FormPage("Stripe", ((_("Payments"), reverse("payment-list")),), _("Save")),
        do,
        template="enterprise/billing/payment_service.html",
        context=pages_payments.service(found, request, slug=tenant.slug),
    )
