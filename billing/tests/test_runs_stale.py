"""Drafts that something has changed behind: who was not billed yet gets one right bill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.db import connection

from billing.domain import (
    agreements_operations,
    agreements_terms_operations,
    customers_operations,
    evidence,
    prices_operations,
    restatement_operations,
    restatement_steps,
    runs_operations,
    runs_steps,
    tariffs_operations,
)
from billing.domain.agreements_values import MeterChange, TariffValues
from billing.domain.prices_queries import Price
from billing.models import (
    Agreement,
    Bill,
    BillRun,
    BillState,
    Customer,
    ItemState,
    PriceSeries,
    PriceValue,
    Restatement,
    RunState,
    Tariff,
)
from billing.tests import factories
from billing.tests.readings import DOCUMENT, meter, power, quarters
from devices.models import Channel, Facility
from devices.telemetry import redo_store
from devices.telemetry.redo_store import Cause, Changed
from devices.telemetry.segment_store import milliseconds
from devices.tests.factories import facility, member
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
DRAFTED = datetime(2026, 5, 2, 8, tzinfo=UTC)
NOW = DRAFTED + timedelta(days=3)
ISSUED = date(2026, 5, 5)
QUARTERS = (743 + 720) * 4
FEED_IN: dict[str, Any] = {
    **DOCUMENT,
    "components": [
        {"name": "energy", "kind": "energy", "prices": "0.25"},
        {
            "name": "demand",
            "kind": "demand",
            "window_min": 15,
            "prices": "5.00",
            "ratchet": {"percent": 80, "months": 11},
        },
    ],
}
MARKET: dict[str, Any] = {
    **DOCUMENT,
    "components": [{"name": "market", "kind": "dynamic", "series": "day-ahead"}],
}


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    channel: Channel

    def agreement(self, document: dict[str, Any] = DOCUMENT) -> Agreement:
        made = factories.agreement(self.facility, by=factories.tariff(self.tenant, document))
        meter(made, self.channel, BEGIN)
        return made

    def read_again(self, wh: float) -> None:
        quarters(self.channel, BEGIN + timedelta(days=2), [wh] * 4)
        start = milliseconds(BEGIN + timedelta(days=2))
        changed = Changed(self.channel.device_id, start, start + 3_600_000, Cause.LATE, None)
        redo_store.announce(connection, [changed])

    def steps(self, run: BillRun, now: datetime = NOW) -> None:
        runs_steps.work(
            tenant_id=self.tenant.pk, run_id=run.pk, go_on=lambda: True, clock=lambda: now
        )
        run.refresh_from_db()

    def accepted(self, of: Agreement, first: date = MARCH, *, now: datetime = DRAFTED) -> BillRun:
        """A run of a month that has been looked at."""
        run = runs_operations.start(
            tenant_id=self.tenant.pk,
            first_on=first,
            agreement_ids=[of.pk],
            now=now,
            actor_id=None,
        )
        self.steps(run, now)
        runs_operations.accept(run_id=run.pk, reason="As ever.", now=now, actor_id=None)
        return run

    def approved(self, run: BillRun) -> None:
        runs_operations.approve(run_id=run.pk, issued_on=ISSUED, now=NOW, actor_id=None)
        self.steps(run)
        assert run.state == RunState.FINISHED


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        quarters(channel, BEGIN, np.random.default_rng(3).uniform(100, 400, QUARTERS).tolist())
        yield Here(of, at, channel)


def _late(here: Here, _of: Agreement) -> None:
    here.read_again(390.0)


def _tariff(_here: Here, _of: Agreement) -> None:
    document = DOCUMENT | {"components": [{"name": "energy", "kind": "energy", "prices": "0.5"}]}
    row = tariffs_operations.draft_version(
        tariff_id=Tariff.objects.get().pk,
        valid_from=date(2020, 1, 1),
        source=json.dumps(document),
        reason="A slip",
        actor_id=None,
    )
    tariffs_operations.publish_version(version_id=row.pk, now=NOW, actor_id=None)


def _meter(here: Here, of: Agreement) -> None:
    change = MeterChange(at=BEGIN + timedelta(days=9), share=Decimal("0.5"), reason="Shared")
    agreements_terms_operations.alter_meter(
        agreement_id=of.pk, meter_id=of.meters.get().pk, wanted=change, actor_id=None
    )


def _power(here: Here, of: Agreement) -> None:
    values = TariffValues(factories.tariff(here.tenant, FEED_IN).pk, None)
    agreements_terms_operations.change_tariff(
        agreement_id=of.pk, values=values, on=date(2026, 3, 9), actor_id=None
    )


def _moved(_here: Here, of: Agreement) -> None:
    agreements_operations.move_out(agreement_id=of.pk, ends_on=date(2026, 3, 20), actor_id=None)


@pytest.mark.parametrize("change", [_late, _tariff, _meter, _power, _moved])
def test_what_changes_before_a_bill_is_final_is_in_it(
    here: Here, change: Callable[[Here, Agreement], None]
) -> None:
    agreement = here.agreement()
    run = here.accepted(agreement)
    before = Bill.objects.get()
    change(here, agreement)
    here.approved(run)
    bill = Bill.objects.get()
    assert (bill.state, bill.number) == (BillState.FINAL, "R-000001")
    assert bill.total != before.total
    assert evidence.reproduce(bill_id=bill.pk).total == bill.total
    item = run.items.get()
    assert (item.state, item.findings) == (
        ItemState.FINAL,
        [
            {"code": "first"},
            {"code": "computed_anew", "before": str(before.total), "after": str(bill.total)},
        ],
    )
    # Once is enough.
    restatement_steps.work(tenant_id=here.tenant.pk, now=NOW)
    assert not Restatement.objects.exclude(state="unchanged").exists()


def test_prices_that_are_entered_before_a_bill_is_final_are_in_it(here: Here) -> None:
    series = PriceSeries.objects.create(
        tenant=here.tenant, name="day-ahead", currency="EUR", step_s=3600
    )
    PriceValue.objects.bulk_create(
        PriceValue(
            tenant=here.tenant,
            series=series,
            starts_at=BEGIN + timedelta(hours=hour),
            price="0.10",
            entered_at=factories.START,
        )
        for hour in range(743)
    )
    run = here.accepted(here.agreement(MARKET))
    before = Bill.objects.get().total
    prices_operations.append_prices(
        series_id=series.pk,
        prices=[Price(BEGIN + timedelta(hours=5), before)],
        now=NOW,
        actor_id=None,
    )
    here.approved(run)
    assert Bill.objects.get().total > before


def test_what_changes_nothing_is_not_told(here: Here) -> None:
    quarters(here.channel, BEGIN + timedelta(days=2), [300.0] * 4)
    agreement = here.agreement()
    run = here.accepted(agreement)
    before = Bill.objects.get()
    here.read_again(300.0)
    here.approved(run)
    bill = Bill.objects.get()
    assert (bill.state, bill.total) == (BillState.FINAL, before.total)
    assert run.items.get().findings == [{"code": "first"}]


def test_what_the_checklist_asks_anew_is_not_made_final(here: Here) -> None:
    agreement = here.agreement()
    run = here.accepted(agreement)
    quarters(here.channel, BEGIN, [0.0] * (743 * 4), returned=0.0)
    here.read_again(0.0)
    _tariff(here, agreement)
    here.approved(run)
    item = run.items.get()
    assert item.state == ItemState.FAILED
    assert item.problem.startswith("Something has changed since the draft was approved")
    assert "zero" in {one["code"] for one in item.findings}
    assert not Bill.objects.exists()
    again = here.accepted(agreement, now=NOW)
    here.approved(again)
    assert Bill.objects.get().total == 0


def test_a_bill_before_that_becomes_final_meanwhile_is_counted_in(here: Here) -> None:
    quarters(here.channel, BEGIN + timedelta(days=3), [3000.0])
    agreement = here.agreement(FEED_IN)
    march = here.accepted(agreement)
    april = here.accepted(agreement, APRIL)
    alone = Bill.objects.get(run=april)
    here.approved(march)
    here.approved(april)
    bill = Bill.objects.get(run=april)
    # Four fifths of the peak of March, 12 kW.
    assert bill.lines.get(component="demand").quantity == Decimal("9.6")
    assert bill.total > alone.total


def test_a_bill_that_becomes_final_late_has_the_ones_after_it_computed_anew(here: Here) -> None:
    quarters(here.channel, BEGIN + timedelta(days=3), [3000.0])
    agreement = here.agreement(FEED_IN)
    here.approved(here.accepted(agreement, APRIL))
    april = Bill.objects.get()
    here.approved(here.accepted(agreement))
    row = Restatement.objects.get(bill=april)
    assert [one["code"] for one in row.causes] == ["former_bill"]
    restatement_steps.compute(agreement_id=agreement.pk, now=NOW)
    (settled,) = restatement_operations.settle(
        agreement_id=agreement.pk, issued_on=ISSUED, now=NOW, actor_id=None
    )
    assert settled.new_bill is not None
    assert settled.new_bill.total > april.total


def test_a_bill_is_seen_by_whose_agreement_it_is_when_it_becomes_final(here: Here) -> None:
    agreement = here.agreement()
    run = here.accepted(agreement)
    person = member(here.tenant, Role.CONSUMER).user
    customer = Customer.objects.get()
    values = customers_operations.CustomerValues(
        name=customer.name, country="DE", number=customer.number, user_id=person.pk
    )
    customers_operations.change_customer(customer_id=customer.pk, values=values, actor_id=None)
    here.approved(run)
    assert Bill.objects.get().user_id == person.pk
