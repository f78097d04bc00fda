"""What is final stays as it is, whoever asks: the database refuses to change it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.models import (
    Agreement,
    Bill,
    BillEvidence,
    BillKind,
    BillLine,
    BillState,
    EntryKind,
)
from billing.tests import factories
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.fixture
def agreement(here: Tenant) -> Agreement:
    return factories.agreement(facility(here))


def _refused(change: Any, constraint: str) -> None:
    with pytest.raises(DatabaseError) as refused, transaction.atomic():
        change()
    cause: Any = refused.value.__cause__
    assert cause.diag.constraint_name == constraint


@pytest.mark.parametrize(
    "change",
    [
        {"total": 1, "net": 1, "tax": 0},
        {"number": "other"},
        {"cause": "because"},
        {"state": BillState.DRAFT, "number": "", "finalised_at": None},
        {"state": BillState.VOID, "cause": "because"},
    ],
)
def test_a_final_bill_cannot_be_changed(agreement: Agreement, change: dict[str, Any]) -> None:
    bill = factories.bill(agreement)
    _refused(lambda: Bill.objects.filter(pk=bill.pk).update(**change), "billing_bill_final")


def test_a_final_bill_can_become_void_once_and_nothing_else(agreement: Agreement) -> None:
    bill = factories.bill(agreement)
    assert Bill.objects.filter(pk=bill.pk).update(state=BillState.VOID) == 1
    bill.refresh_from_db()
    assert bill.voided_at is not None
    _refused(
        lambda: Bill.objects.filter(pk=bill.pk).update(state=BillState.FINAL, voided_at=None),
        "billing_bill_final",
    )


def test_lines_and_evidence_of_a_final_bill_stay(agreement: Agreement) -> None:
    bill = factories.bill(agreement)
    lines = BillLine.objects.filter(bill=bill)
    evidence = BillEvidence.objects.filter(bill=bill)
    more = BillLine(
        **{
            field.attname: getattr(lines[0], field.attname)
            for field in BillLine._meta.concrete_fields
            if not field.primary_key
        }
    )
    more.position = 2
    for change in (
        lambda: lines.update(amount=0),
        lines.delete,
        lambda: evidence.update(body=b"other"),
        evidence.delete,
        more.save,
        bill.delete,
    ):
        _refused(change, "billing_bill_final")


def test_a_draft_can_be_changed_and_removed(agreement: Agreement) -> None:
    bill = factories.bill(agreement, final=False)
    BillLine.objects.filter(bill=bill).update(amount=0)
    bill.delete()
    assert Bill.objects.count() == BillLine.objects.count() == BillEvidence.objects.count() == 0


def test_no_day_is_billed_twice(agreement: Agreement) -> None:
    factories.bill(agreement)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        Bill.objects.create(
            tenant_id=agreement.tenant_id,
            agreement=agreement,
            facility_id=agreement.facility_id,
            state=BillState.FINAL,
            series="bill",
            number="other",
            sha256="0" * 64,
            first_on=date(2026, 3, 31),
            end_on=date(2026, 5, 1),
            zone="UTC",
            currency="EUR",
            issued_on=date(2026, 5, 1),
            due_on=date(2026, 5, 1),
            finalised_at=factories.START,
        )
    cause: Any = refused.value.__cause__
    assert cause.diag.constraint_name == "billing_bill_no_overlap"


def test_a_credit_note_says_what_it_takes_back(agreement: Agreement) -> None:
    _refused(
        lambda: Bill.objects.create(
            tenant_id=agreement.tenant_id,
            agreement=agreement,
            facility_id=agreement.facility_id,
            kind=BillKind.CREDIT_NOTE,
            first_on=factories.FIRST,
            end_on=factories.END,
            zone="UTC",
            currency="EUR",
        ),
        "billing_bill_credit_of",
    )


def test_a_published_version_stays(here: Tenant) -> None:
    version = factories.tariff(here).versions.get()
    _refused(
        lambda: type(version).objects.filter(pk=version.pk).update(document={"other": 1}),
        "billing_tariffversion_final",
    )
    _refused(version.delete, "billing_tariffversion_final")


@pytest.mark.parametrize("verb", ["UPDATE {} SET amount = 1", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["billing_accountentry", "billing_allocation", "billing_payment"])
def test_accounts_are_only_added_to(here: Tenant, verb: str, table: str) -> None:
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        connection.cursor().execute(verb.format(table))


def test_money_is_of_one_tenant() -> None:
    ours, theirs = tenant(), tenant()
    with open_scope(Scope((ours.pk, theirs.pk))):
        agreement = factories.agreement(facility(ours))
        other = factories.payment(theirs, Decimal(1))
        _refused(
            lambda: factories.entry(agreement, Decimal(1), EntryKind.FEE, payment=other),
            "billing_accountentry_payment_same_tenant",
        )
