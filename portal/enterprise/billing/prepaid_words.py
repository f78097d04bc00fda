"""What the page of an agreement that pays beforehand shows, prepared."""

from __future__ import annotations

from typing import Any, Final

from django.urls import reverse
from django.utils.translation import gettext as _

from billing.domain.payg_queries import TokenFacts, UnitFacts
from billing.domain.prepaid_queries import PrepaidPage
from billing.domain.sentences import spoken
from billing.domain.wallet_queries import MovementFacts, WalletFacts
from billing.models import Delivery, MovementKind, TokenKind, TokenRequest, WalletState
from portal.enterprise.registry import texts
from portal.frame import quantities

TONES: Final = {
    WalletState.GOOD: "good",
    WalletState.LOW: "warn",
    WalletState.EMERGENCY: "warn",
    WalletState.FRIENDLY: "warn",
    WalletState.PROTECTED: "warn",
    WalletState.SPENT: "bad",
}


def page(
    found: PrepaidPage, *, reader_id: int | None, may_change: bool, may_send: bool = False
) -> dict[str, Any]:
    """A wallet, a unit, or neither yet."""
    row = found.agreement
    zone = row.facility.time_zone
    return {
        "agreement": row,
        "wallet": found.wallet and wallet(found.wallet),
        "unit": found.unit and unit(found.unit, zone),
        "may_change": may_change,
        "may_send": may_send,
        "requests": requests(found.requests, reader_id=reader_id),
    }


def requests(rows: tuple[TokenRequest, ...], *, reader_id: int | None) -> list[dict[str, Any]]:
    """Tokens that wait for a second person; who has asked for one takes it back, others decide."""
    return [
        {
            "pk": one.pk,
            "text": asked(one),
            "serial": one.unit.device.serial,
            "agreement": one.unit.agreement_id,
            "at": texts.instant(one.asked_at, one.facility.time_zone),
            "own": reader_id is not None and one.asked_by_id == reader_id,
        }
        for one in rows
    ]


def asked(row: TokenRequest) -> str:
    """What somebody wants a token for, in a sentence."""
    values = {
        "kind": row.get_kind_display(),
        "days": quantities.exact(row.days),
        "name": row.asked_by.get_full_name() if row.asked_by else _("a service account"),
        "reason": row.reason,
    }
    if row.kind in (TokenKind.ADD_TIME, TokenKind.SET_TIME):
        return _("%(kind)s: %(days)s days, asked for by %(name)s: %(reason)s") % values
    return _("%(kind)s, asked for by %(name)s: %(reason)s") % values


def wallet(of: WalletFacts) -> dict[str, Any]:
    """Balance, forecast, limits and movements."""
    days = of.forecast.days
    return {
        "balance": quantities.money(of.balance, of.currency),
        "state": {"tone": TONES[WalletState(of.state)], "label": WalletState(of.state).label},
        "since": of.state_at and texts.instant(of.state_at, of.time_zone),
        "days": None if days is None else quantities.number(days, 1),
        "per_day": quantities.money(of.forecast.per_day, of.currency),
        "burned": of.burned_at and texts.instant(of.burned_at, of.time_zone),
        "low": quantities.money(of.low_balance, of.currency),
        "emergency": quantities.money(of.emergency_credit, of.currency),
        "friendly_from": of.friendly_from,
        "friendly_to": of.friendly_to,
        "weekend": of.friendly_weekend,
        "holidays": of.holidays,
        "problem": spoken(of.problem),
        "movements": [_movement(one, of) for one in of.movements],
    }


def _movement(one: MovementFacts, of: WalletFacts) -> dict[str, Any]:
    return {
        "kind": MovementKind(one.kind).label,
        "text": one.text or one.bill_number,
        "url": reverse("bill", args=[one.bill_id]) if one.bill_id else "",
        "at": texts.instant(one.at, of.time_zone),
        "month": one.month,
        "amount": quantities.money(one.amount, of.currency),
        "fills": one.amount > 0,
        "after": quantities.money(one.balance_after, of.currency),
    }


def unit(of: UnitFacts, zone: str) -> dict[str, Any]:
    """Until when it is paid, and its tokens."""
    return {
        "pk": of.device_id,
        "serial": of.serial,
        "price": quantities.money(of.price_per_day, of.currency),
        "carried": quantities.money(of.carried, of.currency) if of.carried else "",
        "until": of.paid_until and texts.instant(of.paid_until, zone),
        "released": of.released_at and texts.instant(of.released_at, zone),
        "tokens": [_token(one, of, zone) for one in of.tokens],
    }


def _token(one: TokenFacts, of: UnitFacts, zone: str) -> dict[str, Any]:
    return {
        "pk": one.token_id,
        "digits": one.digits,
        "sent": one.delivery == Delivery.WIRE,
        "kind": TokenKind(one.kind).label,
        "days": "" if one.days is None else quantities.exact(one.days),
        "amount": quantities.money(one.amount, of.currency) if one.amount is not None else "",
        "reason": one.reason,
        "at": texts.instant(one.issued_at, zone),
        "delivery": Delivery(one.delivery).label,
        "delivered": one.delivered_at and texts.instant(one.delivered_at, zone),
    }
