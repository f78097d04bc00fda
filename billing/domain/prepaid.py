"""What follows at once when money has come in, for agreements that pay beforehand. Needs an open
scope that is not narrowed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from billing.accounts.tokens import TokenError
from billing.domain import payg_operations, wallet_operations
from billing.models import PaygUnit
from tenants.sealing import KeysUnusable, Unsealable

logger = logging.getLogger(__name__)


def paid(*, agreement_ids: Sequence[int], now: datetime, actor_id: int | None) -> None:
    """Let wallets follow their accounts, and issue the tokens that credit pays for. Idempotent;
    agreements of other kinds are passed over. One query where there are none.

    A unit whose keys cannot be opened holds up no payment, its own neither: that is taken, told in
    the log, and `billing.issue_tokens` tries again.
    """
    wallet_operations.follow(agreement_ids=agreement_ids, now=now)
    units = PaygUnit.objects.filter(agreement__in=agreement_ids, released_at__isnull=True)
    for unit_id in units.order_by("pk").values_list("pk", flat=True):
        try:
            payg_operations.issue_for_credit(unit_id=unit_id, now=now, actor_id=actor_id)
        except (KeysUnusable, TokenError, Unsealable):
            logger.exception("payg.no_token unit=%d", unit_id)
