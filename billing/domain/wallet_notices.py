"""Telling customers how their wallets stand, once each time that changes. Needs an open scope that
is not narrowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import transaction
from django.db.models import F, QuerySet

from billing.accounts.tokens import grouped
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


def tokens_to_mail() -> list[tuple[int, int]]:
    """Tenant and id of the tokens for payments whose customers have an address and do not have them
    yet, the oldest first; one query.
    """
    return list(_unmailed().order_by("pk").values_list("tenant_id", "pk")[:MOST])


def claim_token(*, token_id: int) -> Letter | None:
    """What is to be mailed of a token, held until the end of the transaction; None where it was
    mailed, or somebody else is at it. Who has sent it notes that (`payg_operations.note_mailed`):
    what was paid for is not lost with a worker that is killed, or a mail server that is away.
    """
    rows = _unmailed().select_related("unit__agreement__customer", "unit__device")
    row = rows.select_for_update(of=("self",), skip_locked=True).filter(pk=token_id).first()
    if row is None:
        return None
    customer = row.unit.agreement.customer
    context = {
        "name": customer.name,
        "serial": row.unit.device.serial,
        "token": grouped(row.token),
        "days": f"{(Decimal(row.value) / row.unit.divider).normalize():f}",
    }
    return Letter("payg_token", customer.email, customer.language, context)


def _unmailed() -> QuerySet[PaygToken]:
    rows = PaygToken.objects.filter(delivered_at__isnull=True, amount__isnull=False)
    return rows.exclude(unit__agreement__customer__email="")
