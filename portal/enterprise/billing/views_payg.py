"""Pay-as-you-go units: registered, and given tokens that nobody has paid for."""

from __future__ import annotations

from datetime import UTC, datetime

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.domain import payg_operations, payg_queries, payg_requests_operations, prepaid_queries
from billing.domain.pages_queries import NotThere
from billing.domain.payg_queries import UnitFacts
from billing.domain.prepaid_queries import PrepaidPage
from billing.models import Mode, TokenRequest, TokenRequestState
from devices.domain.commands_policy import NotAllowedError
from portal.enterprise.billing import prepaid_words
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import ReasonForm
from portal.enterprise.billing.forms_payg import TokenForm, UnitForm
from portal.enterprise.billing.tables_payg import TokenFilter, TokenTable
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, actor_of, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def token_list(request: HttpRequest) -> HttpResponseBase:
    """What waits for a second person; all tokens that were issued, and how each reached its
    customer.
    """
    return render_list(
        request,
        table_class=TokenTable,
        rows=payg_queries.token_rows(),
        filterset_class=TokenFilter,
        template="enterprise/billing/tokens.html",
        context={
            "requests": prepaid_words.requests(
                payg_queries.waiting_requests(), reader_id=actor_id(request)
            ),
            "may_change": may(request, Permission.PAYMENTS_CHANGE),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def register(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let an agreement pay a device by the day; its keys are entered once."""
    found = _found(pk)
    if found.agreement.mode != Mode.PAYG or found.unit is not None:
        raise Http404
    form = UnitForm(posted(request), devices=payg_queries.devices_for(agreement_id=pk))

    def do() -> Done:
        payg_operations.register(
            agreement_id=pk,
            device_id=form.cleaned_data["device"],
            keys=form.cleaned_data["keys"],
            terms=form.terms,
            actor_id=actor_id(request),
        )
        return Done(_("The unit was registered."), reverse("prepaid", args=[pk]))

    return answer(request, form, _page(found, _("Register a unit"), _("Register")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def issue(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A token without a payment: at once, or once somebody else agrees."""
    found = _found(pk)
    unit = _unit(found)
    form = TokenForm(posted(request))

    def do() -> Done:
        made = payg_requests_operations.ask(
            unit_id=unit.unit_id,
            **form.cleaned_data,
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        if made.state == TokenRequestState.WAITING:
            said = _("The token is issued as soon as somebody else agrees.")
        else:
            said = _("The token was issued.")
        return Done(said, reverse("prepaid", args=[pk]))

    page = _page(found, _("Issue a token"), _("Issue"), _("It is issued without a payment."))
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def agree(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Issue the token that somebody else has asked for."""
    row = _request(pk)

    def do() -> Done:
        payg_requests_operations.agree(
            request_id=pk, now=datetime.now(UTC), actor_id=actor_id(request)
        )
        return Done(_("The token was issued."), _of(row))

    return answer(request, forms.Form(posted(request)), _decide(row, _("Issue the token")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def refuse(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Issue no token, with the reason."""
    row = _request(pk)
    form = ReasonForm(posted(request))

    def do() -> Done:
        payg_requests_operations.refuse(
            request_id=pk,
            reason=form.cleaned_data["reason"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("No token is issued."), _of(row))

    return answer(request, form, _decide(row, _("Refuse the token")), do)


@require_POST
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE, Permission.DEVICES_CONTROL)
def send(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Enter a token at its unit over the unit's connection."""
    try:
        row = payg_queries.token(token_id=pk)
        payg_operations.send_to_unit(actor_of(request), token_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error
    except NotAllowedError as error:
        messages.error(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("The token is on its way to the unit."))
    return redirect("prepaid", pk=row.unit.agreement_id)


def _found(pk: int) -> PrepaidPage:
    try:
        return prepaid_queries.prepaid_page(agreement_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error


def _unit(found: PrepaidPage) -> UnitFacts:
    if found.unit is None:
        raise Http404
    return found.unit


def _request(pk: int) -> TokenRequest:
    try:
        return payg_queries.request_of(request_id=pk)
    except NotThere as error:
        raise Http404 from error


def _of(row: TokenRequest) -> str:
    return reverse("prepaid", args=[row.unit.agreement_id])


def _decide(row: TokenRequest, heading: str) -> FormPage:
    parents = ((_("Pay as you go"), _of(row)),)
    return FormPage(heading, parents, heading, prepaid_words.asked(row))


def _page(found: PrepaidPage, heading: str, submit: str, note: str = "") -> FormPage:
    row = found.agreement
    parents = (
        (_("Agreements"), reverse("agreement-list")),
        (row.number, reverse("agreement", args=[row.pk])),
        (row.get_mode_display(), reverse("prepaid", args=[row.pk])),
    )
    return FormPage(heading, parents, submit, note)
