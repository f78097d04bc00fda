"""Bill runs by several workers at once, two runs at once, and a run that is cancelled meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
import pytest
from django.db import connections, transaction

from billing.domain import restatement_finding, runs_operations, runs_steps
from billing.models import (
    AccountEntry,
    Agreement,
    Bill,
    BillRun,
    BillRunItem,
    BillState,
    ItemState,
    RunState,
)
from billing.tests import factories
from billing.tests.readings import meter, power, quarters, tariff
from devices.tests.factories import facility, remove_everything
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = datetime(2026, 4, 2, 8, tzinfo=UTC)
ACCOUNTS = 8
_T = TypeVar("_T")


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    remove_everything()


def accounts(count: int = ACCOUNTS) -> tuple[Tenant, list[int]]:
    """A tenant with agreements that share two days of readings, and their ids."""
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        quarters(channel, BEGIN, np.random.default_rng(3).uniform(0, 400, 200).tolist())
        by = tariff(at)
        made = [factories.agreement(at, by=by) for _ in range(count)]
        for one in made:
            meter(one, channel, BEGIN)
    return of, [one.pk for one in made]


def start(of: Tenant, agreement_ids: list[int] | None = None) -> int:
    """A run that is committed."""
    with open_scope(Scope((of.pk,))):
        run = runs_operations.start(
            tenant_id=of.pk,
            first_on=factories.FIRST,
            agreement_ids=agreement_ids,
            now=NOW,
            actor_id=None,
        )
        return run.pk


def decide(of: Tenant, run_id: int) -> None:
    """Accept all that was found, and approve."""
    with open_scope(Scope((of.pk,))):
        runs_operations.accept(run_id=run_id, reason="Well.", now=NOW, actor_id=None)
        runs_operations.approve(run_id=run_id, issued_on=factories.END, now=NOW, actor_id=None)


def work(of: Tenant, run_id: int, *, limit: int = 1) -> None:
    """Bring a run on until it waits for a person or is over; others may be at it."""
    while state(of, run_id) in (RunState.RATING, RunState.APPROVED):
        runs_steps.work(
            tenant_id=of.pk,
            run_id=run_id,
            go_on=lambda: True,
            clock=lambda: NOW,
            limit=limit,
        )


def state(of: Tenant, run_id: int) -> RunState:
    """The state of a run."""
    with open_scope(Scope((of.pk,))):
        return RunState(BillRun.objects.get(pk=run_id).state)


def agree(of: Tenant, agreement_ids: list[int]) -> None:
    """Each agreement has one final bill with an entry, and numbers have no gap."""
    with open_scope(Scope((of.pk,))):
        bills = list(Bill.objects.order_by("number"))
        assert sorted(bill.agreement_id for bill in bills) == sorted(agreement_ids)
        assert {bill.state for bill in bills} == {BillState.FINAL}
        assert [bill.number for bill in bills] == [
            f"R-{number:06}" for number in range(1, len(bills) + 1)
        ]
        # All have used the same.
        assert len({(bill.total, bill.imported_kwh) for bill in bills}) == 1
        entries = AccountEntry.objects.values_list("key", "amount")
        assert sorted(entries) == sorted((f"bill:{bill.pk}", bill.total) for bill in bills)


def beside(*calls: Callable[[], _T]) -> list[_T]:
    """Calls in threads with connections of their own, that begin at once."""
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], _T]) -> _T:
        barrier.wait()
        try:
            return one()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def test_workers_share_a_run() -> None:
    of, ids = accounts()
    run_id = start(of)
    beside(*[lambda: work(of, run_id)] * 3)
    decide(of, run_id)
    beside(*[lambda: work(of, run_id)] * 3)
    assert state(of, run_id) == RunState.FINISHED
    agree(of, ids)


def test_two_runs_at_once_bill_each_account_once() -> None:
    of, ids = accounts()
    runs = [start(of, ids), start(of, ids)]
    beside(*[lambda run_id=run_id: work(of, run_id) for run_id in runs])
    with open_scope(Scope((of.pk,))):
        assert Bill.objects.count() == len(ids)
        agreements = Bill.objects.order_by().values_list("agreement_id", flat=True)
        assert sorted(agreements) == sorted(ids)
    for run_id in runs:
        decide(of, run_id)
    beside(*[lambda run_id=run_id: work(of, run_id) for run_id in runs])
    agree(of, ids)


def test_two_tenants_do_not_wait_for_each_other_and_number_by_themselves() -> None:
    one, other = accounts(3), accounts(3)
    runs = [(of, start(of)) for of, _ in (one, other)]
    for again in (False, True):
        beside(*[lambda of=of, run_id=run_id: work(of, run_id) for of, run_id in runs])
        for of, run_id in () if again else runs:
            decide(of, run_id)
    agree(*one)
    agree(*other)


def test_a_run_that_is_cancelled_while_it_computes_leaves_no_drafts() -> None:
    of, _ids = accounts()
    run_id = start(of)

    def cancel() -> None:
        with open_scope(Scope((of.pk,))):
            runs_operations.cancel(run_id=run_id, reason="No.", now=NOW, actor_id=None)

    beside(lambda: work(of, run_id), lambda: work(of, run_id), cancel)
    with open_scope(Scope((of.pk,))):
        assert Bill.objects.count() == 0
        assert BillRun.objects.get(pk=run_id).state == RunState.CANCELLED


def test_no_bill_becomes_final_while_changes_are_read() -> None:
    of, ids = accounts(2)
    run_id = start(of)
    work(of, run_id)
    decide(of, run_id)
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with open_scope(Scope((of.pk,))):
            restatement_finding.hold_place(of.pk)
            reading.set()
            done.wait()

    def make() -> int:
        reading.wait()
        try:
            return runs_steps.step(tenant_id=of.pk, run_id=run_id, now=NOW)
        finally:
            done.set()

    with open_scope(Scope((of.pk,))):
        restatement_finding.place_exists(of.pk)
    # A bill that is not visible yet would be missed by who reads.
    assert beside(read, make) == [None, 0]
    with open_scope(Scope((of.pk,))):
        assert set(Bill.objects.values_list("state", "number")) == {(BillState.DRAFT, "")}
    work(of, run_id)
    agree(of, ids)


def test_a_number_that_was_not_used_is_given_back() -> None:
    of, ids = accounts(2)
    run_id = start(of)
    work(of, run_id)
    decide(of, run_id)
    with open_scope(Scope((of.pk,))):
        runs_steps.step(tenant_id=of.pk, run_id=run_id, now=NOW)
        assert Bill.objects.exclude(number="").count() == 2
        transaction.set_rollback(True)
    with open_scope(Scope((of.pk,))):
        assert not Bill.objects.exclude(number="").exists()
    work(of, run_id)
    agree(of, ids)


def test_a_member_of_some_facilities_sees_their_bills_alone_and_makes_none() -> None:
    of, ids = accounts(2)
    elsewhere, _ = accounts(1)
    run_id = start(of)
    work(of, run_id)
    decide(of, run_id)
    work(of, run_id)
    with open_scope(Scope((of.pk,))):
        own = Agreement.objects.get(pk=ids[0]).facility_id
        other = facility(of).pk
    for scope in (Scope((elsewhere.pk,)), Scope((of.pk,), (other,))):
        with open_scope(scope):
            assert Bill.objects.count() == 0
            assert BillRunItem.objects.filter(state=ItemState.FINAL).count() == 0
    with open_scope(Scope((of.pk,), (own,))):
        assert Bill.objects.count() == 2
        assert BillRun.objects.count() == 0
        with pytest.raises(LookupError):
            runs_operations.cancel(run_id=run_id, reason="Mine.", now=NOW, actor_id=None)
        assert Bill.objects.filter(finalised_at__lt=NOW + timedelta(days=1)).count() == 2
