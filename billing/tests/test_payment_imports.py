"""Files of payments: a dry run, then taken, once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import zstandard
from pytest_django import DjangoAssertNumQueries

from billing.domain import ledger_queries, payments_imports
from billing.domain.payments_imports import Upload
from billing.models import Agreement, EntryKind, Payment, PaymentImport, StatementFormat
from billing.payments.values import StatementError
from billing.tests import factories
from billing.tests.test_statements import entry, statement, transaction
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.fixture
def agreement(here: Tenant) -> Agreement:
    return factories.agreement(facility(here))


def upload(*texts: str, name: str = "march.xml") -> Upload:
    entries = [entry("119.00", transaction("119.00", text=text)) for text in texts]
    return Upload(name, statement(*entries))


def preview(of: Tenant, file: Upload) -> payments_imports.Preview:
    return payments_imports.preview(tenant_id=of.pk, upload=file)


def run(of: Tenant, file: Upload) -> PaymentImport:
    return payments_imports.import_statement(tenant_id=of.pk, upload=file, now=NOW, actor_id=None)


def test_a_dry_run_tells_what_the_run_then_does(here: Tenant, agreement: Agreement) -> None:
    bill = factories.bill(agreement)
    factories.entry(agreement, bill.total, EntryKind.BILL, bill=bill)
    file = upload(f"bill {bill.number}", "for power")
    told = preview(here, file)
    assert (told.format, told.new, told.unmatched) == (StatementFormat.CAMT053, 2, 1)
    assert [line.match and line.match.by for line in told.lines] == ["bill", None]
    assert Payment.objects.count() == PaymentImport.objects.count() == 0
    row = run(here, file)
    assert (row.lines, row.taken, row.matched) == (2, 2, 1)
    assert zstandard.ZstdDecompressor().decompress(bytes(row.content)) == file.data
    assert ledger_queries.open_items(agreement_ids=[agreement.pk]) == {agreement.pk: ()}


def test_the_same_file_or_line_again_changes_nothing(here: Tenant, agreement: Agreement) -> None:
    file = upload(agreement.number)
    first = run(here, file)
    assert run(here, file).pk == first.pk
    assert preview(here, file).taken_before
    # The bank sends the same payment again in the statement of the next day.
    more = upload(agreement.number, "another one")
    told = preview(here, more)
    assert ([line.known for line in told.lines], told.taken_before) == ([True, False], False)
    assert (run(here, more).taken, Payment.objects.count()) == (1, 2)
    assert AuditEntry.objects.filter(action="payment.import").count() == 2


def test_a_table_is_taken_as_well(here: Tenant, agreement: Agreement) -> None:
    file = Upload("desk.csv", f"date;amount;text\n2026-03-31;5,00;{agreement.number}\n".encode())
    row = run(here, file)
    assert (row.format, row.taken, row.matched) == (StatementFormat.CSV, 1, 1)
    assert Payment.objects.get().amount == Decimal(5)


def test_what_is_no_statement_leaves_nothing_behind(here: Tenant) -> None:
    for data in (b"", b"<a/>", b"a,b\n1,2\n"):
        with pytest.raises(StatementError):
            run(here, Upload("x", data))
    assert PaymentImport.objects.count() == 0


@pytest.mark.parametrize("count", [1, 3])
def test_a_dry_run_takes_as_many_queries_for_many(
    here: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    file = upload(*(f"payment {number}" for number in range(count)))
    with django_assert_num_queries(5):
        assert preview(here, file).new == count


def test_another_tenant_matches_nothing_of_ours(here: Tenant, agreement: Agreement) -> None:
    other = tenant()
    file = upload(agreement.number)
    with open_scope(Scope((other.pk,))):
        assert preview(other, file).unmatched == 1
        assert run(other, file).matched == 0
        assert Payment.objects.get().agreement_id is None
    assert Payment.objects.count() == 0
