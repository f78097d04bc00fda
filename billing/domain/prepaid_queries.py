"""An agreement that pays beforehand, with its wallet or its unit. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.db.models import Q

from billing.domain.pages_queries import NotThere
from billing.domain.payg_queries import UnitFacts, unit_of_agreement, waiting_requests
from billing.domain.wallet_queries import WalletFacts, wallet_of
from billing.models import Agreement, Mode, TokenRequest

# Homes of one person; who has more has the portal.
MOST_OWN: Final = 12


@dataclass(frozen=True, slots=True)
class PrepaidPage:
    """`wallet` of a prepaid agreement, once it is opened, `unit` of one that pays by the day, with
    the tokens that wait for a second person.
    """

    agreement: Agreement
    wallet: WalletFacts | None
    unit: UnitFacts | None
    requests: tuple[TokenRequest, ...] = ()


def prepaid_page(*, agreement_id: int, now: datetime) -> PrepaidPage:
    """All of it; seven queries at most. Raises NotThere."""
    row = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if row is None:
        raise NotThere(f"agreement {agreement_id}")
    return PrepaidPage(
        row,
        wallet_of(agreement_id=agreement_id, now=now),
        unit_of_agreement(agreement_id=agreement_id),
        waiting_requests(agreement_id=agreement_id) if row.mode == Mode.PAYG else (),
    )


def own_pages(*, user_id: int, today: date, now: datetime) -> tuple[PrepaidPage, ...]:
    """What a person pays beforehand, agreements that have ended left out; one query and six for
    each agreement.
    """
    rows = Agreement.objects.select_related("facility").filter(
        user=user_id, mode__in=[Mode.PREPAID, Mode.PAYG]
    )
    rows = rows.filter(Q(ends_on__isnull=True) | Q(ends_on__gt=today))
    return tuple(
        PrepaidPage(
            row,
            wallet_of(agreement_id=row.pk, now=now, user_id=user_id),
            unit_of_agreement(agreement_id=row.pk, user_id=user_id),
        )
        for row in rows.order_by("pk")[:MOST_OWN]
    )
