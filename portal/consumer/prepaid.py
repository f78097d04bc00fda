"""What a person pays beforehand: the wallet or the days of a unit, and when to be warned."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.domain import prepaid_queries, wallet_operations
from billing.domain.payg_queries import TokenFacts, UnitFacts
from billing.domain.prepaid_queries import PrepaidPage
from billing.domain.wallet_operations import WalletNotFound
from billing.domain.wallet_queries import MovementFacts, WalletFacts
from billing.models import MovementKind, TokenKind, WalletState
from portal.consumer import pages
from portal.consumer.bills import person_of
from portal.consumer.guard import AtHome, at_home
from portal.frame import quantities
from portal.frame.forms import AmountField

_TIMED = (TokenKind.ADD_TIME, TokenKind.SET_TIME)


class WarningForm(forms.Form):
    """At which balance a mail warns."""

    low_balance = AmountField(
        label=gettext_lazy("Warn me at"), min_value=Decimal(0), max_value=Decimal(1_000_000)
    )


@require_safe
@never_cache
@at_home
def prepaid_list(request: AtHome) -> HttpResponse:
    """All that the person pays beforehand: what is left, how long it lasts, what to do."""
    return _page(request)


@require_POST
@never_cache
@at_home
def warning(request: AtHome, *, pk: int) -> HttpResponse:
    """Set when a mail warns that little is left."""
    form = WarningForm(request.POST, auto_id=f"warning-{pk}-%s")
    if form.is_valid():
        try:
            wallet_operations.set_warning(
                agreement_id=pk,
                user_id=person_of(request),
                low_balance=form.cleaned_data["low_balance"],
                now=datetime.now(UTC),
            )
        except WalletNotFound as error:
            raise Http404 from error
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("consumer:prepaid")
    return _page(request, refused={pk: form})


def _page(request: AtHome, *, refused: dict[int, WarningForm] | None = None) -> HttpResponse:
    now = datetime.now(UTC)
    found = prepaid_queries.own_pages(user_id=person_of(request), today=now.date(), now=now)
    context = pages.person(request.visit) | {
        "accounts": [account(one, now=now, refused=refused or {}) for one in found]
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if refused else HTTPStatus.OK
    return render(request, "consumer/prepaid.html", context, status=status)


def account(
    found: PrepaidPage, *, now: datetime, refused: dict[int, WarningForm]
) -> dict[str, Any]:
    """One agreement: `wallet`, `unit`, or neither yet."""
    row = found.agreement
    zone = row.facility.time_zone
    wallet, form = found.wallet, refused.get(row.pk)
    if wallet is not None and form is None:
        initial = {"low_balance": wallet.low_balance}
        form = WarningForm(initial=initial, auto_id=f"warning-{row.pk}-%s")
    return {
        "pk": row.pk,
        "number": row.number,
        "place": row.facility.name,
        "wallet": wallet and _wallet(wallet),
        "unit": found.unit and _unit(found.unit, zone, now),
        "form": form,
    }


def _wallet(of: WalletFacts) -> dict[str, Any]:
    days = of.forecast.days
    return {
        "balance": quantities.money(of.balance, of.currency),
        "good": of.state == WalletState.GOOD,
        "state": _STATES[WalletState(of.state)],
        "lasts": ""
        if days is None
        else _("This lasts about %(days)s days: %(amount)s a day were used lately.")
        % {
            "days": quantities.number(days, 0),
            "amount": quantities.money(of.forecast.per_day, of.currency),
        },
        "currency": of.currency,
        "days": [
            {"day": date_format(day, "D j F"), "amount": quantities.money(amount, of.currency)}
            for day, amount in reversed(of.days)
        ],
        "fills": [_fill(one, of) for one in of.movements if one.kind == MovementKind.ENTRY],
    }


def _fill(one: MovementFacts, of: WalletFacts) -> dict[str, str]:
    return {
        "day": _day(one.at, of.time_zone),
        "text": one.text,
        "amount": quantities.money(one.amount, of.currency),
    }


_STATES = {
    WalletState.GOOD: gettext_lazy("Enough is left."),
    WalletState.LOW: gettext_lazy("Little is left: please top up soon."),
    WalletState.EMERGENCY: gettext_lazy(
        "Nothing is left: you use emergency credit. Please top up."
    ),
    WalletState.FRIENDLY: gettext_lazy(
        "Nothing is left. You are not switched off at this hour; please top up before it ends."
    ),
    WalletState.PROTECTED: gettext_lazy(
        "Nothing is left. You are not switched off; please top up, or talk to us."
    ),
    WalletState.SPENT: gettext_lazy(
        "Nothing is left, and the supply is off. It comes back by itself once you have topped up."
    ),
}


def _unit(of: UnitFacts, zone: str, now: datetime) -> dict[str, Any]:
    left = max((of.paid_until - now).days, 0) if of.paid_until else 0
    if of.released_at is not None:
        told = _("Everything is paid: it works without tokens.")
    elif of.paid_until is None:
        told = _("Nothing is paid yet.")
    elif of.paid_until <= now:
        told = _("The paid time was over on %(day)s.") % {"day": _day(of.paid_until, zone)}
    else:
        told = _("Paid until %(day)s, if all tokens were typed in.") % {
            "day": _day(of.paid_until, zone)
        }
    return {
        "serial": of.serial,
        "left": ngettext("%(count)s day left", "%(count)s days left", left) % {"count": left},
        "released": of.released_at is not None,
        "told": told,
        "price": quantities.money(of.price_per_day, of.currency),
        "tokens": [_token(one, zone) for one in of.tokens],
    }


def _token(one: TokenFacts, zone: str) -> dict[str, str]:
    timed = one.kind in _TIMED and one.days is not None
    return {
        "digits": one.digits,
        "day": _day(one.issued_at, zone),
        "text": _("%(days)s days") % {"days": quantities.exact(one.days)}
        if timed and one.days is not None
        else str(TokenKind(one.kind).label),
    }


def _day(at: datetime, zone: str) -> str:
    return date_format(at.astimezone(ZoneInfo(zone)), "j F Y")
