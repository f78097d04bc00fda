"""Final bills whose past changes are computed anew and settled by credit note and new bill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing.domain import (
    agreements_operations,
    drafts,
    evidence,
    finalising,
    prices_operations,
    restatement_finding,
    restatement_operations,
    restatement_steps,
    staleness,
    tariffs_operations,
)
from billing.domain.agreements_terms_operations import alter_meter
from billing.domain.agreements_values import MeterChange
from billing.domain.prices_queries import Price
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementMeter,
    Bill,
    BillEvidence,
    BillKind,
    BillState,
    Restatement,
    RestatementState,
)
from billing.tests import factories
from billing.tests.readings import DOCUMENT, meter, power, quarters
from devices.domain.changes import last_change
from devices.models import Channel, Facility
from devices.telemetry import redo_store
from devices.telemetry.redo_store import Cause, Changed
from devices.telemetry.segment_store import milliseconds
from devices.tests.factories import facility, number
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = datetime(2026, 5, 2, 8, tzinfo=UTC)
ISSUED = date(2026, 5, 2)
# March has an hour less in Berlin.
QUARTERS = (743 + 720) * 4

RATCHET: dict[str, Any] = {
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
        {"name": "vat", "kind": "tax", "percent": "19", "of": "all"},
    ],
}


@dataclass(frozen=True)
class Here:
    tenant: Tenant
    facility: Facility
    channel: Channel

    def agreement(self, document: dict[str, Any] | None = None, **fields: Any) -> Agreement:
        by = factories.tariff(self.tenant, document or DOCUMENT)
        made = factories.agreement(self.facility, by=by, **fields)
        meter(made, self.channel, BEGIN)
        return made

    def billed(self, of: Agreement, first: date = MARCH, end: date = APRIL) -> Bill:
        draft = drafts.compute(of.pk, first=first, end=end, known=drafts.known_now(NOW))
        (bill,) = drafts.store([draft], run_id=None)
        finalising.finalise([bill.pk], issued_on=ISSUED, now=NOW)
        return Bill.objects.get(pk=bill.pk)

    def read_again(
        self, start: datetime, energy: Sequence[float], cause: Cause = Cause.LATE
    ) -> None:
        """Quarters are computed anew, and that is announced."""
        quarters(self.channel, start, energy)
        end = start + timedelta(minutes=15) * len(energy)
        changed = Changed(self.channel.device_id, milliseconds(start), milliseconds(end), cause, 7)
        redo_store.announce(connection, [changed])

    def restate(self) -> int:
        """What the background work does, in the transaction of the test."""
        while restatement_finding.find(tenant_id=self.tenant.pk, now=NOW):
            pass
        return sum(
            restatement_steps.compute(agreement_id=pk, now=NOW)
            for pk in restatement_steps.waiting()
        )

    def settle(self, of: Agreement) -> list[restatement_operations.Settled]:
        return restatement_operations.settle(
            agreement_id=of.pk, issued_on=ISSUED, now=NOW, actor_id=None
        )


@pytest.fixture
def here() -> Iterator[Here]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        quarters(channel, BEGIN, np.random.default_rng(3).uniform(0, 400, QUARTERS).tolist())
        yield Here(of, at, channel)


def _open(bill: Bill) -> Restatement:
    return Restatement.objects.get(bill=bill, ended_at=None)


def test_a_late_reading_is_settled_by_a_credit_note_and_a_new_bill(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    here.read_again(BEGIN + timedelta(days=2), [1000.0] * 4)
    assert here.restate() == 1
    row = _open(bill)
    assert row.state == RestatementState.DRAFTED
    assert row.causes == [
        {
            "code": "late",
            "first": "2026-03-03",
            "end": "2026-03-04",
            "subject_id": 7,
            "device_id": here.channel.device_id,
        }
    ]
    assert row.new_bill is not None
    assert (row.new_bill.state, row.new_bill.revision) == (BillState.DRAFT, 2)
    assert row.difference == row.new_bill.total - bill.total != 0

    (settled,) = here.settle(agreement)
    bill.refresh_from_db()
    note, new = settled.credit_note, settled.new_bill
    assert new is not None
    assert bill.state == BillState.VOID
    assert (note.kind, note.corrects_id, note.total) == (
        BillKind.CREDIT_NOTE, bill.pk, -bill.total,
    )  # fmt: skip
    assert (new.kind, new.state, new.total) == (
        BillKind.INVOICE, BillState.FINAL, bill.total + row.difference,
    )  # fmt: skip
    assert note.cause == new.cause == "Readings of 3 Mar 2026 arrived after the bill was made."
    assert sum(AccountEntry.objects.values_list("amount", flat=True)) == new.total
    assert evidence.reproduce(bill_id=new.pk).total == new.total
    assert evidence.reproduce(bill_id=bill.pk).total == bill.total
    row.refresh_from_db()
    assert (row.state, row.credit_note_id, row.ended_at) == (
        RestatementState.SETTLED, note.pk, NOW,
    )  # fmt: skip
    entry = AuditEntry.objects.get(action="bill.restate")
    assert entry.subject_id == bill.pk
    assert here.restate() == 0


def test_customers_are_told_in_their_language(here: Here) -> None:
    customer = factories.customer(here.tenant, language="de")
    agreement = here.agreement(of=customer)
    here.billed(agreement)
    here.read_again(BEGIN, [1000.0], Cause.CORRECTION)
    here.restate()
    (settled,) = here.settle(agreement)
    assert settled.credit_note.cause == "Messwerte vom 01.03.2026 wurden berichtigt."


def test_what_comes_out_the_same_leaves_the_bill_alone(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    end = BEGIN + timedelta(hours=743)
    here.read_again(end, [5.0])  # April's
    assert here.restate() == 0
    here.read_again(BEGIN, [1000.0])
    values = np.random.default_rng(3).uniform(0, 400, QUARTERS).tolist()
    here.read_again(BEGIN, values[:1])  # as it was
    assert here.restate() == 1
    row = Restatement.objects.get()
    assert (row.state, row.difference, row.new_bill) == (
        RestatementState.UNCHANGED, Decimal(0), None,
    )  # fmt: skip
    assert Bill.objects.get() == bill


def test_a_change_while_it_waits_is_computed_once_more(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    here.read_again(BEGIN, [1000.0])
    here.restate()
    first = _open(bill)
    here.read_again(BEGIN + timedelta(days=9), [2000.0], Cause.IMPORT)
    restatement_finding.find(tenant_id=here.tenant.pk, now=NOW)
    with pytest.raises(ValidationError, match="Something has changed once more"):
        here.settle(agreement)
    here.restate()
    row = _open(bill)
    assert [cause["code"] for cause in row.causes] == ["late", "import"]
    assert row.pk == first.pk
    assert Bill.objects.filter(state=BillState.DRAFT).count() == 1
    (settled,) = here.settle(agreement)
    fresh = drafts.compute(agreement.pk, first=MARCH, end=APRIL, known=drafts.known_now(NOW))
    assert settled.new_bill is not None
    assert settled.new_bill.total == fresh.rating.total


def test_a_bill_that_leaves_another_peak_has_the_next_ones_computed(here: Here) -> None:
    agreement = here.agreement(RATCHET)
    march = here.billed(agreement)
    april = here.billed(agreement, APRIL, MAY)
    here.read_again(BEGIN, [9000.0])  # 36 kW: 80 % of it are more than April's own peak
    here.restate()
    assert _open(march).state == RestatementState.DRAFTED
    assert _open(april).state == RestatementState.FOUND
    here.restate()
    row = _open(april)
    assert [cause["code"] for cause in row.causes] == ["former_bill"]
    assert row.state == RestatementState.DRAFTED
    here.settle(agreement)
    assert here.restate() == 0
    for first, end in ((MARCH, APRIL), (APRIL, MAY)):
        now = Bill.objects.get(first_on=first, kind=BillKind.INVOICE, state=BillState.FINAL)
        fresh = drafts.compute(agreement.pk, first=first, end=end, known=drafts.known_now(NOW))
        assert now.total == fresh.rating.total


def test_bills_years_apart_are_computed_together(here: Here) -> None:
    old, older = date(2021, 3, 1), date(2021, 2, 1)
    agreement = here.agreement(RATCHET, starts_on=older)
    year = datetime(2021, 1, 31, 23, tzinfo=UTC)
    AgreementMeter.objects.update(starts_at=year)
    quarters(here.channel, year, [1500.0] * 4 + [10.0] * (2 * 28 * 96))
    here.billed(agreement, older, old)
    first = here.billed(agreement, old, date(2021, 3, 8))
    last = here.billed(agreement)
    restatement_finding.agreement_changed(agreement_id=agreement.pk, first=old)
    here.restate()
    assert {(row.bill, row.state) for row in Restatement.objects.all()} == {
        (first, RestatementState.UNCHANGED),
        (last, RestatementState.UNCHANGED),
    }


def test_a_bill_that_is_taken_back_leaves_nothing_to_restate(here: Here) -> None:
    agreement = here.agreement(RATCHET)
    march, april = here.billed(agreement), here.billed(agreement, APRIL, MAY)
    here.read_again(BEGIN + timedelta(days=2), [1000.0] * 4)
    here.restate()
    row = _open(march)
    assert row.new_bill is not None
    note = restatement_operations.void(
        bill_id=march.pk, cause="Another customer", issued_on=ISSUED, now=NOW, actor_id=None
    )
    march.refresh_from_db()
    assert (note.total, march.state) == (-march.total, BillState.VOID)
    after = Restatement.objects.get(pk=row.pk)
    assert (after.state, after.new_bill_id) == (RestatementState.DISMISSED, None)
    # April knew its peak.
    assert _open(april).causes[-1]["code"] == "former_bill"
    here.restate()
    assert not Restatement.objects.filter(bill=march, ended_at=None).exists()
    assert not Bill.objects.filter(agreement=agreement, state=BillState.DRAFT).exists()
    with pytest.raises(finalising.NotFinalError):
        restatement_operations.void(
            bill_id=march.pk, cause="Again", issued_on=ISSUED, now=NOW, actor_id=None
        )


def test_a_tariff_that_is_mended_backwards_finds_its_bills(here: Here) -> None:
    agreement, other = here.agreement(), here.agreement()
    bill = here.billed(agreement)
    here.billed(other)
    version = agreement.tariffs.get().tariff.versions.get()
    dearer = {
        **DOCUMENT,
        "components": [{"name": "energy", "kind": "energy", "prices": "0.50"}],
    }
    draft = factories.version(version.tariff, dearer, valid_from=date(2026, 3, 16), published=False)
    draft.reason = "The price was wrong."
    draft.save(update_fields=["reason"])
    tariffs_operations.publish_version(version_id=draft.pk, now=NOW, actor_id=None)
    (row,) = Restatement.objects.all()
    assert row.bill == bill
    assert (row.causes[0]["code"], row.causes[0]["first"]) == ("tariff", "2026-03-16")
    here.restate()
    (settled,) = here.settle(agreement)
    assert settled.new_bill is not None
    assert settled.new_bill.total != bill.total


def test_prices_that_are_entered_later_find_the_bills_priced_by_them(here: Here) -> None:
    series = prices_operations.create_series(
        tenant_id=here.tenant.pk, name="spot", currency="EUR", step_s=3600, actor_id=None
    )
    hours = [BEGIN + timedelta(hours=n) for n in range(743)]
    prices_operations.append_prices(
        series_id=series.pk,
        prices=[Price(at, Decimal("0.10")) for at in hours],
        now=NOW - timedelta(days=1),
        actor_id=None,
    )
    dynamic = {
        **DOCUMENT,
        "components": [{"name": "energy", "kind": "dynamic", "series": "spot"}],
    }
    agreement, fixed = here.agreement(dynamic), here.agreement()
    bill = here.billed(agreement)
    here.billed(fixed)
    prices_operations.append_prices(
        series_id=series.pk, prices=[Price(hours[5], Decimal(-3))], now=NOW, actor_id=None
    )
    (row,) = Restatement.objects.all()
    assert row.bill == bill
    here.restate()
    assert _open(bill).difference is not None
    assert _open(bill).state == RestatementState.DRAFTED


def test_an_agreement_that_had_ended_before_leaves_no_bill(here: Here) -> None:
    agreement = here.agreement()
    march, april = here.billed(agreement), here.billed(agreement, APRIL, MAY)
    agreements_operations.move_out(
        agreement_id=agreement.pk, ends_on=date(2026, 3, 16), reason="Told late", actor_id=None
    )
    here.restate()
    here.restate()
    first, second = here.settle(agreement)
    assert first.new_bill is not None
    assert (first.new_bill.first_on, first.new_bill.end_on) == (MARCH, date(2026, 3, 16))
    assert second.new_bill is None
    for bill in (march, april):
        bill.refresh_from_db()
        assert bill.state == BillState.VOID
    assert sum(AccountEntry.objects.values_list("amount", flat=True)) == first.new_bill.total


def test_a_share_that_changes_finds_its_bills(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    alter_meter(
        agreement_id=agreement.pk,
        meter_id=agreement.meters.get().pk,
        wanted=MeterChange(
            BEGIN + timedelta(days=10),
            share=Decimal("0.5"),
            reason="Half of it is the neighbour's.",
        ),
        actor_id=None,
    )
    here.restate()
    row = _open(bill)
    assert row.causes[0]["code"] == "agreement"
    assert row.difference is not None
    assert row.difference < 0


def test_a_bill_can_stand_with_a_reason(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    here.read_again(BEGIN, [1000.0])
    here.restate()
    row = _open(bill)
    with pytest.raises(ValidationError, match="Say why the bill is to stand"):
        restatement_operations.dismiss(restatement_id=row.pk, reason=" ", now=NOW, actor_id=None)
    restatement_operations.dismiss(restatement_id=row.pk, reason="Goodwill", now=NOW, actor_id=None)
    row.refresh_from_db()
    assert (row.state, row.new_bill) == (RestatementState.DISMISSED, None)
    assert Bill.objects.get() == bill
    with pytest.raises(restatement_operations.RestatementNotFound):
        restatement_operations.dismiss(
            restatement_id=row.pk, reason="Again", now=NOW, actor_id=None
        )


def test_a_bill_that_cannot_be_computed_says_why(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    agreement.tariffs.all().delete()
    restatement_finding.agreement_changed(agreement_id=agreement.pk, first=MARCH)
    here.restate()
    row = _open(bill)
    assert row.state == RestatementState.FAILED
    assert row.problem.startswith("From 2026-03-01 until 2026-04-01 no published tariff holds")
    with pytest.raises(ValidationError, match="cannot be computed"):
        here.settle(agreement)


def test_what_changes_between_draft_and_final_is_found(here: Here) -> None:
    agreement = here.agreement()
    draft = drafts.compute(agreement.pk, first=MARCH, end=APRIL, known=drafts.known_now(NOW))
    (bill,) = drafts.store([draft], run_id=None)
    here.read_again(BEGIN, [1000.0])
    assert restatement_finding.find(tenant_id=here.tenant.pk, now=NOW) == 1
    assert not Restatement.objects.exists()  # nothing was final then
    (made,) = finalising.finalise([bill.pk], issued_on=ISSUED, now=NOW)
    known = BillEvidence.objects.get(bill=bill).change_id
    assert staleness.made_final([made], after=known, now=NOW) == 1
    assert _open(bill).state == RestatementState.FOUND
    evidence_row = BillEvidence.objects.get(bill=bill)
    assert evidence_row.change_id < last_change()


def test_what_a_bill_knew_already_is_no_cause(here: Here) -> None:
    agreement = here.agreement()
    here.read_again(BEGIN, [1000.0], Cause.IMPORT)
    bill = here.billed(agreement)
    assert here.restate() == 0
    assert not Restatement.objects.exists()
    here.read_again(BEGIN, [1100.0], Cause.CORRECTION)
    here.restate()
    assert [cause["code"] for cause in _open(bill).causes] == ["correction"]


def test_estimates_follow_what_they_were_made_from(here: Here) -> None:
    agreement = here.agreement()
    quarters(here.channel, BEGIN, [0.0] * 96, coverage=0.0)
    bill = here.billed(agreement)
    Bill.objects.filter(pk=bill.pk)
    assert bill.missing_intervals + bill.estimated_kwh > 0
    here.read_again(BEGIN - timedelta(days=7), [100.0] * 96)
    restatement_finding.find(tenant_id=here.tenant.pk, now=NOW)
    assert Restatement.objects.filter(bill=bill).exists() == (bill.estimated_kwh > 0)


def test_others_see_nothing_of_it(here: Here) -> None:
    agreement = here.agreement()
    bill = here.billed(agreement)
    here.read_again(BEGIN, [1000.0])
    here.restate()
    other = tenant()
    for scope in (Scope((other.pk,)), Scope((here.tenant.pk,), (facility(here.tenant).pk,))):
        with open_scope(scope):
            assert not Restatement.objects.exists()
            assert restatement_steps.waiting() == []
            with pytest.raises(ValidationError):
                here.settle(agreement)
    assert _open(bill)


_CHANGES = st.lists(
    st.tuples(st.integers(0, QUARTERS - 1), st.integers(0, 5000), st.booleans(), st.booleans()),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(_CHANGES)
def test_restated_is_what_computing_afresh_gives(
    here: Here, changes: list[tuple[int, int, bool, bool]]
) -> None:
    """Whatever changes, in whatever order it is found, computed and settled."""
    agreement = here.agreement(RATCHET, number=f"A{number()}")
    here.billed(agreement)
    here.billed(agreement, APRIL, MAY)
    for quarter, wh, restated, settled in changes:
        here.read_again(BEGIN + timedelta(minutes=15) * quarter, [float(wh)])
        if restated:
            here.restate()
        if restated and settled and here.restate() == 0:
            _settled(here, agreement)
    while here.restate():
        pass
    _settled(here, agreement)
    total = Decimal(0)
    for first, end in ((MARCH, APRIL), (APRIL, MAY)):
        bill = Bill.objects.get(
            agreement=agreement, first_on=first, kind=BillKind.INVOICE, state=BillState.FINAL
        )
        fresh = drafts.compute(agreement.pk, first=first, end=end, known=drafts.known_now(NOW))
        assert bill.total == fresh.rating.total
        total += bill.total
    entries = AccountEntry.objects.filter(agreement=agreement)
    assert sum(entries.values_list("amount", flat=True)) == total
    numbers = sorted(
        int(number.rpartition("-")[2])
        for number in Bill.objects.exclude(number="")
        .filter(kind=BillKind.INVOICE)
        .values_list("number", flat=True)
    )
    assert numbers == list(range(1, len(numbers) + 1))


def _settled(here: Here, agreement: Agreement) -> None:
    rows = Restatement.objects.filter(bill__agreement=agreement, ended_at=None)
    if rows.filter(state=RestatementState.DRAFTED).exists():
        here.settle(agreement)
