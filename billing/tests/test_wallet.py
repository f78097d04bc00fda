"""Prepaid wallets over real readings: burned by the tariff, settled by the bill, off and on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.db.models import Sum
from pytest_django import DjangoAssertNumQueries

from billing.domain import (
    agreements_operations,
    customers_operations,
    drafts,
    finalising,
    payments_operations,
    payments_refunds_operations,
    wallet_notices,
    wallet_operations,
    wallet_queries,
)
from billing.domain.agreements_values import Successor
from billing.domain.wallet_operations import WalletNotFound, WalletRules
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementTariff,
    BillState,
    Customer,
    EntryKind,
    Mode,
    MovementKind,
    Wallet,
    WalletMovement,
    WalletState,
)
from billing.payments.values import Received
from billing.tests import factories
from billing.tests.readings import meter, power, quarters, tariff
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM
from devices.models import (
    Channel,
    Command,
    Device,
    DeviceConfiguration,
    DeviceState,
    Facility,
)
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

MARCH = date(2026, 3, 1)
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)  # the local midnight of 1 March
DAY = 96
# A standing charge, tiers, and a tax: what the parts of a month must not be added up from.
DOCUMENT: dict[str, Any] = {
    "tariff": 1,
    "name": "Homes",
    "currency": "EUR",
    "components": [
        {"name": "base", "kind": "standing", "amount": "6.20", "per": "month"},
        {
            "name": "energy",
            "kind": "energy",
            "prices": [{"up_to": "50", "price": "0.30"}, {"price": "0.50"}],
            "tiers": {"per": "month", "pro_rated": False},
        },
        {"name": "vat", "kind": "tax", "percent": "19", "of": "all"},
    ],
}


@dataclass(frozen=True)
class Home:
    tenant: Tenant
    facility: Facility
    channel: Channel
    agreement: Agreement
    wallet: Wallet

    def use(self, days: int, kwh: float, first: int = 0) -> None:
        """So much each day from a day of March on, evenly."""
        begin = BEGIN + timedelta(days=first)
        quarters(self.channel, begin, [kwh * 1000 / DAY] * (DAY * days))

    def pay(self, amount: str, now: datetime, key: str = "P1") -> None:
        with time_machine.travel(now, tick=False):
            payments_operations.enter(
                agreement_id=self.agreement.pk,
                received=Received(
                    external_id=key, amount=Decimal(amount), currency="EUR", received_on=now.date()
                ),
                now=now,
                actor_id=None,
            )

    def burn(self, now: datetime) -> Wallet:
        with time_machine.travel(now, tick=False):
            assert wallet_operations.burn(wallet_ids=[self.wallet.pk], now=now) == 1
        return Wallet.objects.get(pk=self.wallet.pk)

    def bill(self, now: datetime) -> Decimal:
        """Make March final; returns its total."""
        with time_machine.travel(now, tick=False):
            draft = drafts.compute(
                self.agreement.pk, first=MARCH, end=date(2026, 4, 1), known=drafts.known_now(now)
            )
            (bill,) = drafts.store([draft], run_id=None)
            finalising.finalise([bill.pk], issued_on=now.date(), now=now)
        return draft.rating.total

    @property
    def outputs(self) -> list[tuple[int, str]]:
        """What the unit was asked for, and why."""
        rows = Command.objects.filter(kind="set_output").order_by("pk")
        return [(row.arguments["output"], row.reason) for row in rows]


@pytest.fixture
def home() -> Iterator[Home]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        channel.device.state = DeviceState.ACTIVE
        channel.device.save()
        customer = factories.customer(of, email="home@example.com", language="en")
        agreement = factories.agreement(at, of=customer, by=tariff(at, DOCUMENT), mode=Mode.PREPAID)
        meter(agreement, channel, BEGIN)
        wallet = wallet_operations.open_wallet(
            agreement_id=agreement.pk, rules=WalletRules(), actor_id=None
        )
        yield Home(of, at, channel, agreement, wallet)


def noon(day: int, month: int = 3) -> datetime:
    return datetime(2026, month, day, 12, tzinfo=UTC)


def balanced(home: Home, open_use: Decimal) -> None:
    """The balance is the last movement's, and what the account has in credit less open use."""
    wallet = Wallet.objects.get(pk=home.wallet.pk)
    movements = WalletMovement.objects.filter(wallet=wallet)
    last = movements.order_by("-pk")[0]
    owed = AccountEntry.objects.filter(agreement=home.agreement).aggregate(s=Sum("amount"))["s"]
    assert wallet.balance == last.balance_after == movements.aggregate(s=Sum("amount"))["s"]
    assert wallet.balance == -(owed or 0) - open_use


def test_a_wallet_is_charged_what_the_month_costs_so_far(home: Home) -> None:
    home.pay("100", noon(1))
    home.use(10, 4.0)
    # 40 kWh at 0.30, and ten days of the standing charge, with tax.
    wallet = home.burn(datetime(2026, 3, 10, 22, 45, tzinfo=UTC))
    cost = ((Decimal(12) + Decimal("2.00")) * Decimal("1.19")).quantize(Decimal("0.01"))
    assert wallet.balance == 100 - cost
    balanced(home, cost)


def test_burning_again_takes_nothing(home: Home) -> None:
    home.use(10, 4.0)
    now = datetime(2026, 3, 10, 22, 40, tzinfo=UTC)
    once = home.burn(now)
    again = home.burn(now + timedelta(minutes=15))
    assert again.balance == once.balance
    assert WalletMovement.objects.count() == 1


def test_late_readings_and_corrections_settle_by_themselves(home: Home) -> None:
    home.use(5, 4.0)
    before = home.burn(datetime(2026, 3, 5, 22, 45, tzinfo=UTC))
    home.use(1, 8.0, first=2)  # the third day was twice as much
    after = home.burn(datetime(2026, 3, 5, 22, 50, tzinfo=UTC))
    assert before.balance - after.balance == Decimal("1.43")  # 4 kWh at 0.30 with tax
    home.use(1, 4.0, first=2)
    assert home.burn(datetime(2026, 3, 5, 22, 55, tzinfo=UTC)).balance == before.balance


def test_burns_add_up_to_the_bill_and_the_bill_takes_nothing_more(home: Home) -> None:
    home.pay("100", noon(1))
    for day in range(31):
        home.use(1, 3.7, first=day)
        home.burn(datetime(2026, 3, day + 1, 21, 50, tzinfo=UTC))
    home.burn(datetime(2026, 4, 1, 0, 30, tzinfo=UTC))
    burned = -WalletMovement.objects.filter(month=MARCH).aggregate(s=Sum("amount"))["s"]
    total = home.bill(noon(2, 4))
    assert burned == total
    wallet = home.burn(noon(2, 4))
    settled = WalletMovement.objects.filter(month=MARCH).aggregate(s=Sum("amount"))["s"]
    assert -settled == total
    april = -WalletMovement.objects.filter(month=date(2026, 4, 1)).aggregate(s=Sum("amount"))["s"]
    assert wallet.balance == 100 - total - april
    balanced(home, april)


def test_a_reading_that_came_before_the_bill_is_settled_by_it(home: Home) -> None:
    home.use(31, 3.0)
    home.burn(datetime(2026, 4, 1, 0, 30, tzinfo=UTC))
    home.use(1, 9.0, first=10)
    total = home.bill(noon(2, 4))
    home.burn(noon(2, 4))
    movements = list(WalletMovement.objects.filter(month=MARCH).order_by("pk"))
    assert [row.kind for row in movements] == [MovementKind.BURN, MovementKind.BILL]
    assert movements[1].bill is not None
    assert -sum(row.amount for row in movements) == total


def test_a_bill_that_is_taken_back_is_given_back_and_the_days_are_burned_anew(home: Home) -> None:
    home.use(31, 3.0)
    total = home.bill(noon(2, 4))
    home.burn(noon(2, 4))
    bill = AccountEntry.objects.get(kind=EntryKind.BILL).bill
    assert bill is not None
    home.use(31, 6.0)
    finalising.take_back(
        [bill.pk], cause="readings", issued_on=date(2026, 4, 3), now=noon(3, 4), actor_id=None
    )
    bill.refresh_from_db()
    assert bill.state == BillState.VOID
    home.burn(noon(3, 4))
    march = -WalletMovement.objects.filter(month=MARCH).aggregate(s=Sum("amount"))["s"]
    with time_machine.travel(noon(3, 4), tick=False):
        known = drafts.known_now(noon(3, 4))
        afresh = drafts.compute(home.agreement.pk, first=MARCH, end=date(2026, 4, 1), known=known)
    assert march == afresh.rating.total > total


def test_a_spent_wallet_switches_off_and_a_payment_on_at_once(home: Home) -> None:
    home.pay("5", noon(1))
    home.use(5, 4.0)
    now = datetime(2026, 3, 5, 22, 45, tzinfo=UTC)
    wallet = home.burn(now)
    assert (wallet.state, wallet.switched_off_at) == (WalletState.SPENT, now)
    reason = f"The prepaid wallet of agreement {home.agreement.number} is spent."
    assert home.outputs == [(0, reason)]
    home.burn(now + timedelta(minutes=15))
    assert len(home.outputs) == 1
    home.pay("50", now + timedelta(minutes=20), key="P2")
    wallet.refresh_from_db()
    assert (wallet.state, wallet.switched_off_at) == (WalletState.GOOD, None)
    assert [output for output, _reason in home.outputs] == [0, 1]
    # The same payment, told of again.
    home.pay("50", now + timedelta(minutes=21), key="P2")
    assert WalletMovement.objects.filter(kind=MovementKind.ENTRY).count() == 2
    assert len(home.outputs) == 2


def test_what_somebody_has_switched_off_since_stays_off(home: Home) -> None:
    home.use(5, 4.0)
    now = datetime(2026, 3, 5, 22, 45, tzinfo=UTC)
    home.burn(now)
    commands_operations.ask(
        SYSTEM,
        kind="set_output",
        arguments={"output": 0},
        device_ids=[home.channel.device_id],
        reason="Water in the cellar",
        now=now,
    )
    home.pay("50", now)
    assert Wallet.objects.get().switched_off_at is None
    assert [output for output, _reason in home.outputs] == [0, 0]


def test_nobody_is_switched_off_in_friendly_hours(home: Home) -> None:
    rules = WalletRules(friendly_from=time(18), friendly_to=time(8))
    wallet_operations.set_rules(wallet_id=home.wallet.pk, rules=rules, now=noon(1), actor_id=None)
    # A wallet that was opened with nothing is spent at once: fill it first.
    home.pay("5", noon(1))
    home.use(5, 4.0)
    evening = datetime(2026, 3, 5, 18, tzinfo=UTC)
    wallet = home.burn(evening)
    morning = datetime(2026, 3, 6, 7, tzinfo=UTC)
    assert (wallet.state, wallet.look_at) == (WalletState.FRIENDLY, morning)
    with time_machine.travel(morning, tick=False):
        assert wallet_operations.due_wallets(now=evening + timedelta(minutes=1)) == []
        assert wallet_operations.due_wallets(now=morning) == [wallet.pk]
    assert home.burn(morning).state == WalletState.SPENT
    assert [output for output, _reason in home.outputs][-1] == 0


def test_a_protected_customer_keeps_the_supply(home: Home) -> None:
    Customer.objects.update(protected=True, protected_reason="Dialysis")
    home.use(5, 4.0)
    wallet = home.burn(datetime(2026, 3, 5, 22, 45, tzinfo=UTC))
    assert (wallet.state, home.outputs) == (WalletState.PROTECTED, [])


def test_protection_switches_on_at_once(home: Home) -> None:
    home.use(5, 4.0)
    night = datetime(2026, 3, 5, 22, 45, tzinfo=UTC)
    home.burn(night)
    customers_operations.protect_customer(
        customer_id=home.agreement.customer_id, reason="Dialysis", now=night, actor_id=None
    )
    assert Wallet.objects.get().state == WalletState.PROTECTED
    assert [output for output, _reason in home.outputs] == [0, 1]


def test_who_moves_in_finds_the_supply_on(home: Home) -> None:
    home.use(5, 4.0)
    home.burn(datetime(2026, 3, 5, 22, 45, tzinfo=UTC))
    agreements_operations.move_out(
        agreement_id=home.agreement.pk, ends_on=date(2026, 3, 7), actor_id=None
    )
    midnight = datetime(2026, 3, 6, 23, tzinfo=UTC)
    assert wallet_operations.due_wallets(now=midnight) == [home.wallet.pk]
    wallet = home.burn(midnight)
    assert (wallet.state, wallet.switched_off_at) == (WalletState.SPENT, None)
    assert [output for output, _reason in home.outputs] == [0, 1]
    home.burn(midnight + timedelta(minutes=15))
    assert len(home.outputs) == 2


def test_who_moves_in_with_an_empty_wallet_is_not_switched_on_by_who_leaves(home: Home) -> None:
    home.use(5, 4.0)
    home.burn(datetime(2026, 3, 5, 22, 45, tzinfo=UTC))
    moved = agreements_operations.move_out(
        agreement_id=home.agreement.pk,
        ends_on=date(2026, 3, 7),
        successor=Successor(customer_id=factories.customer(home.tenant).pk),
        actor_id=None,
    )
    assert moved.successor is not None
    new = wallet_operations.open_wallet(
        agreement_id=moved.successor.pk, rules=WalletRules(), actor_id=None
    )
    noon_after = noon(7)
    with time_machine.travel(noon_after, tick=False):
        for wallet in (new, home.wallet):
            wallet_operations.burn(wallet_ids=[wallet.pk], now=noon_after)
    assert [output for output, _reason in home.outputs] == [0, 0]


def test_a_unit_that_cannot_be_asked_is_switched_when_it_can_be(home: Home) -> None:
    units = Device.objects.filter(pk=home.channel.device_id)
    units.update(state=DeviceState.SUSPENDED)
    home.use(5, 4.0)
    night = datetime(2026, 3, 5, 22, 45, tzinfo=UTC)
    assert (home.burn(night).missed, home.outputs) == ([home.channel.device_id], [])
    units.update(state=DeviceState.ACTIVE)
    assert home.burn(night + timedelta(minutes=15)).missed == []
    assert [output for output, _reason in home.outputs] == [0]
    units.update(state=DeviceState.SUSPENDED)
    home.pay("50", night + timedelta(minutes=20))
    assert len(home.outputs) == 1
    # It is brought to what is wanted, and never hears of what was asked before.
    wanted = DeviceConfiguration.objects.get(device=home.channel.device_id)
    assert wanted.desired["output"] == 1
    assert Command.objects.get().state == "cancelled"


def test_days_without_a_tariff_are_told_and_nothing_is_taken(home: Home) -> None:
    home.use(5, 4.0)
    AgreementTariff.objects.update(starts_on=date(2026, 3, 3))
    wallet = home.burn(datetime(2026, 3, 5, 22, 45, tzinfo=UTC))
    assert "no published tariff holds" in wallet.problem
    assert WalletMovement.objects.count() == 0


def test_an_adjustment_says_why_and_happens_once(home: Home) -> None:
    with pytest.raises(ValidationError, match="Say why"):
        wallet_operations.adjust(
            wallet_id=home.wallet.pk, amount=Decimal(3), reason=" ", key="a", now=noon(1),
            actor_id=None,
        )  # fmt: skip
    for _again in range(2):
        wallet = wallet_operations.adjust(
            wallet_id=home.wallet.pk, amount=Decimal(30), reason="Outage of a day", key="a",
            now=noon(1), actor_id=None,
        )  # fmt: skip
    assert wallet.balance == 30
    assert AuditEntry.objects.filter(action="wallet.adjust").count() == 1
    wallet = wallet_operations.adjust(
        wallet_id=home.wallet.pk, amount=Decimal(-10), reason="Too much", key="b", now=noon(1),
        actor_id=None,
    )  # fmt: skip
    assert wallet.balance == 20
    balanced(home, Decimal(0))


def test_a_refund_is_taken_from_the_wallet(home: Home) -> None:
    home.pay("50", noon(1))
    payment = AccountEntry.objects.get(kind=EntryKind.PAYMENT).payment
    assert payment is not None
    payments_refunds_operations.refund(
        payment_id=payment.pk, amount=Decimal(20), reason="Moved out", on=noon(2).date(),
        now=noon(2), actor_id=None,
    )  # fmt: skip
    assert Wallet.objects.get().balance == 30


def test_customers_are_told_once_of_each_change(home: Home) -> None:
    home.pay("5", noon(1))
    home.use(5, 4.0)
    now = datetime(2026, 3, 5, 22, 45, tzinfo=UTC)
    home.burn(now)
    (letter,) = wallet_notices.take_wallet_letters()
    assert (letter.to, letter.context["what"]) == ("home@example.com", "spent")
    assert letter.context["balance"].startswith("-")
    assert wallet_notices.take_wallet_letters() == []
    home.pay("50", now, key="P2")
    (letter,) = wallet_notices.take_wallet_letters()
    assert letter.context["what"] == "restored"
    assert wallet_notices.take_wallet_letters() == []


def test_a_wallet_is_read_in_a_fixed_number_of_queries(
    home: Home, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    home.pay("100", noon(1))
    Wallet.objects.update(created_at=noon(1) - timedelta(days=3))
    for day in range(9):
        home.use(1, 4.0, first=day)
        home.burn(datetime(2026, 3, day + 1, 21, 30, tzinfo=UTC))
    with django_assert_num_queries(3):
        found = wallet_queries.wallet_of(agreement_id=home.agreement.pk, now=noon(10))
    assert found is not None
    assert len(found.movements) == 10
    assert found.forecast.days is not None
    burned = -sum(
        (one.amount for one in found.movements if one.kind == "burn" and one.at > noon(3)),
        Decimal(0),
    )
    assert abs(found.forecast.per_day - burned / 7) < Decimal("0.3")
    assert wallet_queries.wallet_of(agreement_id=home.agreement.pk, now=noon(10), user_id=1) is None


def test_many_are_burned_at_once(home: Home) -> None:
    home.use(2, 4.0)
    home.burn(noon(2))
    by = AgreementTariff.objects.get().tariff
    for _number in range(3):
        channel = power(home.facility)
        agreement = factories.agreement(home.facility, by=by, mode=Mode.PREPAID)
        meter(agreement, channel, BEGIN)
        quarters(channel, BEGIN, [10.0] * DAY)
        wallet_operations.open_wallet(agreement_id=agreement.pk, rules=WalletRules(), actor_id=None)
    ids = list(Wallet.objects.values_list("pk", flat=True))
    with time_machine.travel(noon(2), tick=False):
        assert wallet_operations.burn(wallet_ids=ids, now=noon(2)) == 4
    assert set(WalletMovement.objects.values_list("wallet", flat=True)) == set(ids)


def test_a_movement_stays_as_it_is(home: Home) -> None:
    home.pay("5", noon(1))
    for verb in ("UPDATE {} SET amount = 1", "DELETE FROM {}"):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
            connection.cursor().execute(verb.format("billing_walletmovement"))


def test_others_see_and_change_nothing(home: Home) -> None:
    other = tenant()
    elsewhere = facility(home.tenant)
    for scope in (Scope((other.pk,)), Scope((home.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert wallet_queries.wallet_of(agreement_id=home.agreement.pk, now=noon(1)) is None
            assert wallet_operations.burn(wallet_ids=[home.wallet.pk], now=noon(1)) == 0
            with pytest.raises(WalletNotFound):
                wallet_operations.adjust(
                    wallet_id=home.wallet.pk, amount=Decimal(5), reason="x", key="x",
                    now=noon(1), actor_id=None,
                )  # fmt: skip
    assert Wallet.objects.get().balance == 0


def test_only_a_prepaid_agreement_has_a_wallet(home: Home) -> None:
    postpaid = factories.agreement(home.facility)
    with pytest.raises(ValidationError, match="no prepaid wallet"):
        wallet_operations.open_wallet(agreement_id=postpaid.pk, rules=WalletRules(), actor_id=None)
    with pytest.raises(ValidationError, match="not known"):
        wallet_operations.set_rules(
            wallet_id=home.wallet.pk, rules=WalletRules(holidays="XX-99"), now=noon(1),
            actor_id=None,
        )  # fmt: skip
