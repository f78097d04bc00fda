"""What people decide about the wallet of an agreement, answered by how it stands then. Needs an
open scope that is not narrowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.domain import wallet_operations as operations
from billing.domain.wallet_operations import WalletRules
from billing.domain.wallet_queries import WalletFacts, wallet_there


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A change of a balance that nobody has paid; `key` is what the asker calls it."""

    amount: Decimal
    reason: str
    key: str


def set_rules(
    *, agreement_id: int, rules: WalletRules, now: datetime, actor_id: int | None
) -> WalletFacts:
    """Other limits. Raises NotThere, ValidationError."""
    wallet = wallet_there(agreement_id=agreement_id, now=now)
    operations.set_rules(wallet_id=wallet.wallet_id, rules=rules, now=now, actor_id=actor_id)
    return wallet_there(agreement_id=agreement_id, now=now)


def adjust(
    *, agreement_id: int, wanted: Adjustment, now: datetime, actor_id: int | None
) -> WalletFacts:
    """Put something in, or take it out. Raises NotThere, ValidationError."""
    wallet = wallet_there(agreement_id=agreement_id, now=now)
    operations.adjust(
        wallet_id=wallet.wallet_id,
        amount=wanted.amount,
        reason=wanted.reason,
        key=wanted.key,
        now=now,
        actor_id=actor_id,
    )
    return wallet_there(agreement_id=agreement_id, now=now)
