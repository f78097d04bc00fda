"""Accounts that have fallen behind get a case. Needs an open scope that is not narrowed.

Who owes too little, keeps a plan, or pays beforehand gets none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef

from billing.accounts.dunning import Facts, Policy, is_behind
from billing.domain import dunning_facts, dunning_operations, ledger_operations
from billing.domain.ledger_queries import balances, open_rows
from billing.models import (
    Agreement,
    DunningCase,
    DunningPolicy,
    InstalmentPlan,
    Mode,
    PlanState,
)

# Accounts that have fallen behind are looked for so often; a step counts in days.
LOOK_EVERY: Final = timedelta(hours=1)
# Cases that are opened in one transaction.
MOST_OPENED: Final = 500
# Accounts that are looked at together.
_LOOKED_AT: Final = 500


def due_policies(*, now: datetime) -> list[tuple[int, int]]:
    """Tenant and id of the policies by which new cases are to be looked for."""
    rows = DunningPolicy.objects.filter(is_active=True, next_at__lte=now)
    return list(rows.order_by("next_at", "pk").values_list("tenant_id", "pk"))


@transaction.atomic
def open_cases(*, policy_id: int, now: datetime) -> int:
    """Open cases for accounts of the policy's tenant that are behind; returns how many. Does
    nothing where another worker is at it.
    """
    row = (
        DunningPolicy.objects.select_for_update(skip_locked=True)
        .filter(pk=policy_id, is_active=True, next_at__lte=now)
        .first()
    )
    policy = dunning_facts.policy_of(row, year=now.year)
    if row is None or policy is None:
        return 0
    held = dunning_operations.held(_fallen_behind(row.tenant_id, policy, now))
    # What is paid already may not be allocated yet.
    ledger_operations.allocate([agreement.pk for agreement in held])
    opened = sum(_open(agreement, policy, now) for agreement in held)
    # Where there were more than one round takes, it goes on at once.
    row.next_at = now if len(held) == MOST_OPENED and opened else now + LOOK_EVERY
    row.save(update_fields=["next_at"])
    return opened


def _fallen_behind(tenant_id: int, policy: Policy, now: datetime) -> list[int]:
    """The first MOST_OPENED accounts that are behind and have no case. Those that owe too little or
    keep a plan are passed over: as many as there are, they take nobody's turn.
    """
    # In some zones it is tomorrow already; what is not overdue there yet is told by who opens.
    tomorrow = now.date() + timedelta(days=1)
    open_case = DunningCase.objects.filter(agreement=OuterRef("agreement"), closed_at__isnull=True)
    late = (
        open_rows()
        .filter(tenant_id=tenant_id, open__gt=Decimal(0), due_on__lt=tomorrow)
        # Who pays beforehand is cut by the wallet, or by the unit itself.
        .filter(agreement__mode=Mode.POSTPAID)
        .exclude(Exists(open_case))
    )
    ids = list(late.order_by("agreement").values_list("agreement", flat=True).distinct())
    found: list[int] = []
    for first in range(0, len(ids), _LOOKED_AT):
        part = ids[first : first + _LOOKED_AT]
        behind = [
            pk
            for pk, balance in balances(agreement_ids=part, on=tomorrow).items()
            if is_behind(policy, Facts(balance.overdue, balance.oldest_due))
        ]
        plans = InstalmentPlan.objects.filter(agreement__in=behind, state=PlanState.ACTIVE)
        planned = Agreement.objects.filter(pk__in=plans.values("agreement"))
        resting = {
            agreement.pk
            for agreement in planned.select_related("facility", "customer")
            if dunning_facts.account_of(agreement, now=now).facts.rests
        }
        found += [pk for pk in behind if pk not in resting]
        if len(found) >= MOST_OPENED:
            break
    return found[:MOST_OPENED]


def _open(agreement: Agreement, policy: Policy, now: datetime) -> bool:
    if DunningCase.objects.filter(agreement=agreement, closed_at__isnull=True).exists():
        return False
    account = dunning_facts.account_of(agreement, now=now)
    if account.facts.rests or not is_behind(policy, account.facts):
        return False
    DunningCase.objects.create(
        tenant_id=agreement.tenant_id,
        agreement=agreement,
        facility_id=agreement.facility_id,
        opened_at=now,
        counts_from=dunning_facts.counts_from(account),
        next_at=now,
    )
    return True
