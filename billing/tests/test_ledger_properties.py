"""Whatever happens to an account, in any order: its balance is the sum of its entries, and nothing
is settled twice or beyond its amount.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.domain import (
    dunning_settings,
    ledger_operations,
    ledger_queries,
    payments_operations,
    payments_refunds_operations,
)
from billing.domain.payments_operations import PaymentNotFound
from billing.models import AccountEntry, Agreement, Allocation, EntryKind, Payment, Provider
from billing.payments.values import Disputed, Received, Refunded
from billing.tests import factories
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
TODAY = date(2026, 5, 4)
EVENTS = (
    "bill", "fee", "credit_note", "payment", "again", "nobodys", "assign", "named", "refund",
    "told_refund", "disputed", "won", "return", "write_off", "plan",
)  # fmt: skip


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


class Life:
    """An account that things happen to. `which` picks one of what there is."""

    def __init__(self, of: Tenant) -> None:
        self.tenant = of
        self.agreement: Agreement = factories.agreement(facility(of))
        self.told: list[Received] = []

    def rows(self, **where: Any) -> list[Payment]:
        ids = [one.external_id for one in self.told]
        return list(Payment.objects.filter(external_id__in=ids, **where).order_by("pk"))

    def entry(self, kind: EntryKind, amount: Decimal) -> None:
        factories.entry(self.agreement, amount, kind)
        ledger_operations.allocate([self.agreement.pk], now=NOW)

    def take(self, amount: Decimal, text: str, again: Received | None = None) -> None:
        new = Received(f"{self.agreement.pk}:{len(self.told)}", amount, "EUR", TODAY, text=text)
        one = again or new
        if again is None:
            self.told.append(one)
        payments_operations.take(
            tenant_id=self.tenant.pk,
            provider=Provider.BANK,
            payments=[one],
            now=NOW,
            actor_id=None,
        )

    def happens(self, event: str, amount: Decimal, which: int) -> None:
        number = self.agreement.number
        if event == "bill":
            self.entry(EntryKind.BILL, amount)
        elif event == "fee":
            self.entry(EntryKind.FEE, amount)
        elif event == "credit_note":
            self.entry(EntryKind.CREDIT_NOTE, -amount)
        elif event == "payment":
            self.take(amount, number)
        elif event == "nobodys":
            self.take(amount, "")
        elif event == "return":
            self.take(-amount, number)
        elif event == "again" and self.told:
            self.take(amount, "", self.told[which % len(self.told)])
        elif event == "named" and self.told:
            before = self.told[which % len(self.told)]
            named = Received(before.external_id, before.amount, "EUR", TODAY, text=number)
            self.take(amount, "", named)
        elif event == "write_off":
            self.write_off(which)
        elif event == "plan":
            self.plan(amount)
        else:
            self.of_payments(event, amount, which)

    def of_payments(self, event: str, amount: Decimal, which: int) -> None:
        if event == "assign" and (unknown := self.rows(agreement=None)):
            payments_operations.assign(
                payment_id=unknown[which % len(unknown)].pk,
                agreement_id=self.agreement.pk,
                now=NOW,
                actor_id=None,
            )
        elif event == "refund" and (paid := self.rows(amount__gt=0)):
            payments_refunds_operations.refund(
                payment_id=paid[which % len(paid)].pk,
                amount=amount,
                reason="Paid twice",
                on=TODAY,
                now=NOW,
                actor_id=None,
            )
        elif event in ("disputed", "won") and (paid := self.rows(amount__gt=0)):
            payment = paid[which % len(paid)]
            won = event == "won"
            payments_refunds_operations.take_dispute(
                tenant_id=self.tenant.pk,
                provider=Provider.BANK,
                told=Disputed(payment.external_id, f"dp{payment.pk}", amount, "EUR", TODAY, won),
                now=NOW,
            )
        elif event == "told_refund" and (paid := self.rows(amount__gt=0)):
            told = Refunded(paid[which % len(paid)].external_id, amount, "EUR", TODAY)
            payments_refunds_operations.take_refund(
                tenant_id=self.tenant.pk, provider=Provider.BANK, told=told, now=NOW
            )

    def write_off(self, which: int) -> None:
        items = ledger_queries.open_items(agreement_ids=[self.agreement.pk])[self.agreement.pk]
        owed = [item for item in items if item.open > 0]
        if owed:
            ledger_operations.write_off(
                entry_id=owed[which % len(owed)].entry_id,
                reason="Moved abroad",
                on=TODAY,
                now=NOW,
                actor_id=None,
            )

    def plan(self, first: Decimal) -> None:
        """In two parts that need not divide, if something is overdue."""
        found = ledger_queries.balances(agreement_ids=[self.agreement.pk], on=TODAY)
        rest = found[self.agreement.pk].overdue - first
        dunning_settings.agree_plan(
            agreement_id=self.agreement.pk,
            parts=[(TODAY, first), (TODAY + timedelta(days=30), rest)],
            reason="",
            now=NOW,
            actor_id=None,
        )

    def holds(self) -> None:
        entries = list(AccountEntry.objects.filter(agreement=self.agreement))
        balance = ledger_queries.balances(agreement_ids=[self.agreement.pk], on=TODAY)
        stands = balance[self.agreement.pk]
        assert stands.balance == sum(one.amount for one in entries)
        assert not (stands.owed and stands.credit)
        for one in entries:
            debits = Allocation.objects.filter(debit=one).aggregate(sum=Sum("amount"))["sum"] or 0
            credits_ = Allocation.objects.filter(credit=one).aggregate(sum=Sum("amount"))["sum"]
            assert 0 <= debits <= max(one.amount, Decimal(0)), one
            assert 0 <= (credits_ or 0) <= max(-one.amount, Decimal(0)), one
        booked = sum(
            one.amount for one in entries if one.kind in (EntryKind.PAYMENT, EntryKind.REFUND)
        )
        paid = Payment.objects.filter(agreement=self.agreement)
        assert -booked == sum(one.amount for one in paid)
        for payment in Payment.objects.filter(refunds=None, amount__gt=0):
            backs = list(payment.refunded_by.all())
            assert sum(-one.amount for one in backs) <= payment.amount
            assert {one.agreement_id for one in backs} <= {payment.agreement_id}


_happenings = st.lists(
    st.tuples(
        st.sampled_from(EVENTS),
        st.integers(1, 12_000).map(lambda cents: Decimal(cents) / 100),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_happenings)
def test_an_account_is_the_sum_of_its_entries_whatever_happens(
    here: Tenant, happenings: list[tuple[str, Decimal, int]]
) -> None:
    life = Life(here)
    for event, amount, which in happenings:
        try:
            with transaction.atomic():
                life.happens(event, amount, which)
        except ValidationError:
            assert event in ("assign", "refund", "plan")
        except PaymentNotFound:
            assert event == "won"
        life.holds()


def test_what_was_given_back_before_anybody_knew_whose_it_was_is_no_credit(here: Tenant) -> None:
    life = Life(here)
    life.happens("nobodys", Decimal(100), 0)
    life.happens("refund", Decimal(30), 0)
    (back,) = life.rows()[0].refunded_by.all()
    with pytest.raises(ValidationError, match="Assign the payment"):
        payments_operations.assign(
            payment_id=back.pk, agreement_id=life.agreement.pk, now=NOW, actor_id=None
        )
    life.happens("assign", Decimal(0), 0)
    life.holds()
    assert ledger_queries.balances(agreement_ids=[life.agreement.pk], on=TODAY)[
        life.agreement.pk
    ].credit == Decimal(70)
    life.happens("bill", Decimal(100), 0)
    life.happens("refund", Decimal(70), 0)
    life.holds()


def test_a_payment_that_settled_a_return_is_given_back_whole(here: Tenant) -> None:
    life = Life(here)
    life.happens("return", Decimal(30), 0)
    life.happens("payment", Decimal(50), 0)
    life.happens("refund", Decimal(50), 0)
    life.holds()


def test_another_payment_under_the_same_name_is_not_lost_in_silence(here: Tenant) -> None:
    one, other = Life(here).agreement, Life(here).agreement
    said = Received("api:till-7", Decimal(20), "EUR", TODAY)
    known: dict[str, Any] = {"now": NOW, "actor_id": None}
    first = payments_operations.enter(agreement_id=one.pk, received=said, **known)
    assert payments_operations.enter(agreement_id=one.pk, received=said, **known) == first
    with pytest.raises(ValidationError, match="under this name"):
        payments_operations.enter(agreement_id=other.pk, received=said, **known)
    more = Received("api:till-7", Decimal(25), "EUR", TODAY)
    with pytest.raises(ValidationError, match="under this name"):
        payments_operations.enter(agreement_id=one.pk, received=more, **known)
