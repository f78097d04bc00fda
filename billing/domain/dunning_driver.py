"""Which tenants and cases are to be looked at now, and looking at one. Opens scopes itself."""

from __future__ import annotations

import logging
from datetime import datetime

from billing.accounts.dunning import PolicyError
from billing.domain import dunning_opening_operations, dunning_operations, dunning_queries
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, open_scope

logger = logging.getLogger(__name__)


def open_cases(*, now: datetime) -> int:
    """Open cases for accounts that have fallen behind, of the tenants whose turn it is; returns how
    many.
    """
    opened = 0
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            due = dunning_opening_operations.due_policies(now=now)
        for tenant_id, policy_id in due:
            try:
                with open_scope(Scope((tenant_id,))):
                    opened += dunning_opening_operations.open_cases(policy_id=policy_id, now=now)
            except PolicyError:
                # A policy that held when it was set: it keeps nobody else from what is due.
                logger.exception("dunning.policy_unusable tenant=%d", tenant_id)
    return opened


def due_cases(*, now: datetime) -> list[tuple[int, int]]:
    """Tenant and id of the cases that are to be looked at now."""
    found: list[tuple[int, int]] = []
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            found += dunning_operations.due_cases(now=now)
    return found


def drive(*, tenant_id: int, case_id: int, now: datetime) -> bool:
    """Look at a case in the scope of its tenant; returns whether anything was done."""
    with open_scope(Scope((tenant_id,))):
        return dunning_operations.drive(case_id=case_id, now=now)


def unmailed() -> list[tuple[int, int]]:
    """Tenant and id of the events that customers are still to be told of."""
    found: list[tuple[int, int]] = []
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            found += dunning_queries.to_mail()
    return found
