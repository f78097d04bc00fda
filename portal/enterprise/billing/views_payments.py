"""Payments: the list, one, whose it is, giving it back; what is owed by age, and giving that up."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import (
    ledger_operations,
    payments_people_operations,
    payments_refunds_operations,
)
from billing.domain import payments_pages_queries as queries
from billing.domain.pages_queries import NotThere
from billing.domain.payments_pages_queries import PaymentPage
from billing.models import EntryKind
from portal.enterprise.billing import pages_payments, words
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms_payments import AssignForm, RefundForm, WriteOffForm
from portal.enterprise.billing.tables_payments import (
    DecidableOpenTable,
    OpenFilter,
    OpenTable,
    PaymentFilter,
    PaymentTable,
)
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame import quantities
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def payment_list(request: HttpRequest) -> HttpResponseBase:
    """Payments of the tenant."""
    return render_list(
        request,
        table_class=PaymentTable,
        rows=queries.payments(),
        filterset_class=PaymentFilter,
        template="enterprise/billing/payments.html",
        context={"may_change": may(request, Permission.PAYMENTS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def payment(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A payment, and what it has settled."""
    context = {
        **pages_payments.payment(_of(pk)),
        "may_change": may(request, Permission.PAYMENTS_CHANGE),
    }
    return render(request, "enterprise/billing/payment.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def assign(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Say whose a payment is that nobody knew."""
    of = _of(pk)
    form = AssignForm(posted(request))

    def do() -> Done:
        payments_people_operations.assign_by_number(
            payment_id=pk,
            number=form.cleaned_data["number"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The payment has an account now."), reverse("payment", args=[pk]))

    note = " · ".join(part for part in (of.payment.payer, of.payment.text) if part)
    page = FormPage(_("Whose payment is it?"), _parents(of), _("Assign"), note)
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def refund(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Note that a payment, or a part of it, was given back."""
    of = _of(pk)
    today = datetime.now(UTC).date()
    drawn = {"key": str(uuid4()), "amount": of.left, "on": today}
    form = RefundForm(posted(request), initial=drawn)

    def do() -> Done:
        made = payments_refunds_operations.refund(
            payment_id=pk,
            amount=form.cleaned_data["amount"],
            reason=form.cleaned_data["reason"],
            on=form.cleaned_data["on"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
            key=form.cleaned_data["key"],
        )
        return Done(_("The refund was noted."), reverse("payment", args=[made.pk]))

    if of.payment.amount <= 0:
        raise Http404
    note = _(
        "It is noted here, not sent: transfer it by your bank. What the payment had settled is owed"
        " again."
    )
    page = FormPage(_("Give back"), _parents(of), _("Note the refund"), note)
    return answer(request, form, page, do)


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def open_items(request: HttpRequest) -> HttpResponseBase:
    """What is owed, by age."""
    found = queries.open_list(on=datetime.now(UTC).date())
    decides = may(request, Permission.PAYMENTS_CHANGE)
    return render_list(
        request,
        table_class=DecidableOpenTable if decides else OpenTable,
        rows=found.rows,
        filterset_class=OpenFilter,
        template="enterprise/billing/open_items.html",
        context={"sums": pages_payments.ages(found.sums)},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def write_off(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Give up what is open of an entry."""
    try:
        of = queries.open_entry(entry_id=pk)
    except NotThere as error:
        raise Http404 from error
    form = WriteOffForm(posted(request), initial={"on": datetime.now(UTC).date()})

    def do() -> Done:
        ledger_operations.write_off(
            entry_id=pk,
            reason=form.cleaned_data["reason"],
            on=form.cleaned_data["on"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("It was written off."), reverse("open-item-list"))

    name = of.bill_number or str(words.ENTRY_KINDS[EntryKind(of.entry.kind)])
    note = _("%(name)s of agreement %(number)s: %(amount)s are owed.") % {
        "name": name,
        "number": of.entry.agreement.number,
        "amount": quantities.money(of.open, of.entry.currency),
    }
    parents = ((_("Open items"), reverse("open-item-list")),)
    page = FormPage(_("Write off"), parents, _("Write off"), note, danger=True)
    return answer(request, form, page, do)


def _of(pk: int) -> PaymentPage:
    try:
        return queries.payment_page(payment_id=pk)
    except NotThere as error:
        raise Http404 from error


def _parents(of: PaymentPage) -> tuple[tuple[str, str], ...]:
    amount = quantities.money(of.payment.amount, of.payment.currency)
    return (
        (_("Payments"), reverse("payment-list")),
        (amount, reverse("payment", args=[of.payment.pk])),
    )
