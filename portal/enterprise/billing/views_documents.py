"""Bills sent by e-mail, and the accounting journal."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import (
    documents_journal_queries,
    documents_mail_operations,
    documents_queries,
)
from billing.domain.documents_queries import NoDocument
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_documents import BillMailForm, JournalForm, last_month
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.permissions import BILLING_OFFICE, requires
from portal.frame.streaming import Chunks, stream
from tenants.domain import audit
from tenants.permissions import Permission
from tenants.scope import open_scope, require_scope

_CSV = "text/csv; charset=utf-8"


@require_http_methods(["GET", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def mail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send a final bill by e-mail, perhaps again."""
    address = reverse("bill", args=[pk])

    def done() -> Done:
        to = form.cleaned_data["to"]
        try:
            documents_mail_operations.ask(
                bill_id=pk, to=to, actor_id=actor_id(request), now=datetime.now(UTC)
            )
        except NoDocument as error:
            raise Http404 from error
        return Done(_("The bill is sent to %(to)s within minutes.") % {"to": to}, address)

    form = BillMailForm(posted(request))
    if request.method == "GET":
        try:
            facts = documents_queries.recipient_of(bill_id=pk)
        except NoDocument as error:
            raise Http404 from error
        form.initial = {"to": facts}
    page = FormPage(
        heading=_("Send a bill by e-mail"),
        parents=((_("Bills"), reverse("bill-list")), (_("Bill"), address)),
        submit=_("Send"),
    )
    return answer(request, form, page, done)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def journal(request: HttpRequest) -> HttpResponseBase:
    """The accounting journal as CSV; that it was taken is in the audit log."""
    form = JournalForm(request.GET or None, initial=last_month(datetime.now(UTC).date()))
    if not form.is_valid():
        page = FormPage(
            heading=_("Accounting journal"),
            parents=((_("Bills"), reverse("bill-list")),),
            submit=_("Download CSV"),
            note=_(
                "What was booked on these days: bills and credit notes by rate of tax, payments,"
                " refunds, fees and write-offs."
            ),
        )
        context = {"form": form, "page": page, "method": "get"}
        status = 422 if form.errors else 200
        return render(request, "enterprise/billing/form.html", context, status=status)
    (first, end), scope = form.period(), require_scope()
    audit.record_event(
        user_id=actor_id(request),
        action="export.journal",
        tenant_ids=(own_tenant_id(request),),
        details={"first": first.isoformat(), "end": end.isoformat()},
    )

    def read(behind: int | None) -> tuple[str, int | None]:
        with open_scope(scope):
            return documents_journal_queries.portion(first=first, end=end, behind=behind)

    name = f"journal-{first.isoformat()}-{form.cleaned_data['last'].isoformat()}.csv"
    return stream(request, Chunks(read), content_type=_CSV, file_name=name)
