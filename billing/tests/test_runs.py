"""Bill runs: drafts, the checklist, approval, final bills; and what takes one back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.domain import evidence, finalising, runs_operations, runs_queries, runs_steps
from billing.domain.checklist import Code
from billing.domain.runs_listing_operations import list_more
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementTariff,
    Allocation,
    Bill,
    BillingSettings,
    BillKind,
    BillLine,
    BillRun,
    BillState,
    Cycle,
    EntryKind,
    ItemState,
    Mode,
    NumberSeries,
    RunState,
)
from billing.tests import factories
from billing.tests.readings import meter, power, quarters, tariff
from devices.models import Channel, Facility
from devices.tests.factories import facility, member
from tenants.models import AuditEntry, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

FIRST, END = factories.FIRST, factories.END
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
LENGTH = 743 * 4
NOW = datetime(2026, 4, 2, 8, tzinfo=UTC)
ISSUED = date(2026, 4, 2)


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    channel: Channel
    asker: User
    approver: User

    def agreement(self, *, metered: bool = True, **fields: Any) -> Agreement:
        made = factories.agreement(self.facility, by=tariff(self.facility), **fields)
        if metered:
            meter(made, self.channel, BEGIN)
        return made

    def start(self, **fields: Any) -> BillRun:
        values: dict[str, Any] = {"tenant_id": self.tenant.pk, "first_on": FIRST, "now": NOW}
        return runs_operations.start(**values | {"actor_id": self.asker.pk} | fields)

    def steps(self, run: BillRun) -> None:
        """Until nothing is left to be done."""
        runs_steps.work(
            tenant_id=self.tenant.pk, run_id=run.pk, go_on=lambda: True, clock=lambda: NOW
        )
        run.refresh_from_db()

    def accept(self, run: BillRun, **fields: Any) -> int:
        values: dict[str, Any] = {"run_id": run.pk, "reason": "As it should be.", "now": NOW}
        return runs_operations.accept(**values | {"actor_id": self.approver.pk} | fields)

    def approve(self, run: BillRun, **fields: Any) -> None:
        values: dict[str, Any] = {"run_id": run.pk, "issued_on": ISSUED, "now": NOW}
        runs_operations.approve(**values | {"actor_id": self.approver.pk} | fields)

    def whole_run(self, **fields: Any) -> BillRun:
        run = self.start(**fields)
        self.steps(run)
        self.accept(run)
        self.approve(run)
        self.steps(run)
        return run


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        quarters(channel, BEGIN, np.random.default_rng(3).uniform(0, 400, LENGTH).tolist())
        people = (member(of, Role.ADMIN).user for _ in range(2))
        yield Here(of, at, channel, *people)


def test_a_run_makes_each_bill_final_with_a_number_and_an_entry(here: Here) -> None:
    agreements = [here.agreement(payment_days=days) for days in (14, 30)]
    run = here.whole_run()
    assert (run.state, run.ended_at, run.approved_by) == (RunState.FINISHED, NOW, here.approver)
    bills = list(Bill.objects.order_by("pk"))
    assert [bill.agreement_id for bill in bills] == [one.pk for one in agreements]
    assert [(bill.state, bill.series, bill.number) for bill in bills] == [
        (BillState.FINAL, "bill", "R-000001"),
        (BillState.FINAL, "bill", "R-000002"),
    ]
    assert [bill.due_on for bill in bills] == [
        ISSUED + timedelta(days=14),
        ISSUED + timedelta(days=30),
    ]
    entries = list(AccountEntry.objects.order_by("pk"))
    assert [(one.key, one.kind, one.amount, one.due_on) for one in entries] == [
        (f"bill:{bill.pk}", EntryKind.BILL, bill.total, bill.due_on) for bill in bills
    ]
    for bill, agreement in zip(bills, agreements, strict=True):
        assert bill.parties["supply"]["agreement"] == agreement.number
        assert evidence.reproduce(bill_id=bill.pk).total == bill.total > 0
    assert NumberSeries.objects.get(code="bill").next_number == 3
    told = AuditEntry.objects.filter(action__startswith="bill_run")
    assert sorted(told.values_list("action", flat=True)) == [
        "bill_run.accept",
        "bill_run.approve",
        "bill_run.computed",
        "bill_run.finish",
        "bill_run.start",
    ]


def test_a_step_that_is_done_again_changes_nothing(here: Here) -> None:
    here.agreement()
    run = here.whole_run()
    before = list(Bill.objects.values())
    here.steps(run)
    assert runs_steps.step(tenant_id=here.tenant.pk, run_id=run.pk, now=NOW) == 0
    assert list(Bill.objects.values()) == before
    assert AccountEntry.objects.count() == 1


def test_days_that_are_billed_are_not_billed_again(here: Here) -> None:
    here.agreement()
    here.whole_run()
    second = here.whole_run()
    item = second.items.get()
    assert (item.state, item.problem) == (ItemState.SKIPPED, "These days are billed already.")
    assert Bill.objects.count() == 1


def test_who_moves_out_and_who_moves_in_get_bills_for_their_days(here: Here) -> None:
    change = date(2026, 3, 12)
    before = here.agreement(ends_on=change)
    after = here.agreement(starts_on=change)
    here.agreement(ends_on=date(2026, 6, 1), starts_on=date(2026, 4, 1))
    here.whole_run()
    assert {(bill.agreement_id, bill.first_on, bill.end_on) for bill in Bill.objects.all()} == {
        (before.pk, FIRST, change),
        (after.pk, change, END),
    }
    alone = here.agreement()
    run = here.whole_run(agreement_ids=[alone.pk])
    assert run.items.count() == 1
    both = Bill.objects.exclude(agreement=alone)
    assert sum(bill.imported_kwh for bill in both) == Bill.objects.get(agreement=alone).imported_kwh


def test_the_days_that_are_left_are_billed(here: Here) -> None:
    agreement = here.agreement()
    here.whole_run(agreement_ids=[agreement.pk], end_on=date(2026, 3, 11))
    here.whole_run()
    assert [(bill.first_on.day, bill.end_on) for bill in Bill.objects.order_by("first_on")] == [
        (1, date(2026, 3, 11)),
        (11, END),
    ]


def test_a_run_is_for_postpaid_agreements_of_its_cycle(here: Here) -> None:
    monthly = here.agreement()
    quarterly = here.agreement(cycle=Cycle.QUARTER, starts_on=date(2026, 1, 1))
    here.agreement(mode=Mode.PREPAID)
    months = here.start()
    assert list_more(months.pk) == 1
    assert [item.agreement_id for item in months.items.all()] == [monthly.pk]
    run = here.start(cycle=Cycle.QUARTER, first_on=date(2026, 1, 1))
    assert list_more(run.pk) == 1
    assert (run.end_on, [item.agreement_id for item in run.items.all()]) == (END, [quarterly.pk])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"first_on": date(2026, 3, 2)}, "A run for all agreements is for a full month"),
        ({"first_on": FIRST, "end_on": date(2026, 3, 9)}, "A run for all agreements is for a full"),
        ({"cycle": Cycle.QUARTER}, "A run for all agreements is for a full month"),
        ({"first_on": date(2026, 4, 1)}, "The period is not over yet"),
        ({"agreement_ids": [], "end_on": FIRST}, "The period ends before it begins."),
    ],
)
def test_a_period_that_cannot_be_billed_is_refused(
    here: Here, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        here.start(**fields)
    assert BillRun.objects.count() == 0


def test_two_runs_for_all_are_not_open_at_once(here: Here) -> None:
    here.start()
    with pytest.raises(ValidationError, match="There is a run for this period"):
        here.start()


def test_what_the_checklist_finds_holds_an_account_until_it_is_accepted(here: Here) -> None:
    agreement = here.agreement()
    run = here.start()
    here.steps(run)
    item = run.items.get()
    assert (run.state, item.state, item.findings) == (
        RunState.CHECKING,
        ItemState.HELD,
        [{"code": "first"}],
    )
    with pytest.raises(ValidationError, match="1 accounts are still to be looked at"):
        here.approve(run)
    with pytest.raises(ValidationError, match="Give a reason"):
        here.accept(run, reason=" ")
    assert here.accept(run, codes=[Code.ZERO]) == 0
    assert here.accept(run, codes=[Code.ZERO, Code.FIRST]) == 1
    item.refresh_from_db()
    assert (item.state, item.accepted_by, item.reason) == (
        ItemState.DRAFTED,
        here.approver,
        "As it should be.",
    )
    assert Bill.objects.get(agreement=agreement).state == BillState.DRAFT


def test_findings_have_their_figures(here: Here) -> None:
    agreement = here.agreement()
    factories.bill(agreement)  # of no use
    april = BEGIN + timedelta(hours=743)
    quarters(here.channel, april, [1000.0] * (30 * 96))
    AgreementTariff.objects.update(contracted_kw=Decimal("3.5"))
    run = here.start(first_on=END, now=NOW + timedelta(days=30))
    here.steps(run)
    assert run.items.get().findings == [
        {"code": "implausible_use", "kwh_day": "96.0", "former_kwh_day": "0.0"},
        {"code": "above_contract", "kw": "4.0", "contracted_kw": "3.5"},
    ]


def test_what_was_not_measured_is_found(here: Here) -> None:
    meter(here.agreement(metered=False), power(here.facility), BEGIN)
    short = power(here.facility)
    agreement = here.agreement(metered=False)
    meter(agreement, short, BEGIN)
    quarters(short, BEGIN, [100.0] * LENGTH)
    # Four in ten quarters of an hour, each between two that were measured.
    for first in range(5, LENGTH - 10, 10):
        quarters(short, BEGIN + timedelta(minutes=15 * first), [0.0] * 4, coverage=0.01)
    run = here.start()
    here.steps(run)
    assert [item.findings for item in run.items.order_by("pk")] == [
        [{"code": "missing_reads", "intervals": LENGTH, "of": LENGTH}, {"code": "first"}],
        [{"code": "estimated", "percent": "39.6", "limit": "20"}, {"code": "first"}],
    ]


def test_who_asked_does_not_approve_where_it_takes_two(here: Here) -> None:
    here.agreement()
    run = here.start()
    here.steps(run)
    here.accept(run)
    with pytest.raises(ValidationError, match="You have asked for this run"):
        here.approve(run, actor_id=here.asker.pk)
    with pytest.raises(ValidationError, match="on or after the day their period ends"):
        here.approve(run, issued_on=date(2026, 3, 31))
    BillingSettings.objects.create(tenant=here.tenant, legal_name="Wattline", second_person=False)
    here.approve(run, actor_id=here.asker.pk)
    here.steps(run)
    assert Bill.objects.get().parties["seller"]["name"] == "Wattline"


def test_an_account_without_a_tariff_fails_and_can_be_computed_anew(here: Here) -> None:
    agreement = here.agreement()
    AgreementTariff.objects.filter(agreement=agreement).update(starts_on=date(2026, 3, 5))
    run = here.start()
    here.steps(run)
    item = run.items.get()
    assert (item.state, item.findings) == (
        ItemState.FAILED,
        [{"code": "tariff_missing", "first": "2026-03-01", "end": "2026-03-05"}],
    )
    assert item.problem.startswith("From 2026-03-01 until 2026-03-05 no published tariff holds")
    AgreementTariff.objects.filter(agreement=agreement).update(starts_on=FIRST)
    runs_operations.compute_again(run_id=run.pk, now=NOW, actor_id=None)
    here.steps(run)
    item.refresh_from_db()
    assert (run.state, item.state, item.problem) == (RunState.CHECKING, ItemState.HELD, "")


def test_accounts_are_listed_by_workers_some_at_a_time(here: Here) -> None:
    agreements = [here.agreement(metered=False) for _ in range(5)]
    run = here.start()
    assert (run.listed_to, run.items.count()) == (0, 0)
    listed = [agreements[0].pk, agreements[1].pk]
    assert list_more(run.pk, limit=2) == 2
    point = transaction.savepoint()
    assert list_more(run.pk, limit=2) == 2
    transaction.savepoint_rollback(point)  # a worker was killed
    run.refresh_from_db()
    assert run.listed_to == agreements[1].pk
    assert list(run.items.order_by("pk").values_list("agreement_id", flat=True)) == listed
    # Who is done with those that are listed does not take them for all.
    run.items.update(state=ItemState.SKIPPED)
    runs_steps._move_on(run, NOW)
    run.refresh_from_db()
    assert run.state == RunState.RATING
    here.steps(run)
    after = BillRun.objects.get(pk=run.pk)
    assert (after.state, after.listed_to) == (RunState.CHECKING, None)
    found = run.items.order_by("pk").values_list("agreement_id", flat=True)
    assert list(found) == [one.pk for one in agreements]
    assert list_more(run.pk) == 0


def test_a_run_for_nobody_is_over_at_once(here: Here) -> None:
    run = here.start()
    here.steps(run)
    assert (run.state, run.items.count()) == (RunState.CHECKING, 0)


def test_who_cannot_be_computed_any_more_has_no_draft(here: Here) -> None:
    agreement = here.agreement()
    run = here.start()
    here.steps(run)
    AgreementTariff.objects.filter(agreement=agreement).update(starts_on=date(2026, 3, 5))
    runs_operations.compute_again(run_id=run.pk, now=NOW, actor_id=None)
    here.steps(run)
    assert run.items.get().state == ItemState.FAILED
    assert not Bill.objects.exists()
    here.approve(run)
    here.steps(run)
    AgreementTariff.objects.filter(agreement=agreement).update(starts_on=FIRST)
    here.whole_run()
    assert Bill.objects.get().state == BillState.FINAL


def test_who_does_not_hold_in_the_period_any_more_is_told_so(here: Here) -> None:
    agreement = here.agreement()
    run = here.start(agreement_ids=[agreement.pk])
    Agreement.objects.filter(pk=agreement.pk).update(starts_on=END)
    here.steps(run)
    item = run.items.get()
    assert (item.state, item.problem) == (
        ItemState.SKIPPED,
        "The agreement does not hold on any of these days.",
    )


@pytest.mark.parametrize(
    ("zone", "complete"),
    [("Europe/Berlin", (1, 0, 15)), ("America/Los_Angeles", (1, 9, 15)), ("UTC", (1, 2, 15))],
)
def test_a_period_is_billed_once_its_last_readings_are_in(
    here: Here, zone: str, complete: tuple[int, int, int]
) -> None:
    here.agreement()
    Facility.objects.update(time_zone=zone)
    at = datetime(2026, 4, *complete, tzinfo=UTC)
    with pytest.raises(ValidationError, match="The last readings of the period may still come"):
        here.start(now=at - timedelta(seconds=1))
    assert here.start(now=at).state == RunState.RATING


def test_an_account_can_be_left_out(here: Here) -> None:
    here.agreement()
    run = here.start()
    here.steps(run)
    item = run.items.get()
    left_out = runs_operations.leave_out(
        run_id=run.pk, item_ids=[item.pk], reason="In dispute.", now=NOW, actor_id=None
    )
    assert left_out == 1
    assert Bill.objects.count() == 0
    here.approve(run)
    here.steps(run)
    item.refresh_from_db()
    assert (run.state, item.state, item.reason) == (
        RunState.FINISHED,
        ItemState.SKIPPED,
        "In dispute.",
    )


def test_a_cancelled_run_leaves_no_drafts(here: Here) -> None:
    here.agreement()
    run = here.start()
    here.steps(run)
    runs_operations.cancel(run_id=run.pk, reason="Too early.", now=NOW, actor_id=None)
    run.refresh_from_db()
    assert (run.state, run.ended_at) == (RunState.CANCELLED, NOW)
    assert Bill.objects.count() == BillLine.objects.count() == 0
    here.steps(run)
    assert Bill.objects.count() == 0
    here.whole_run()
    assert Bill.objects.get().number == "R-000001"


def test_a_draft_of_another_run_is_in_the_way(here: Here) -> None:
    agreement = here.agreement()
    first = here.start(agreement_ids=[agreement.pk])
    here.steps(first)
    second = here.start(agreement_ids=[agreement.pk])
    here.steps(second)
    item = second.items.get()
    assert item.state == ItemState.FAILED
    assert item.problem.startswith("Another run has a draft for these days")
    assert Bill.objects.get().run == first


def test_days_that_were_billed_since_the_draft_are_not_billed_twice(here: Here) -> None:
    other = factories.bill(here.agreement(), final=False)
    Bill.objects.filter(pk=other.pk).update(first_on=date(2026, 1, 1), end_on=date(2026, 1, 2))
    run = here.start()
    here.steps(run)
    Bill.objects.filter(pk=other.pk).update(
        first_on=date(2026, 3, 31),
        end_on=date(2026, 4, 2),
        state=BillState.FINAL,
        number="other",
        issued_on=END,
        due_on=END,
        finalised_at=NOW,
    )
    here.accept(run)
    here.approve(run)
    here.steps(run)
    item = run.items.get()
    assert (run.state, item.state) == (RunState.FINISHED, ItemState.FAILED)
    assert item.problem.startswith("These days were billed meanwhile")
    # It would keep other runs from the days that are left.
    assert not Bill.objects.filter(state=BillState.DRAFT).exists()
    assert not NumberSeries.objects.filter(code="bill").exists()


def test_a_final_bill_is_taken_back_by_its_opposite(here: Here) -> None:
    here.agreement()
    here.whole_run()
    bill = Bill.objects.get()
    (note,) = finalising.take_back(
        [bill.pk], cause="A reading was wrong.", issued_on=ISSUED, now=NOW, actor_id=None
    )
    bill.refresh_from_db()
    assert (bill.state, bill.voided_at) == (BillState.VOID, NOW)
    note.refresh_from_db()
    assert (note.kind, note.state, note.number, note.corrects, note.revision) == (
        BillKind.CREDIT_NOTE,
        BillState.FINAL,
        "G-000001",
        bill,
        1,
    )
    assert (note.net, note.tax, note.total) == (-bill.net, -bill.tax, -bill.total)
    assert note.parties == bill.parties
    pairs = zip(bill.lines.all(), note.lines.all(), strict=True)
    assert all(
        (one.amount, one.quantity, one.price) == (-back.amount, -back.quantity, back.price)
        for one, back in pairs
    )
    assert sum(AccountEntry.objects.values_list("amount", flat=True)) == 0
    assert Allocation.objects.get().amount == bill.total
    assert evidence.reproduce(bill_id=note.pk).total == note.total
    with pytest.raises(finalising.NotFinalError):
        finalising.take_back([bill.pk], cause="", issued_on=ISSUED, now=NOW, actor_id=None)
    # The next bill for these days is the second one.
    here.whole_run()
    assert Bill.objects.get(state=BillState.FINAL, kind=BillKind.INVOICE).revision == 2


def test_a_run_is_listed_with_its_accounts(here: Here) -> None:
    for _ in range(3):
        here.agreement()
    run = here.start()
    here.steps(run)
    assert runs_queries.findings_of(run_id=run.pk) == {"first": 3}
    with CaptureQueriesContext(connection) as queries:
        (entry,) = runs_queries.runs()
    assert len(queries) == 3
    assert (entry.accounts, entry.counts) == (3, {ItemState.HELD: 3})
    assert entry.totals == {"EUR": sum(bill.total for bill in Bill.objects.all())}
    with CaptureQueriesContext(connection) as queries:
        page = runs_queries.items(run_id=run.pk, limit=2)
    assert len(queries) == 2
    assert len(page.items) == 2
    assert page.items[0].bills[0].currency == "EUR"
    rest = runs_queries.items(run_id=run.pk, after=page.after or 0, states=[ItemState.HELD])
    assert (len(rest.items), rest.after) == (1, None)
    with pytest.raises(runs_queries.RunNotFound):
        runs_queries.run_entry(run_id=run.pk + 1)


def test_what_is_computed_takes_as_many_queries_for_three_accounts_as_for_one(here: Here) -> None:
    counts = []
    for _ in range(2):
        here.agreement()
        run = here.start(agreement_ids=Agreement.objects.values_list("pk", flat=True))
        with CaptureQueriesContext(connection) as queries:
            runs_steps.step(tenant_id=here.tenant.pk, run_id=run.pk, now=NOW)
        counts.append(len(queries))
        runs_operations.cancel(run_id=run.pk, reason="Enough.", now=NOW, actor_id=None)
        here.agreement()
    assert counts[0] == counts[1]
