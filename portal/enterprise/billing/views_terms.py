"""Steps of an agreement: changed, ended, taken up again; other meters, another tariff."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.domain import (
    agreements_operations,
    choices_queries,
    pages_queries,
    payments_operations,
)
from billing.domain import agreements_terms_operations as terms
from billing.domain.agreements_values import MeterChange
from billing.domain.choices_queries import StepChoices
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import (
    AgreementEditForm,
    MeterChangeForm,
    MeterEndForm,
    MeterForm,
    MoveOutForm,
    PaymentForm,
    ReasonForm,
    TariffChangeForm,
)
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import BILLING_OFFICE, requires
from tenants.permissions import Permission


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change number, cycle, term of payment and cost centre."""
    of = _of(pk)
    form = AgreementEditForm(posted(request), initial=AgreementEditForm.initial_of(of.agreement))

    def do() -> None:
        agreements_operations.change_agreement(
            agreement_id=pk, change=form.change(), actor_id=actor_id(request)
        )

    said = _("The changes were saved.")
    return _step(request, of, form, _("Change the agreement"), _("Save"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def move_out(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End an agreement; perhaps somebody else moves in."""
    of = _of(pk)
    form = MoveOutForm(posted(request), of=of)

    def do() -> Done:
        data = form.cleaned_data
        made = agreements_operations.move_out(
            agreement_id=pk,
            ends_on=data["ends_on"],
            successor=form.successor_values(),
            reason=data["reason"],
            actor_id=actor_id(request),
        )
        said = _("The agreement ends. The last bill is that until this day.")
        return Done(said, reverse("agreement", args=[(made.successor or made.ended).pk]))

    page = FormPage(_("Move out"), _parents(of), _("End the agreement"))
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def reopen(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take the end of an agreement back."""
    of = _of(pk)
    form = ReasonForm(posted(request))

    def do() -> None:
        agreements_operations.reopen(
            agreement_id=pk, reason=form.cleaned_data["reason"], actor_id=actor_id(request)
        )

    said = _("The agreement goes on.")
    return _step(request, of, form, _("Take the end back"), _("Take the end back"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def change_tariff(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Another tariff from a day on."""
    of = _of(pk)
    form = TariffChangeForm(posted(request), of=of)

    def do() -> None:
        terms.change_tariff(
            agreement_id=pk,
            values=form.values(),
            on=form.day,
            reason=form.cleaned_data["reason"],
            actor_id=actor_id(request),
        )

    said = _("The tariff changes on this day.")
    return _step(request, of, form, _("Change the tariff"), _("Change the tariff"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def add_meter(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Bill by another channel as well."""
    of = _of(pk)
    form = MeterForm(posted(request), of=of)

    def do() -> None:
        terms.add_meter(
            agreement_id=pk,
            values=form.values(),
            reason=form.cleaned_data["reason"],
            actor_id=actor_id(request),
        )

    said = _("The meter counts.")
    return _step(request, of, form, _("Add a meter"), _("Add"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def change_meter(request: HttpRequest, *, pk: int, meter: int) -> HttpResponse:
    """Another channel takes the place of one."""
    of = _of(pk)
    form = MeterChangeForm(posted(request), of=of)

    def do() -> None:
        data = form.cleaned_data
        terms.alter_meter(
            agreement_id=pk,
            meter_id=meter,
            wanted=MeterChange(data["at"], channel=data["channel"], reason=data["reason"]),
            actor_id=actor_id(request),
        )

    said = _("The other meter counts from then on.")
    return _step(request, of, form, _("Exchange the meter"), _("Exchange"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def end_meter(request: HttpRequest, *, pk: int, meter: int) -> HttpResponse:
    """A channel counts no longer."""
    of = _of(pk)
    form = MeterEndForm(posted(request), zone=of.agreement.facility.time_zone)

    def do() -> None:
        data = form.cleaned_data
        terms.alter_meter(
            agreement_id=pk,
            meter_id=meter,
            wanted=MeterChange(data["at"], reason=data["reason"]),
            actor_id=actor_id(request),
        )

    said = _("The meter counts no longer from then on.")
    return _step(request, of, form, _("End a meter"), _("End"), do, said)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def payment(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Enter money that came in for an agreement; it settles what is open, oldest first."""
    of = _of(pk)
    today = datetime.now(ZoneInfo(of.agreement.facility.time_zone)).date()
    form = PaymentForm(posted(request), initial={"key": str(uuid4()), "received_on": today})

    def do() -> None:
        payments_operations.enter(
            agreement_id=pk,
            received=form.received(of.agreement.currency),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )

    said = _("The payment was entered.")
    return _step(request, of, form, _("Enter a payment"), _("Enter"), do, said)


def _of(pk: int) -> StepChoices:
    try:
        return choices_queries.for_step(agreement_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error


def _parents(of: StepChoices) -> tuple[tuple[str, str], ...]:
    row = of.agreement
    return (
        (_("Agreements"), reverse("agreement-list")),
        (row.number, reverse("agreement", args=[row.pk])),
    )


def _step(
    request: HttpRequest,
    of: StepChoices,
    form: forms.BaseForm,
    heading: str,
    submit: str,
    do: Callable[[], None],
    said: str,
) -> HttpResponse:
    """A step after which the agreement's page is shown."""

    def done() -> Done:
        do()
        return Done(said, reverse("agreement", args=[of.agreement.pk]))

    return answer(request, form, FormPage(heading, _parents(of), submit), done)
