"""Agreements: moves in and out, meters, shares, tariffs; who sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import DjangoAssertNumQueries

from billing.domain import agreements_operations as operations
from billing.domain import agreements_queries as queries
from billing.domain import agreements_terms_operations as terms
from billing.domain.agreements_queries import AgreementFilter, AgreementNotFound
from billing.domain.agreements_values import (
    AgreementValues,
    Change,
    MeterChange,
    MeterValues,
    Successor,
    TariffValues,
)
from billing.models import Agreement, AgreementMeter, AgreementTariff, Customer, Flow, Tariff
from billing.tests import factories
from devices.models import Channel, Facility
from devices.tests.factories import device, facility, member
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

# Midnight in Berlin: 1 March in winter time, 1 April in summer time.
MARCH = datetime(2026, 2, 28, 23, tzinfo=UTC)
APRIL = datetime(2026, 3, 31, 22, tzinfo=UTC)
IN_APRIL = date(2026, 4, 1)
HALF = Decimal("0.5")


@dataclass(frozen=True)
class World:
    """A facility in Berlin with two meters, a customer, a tariff."""

    tenant: Tenant
    facility: Facility
    meter: Channel
    second: Channel
    voltage: Channel
    customer: Customer
    tariff: Tariff

    def values(self, **changes: Any) -> AgreementValues:
        values = AgreementValues(self.customer.pk, self.facility.pk, factories.FIRST)
        return replace(values, **changes)

    def create(self, *meters: MeterValues, **changes: Any) -> Agreement:
        return operations.create_agreement(
            tenant_id=self.tenant.pk,
            values=self.values(**changes),
            meters=meters,
            tariff=TariffValues(self.tariff.pk),
            actor_id=None,
        )


@pytest.fixture
def world() -> Iterator[World]:
    here = tenant()
    with open_scope(Scope((here.pk,))):
        place = facility(here)
        first, second = device(place).device, device(place).device
        yield World(
            here,
            place,
            first.channels.get(number=0),
            second.channels.get(number=0),
            first.channels.get(number=1),
            factories.customer(here),
            factories.tariff(here),
        )


def _refused(call: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refused:
        call()
    return refused.value.message_dict


def _meters(of: Agreement) -> list[tuple[Any, ...]]:
    return list(
        AgreementMeter.objects.filter(agreement=of)
        .order_by("starts_at", "pk")
        .values_list("channel_id", "share", "starts_at", "ends_at")
    )


def _tariffs(of: Agreement) -> list[tuple[Any, ...]]:
    rows = AgreementTariff.objects.filter(agreement=of).order_by("starts_on")
    return list(rows.values_list("tariff_id", "starts_on", "ends_on"))


def test_an_agreement_is_made_with_meters_and_tariff(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk), MeterValues(world.meter.pk, Flow.EXPORT))
    assert (made.number, made.currency, made.user_id) == ("A00001", "EUR", None)
    assert _meters(made) == [(world.meter.pk, 1, MARCH, None)] * 2
    assert _tariffs(made) == [(world.tariff.pk, factories.FIRST, None)]
    told = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"agreement.create", "agreement.add_meter", "agreement.add_tariff"} <= told


def test_a_meter_ends_with_its_agreement_at_the_local_midnight(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk), ends_on=IN_APRIL)
    assert _meters(made) == [(world.meter.pk, 1, MARCH, APRIL)]
    assert _tariffs(made) == [(world.tariff.pk, factories.FIRST, IN_APRIL)]


def test_what_does_not_fit_is_told_at_its_field(world: World) -> None:
    meter = MeterValues(world.meter.pk)
    with open_scope(Scope((world.tenant.pk,))):
        elsewhere = device(facility(world.tenant)).device.channels.get(number=0)
        dollars = factories.tariff(world.tenant, currency="USD")
    at = MARCH.replace(minute=7)
    for meters, changes, field in (
        ((meter,), {"customer_id": 0}, "customer"),
        ((meter,), {"facility_id": 0}, "facility"),
        ((meter,), {"ends_on": factories.FIRST}, "ends_on"),
        ((meter,), {"payment_days": 999}, "payment_days"),
        ((meter,), {"starts_on": date(2019, 1, 1)}, "tariff"),
        ((meter,), {"currency": "USD"}, "tariff"),
        ((MeterValues(0),), {}, "channel"),
        ((MeterValues(world.voltage.pk),), {}, "channel"),
        ((MeterValues(elsewhere.pk),), {}, "channel"),
        ((MeterValues(world.meter.pk, Flow.REACTIVE),), {}, "channel"),
        ((replace(meter, starts_at=at),), {}, "starts_at"),
        ((replace(meter, starts_at=APRIL, ends_at=APRIL),), {}, "ends_at"),
        ((replace(meter, starts_at=MARCH.replace(day=1)),), {}, "starts_at"),
        ((meter,), {"ends_on": IN_APRIL, "number": "x" * 41}, "number"),
        ((replace(meter, share=Decimal(2)),), {}, "share"),
        ((replace(meter, share=Decimal(0)),), {}, "share"),
    ):
        assert list(_refused(lambda m=meters, c=changes: world.create(*m, **c))) == [field]
    refused = _refused(
        lambda: operations.create_agreement(
            tenant_id=world.tenant.pk,
            values=world.values(currency="EUR"),
            tariff=TariffValues(dollars.pk),
            actor_id=None,
        )
    )
    assert refused == {"tariff": ["The tariff is in USD, the agreement in EUR."]}
    assert not Agreement.objects.exists()


def test_a_tariff_with_contracted_power_asks_for_it(world: World) -> None:
    factories.version(
        world.tariff,
        {"components": [{"kind": "standing", "per": "kW_month", "amount": "2"}]},
        revision=2,
    )
    assert list(_refused(world.create)) == ["contracted_kw"]
    made = operations.create_agreement(
        tenant_id=world.tenant.pk,
        values=world.values(),
        tariff=TariffValues(world.tariff.pk, Decimal(30)),
        actor_id=None,
    )
    assert made.tariffs.get().contracted_kw == 30


def test_an_archived_or_unpublished_tariff_is_not_chosen(world: World) -> None:
    draft = Tariff.objects.create(tenant=world.tenant, name="Draft", currency="EUR")
    factories.version(draft, {}, published=False)
    call = world.values
    refused = _refused(
        lambda: operations.create_agreement(
            tenant_id=world.tenant.pk,
            values=call(),
            tariff=TariffValues(draft.pk),
            actor_id=None,
        )
    )
    assert list(refused) == ["tariff"]
    Tariff.objects.filter(pk=world.tariff.pk).update(archived_at=MARCH)
    assert list(_refused(world.create)) == ["tariff"]


def test_shares_of_a_meter_are_the_whole_of_it_at_most_at_any_instant(world: World) -> None:
    shared = MeterValues(world.meter.pk, share=HALF)
    world.create(shared)
    world.create(replace(shared, ends_at=APRIL))
    third = replace(shared, share=Decimal("0.25"))
    refused = _refused(lambda: world.create(third))
    [sentence] = refused["share"]
    assert "1.25" in sentence
    assert "1 Mar 2026, 00:00" in sentence
    assert "CET" in sentence
    world.create(replace(third, starts_at=APRIL))
    # What is given to the grid is shared by itself.
    world.create(replace(shared, flow=Flow.EXPORT, share=Decimal(1)))


def test_the_instant_from_which_shares_are_too_many_is_told(world: World) -> None:
    world.create(MeterValues(world.meter.pk, share=HALF, starts_at=APRIL))
    refused = _refused(lambda: world.create(MeterValues(world.meter.pk)))
    assert "1 Apr 2026, 00:00" in refused["share"][0]
    assert "CEST" in refused["share"][0]


def test_a_sub_meter_is_taken_off_where_something_is_counted(world: World) -> None:
    taken_off = MeterValues(world.second.pk, share=Decimal(-1))
    assert list(_refused(lambda: world.create(taken_off))) == ["share"]
    whole = world.create(MeterValues(world.meter.pk), taken_off)
    world.create(MeterValues(world.second.pk))
    assert [share for _channel, share, *_rest in _meters(whole)] == [1, -1]
    # Once is enough.
    refused = _refused(
        lambda: terms.add_meter(
            agreement_id=whole.pk,
            values=replace(taken_off, share=-HALF, starts_at=APRIL),
            actor_id=None,
        )
    )
    assert "1.5" in refused["share"][0]
    main = AgreementMeter.objects.get(agreement=whole, share=1)
    refused = _refused(
        lambda: terms.alter_meter(
            agreement_id=whole.pk, meter_id=main.pk, wanted=MeterChange(APRIL), actor_id=None
        )
    )
    assert "1 Apr 2026, 00:00" in refused["share"][0]
    assert len(_meters(whole)) == 2


def test_a_meter_is_exchanged_at_a_quarter(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk, share=HALF))
    at = datetime(2026, 3, 9, 14, 15, tzinfo=UTC)
    meter = AgreementMeter.objects.get(agreement=made)
    change: dict[str, Any] = {"agreement_id": made.pk, "meter_id": meter.pk, "actor_id": None}
    for wrong in (at.replace(minute=16), MARCH.replace(day=1)):
        refused = _refused(
            lambda at=wrong: terms.alter_meter(
                wanted=MeterChange(at, channel=world.second.pk), **change
            )
        )
        assert list(refused) == ["at"]
    terms.alter_meter(wanted=MeterChange(at, channel=world.second.pk), **change)
    assert _meters(made) == [
        (world.meter.pk, HALF, MARCH, at),
        (world.second.pk, HALF, at, None),
    ]
    new = AgreementMeter.objects.get(agreement=made, ends_at=None)
    terms.alter_meter(
        agreement_id=made.pk,
        meter_id=new.pk,
        wanted=MeterChange(APRIL, share=Decimal(1)),
        actor_id=None,
    )
    assert _meters(made)[1:] == [
        (world.second.pk, HALF, at, APRIL),
        (world.second.pk, 1, APRIL, None),
    ]


def test_a_tariff_changes_at_a_midnight_until_the_next_planned_change(world: World) -> None:
    made = world.create()
    second, third = factories.tariff(world.tenant), factories.tariff(world.tenant)
    may, june = date(2026, 5, 1), date(2026, 6, 1)
    change: dict[str, Any] = {"agreement_id": made.pk, "actor_id": None}
    terms.change_tariff(values=TariffValues(second.pk), on=june, **change)
    terms.change_tariff(values=TariffValues(third.pk), on=may, **change)
    assert _tariffs(made) == [
        (world.tariff.pk, factories.FIRST, may),
        (third.pk, may, june),
        (second.pk, june, None),
    ]
    terms.change_tariff(values=TariffValues(second.pk, Decimal(5)), on=may, **change)
    assert _tariffs(made)[1] == (second.pk, may, june)
    for values, on, field in (
        (TariffValues(second.pk, Decimal(5)), may, "tariff"),
        (TariffValues(second.pk), date(2026, 2, 1), "starts_on"),
        (TariffValues(0), may, "tariff"),
    ):
        refused = _refused(
            lambda values=values, on=on: terms.change_tariff(values=values, on=on, **change)
        )
        assert list(refused) == [field]


def test_who_moves_in_goes_on_with_the_meters_of_who_moves_out(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk))
    user = member(world.tenant, Role.CONSUMER).user
    newcomer = factories.customer(world.tenant, user=user)
    next_one = operations.move_out(
        agreement_id=made.pk,
        ends_on=IN_APRIL,
        successor=Successor(newcomer.pk),
        actor_id=None,
    ).successor
    assert next_one is not None
    assert _meters(made) == [(world.meter.pk, 1, MARCH, APRIL)]
    assert _meters(next_one) == [(world.meter.pk, 1, APRIL, None)]
    assert _tariffs(next_one) == [(world.tariff.pk, IN_APRIL, None)]
    assert (next_one.customer_id, next_one.user_id) == (newcomer.pk, user.pk)
    # The meter is the newcomer's now.
    refused = _refused(lambda: operations.reopen(agreement_id=made.pk, actor_id=None))
    assert list(refused) == ["share"]


def test_an_end_can_be_moved_and_taken_back(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk))
    later = factories.tariff(world.tenant)
    may = date(2026, 5, 1)
    terms.change_tariff(agreement_id=made.pk, values=TariffValues(later.pk), on=may, actor_id=None)
    end: dict[str, Any] = {"agreement_id": made.pk, "actor_id": None}
    operations.move_out(ends_on=IN_APRIL, **end)
    assert _tariffs(made) == [(world.tariff.pk, factories.FIRST, IN_APRIL)]
    operations.move_out(ends_on=may, **end)
    assert _tariffs(made) == [(world.tariff.pk, factories.FIRST, may)]
    operations.reopen(**end)
    assert _meters(made) == [(world.meter.pk, 1, MARCH, None)]
    assert _tariffs(made) == [(world.tariff.pk, factories.FIRST, None)]
    refused = _refused(lambda: operations.move_out(ends_on=factories.FIRST, **end))
    assert list(refused) == ["ends_on"]
    with pytest.raises(ValidationError, match="has no end"):
        operations.reopen(**end)


def test_what_final_bills_rest_on_changes_with_a_reason_alone(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk))
    factories.bill(made)
    meter = AgreementMeter.objects.get(agreement=made)
    other = factories.tariff(world.tenant)
    within = date(2026, 3, 15)
    at = datetime(2026, 3, 15, tzinfo=UTC)
    end: dict[str, Any] = {"agreement_id": made.pk, "actor_id": None}
    calls = (
        lambda reason: operations.move_out(ends_on=within, reason=reason, **end),
        lambda reason: terms.change_tariff(
            values=TariffValues(other.pk), on=within, reason=reason, **end
        ),
        lambda reason: terms.alter_meter(
            meter_id=meter.pk, wanted=MeterChange(at, reason=reason), **end
        ),
    )
    for call in calls:
        assert list(_refused(lambda call=call: call(" "))) == ["reason"]
    operations.move_out(ends_on=within, reason="Moved out earlier", **end)
    told = AuditEntry.objects.get(action="agreement.move_out").after
    assert told is not None
    assert told["reason"] == "Moved out earlier"


def test_terms_of_payment_change_for_bills_to_come(world: World) -> None:
    made = world.create()
    changed = operations.change_agreement(
        agreement_id=made.pk,
        change=Change(payment_days=30, cost_centre="4711"),
        actor_id=None,
    )
    assert (changed.payment_days, changed.cost_centre, changed.number) == (30, "4711", made.number)
    for change, field in (
        (Change(number=" "), "number"),
        (Change(payment_days=-1), "payment_days"),
    ):
        refused = _refused(
            lambda change=change: operations.change_agreement(
                agreement_id=made.pk, change=change, actor_id=None
            )
        )
        assert list(refused) == [field]


def test_a_consumer_sees_the_own_agreements_alone(world: World) -> None:
    user = member(world.tenant, Role.CONSUMER).user
    former = factories.agreement(world.facility)
    own = factories.agreement(world.facility, user=user, starts_on=IN_APRIL)
    with open_scope(Scope((world.tenant.pk,), (world.facility.pk,))):
        assert {one.pk for one in queries.agreement_rows()} == {former.pk, own.pk}
        found = queries.agreement_page(limit=5, user_id=user.pk)
        assert [one.pk for one in found.items] == [own.pk]
        with pytest.raises(AgreementNotFound):
            queries.agreement(agreement_id=former.pk, user_id=user.pk)


def test_others_neither_see_nor_change_an_agreement(world: World) -> None:
    made = world.create(MeterValues(world.meter.pk))
    elsewhere = facility(world.tenant)
    for scope in (Scope((tenant().pk,)), Scope((world.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            for call in (
                lambda: queries.agreement(agreement_id=made.pk),
                lambda: operations.move_out(agreement_id=made.pk, ends_on=IN_APRIL, actor_id=None),
                lambda: terms.change_tariff(
                    agreement_id=made.pk,
                    values=TariffValues(world.tariff.pk),
                    on=IN_APRIL,
                    actor_id=None,
                ),
            ):
                with pytest.raises(AgreementNotFound):
                    call()
    assert Agreement.objects.get(pk=made.pk).ends_on is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_of_agreements_takes_three_queries(
    world: World, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(count):
        world.create()
    with django_assert_num_queries(3):
        found = queries.agreement_page(
            limit=9, wanted=AgreementFilter(facility_id=world.facility.pk, on=factories.FIRST)
        )
        assert [len(one.tariffs.all()) for one in found.items] == [1] * count
    before = AgreementFilter(on=date(2026, 2, 28))
    assert queries.agreement_page(limit=9, wanted=before).items == ()
