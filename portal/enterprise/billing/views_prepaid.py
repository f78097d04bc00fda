"""Agreements that pay beforehand: what is left, what was paid in, and its limits."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import payments_operations, prepaid_queries, wallet_operations
from billing.domain.pages_queries import NotThere
from billing.domain.prepaid_queries import PrepaidPage
from billing.domain.wallet_operations import WalletRules
from billing.domain.wallet_queries import WalletFacts
from billing.payments.values import Received
from portal.enterprise.billing import prepaid_words
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import ReasonField
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.forms import AmountField
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission

_KEY_LENGTH = 36


class _OnceForm(forms.Form):
    """Sent twice, it is done once: `key` is drawn with the form."""

    key = forms.CharField(max_length=_KEY_LENGTH, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].initial = str(uuid4())


class TopUpForm(_OnceForm):
    """Money that came in."""

    amount = AmountField(label=gettext_lazy("Amount"), min_value=Decimal("0.01"))


class AdjustForm(_OnceForm):
    """A change of the balance that nobody has paid."""

    amount = AmountField(
        label=gettext_lazy("Amount"),
        help_text=gettext_lazy("With a minus sign it is taken out."),
    )
    reason = ReasonField(max_length=200, help_text=gettext_lazy("The customer reads it."))


class LimitsForm(forms.Form):
    """When a customer is told and switched off."""

    low_balance = AmountField(label=gettext_lazy("Tell the customer at"), min_value=0)
    emergency_credit = AmountField(
        label=gettext_lazy("Emergency credit"),
        min_value=0,
        help_text=gettext_lazy("So far below zero the supply stays on."),
    )
    friendly_from = forms.TimeField(
        label=gettext_lazy("Friendly hours from"),
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text=gettext_lazy("Nobody is switched off in these hours of the local clock."),
    )
    friendly_to = forms.TimeField(
        label=gettext_lazy("Friendly hours until"),
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    friendly_weekend = forms.BooleanField(
        label=gettext_lazy("Saturdays and Sundays are friendly all day"), required=False
    )
    holidays = forms.CharField(
        label=gettext_lazy("Public holidays are friendly in"),
        required=False,
        max_length=12,
        help_text=gettext_lazy("A code such as DE-BY; left empty, they are like other days."),
    )

    def clean(self) -> dict[str, Any]:
        """Both ends of the hours, or none."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if (data.get("friendly_from") is None) != (data.get("friendly_to") is None):
            self.add_error("friendly_to", _("Give both ends of the friendly hours, or none."))
        return data


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def prepaid(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The wallet with its movements, or the unit with its tokens."""
    found = _found(pk)
    may_change = may(request, Permission.PAYMENTS_CHANGE)
    context = prepaid_words.page(
        found,
        reader_id=actor_id(request),
        may_change=may_change,
        may_send=may_change and may(request, Permission.DEVICES_CONTROL),
    )
    return render(request, "enterprise/billing/prepaid.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def top_up(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take a payment: the wallet gets fuller, or a token is issued, at once."""
    found = _found(pk)
    form = TopUpForm(posted(request))

    def do() -> Done:
        now = datetime.now(UTC)
        payments_operations.enter(
            agreement_id=pk,
            received=Received(
                external_id=f"portal:{form.cleaned_data['key']}",
                amount=form.cleaned_data["amount"],
                currency=found.agreement.currency,
                received_on=min(
                    now.date(), now.astimezone(ZoneInfo(found.agreement.facility.time_zone)).date()
                ),
            ),
            now=now,
            actor_id=actor_id(request),
        )
        return Done(_("The payment was taken."), reverse("prepaid", args=[pk]))

    return answer(request, form, _page(found, _("Top up"), _("Take the payment")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def adjust(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change the balance of a wallet, with a reason."""
    found = _found(pk)
    wallet = _wallet(found)
    form = AdjustForm(posted(request))

    def do() -> Done:
        data = form.cleaned_data
        wallet_operations.adjust(
            wallet_id=wallet.wallet_id,
            amount=data["amount"],
            reason=data["reason"],
            key=data["key"],
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The balance was changed."), reverse("prepaid", args=[pk]))

    return answer(request, form, _page(found, _("Change the balance"), _("Change")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.PAYMENTS_CHANGE)
def limits(request: HttpRequest, *, pk: int) -> HttpResponse:
    """When the customer is told, and when nobody is switched off."""
    found = _found(pk)
    wallet = _wallet(found)
    names = WalletRules.__slots__
    form = LimitsForm(posted(request), initial={name: getattr(wallet, name) for name in names})

    def do() -> Done:
        wallet_operations.set_rules(
            wallet_id=wallet.wallet_id,
            rules=WalletRules(**form.cleaned_data),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
        return Done(_("The changes were saved."), reverse("prepaid", args=[pk]))

    return answer(request, form, _page(found, _("Limits"), _("Save")), do)


def _found(pk: int) -> PrepaidPage:
    try:
        return prepaid_queries.prepaid_page(agreement_id=pk, now=datetime.now(UTC))
    except NotThere as error:
        raise Http404 from error


def _wallet(found: PrepaidPage) -> WalletFacts:
    if found.wallet is None:
        raise Http404
    return found.wallet


def _page(found: PrepaidPage, heading: str, submit: str) -> FormPage:
    row = found.agreement
    parents = (
        (_("Agreements"), reverse("agreement-list")),
        (row.number, reverse("agreement", args=[row.pk])),
        (row.get_mode_display(), reverse("prepaid", args=[row.pk])),
    )
    return FormPage(heading, parents, submit)
