"""Why a unit is dark: each cause from the rows that tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from billing.accounts.outage import Certainty, Facts, Health, Output, Reason, Supply, explain
from billing.domain import outage_queries, wallet_operations
from billing.domain.outage_queries import Outage
from billing.domain.wallet_operations import WalletRules
from billing.models import Agreement, Customer, DunningCase, EntryKind, Mode
from billing.tests import factories
from devices.commands.states import Origin
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM, Actor
from devices.domain.queries import DeviceNotFound
from devices.models import Device, DeviceConfiguration, DeviceState, Facility
from devices.telemetry import status
from devices.tests.factories import device, facility
from tenants.models import Tenant
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import member, tenant

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Unit:
    tenant: Tenant
    facility: Facility
    device: Device
    customer: Customer
    agreement: Agreement

    def event(self, kind: str, at: datetime, **data: Any) -> None:
        status.record_event(
            connection,
            tenant_id=self.tenant.pk,
            device_id=self.device.pk,
            occurred_at=at,
            kind=kind,
            data=data,
        )

    def says(self, **reported: Any) -> None:
        """What the device has told of its settings, and what is wanted of them."""
        row, _made = DeviceConfiguration.objects.get_or_create(
            device=self.device, defaults={"tenant": self.tenant, "desired": {}}
        )
        row.reported, row.reported_at = reported, NOW - HOUR
        row.save()

    def linked(self, *, connected: bool, seen: datetime) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO device_link (device_id, tenant_id, connected, connection, bridge,"
                " changed_at, last_seen_at, firmware_version)"
                " VALUES (%s, %s, %s, 1, 'b', %s, %s, '1.0')"
                " ON CONFLICT (device_id) DO UPDATE SET connected = excluded.connected,"
                " changed_at = excluded.changed_at, last_seen_at = excluded.last_seen_at",
                [self.device.pk, self.tenant.pk, connected, seen, seen],
            )

    def switch(self, *, on: bool, actor: Actor = SYSTEM, reason: str = "Leak") -> None:
        commands_operations.ask(
            actor,
            kind="set_output",
            arguments={"output": int(on)},
            device_ids=[self.device.pk],
            reason=reason,
            now=NOW - 2 * HOUR,
        )

    def why(self) -> Outage:
        return outage_queries.explain_unit(device_id=self.device.pk, now=NOW)


@pytest.fixture
def unit() -> Iterator[Unit]:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        own = device(at).device
        own.state = DeviceState.ACTIVE
        own.save()
        customer = factories.customer(of, phone="+49 761 / 123 45-67", number="K-4711")
        channel = own.channels.order_by("number")[0]
        agreement = factories.agreement(at, of=customer, channels=(channel,))
        made = Unit(of, at, own, customer, agreement)
        made.linked(connected=True, seen=NOW)
        made.says(output=1, power_limit_w=-1)
        yield made


def reasons(found: Outage) -> list[tuple[Reason, Certainty]]:
    return [(cause.reason, cause.certainty) for cause in found.explanation.causes]


def test_a_unit_that_is_well_has_no_cause(unit: Unit) -> None:
    found = unit.why()
    assert (found.explanation.supply, found.explanation.causes) == (Supply.ON, ())


def test_a_person_has_switched_it_off(unit: Unit) -> None:
    person = member(unit.tenant, Role.ADMIN).user
    unit.switch(on=False, actor=Actor(person.pk, frozenset(Permission)))
    unit.says(output=0)
    unit.event("relay.opened", NOW - HOUR, by="command")
    found = unit.why()
    assert (found.explanation.supply, found.explanation.since) == (Supply.OFF, NOW - HOUR)
    (cause,) = found.explanation.causes
    assert (cause.reason, cause.certainty) == (Reason.COMMAND, Certainty.CERTAIN)
    assert cause.evidence["why"] == "Leak"
    assert cause.evidence["by"] == (person.get_full_name() or person.email)


def test_the_wallet_is_spent(unit: Unit) -> None:
    Agreement.objects.filter(pk=unit.agreement.pk).update(mode=Mode.PREPAID)
    wallet = wallet_operations.open_wallet(
        agreement_id=unit.agreement.pk, rules=WalletRules(), actor_id=None
    )
    wallet_operations.adjust(
        wallet_id=wallet.pk, amount=Decimal("-3.20"), reason="Test", key="a", now=NOW - HOUR,
        actor_id=None,
    )  # fmt: skip
    unit.says(output=0)
    found = unit.why()
    assert reasons(found)[0] == (Reason.WALLET, Certainty.CERTAIN)
    cause = found.explanation.causes[0]
    assert (cause.evidence["balance"], cause.since) == (Decimal("-3.20"), NOW - HOUR)


def test_bills_are_not_paid(unit: Unit) -> None:
    factories.entry(unit.agreement, Decimal(80), EntryKind.BILL)
    DunningCase.objects.create(
        tenant=unit.tenant,
        agreement=unit.agreement,
        facility=unit.facility,
        opened_at=NOW - 20 * HOUR,
        counts_from=NOW.date(),
        next_at=NOW,
        disabled=True,
        owed_at_cut=80,
    )
    commands_operations.ask(
        SYSTEM,
        kind="set_output",
        arguments={"output": 0},
        device_ids=[unit.device.pk],
        reason="Not paid",
        origin=Origin.BILLING,
        request_key="dunning:1:step:3",
        now=NOW - HOUR,
    )
    unit.says(output=0)
    found = unit.why()
    assert reasons(found) == [(Reason.DUNNING, Certainty.CERTAIN)]
    assert found.explanation.causes[0].evidence["overdue"] == 80


def test_the_paid_time_is_over_by_the_word_of_the_unit(unit: Unit) -> None:
    over = NOW - 3 * HOUR
    by_day = factories.agreement(unit.facility, mode=Mode.PAYG)
    factories.payg_unit(by_day, unit.device, paid_until=over - HOUR)
    unit.event("payg.changed", over - 24 * HOUR, count=2, paid_until_ms=_ms(over), released=0)
    unit.event("relay.opened", over, by="payg")
    unit.says(output=0)
    found = unit.why()
    assert reasons(found) == [(Reason.TIME, Certainty.CERTAIN)]
    assert (found.explanation.causes[0].since, found.explanation.since) == (over, over)
    assert {one.mode for one in found.accounts} == {Mode.POSTPAID, Mode.PAYG}


def test_a_token_was_issued_and_not_entered(unit: Unit) -> None:
    by_day = factories.agreement(unit.facility, mode=Mode.PAYG)
    factories.payg_unit(by_day, unit.device, paid_until=NOW + 24 * HOUR)
    unit.event("payg.changed", NOW - HOUR, count=2, paid_until_ms=_ms(NOW + HOUR), released=0)
    unit.says(output=0)
    assert unit.why().explanation.causes[0].evidence["not_entered"] is True


def test_a_unit_that_never_took_a_token_waits_for_its_first(unit: Unit) -> None:
    by_day = factories.agreement(unit.facility, mode=Mode.PAYG)
    factories.payg_unit(by_day, unit.device, paid_until=NOW + 24 * HOUR)
    unit.says(output=0)
    found = unit.why()
    assert reasons(found) == [(Reason.TIME, Certainty.LIKELY)]
    assert found.explanation.causes[0].evidence["not_entered"] is True


def test_the_link_is_lost(unit: Unit) -> None:
    seen = NOW - 5 * HOUR
    unit.linked(connected=False, seen=seen)
    unit.event("disconnected", seen, reason="silent", text="no answer to a ping")
    found = unit.why()
    assert (found.explanation.supply, found.explanation.since) == (Supply.UNKNOWN, seen)
    (cause,) = found.explanation.causes
    assert (cause.reason, cause.since) == (Reason.LINK, seen)
    assert cause.evidence["disconnect"] == "no answer to a ping"


def test_a_unit_that_was_off_when_the_link_broke_is_off(unit: Unit) -> None:
    unit.switch(on=False)
    unit.says(output=0)
    unit.linked(connected=False, seen=NOW - 5 * HOUR)
    found = unit.why()
    assert found.explanation.supply is Supply.OFF
    assert [reason for reason, _certainty in reasons(found)] == [Reason.COMMAND, Reason.LINK]


def test_off_by_itself_is_a_fault_of_the_unit(unit: Unit) -> None:
    unit.says(output=0)
    assert reasons(unit.why()) == [(Reason.HARDWARE, Certainty.LIKELY)]


def test_restarts_and_errors_are_a_fault_of_the_unit(unit: Unit) -> None:
    for number in range(5):
        unit.event("connected", NOW - timedelta(minutes=50 - number), boot_count=10 + number)
    found = unit.why()
    (cause,) = found.explanation.causes
    assert (cause.reason, cause.evidence["resets"]) == (Reason.HARDWARE, 4)


def test_firmware_is_being_installed(unit: Unit) -> None:
    unit.event("firmware.installing", NOW - timedelta(minutes=3), version="1.1.0")
    found = unit.why()
    assert reasons(found) == [(Reason.MAINTENANCE, Certainty.LIKELY)]
    unit.event("firmware.confirmed", NOW - timedelta(minutes=1), version="1.1.0")
    assert reasons(unit.why()) == []


def test_a_device_that_is_not_active(unit: Unit) -> None:
    Device.objects.filter(pk=unit.device.pk).update(state=DeviceState.SUSPENDED)
    assert reasons(unit.why()) == [(Reason.NOT_ACTIVE, Certainty.CERTAIN)]


def test_a_battery_that_is_empty_and_a_limit_that_is_reached() -> None:
    """From readings, which the telemetry's own tests bring."""
    facts = Facts(
        state="active",
        connected=True,
        last_seen_at=NOW,
        output=Output(wanted=True, reported=True),
        charge_percent=3.0,
        watts=980.0,
        limit_w=1000,
        health=Health(),
    )
    found = explain(facts, now=NOW)
    assert [(cause.reason, cause.certainty) for cause in found.causes] == [
        (Reason.BATTERY, Certainty.LIKELY),
        (Reason.LIMIT, Certainty.LIKELY),
    ]
    assert found.supply is Supply.ON


@pytest.mark.parametrize(
    "text", ["k-4711", "0761 1234567", "+49 (761) 123 45 67", "1234567", "Customer 0"]
)
def test_a_caller_is_found_by_what_a_caller_can_tell(unit: Unit, text: str) -> None:
    found = outage_queries.find_units(text=text, now=NOW)
    assert [one.device_id for one in found] == [unit.device.pk]
    assert found[0].customer_number == "K-4711"


def test_a_unit_is_found_by_its_serial_and_agreement_numbers(
    unit: Unit, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _number in range(3):
        device(unit.facility)
    (found,) = outage_queries.find_units(text=unit.device.serial.lower(), now=NOW)
    assert (found.device_id, found.serial) == (unit.device.pk, unit.device.serial)
    for _number in range(2):
        channel = device(unit.facility).device.channels.order_by("number")[0]
        factories.agreement(unit.facility, of=unit.customer, channels=(channel,))
        with django_assert_num_queries(6):
            several = outage_queries.find_units(text=unit.customer.number, now=NOW)
    assert len(several) == 3
    (found,) = outage_queries.find_units(text=unit.agreement.number, now=NOW)
    assert found.device_id == unit.device.pk
    assert outage_queries.find_units(text="  ", now=NOW) == ()
    assert outage_queries.find_units(text="9999999", now=NOW) == ()


def test_others_find_and_see_nothing(unit: Unit) -> None:
    other, elsewhere = tenant(), facility(unit.tenant)
    for scope in (Scope((other.pk,)), Scope((unit.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert outage_queries.find_units(text="K-4711", now=NOW) == ()
            assert outage_queries.find_units(text=unit.device.serial, now=NOW) == ()
            with pytest.raises(DeviceNotFound):
                unit.why()
    with open_scope(Scope((unit.tenant.pk,), (unit.facility.pk,))):
        (account,) = unit.why().accounts  # without the customer, whom this scope does not hold
        assert (account.number, account.customer, account.phone) == (unit.agreement.number, "", "")


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
