"""Bills: the list, and one opened down to the readings."""

from __future__ import annotations

from datetime import UTC, date, datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.documents.values import DocumentError
from billing.domain import (
    documents_operations,
    finalising,
    lines_queries,
    pages_queries,
    restatement_operations,
)
from billing.domain.documents_queries import NoDocument
from billing.domain.documents_store import FileDamagedError, FileMissingError
from billing.domain.evidence import EvidenceError, EvidenceNotFound
from billing.domain.sentences import spoken_of
from billing.models import BillKind, BillState, FileKind
from portal.enterprise.billing import pages, pages_line
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_runs import VoidForm
from portal.enterprise.billing.tables import BillFilter, BillTable
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


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
    context = pages.bill(found)
    final = found.bill.state == BillState.FINAL and found.bill.kind == BillKind.INVOICE
    context["may_mail"] = found.bill.state != BillState.DRAFT and may(
        request, Permission.BILLS_CHANGE
    )
    context["may_void"] = final and may(request, Permission.BILLS_APPROVE)
    return render(request, "enterprise/billing/bill.html", context)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def line(request: HttpRequest, *, pk: int, position: int) -> HttpResponse:
    """A line of a bill, opened to the intervals of a day (`?day=2026-03-05`) and to their readings,
    from the evidence of the bill.
    """
    try:
        found = lines_queries.line_page(bill_id=pk, position=position)
    except (pages_queries.NotThere, EvidenceNotFound) as error:
        raise Http404 from error
    except EvidenceError:
        said = _("The evidence of this bill is damaged, so that its lines cannot be opened.")
        messages.error(request, said)
        return redirect("bill", pk=pk)
    try:
        day = date.fromisoformat(request.GET.get("day", ""))
    except ValueError:
        day = None
    return render(request, "enterprise/billing/line.html", pages_line.line(found, day))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_APPROVE)
def void(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take a final bill back by a credit note."""
    try:
        bill = pages_queries.bill_page(bill_id=pk).bill
    except pages_queries.NotThere as error:
        raise Http404 from error
    form = VoidForm(posted(request), initial={"issued_on": datetime.now(UTC).date()})

    def do() -> Done:
        try:
            note = restatement_operations.void(
                bill_id=pk,
                **form.cleaned_data,
                now=datetime.now(UTC),
                actor_id=actor_id(request),
            )
        except finalising.NotFinalError as error:
            raise ValidationError(
                _("Only a bill that is final can be taken back, and once.")
            ) from error
        said = _("Credit note %(number)s takes the bill back.") % {"number": note.number}
        return Done(said, reverse("bill", args=[note.pk]))

    parents = (
        (_("Bills"), reverse("bill-list")),
        (pages.bill_title(bill), reverse("bill", args=[pk])),
    )
    note = _("The bill becomes void, and its days can be billed again.")
    page = FormPage(_("Take the bill back"), parents, _("Make the credit note"), note, danger=True)
    return answer(request, form, page, do)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def download(request: HttpRequest, *, pk: int, kind: str) -> HttpResponse:
    """A document of a final bill: PDF, or an e-invoice."""
    try:
        content = documents_operations.download(
            bill_id=pk, kind=FileKind(kind), now=datetime.now(UTC)
        )
    except (NoDocument, ValueError) as error:
        raise Http404 from error
    except (FileMissingError, FileDamagedError):
        messages.error(request, _("The document is not in the store as it was made."))
        return redirect("bill", pk=pk)
    except EvidenceError:
        messages.error(request, _("What this bill was computed from is damaged: tell who runs it."))
        return redirect("bill", pk=pk)
    except DocumentError as error:
        messages.error(request, spoken_of(error))
        return redirect("bill", pk=pk)
    response = HttpResponse(content.data, content_type=content.media_type)
    response["Content-Disposition"] = str(content_disposition_header(True, content.name))
    return response
