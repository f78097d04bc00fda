"""One way for all of billing's forms: shown, sent, refused at their fields, or done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.agreements_terms_operations import MeterNotFound
from billing.domain.customers_queries import CustomerNotFound
from billing.domain.dunning_people_operations import CaseNotFound
from billing.domain.dunning_settings import PlanNotFound
from billing.domain.ledger_operations import EntryNotFound
from billing.domain.pages_queries import NotThere
from billing.domain.payg_operations import UnitNotFound
from billing.domain.payg_requests_operations import RequestNotFound
from billing.domain.payments_operations import AgreementNotFound as AccountNotFound
from billing.domain.payments_operations import PaymentNotFound
from billing.domain.prices_queries import SeriesNotFound
from portal.enterprise.registry.forms import add_errors

NOT_FOUND = (
    AccountNotFound,
    AgreementNotFound,
    CaseNotFound,
    CustomerNotFound,
    EntryNotFound,
    MeterNotFound,
    NotThere,
    PaymentNotFound,
    PlanNotFound,
    RequestNotFound,
    SeriesNotFound,
    UnitNotFound,
)


@dataclass(frozen=True, slots=True)
class FormPage:
    """What stands around a form. `parents`: (label, address) of the pages above; the last is where
    *Cancel* leads.
    """

    heading: str
    parents: tuple[tuple[str, str], ...]
    submit: str
    note: str = ""
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in a sentence, and where to go on."""

    said: str
    address: str


def answer(
    request: HttpRequest,
    form: forms.BaseForm,
    page: FormPage,
    do: Callable[[], Done],
    *,
    template: str = "enterprise/billing/form.html",
    context: dict[str, object] | None = None,
) -> HttpResponse:
    """Do what a sound form asks for; show it otherwise, with what is wrong at its fields."""
    if request.method == "POST" and form.is_valid():
        try:
            done = do()
        except NOT_FOUND as error:
            raise Http404 from error
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, done.said)
            return redirect(done.address)
    status = 422 if form.errors else 200
    return render(request, template, {"form": form, "page": page, **(context or {})}, status=status)
