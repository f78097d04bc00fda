"""Accounts: what settles what, in the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from billing.domain import (
    ledger_operations,
    ledger_queries,
    payments_operations,
    payments_refunds_operations,
)
from billing.models import (
    AccountEntry,
    Agreement,
    Allocation,
    Bill,
    BillKind,
    BillState,
    EntryKind,
    Payment,
    Provider,
)
from billing.payments.values import Received
from billing.tests import factories
from devices.models import Facility
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
TODAY = date(2026, 5, 4)


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.fixture
def agreement(here: Tenant) -> Agreement:
    return factories.agreement(facility(here))


def billed(of: Agreement, total: str = "119.00") -> Bill:
    bill = factories.bill(of, total=Decimal(total))
    factories.entry(of, bill.total, EntryKind.BILL, bill=bill)
    return bill


def received(amount: str, text: str = "", external_id: str = "P1") -> Received:
    return Received(external_id, Decimal(amount), "EUR", TODAY, text=text)


def enter(of: Agreement, amount: str, text: str = "", external_id: str = "P1") -> Payment:
    return payments_operations.enter(
        agreement_id=of.pk,
        received=received(amount, text, external_id),
        now=NOW,
        actor_id=None,
    )


def take(of: Tenant, *payments: Received) -> payments_operations.Taken:
    return payments_operations.take(
        tenant_id=of.pk, provider=Provider.BANK, payments=payments, now=NOW, actor_id=None
    )


def balance(of: Agreement) -> ledger_queries.Balance:
    return ledger_queries.balances(agreement_ids=[of.pk], on=TODAY)[of.pk]


def stands(of: Agreement) -> tuple[Decimal | int, Decimal | int]:
    """What is owed, and open credit."""
    return balance(of).owed, balance(of).credit


def test_a_payment_settles_a_bill_once(agreement: Agreement) -> None:
    billed(agreement)
    assert (int(balance(agreement).overdue), balance(agreement).oldest_due) == (119, factories.END)
    first = enter(agreement, "119.00")
    assert enter(agreement, "119.00").pk == first.pk
    assert ledger_queries.open_items(agreement_ids=[agreement.pk]) == {agreement.pk: ()}
    assert Allocation.objects.get().amount == 119
    assert ledger_operations.allocate([agreement.pk]) == 0
    told = AuditEntry.objects.get(action="payment.take").after or {}
    assert told["amount"] == "119.00"


def test_too_much_stays_as_credit_and_settles_the_next_bill(agreement: Agreement) -> None:
    billed(agreement, "100.00")
    enter(agreement, "150.00")
    assert stands(agreement) == (0, 50)
    factories.entry(agreement, Decimal(80), EntryKind.FEE)
    assert ledger_operations.allocate([agreement.pk]) == 1
    assert stands(agreement) == (30, 0)


def test_open_credit_covers_what_is_overdue_before_it_is_allocated(agreement: Agreement) -> None:
    factories.entry(agreement, Decimal(-40), EntryKind.PAYMENT)
    billed(agreement, "100.00")
    found = balance(agreement)
    assert [int(one) for one in (found.owed, found.credit, found.overdue)] == [100, 40, 60]


def test_a_credit_note_settles_the_bill_that_it_takes_back(agreement: Agreement) -> None:
    old = factories.entry(agreement, Decimal(10), EntryKind.FEE)
    bill = billed(agreement)
    note = Bill.objects.create(
        tenant_id=agreement.tenant_id,
        agreement=agreement,
        facility_id=agreement.facility_id,
        kind=BillKind.CREDIT_NOTE,
        state=BillState.DRAFT,
        corrects=bill,
        first_on=bill.first_on,
        end_on=bill.end_on,
        zone="UTC",
        currency="EUR",
        net=-bill.net,
        tax=-bill.tax,
        total=-bill.total,
    )
    factories.entry(agreement, note.total, EntryKind.CREDIT_NOTE, bill=note)
    ledger_operations.allocate([agreement.pk])
    (item,) = ledger_queries.open_items(agreement_ids=[agreement.pk])[agreement.pk]
    assert (item.entry_id, int(item.open)) == (old.pk, 10)


def test_a_payment_settles_the_bill_that_it_names(agreement: Agreement) -> None:
    fee = factories.entry(agreement, Decimal(10), EntryKind.FEE)
    bill = billed(agreement)
    enter(agreement, "119.00", text=f"bill no. {bill.number[:3]} {bill.number[3:]}")
    (item,) = ledger_queries.open_items(agreement_ids=[agreement.pk])[agreement.pk]
    assert item.entry_id == fee.pk


def test_a_statement_is_matched_by_numbers(here: Tenant, agreement: Agreement) -> None:
    bill = billed(agreement)
    other = factories.agreement(facility(here))
    taken = take(
        here,
        received("50", f"my bill {bill.number}", "L1"),
        received("20", f"{other.number.lower()} thanks", "L2"),
        received("10", other.customer.number, "L3"),
        received("5", "for power", "L4"),
        received("3", f"{agreement.number} and {other.number}", "L5"),
    )
    assert [one.agreement_id for one in taken.payments] == [
        agreement.pk,
        other.pk,
        other.pk,
        None,
        None,
    ]
    assert taken.matched == 3
    assert (stands(agreement), stands(other)) == ((69, 0), (0, 30))


def test_the_same_lines_again_change_nothing(here: Tenant, agreement: Agreement) -> None:
    line = received("50", agreement.number, "L1")
    assert len(take(here, line).payments) == 1
    assert take(here, line) == payments_operations.Taken((), 0)
    assert AccountEntry.objects.count() == Payment.objects.count() == 1


def test_money_in_another_currency_is_left_to_a_person(here: Tenant, agreement: Agreement) -> None:
    line = Received("L1", Decimal(5), "CHF", TODAY, text=agreement.number)
    (payment,) = take(here, line).payments
    assert payment.agreement_id is None
    with pytest.raises(ValidationError, match="EUR"):
        payments_operations.assign(
            payment_id=payment.pk, agreement_id=agreement.pk, now=NOW, actor_id=None
        )


def test_a_person_assigns_what_nobody_knew_once(here: Tenant, agreement: Agreement) -> None:
    billed(agreement)
    (payment,) = take(here, received("119.00", "for power")).payments
    assert balance(agreement).owed == 119
    assign = payments_operations.assign
    assign(payment_id=payment.pk, agreement_id=agreement.pk, now=NOW, actor_id=None)
    assert balance(agreement).owed == 0
    with pytest.raises(ValidationError, match="already"):
        assign(payment_id=payment.pk, agreement_id=agreement.pk, now=NOW, actor_id=None)
    assert AccountEntry.objects.filter(kind=EntryKind.PAYMENT).count() == 1


def test_what_is_named_later_finds_its_account(here: Tenant, agreement: Agreement) -> None:
    take(here, received("20"))
    again = Received("P1", Decimal(20), "EUR", TODAY, reference=agreement.number)
    assert take(here, again) == payments_operations.Taken((), 0)
    assert balance(agreement).credit == 20


def test_a_refund_opens_again_what_was_settled(agreement: Agreement) -> None:
    billed(agreement, "100.00")
    payment = enter(agreement, "120.00")

    def refund(amount: str) -> None:
        payments_refunds_operations.refund(
            payment_id=payment.pk,
            amount=Decimal(amount),
            reason="Paid twice",
            on=TODAY,
            now=NOW,
            actor_id=None,
        )

    refund("20")
    assert stands(agreement) == (0, 0)
    refund("30")
    assert stands(agreement) == (30, 0)
    with pytest.raises(ValidationError, match=r"70\.0000"):
        refund("70.01")
    refund("70")
    assert balance(agreement).owed == 100
    assert sum(row.amount for row in Allocation.objects.filter(debit__kind="bill")) == 0


def test_what_is_written_off_is_not_owed(agreement: Agreement) -> None:
    billed(agreement)
    enter(agreement, "100.00")
    debit = AccountEntry.objects.get(kind=EntryKind.BILL)

    def write_off(reason: str) -> AccountEntry:
        return ledger_operations.write_off(
            entry_id=debit.pk, reason=reason, on=TODAY, now=NOW, actor_id=None
        )

    with pytest.raises(ValidationError, match="Say why"):
        write_off(" ")
    assert write_off("Insolvent").amount == -19
    assert balance(agreement).balance == 0
    with pytest.raises(ValidationError, match="Nothing of this is owed"):
        write_off("Again")


@pytest.mark.parametrize(
    ("amount", "currency", "day", "says"),
    [
        ("0", "EUR", TODAY, "more than nothing"),
        ("-5", "EUR", TODAY, "more than nothing"),
        ("5", "CHF", TODAY, "EUR"),
        ("5", "EUR", date(2026, 5, 5), "future"),
    ],
)
def test_a_payment_that_cannot_be_is_refused(
    agreement: Agreement, amount: str, currency: str, day: date, says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        payments_operations.enter(
            agreement_id=agreement.pk,
            received=Received("P1", Decimal(amount), currency, day),
            now=NOW,
            actor_id=None,
        )
    assert Payment.objects.count() == 0


def test_a_payment_of_today_is_one_by_the_clock_of_the_place(here: Tenant) -> None:
    far = factories.agreement(facility(here))
    Facility.objects.filter(pk=far.facility_id).update(time_zone="Pacific/Auckland")
    evening = datetime(2026, 5, 4, 20, tzinfo=UTC)

    def paid(day: int) -> Payment:
        return payments_operations.enter(
            agreement_id=far.pk,
            received=Received(f"P{day}", Decimal(10), "EUR", date(2026, 5, day)),
            now=evening,
            actor_id=None,
        )

    assert paid(5).received_on == date(2026, 5, 5)
    with pytest.raises(ValidationError, match="in the future"):
        paid(6)


def test_what_settles_something_has_dunning_look_again(agreement: Agreement) -> None:
    billed(agreement)
    case = factories.dunned(agreement)
    case.next_at = datetime.now(UTC) + timedelta(days=1)
    case.save(update_fields=["next_at"])
    factories.entry(agreement, Decimal(-119), EntryKind.PAYMENT)
    ledger_operations.allocate([agreement.pk])
    case.refresh_from_db()
    assert case.next_at <= datetime.now(UTC)


@pytest.mark.parametrize("count", [1, 3])
def test_open_items_take_one_query(
    here: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    at = facility(here)
    made = [factories.agreement(at) for _ in range(count)]
    for of in made:
        billed(of)
    with django_assert_num_queries(1):
        found = ledger_queries.open_items(agreement_ids=[of.pk for of in made])
    assert [len(items) for items in found.values()] == [1] * count


@pytest.mark.parametrize("count", [1, 3])
def test_allocating_takes_as_many_queries_for_many(
    here: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    at = facility(here)
    made = [factories.agreement(at) for _ in range(count)]
    for of in made:
        bill = billed(of)
        money = factories.payment(here, bill.total, agreement=of)
        factories.entry(of, -bill.total, EntryKind.PAYMENT, payment=money)
    # A savepoint, agreements, open items, texts of payments, what is settled, cases of dunning, its
    # release.
    with django_assert_num_queries(7):
        assert ledger_operations.allocate([of.pk for of in made]) == count


def test_who_is_narrowed_elsewhere_settles_nothing() -> None:
    ours = tenant()
    with open_scope(Scope((ours.pk,))):
        at, elsewhere = facility(ours), facility(ours)
        agreement = factories.agreement(at)
        billed(agreement)
        factories.entry(agreement, Decimal(-119), EntryKind.PAYMENT)
    for scope in (Scope((ours.pk,), (elsewhere.pk,)), Scope((tenant().pk,))):
        with open_scope(scope):
            assert ledger_operations.allocate([agreement.pk]) == 0
            found = ledger_queries.open_items(agreement_ids=[agreement.pk])
            assert found == {agreement.pk: ()}
            with pytest.raises(payments_operations.AgreementNotFound):
                enter(agreement, "5")
    with open_scope(Scope((ours.pk,))):
        assert ledger_operations.allocate([agreement.pk]) == 1
