"""Bill runs: the list, one with its checklist, and the steps that people take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.domain import pages_queries, runs_operations
from billing.domain.runs_queries import RunNotFound
from billing.models import BillRun, Cycle
from billing.tasks import drive_runs
from portal.enterprise.billing import pages_runs, words
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import ReasonForm
from portal.enterprise.billing.forms_runs import ApproveForm, RunForm
from portal.enterprise.billing.tables import RunFilter, RunTable
from portal.enterprise.billing.tables_runs import ChoosableItemTable, ItemFilter, ItemTable
from portal.enterprise.registry.requests import actor_id, chosen_ids, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def run_list(request: HttpRequest) -> HttpResponseBase:
    """The tenant's bill runs."""
    return render_list(
        request,
        table_class=RunTable,
        rows=pages_queries.runs(),
        filterset_class=RunFilter,
        template="enterprise/billing/runs.html",
        context={"may_change": may(request, Permission.BILLS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """A run: how far it is, its checklist, its accounts."""
    try:
        found = pages_queries.run_page(run_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    context = pages_runs.run(found, request)
    return render_list(
        request,
        table_class=ChoosableItemTable if context["may_decide"] else ItemTable,
        rows=pages_queries.run_items(run_id=pk),
        filterset_class=ItemFilter,
        template="enterprise/billing/run.html",
        context=context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """Begin a run, usually for the month that is over."""
    today = datetime.now(UTC).date()
    month = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    form = RunForm(posted(request), initial={"first_on": month, "cycle": Cycle.MONTH})

    def do() -> Done:
        made = runs_operations.start(
            tenant_id=own_tenant_id(request),
            first_on=form.cleaned_data["first_on"],
            cycle=Cycle(form.cleaned_data["cycle"]),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        transaction.on_commit(drive_runs.delay)
        said = _("The run has begun: drafts are being made.")
        return Done(said, reverse("bill-run", args=[made.pk]))

    note = _("Bills are made as drafts for all agreements of the cycle that are paid afterwards.")
    page = FormPage(_("New bill run"), _parents(), _("Begin"), note)
    return answer(request, form, page, do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def accept(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the chosen accounts that the checklist holds go on, with a reason."""

    def do() -> str:
        count = runs_operations.accept(
            run_id=pk,
            item_ids=_items(request),
            reason=request.POST.get("reason", ""),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        said = ngettext(
            "%(count)d account was accepted.", "%(count)d accounts were accepted.", count
        )
        return said % {"count": count}

    return _step(request, pk, do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def leave_out(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Leave the chosen accounts out of the run, with a reason."""

    def do() -> str:
        count = runs_operations.leave_out(
            run_id=pk,
            item_ids=_items(request),
            reason=request.POST.get("reason", ""),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        said = ngettext(
            "%(count)d account was left out.", "%(count)d accounts were left out.", count
        )
        return said % {"count": count}

    return _step(request, pk, do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def again(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Compute the chosen accounts anew, from what is known now."""

    def do() -> str:
        count = runs_operations.compute_again(
            run_id=pk,
            item_ids=_items(request),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        transaction.on_commit(drive_runs.delay)
        said = ngettext(
            "%(count)d account is computed anew.", "%(count)d accounts are computed anew.", count
        )
        return said % {"count": count}

    return _step(request, pk, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_APPROVE)
def approve(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the drafts of a run become final."""
    run = _run(pk)
    today = datetime.now(UTC).date()
    form = ApproveForm(posted(request), initial={"issued_on": max(today, run.end_on)})

    def do() -> Done:
        runs_operations.approve(
            run_id=pk,
            issued_on=form.cleaned_data["issued_on"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        transaction.on_commit(drive_runs.delay)
        said = _("The run is approved: its bills are becoming final.")
        return Done(said, reverse("bill-run", args=[pk]))

    note = _("Bills get their numbers, are booked and can then only be taken back by credit notes.")
    page = FormPage(_("Approve the bills"), _parents(run), _("Approve"), note)
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a run and remove its drafts."""
    run = _run(pk)
    form = ReasonForm(posted(request))

    def do() -> Done:
        runs_operations.cancel(
            run_id=pk,
            reason=form.cleaned_data["reason"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The run is cancelled."), reverse("bill-run", args=[pk]))

    note = _("The drafts of the run are removed. Nothing that is final changes.")
    page = FormPage(_("Cancel the run"), _parents(run), _("Cancel the run"), note, danger=True)
    return answer(request, form, page, do)


def _items(request: HttpRequest) -> list[int]:
    chosen = chosen_ids(request, "item")
    if not chosen:
        raise ValidationError(_("Choose the accounts in the list first."))
    return chosen


def _step(request: HttpRequest, pk: int, do: Callable[[], str]) -> HttpResponse:
    """A decision about accounts, after which the list is shown as it was."""
    try:
        messages.success(request, do())
    except RunNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    return redirect("bill-run", pk=pk)


def _run(pk: int) -> BillRun:
    try:
        return pages_queries.run(run_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error


def _parents(run: BillRun | None = None) -> tuple[tuple[str, str], ...]:
    runs = (_("Bill runs"), reverse("bill-run-list"))
    if run is None:
        return (runs,)
    return (runs, (words.days(run.first_on, run.end_on), reverse("bill-run", args=[run.pk])))
