"""Bill runs whose workers are killed at any moment: the same bills, once, without a gap."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest
from django.db import connections

from billing.domain import drafts
from billing.models import Bill, BillRunItem, BillState, ItemState, RunState
from billing.tests import factories
from billing.tests.test_runs_beside import NOW, accounts, agree, decide, start, state, work
from devices.tests.factories import remove_everything
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.crash,
    pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"]),
]

ACCOUNTS = 16
MOST = 300


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    remove_everything()


def _killed(of: Tenant, run_id: int, after_s: float) -> None:
    """A process of its own that works on a run, and is killed."""
    for each in connections.all():
        each.close()
        each.close_pool()  # type: ignore[attr-defined] # of PostgreSQL's wrapper
    child = os.fork()
    if child == 0:
        try:
            work(of, run_id)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _in_the_middle(of: Tenant, run_id: int, done: ItemState) -> bool:
    with open_scope(Scope((of.pk,))):
        items = BillRunItem.objects.filter(run_id=run_id)
        finished = items.filter(state=done).count()
        bills = Bill.objects.exclude(state=BillState.DRAFT).count()
        # At every moment numbers are as many as final bills.
        assert bills == items.filter(state=ItemState.FINAL).count()
        return 0 < finished < ACCOUNTS


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_each_bill_is_made_once(seed: int) -> None:
    draw = random.Random(seed)
    of, ids = accounts(ACCOUNTS)
    run_id = start(of)
    with open_scope(Scope((of.pk,))):
        # What a process reads once, its children have.
        known = drafts.known_now(NOW)
        drafts.compute(ids[0], first=factories.FIRST, end=factories.END, known=known)
    interrupted = 0
    for moving, done in (
        (RunState.RATING, ItemState.HELD),
        (RunState.APPROVED, ItemState.FINAL),
    ):
        for number in range(MOST):
            if state(of, run_id) != moving:
                break
            # Longer and longer, so that it comes to an end on a machine of any speed.
            _killed(of, run_id, draw.uniform(0.02, 0.2) * (1 + number / 20))
            interrupted += _in_the_middle(of, run_id, done)
        assert state(of, run_id) != moving
        if moving is RunState.RATING:
            decide(of, run_id)
    assert interrupted > 3  # they were killed at work, not after it
    assert state(of, run_id) == RunState.FINISHED
    agree(of, ids)
