"""Brings bill runs on: lists accounts, computes drafts, then makes them final, some accounts in
each transaction.

RATING → CHECKING → (a person approves) APPROVED → FINISHED. Accounts are claimed by locking their
items, and what becomes of them is stored in the same transaction: so any number of workers share a
run, and one that is killed leaves whole chunks behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from billing.domain import drafts, runs_drafts, runs_finals
from billing.domain.runs_listing_operations import list_more
from billing.domain.staleness import ChangesAreReadError
from billing.models import BillRun, ItemState, RunState
from tenants.domain import audit
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, long_scope, open_scope

logger = logging.getLogger(__name__)

# Accounts of a transaction: more of them save little, and lose more when a worker is killed.
CHUNK: Final = 250
_MOVING: Final = (RunState.RATING, RunState.APPROVED)


def moving() -> tuple[tuple[int, int], ...]:
    """The runs that have something to be done, as (tenant, run), the oldest first."""
    with open_scope(Scope(all_tenant_ids())):
        rows = BillRun.objects.filter(ended_at=None, state__in=_MOVING)
        return tuple(rows.order_by("pk").values_list("tenant_id", "pk"))


def work(
    *,
    tenant_id: int,
    run_id: int,
    go_on: Callable[[], bool],
    clock: Callable[[], datetime],
    limit: int = CHUNK,
) -> int:
    """Take steps of a run while there is something to do and `go_on` says so; returns how many
    accounts they have brought on.
    """
    done = 0
    while go_on():
        count = step(tenant_id=tenant_id, run_id=run_id, now=clock(), limit=limit)
        if not count:
            break
        done += count
    return done


def step(*, tenant_id: int, run_id: int, now: datetime, limit: int = CHUNK) -> int:
    """Bring up to `limit` accounts of a run on, or the run itself when none is left; returns how
    many accounts that were. 0: there is nothing to do, or others are at the rest.
    """
    try:
        return _step(tenant_id, run_id, now, limit)
    except ChangesAreReadError:
        logger.info("bill_run.put_off run=%d", run_id)
        return 0


def _step(tenant_id: int, run_id: int, now: datetime, limit: int) -> int:
    with long_scope(Scope((tenant_id,))):
        run = BillRun.objects.get(pk=run_id)
        if run.listed_to is not None and (listed := list_more(run_id)):
            return listed
        wanted = {RunState.RATING: ItemState.WAITING, RunState.APPROVED: ItemState.DRAFTED}
        state = wanted.get(RunState(run.state))
        if state is None:
            return 0
        items = list(
            run.items.filter(state=state)
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("pk")[:limit]
        )
        # Read after the claim: whoever cancels the run waits for the items, or is seen here.
        run.refresh_from_db()
        if not items:
            _move_on(run, now)
            return 0
        if run.state == RunState.RATING and state == ItemState.WAITING:
            runs_drafts.rate(run, items, drafts.known_now(run.known_at))
        elif run.state == RunState.APPROVED and state == ItemState.DRAFTED:
            runs_finals.finalise(run, items, now)
        else:
            return 0
        return len(items)


def _move_on(run: BillRun, now: datetime) -> None:
    """The next state of a run of which no account is left; what others hold is still there."""
    rows = BillRun.objects.select_for_update(skip_locked=True, no_key=True)
    # While accounts are being listed, there are more.
    row = rows.filter(pk=run.pk, listed_to__isnull=True).first()
    if row is None:
        return
    if row.state == RunState.RATING:
        left, action = ItemState.WAITING, "bill_run.computed"
        values: dict[str, Any] = {"state": RunState.CHECKING}
    elif row.state == RunState.APPROVED:
        left, action = ItemState.DRAFTED, "bill_run.finish"
        values = {"state": RunState.FINISHED, "ended_at": now}
    else:
        return
    if not row.items.filter(state=left).exists():
        audit.update(row, values, actor_id=None, action=action, validate=False)
        logger.info("bill_run.moved run=%d state=%s", row.pk, row.state)
