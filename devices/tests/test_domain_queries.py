"""What pages read: the right rows, plain values, and a fixed number of queries."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries

from devices.domain import operations, queries
from devices.models import DeviceState, Placement
from devices.tests import factories
from tenants.domain import operations as people
from tenants.domain.queries import NoAccess
from tenants.models import Membership, Tenant, TenantKind
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


def _consumer(of: Tenant) -> Membership:
    with open_scope(Scope((of.pk,))):
        return factories.member(of, Role.CONSUMER)


def test_scope_of_a_manager_is_the_tenant_and_all_below(
    ours: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    below = factories.tenant(ours)
    with open_scope(Scope((ours.pk,))):
        user = factories.member(ours, Role.MANAGER).user
    with django_assert_num_queries(3):
        assert queries.scope_for(user=user) == Scope(tuple(sorted((ours.pk, below.pk))))
    assert queries.scope_for(user=user, tenant_id=below.pk) == Scope((below.pk,))


def test_scope_of_a_consumer_is_narrowed_to_granted_facilities_and_their_areas(
    ours: Tenant,
) -> None:
    member = _consumer(ours)
    assert queries.scope_for(user=member.user) == Scope((ours.pk,), ())
    with open_scope(Scope((ours.pk,))):
        site, _other = factories.facility(ours), factories.facility(ours)
        area = factories.facility(ours, site)
        corner = factories.facility(ours, area)
        operations.grant_facility(membership_id=member.pk, facility_id=site.pk, actor_id=None)
    expected = Scope((ours.pk,), (site.pk, area.pk, corner.pk))
    assert queries.scope_for(user=member.user) == expected


def test_scope_of_a_technician_is_narrowed_only_by_a_grant(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        member = factories.member(ours, Role.TECHNICIAN)
        at = factories.facility(ours)
    assert queries.scope_for(user=member.user) == Scope((ours.pk,))
    with open_scope(Scope((ours.pk,))):
        operations.grant_facility(membership_id=member.pk, facility_id=at.pk, actor_id=None)
    assert queries.scope_for(user=member.user) == Scope((ours.pk,), (at.pk,))


def test_narrowing_holds_in_tenants_below(ours: Tenant) -> None:
    reseller = factories.tenant(kind=TenantKind.RESELLER)
    below = factories.tenant(reseller)
    member = _consumer(reseller)
    assert queries.scope_for(user=member.user, tenant_id=below.pk) == Scope((below.pk,), ())


def test_scope_of_a_tenant_without_membership_is_refused(ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((ours.pk,))):
        user = factories.member(ours, Role.ADMIN).user
    with pytest.raises(NoAccess):
        queries.scope_for(user=user, tenant_id=other.pk)


def test_scope_ends_with_the_membership(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        member = factories.member(ours, Role.MANAGER)
        user = member.user
        people.end_membership(membership_id=member.pk, actor_id=None)
    with pytest.raises(NoAccess):
        queries.scope_for(user=user)


@pytest.mark.parametrize("count", [1, 3])
def test_facility_detail_takes_five_queries_whatever_its_devices(
    ours: Tenant, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    with open_scope(Scope((ours.pk,))):
        at, kind = factories.facility(ours), factories.device_type(ours)
        made = [factories.device(at, kind).device for _ in range(count)]
        with django_assert_num_queries(5):
            detail = queries.facility_detail(facility_id=at.pk)
    assert {device.device_id for device in detail.devices} == {device.pk for device in made}
    assert [len(device.channels) for device in detail.devices] == [2] * count


def test_facility_detail_lists_mains_first_and_no_revoked_device(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at, kind = factories.facility(ours), factories.device_type(ours)
        sub = factories.device(at, kind, placement=Placement.SUBMETER).device
        mains = factories.device(at, kind, placement=Placement.MAINS).device
        factories.device(at, kind, state=DeviceState.REVOKED)
        detail = queries.facility_detail(facility_id=at.pk)
    assert [device.device_id for device in detail.devices] == [mains.pk, sub.pk]
    assert [device.counts_in_total for device in detail.devices] == [True, False]


def test_a_device_and_its_facility_take_five_queries(
    ours: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with open_scope(Scope((ours.pk,))):
        at = factories.facility(ours)
        device = factories.device(at).device
        first = device.channels.get(number=0)
        with django_assert_num_queries(5):
            found, place = queries.device_and_facility(device_id=device.pk)
    assert found.device_id == device.pk
    assert place.facility_id == at.pk
    assert found.channels[0] == queries.ChannelFacts(
        channel_id=first.pk,
        number=0,
        key="active_power",
        name="Active power",
        quantity="active_power",
        unit="W",
        resolution=Decimal("0.1"),
        in_total=True,
        minimum=Decimal(-20_000),
        maximum=Decimal(20_000),
    )


def test_what_lies_outside_the_scope_is_not_found(ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        at = factories.facility(other)
        device = factories.device(at).device
    with open_scope(Scope((ours.pk,))):
        with pytest.raises(queries.FacilityNotFound):
            queries.facility_detail(facility_id=at.pk)
        with pytest.raises(queries.DeviceNotFound):
            queries.device_and_facility(device_id=device.pk)
        assert queries.devices(device_ids=[device.pk]) == ()
    with open_scope(Scope((other.pk,), ())):
        assert queries.devices() == ()


def test_address_stands_in_one_line(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at = operations.create_facility(
            tenant_id=ours.pk,
            name="Shop",
            time_zone="Europe/Berlin",
            address=operations.Address(
                street="Hauptstr. 1", postal_code="10115", city="Berlin", country="DE"
            ),
            actor_id=None,
        )
        facts = queries.facility_detail(facility_id=at.pk).facility
    assert facts.address == "Hauptstr. 1, 10115 Berlin, DE"
