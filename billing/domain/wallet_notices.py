"""Telling customers how their wallets stand, once each time that changes. Needs an open scope that
is not narrowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from billing.accounts.tokens import grouped
from billing.domain.payg_operations import note_mailed
from billing.models import PaygToken, Wallet, WalletState

# Letters that are taken in one transaction.
MOST: Final = 200
_COIN: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to a customer: `context` holds plain values for the template."""

    template: str
    to: str
    language: str
    context: dict[str, Any]


def take_letters(*, now: datetime) -> list[Letter]:
    """All that is to be told now, each once: who takes letters sends them after the transaction."""
    return [*take_wallet_letters(), *take_token_letters(now=now)]


@transaction.atomic
def take_wallet_letters() -> list[Letter]:
    """What is to be told of wallets, each once.

    That there is enough again is told only to whom the supply was cut.
    """
    rows = Wallet.objects.select_related("agreement__customer").select_for_update(
        of=("self",), skip_locked=True
    )
    found = []
    for wallet in rows.exclude(state=F("told_state")).order_by("pk")[:MOST]:
        before, wallet.told_state = wallet.told_state, wallet.state
        wallet.save(update_fields=["told_state"])
        if wallet.state in (WalletState.GOOD, WalletState.LOW) and before == WalletState.SPENT:
            found += _letter(wallet, "restored")
        elif wallet.state != WalletState.GOOD:
            found += _letter(wallet, wallet.state)
    return found


def _letter(wallet: Wallet, what: str) -> list[Letter]:
    customer = wallet.agreement.customer
    if not customer.email:
        return []
    context = {
        "name": customer.name,
        "agreement": wallet.agreement.number,
        "balance": f"{wallet.balance.quantize(_COIN)} {wallet.currency}",
        "what": what,
    }
    return [Letter("wallet", customer.email, customer.language, context)]


@transaction.atomic
def take_token_letters(*, now: datetime) -> list[Letter]:
    """Tokens for payments whose customers have an address and do not have them yet, each once."""
    rows = (
        PaygToken.objects.select_related("unit__agreement__customer", "unit__device")
        .select_for_update(of=("self",), skip_locked=True)
        .filter(delivered_at__isnull=True, amount__isnull=False)
        .exclude(unit__agreement__customer__email="")
        .order_by("pk")[:MOST]
    )
    found = []
    mailed = []
    for row in rows:
        customer = row.unit.agreement.customer
        mailed.append(row.pk)
        context = {
            "name": customer.name,
            "serial": row.unit.device.serial,
            "token": grouped(row.token),
            "days": f"{(Decimal(row.value) / row.unit.divider).normalize():f}",
        }
        found.append(Letter("payg_token", customer.email, customer.language, context))
    note_mailed(token_ids=mailed, now=now)
    return found
