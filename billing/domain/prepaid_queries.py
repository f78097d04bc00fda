"""An agreement that pays beforehand, with its wallet or its unit. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billing.domain.pages_queries import NotThere
from billing.domain.payg_queries import UnitFacts, unit_of_agreement
from billing.domain.wallet_queries import WalletFacts, wallet_of
from billing.models import Agreement


@dataclass(frozen=True, slots=True)
class PrepaidPage:
    """`wallet` of a prepaid agreement, once it is opened, `unit` of one that pays by the day."""

    agreement: Agreement
    wallet: WalletFacts | None
    unit: UnitFacts | None


def prepaid_page(*, agreement_id: int, now: datetime) -> PrepaidPage:
    """All of it; six queries at most. Raises NotThere."""
    row = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if row is None:
        raise NotThere(f"agreement {agreement_id}")
    return PrepaidPage(
        row,
        wallet_of(agreement_id=agreement_id, now=now),
        unit_of_agreement(agreement_id=agreement_id),
    )
