"""Restatements: final bills that may not be right any more, settled or let stand."""

from __future__ import annotations

from datetime import UTC, datetime

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import pages_queries, restatement_operations, restatement_queries
from billing.domain.pages_queries import NotThere
from billing.domain.restatement_operations import RestatementNotFound
from billing.domain.restatement_words import sentences
from billing.models import Restatement
from portal.enterprise.billing import pages_restatements
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import ReasonForm
from portal.enterprise.billing.forms_runs import SettleForm
from portal.enterprise.billing.tables_restatements import (
    DecidableTable,
    RestatementFilter,
    RestatementTable,
)
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def restatement_list(request: HttpRequest) -> HttpResponseBase:
    """What has changed under final bills, and what became of it."""
    decides = may(request, Permission.BILLS_APPROVE)
    return render_list(
        request,
        table_class=DecidableTable if decides else RestatementTable,
        rows=pages_queries.restatements(),
        filterset_class=RestatementFilter,
        template="enterprise/billing/restatements.html",
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A bill and the one in its place, line by line."""
    try:
        found = restatement_queries.compared(restatement_id=pk)
    except NotThere as error:
        raise Http404 from error
    decides = may(request, Permission.BILLS_APPROVE)
    context = pages_restatements.restatement(found, decides=decides)
    return render(request, "enterprise/billing/restatement.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_APPROVE)
def settle(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take the bills of the agreement back and issue those that are right."""
    row = _row(pk)
    form = SettleForm(posted(request), initial={"issued_on": datetime.now(UTC).date()})

    def do() -> Done:
        settled = restatement_operations.settle(
            agreement_id=row.bill.agreement_id,
            issued_on=form.cleaned_data["issued_on"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        said = ngettext(
            "%(count)d bill was settled by a credit note and a new bill.",
            "%(count)d bills were settled by credit notes and new bills.",
            len(settled),
        )
        return Done(said % {"count": len(settled)}, reverse("bill", args=[row.bill_id]))

    note = " ".join(sentences(row.causes))
    page = FormPage(_("Settle"), _parents(row), _("Make credit note and new bill"), note)
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_APPROVE)
def dismiss(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the bill stand as it is."""
    row = _row(pk)
    form = ReasonForm(posted(request))

    def do() -> Done:
        try:
            restatement_operations.dismiss(
                restatement_id=pk,
                reason=form.cleaned_data["reason"],
                now=datetime.now(UTC),
                actor_id=actor_id(request),
            )
        except RestatementNotFound as error:
            raise NotThere from error
        return Done(_("The bill stands as it is."), reverse("restatement-list"))

    note = " ".join(sentences(row.causes))
    page = FormPage(_("Let the bill stand"), _parents(row), _("Let it stand"), note)
    return answer(request, form, page, do)


def _row(pk: int) -> Restatement:
    try:
        return pages_queries.restatement(restatement_id=pk)
    except NotThere as error:
        raise Http404 from error


def _parents(row: Restatement) -> tuple[tuple[str, str], ...]:
    return (
        (row.bill.number, reverse("bill", args=[row.bill_id])),
        (_("Restatement"), reverse("restatement", args=[row.pk])),
    )
