"""What the database itself refuses in the park."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import ProtectedError

from devices.domain import operations
from devices.models import (
    Allocation,
    Channel,
    Device,
    DeviceType,
    DeviceTypeChannel,
    Facility,
    FacilityAccess,
    Load,
)
from devices.tests import factories
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


def _refused(change: Callable[[], Any]) -> str | None:
    """The name of the constraint that refuses a change, in a scope that would allow it."""

    def at_once() -> None:
        with transaction.atomic():
            change()
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError) as caught:
        at_once()
    cause: Any = caught.value.__cause__
    name: str | None = cause.diag.constraint_name
    return name


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


@pytest.fixture
def theirs(db: None) -> Tenant:
    return factories.tenant()


def test_related_rows_stay_in_one_tenant(ours: Tenant, theirs: Tenant) -> None:
    with open_scope(Scope((ours.pk, theirs.pk))):
        here, there = factories.facility(ours), factories.facility(theirs)
        device = factories.device(here).device
        foreign = factories.device(there).device
        channel = device.channels.get(number=0)
        load = operations.create_load(
            tenant_id=ours.pk, facility_id=here.pk, name="Load", actor_id=None
        )
        member = factories.member(ours, Role.CONSUMER)

        assert (
            _refused(lambda: Facility.objects.filter(pk=here.pk).update(parent=there))
            == "devices_facility_parent_same_tenant"
        )
        assert (
            _refused(lambda: Device.objects.filter(pk=device.pk).update(facility=there))
            == "devices_device_facility_same_tenant"
        )
        assert (
            _refused(
                lambda: Device.objects.filter(pk=device.pk).update(device_type=foreign.device_type)
            )
            == "devices_device_type_same_tenant"
        )
        assert (
            _refused(lambda: Load.objects.create(tenant=ours, facility=there, name="Elsewhere"))
            == "devices_load_facility_same_tenant"
        )
        assert (
            _refused(
                lambda: FacilityAccess.objects.create(
                    tenant=ours, membership=member, facility=there
                )
            )
            == "devices_facilityaccess_facility_same_tenant"
        )
        assert (
            _refused(
                lambda: FacilityAccess.objects.create(
                    tenant=theirs, membership=member, facility=there
                )
            )
            == "devices_facilityaccess_membership_same_tenant"
        )
        assert (
            _refused(
                lambda: Allocation.objects.create(
                    tenant=theirs,
                    facility=there,
                    channel=channel,
                    load=load,
                    starts_at=factories.START,
                )
            )
            == "devices_allocation_channel_same_facility"
        )
        assert (
            _refused(
                lambda: Allocation.objects.create(
                    tenant=ours,
                    facility=here,
                    channel=foreign.channels.get(number=0),
                    load=load,
                    starts_at=factories.START,
                )
            )
            == "devices_allocation_channel_same_facility"
        )
        assert (
            _refused(
                lambda: Channel.objects.create(
                    tenant=theirs,
                    device=device,
                    number=9,
                    key="k",
                    name="k",
                    quantity="voltage",
                    unit="V",
                    resolution=1,
                    minimum=0,
                    maximum=1,
                )
            )
            == "devices_channel_device_same_tenant"
        )


def test_allocation_stays_in_the_facility_of_the_load(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        here, next_door = factories.facility(ours), factories.facility(ours)
        channel = factories.device(here).device.channels.get(number=0)
        load = operations.create_load(
            tenant_id=ours.pk, facility_id=next_door.pk, name="Load", actor_id=None
        )
        assert (
            _refused(
                lambda: operations.allocate_channel(
                    channel_id=channel.pk, load_id=load.pk, starts_at=factories.START, actor_id=None
                )
            )
            == "devices_allocation_channel_same_facility"
        )
        assert (
            _refused(
                lambda: Allocation.objects.create(
                    tenant=ours,
                    facility=here,
                    channel=channel,
                    load=load,
                    starts_at=factories.START,
                )
            )
            == "devices_allocation_load_same_facility"
        )


def test_type_channel_belongs_to_the_tenant_of_its_type(ours: Tenant, theirs: Tenant) -> None:
    with open_scope(Scope((ours.pk, theirs.pk))):
        kind = factories.device_type(ours)
        assert (
            _refused(
                lambda: DeviceTypeChannel.objects.filter(device_type=kind).update(tenant=theirs)
            )
            == "devices_devicetypechannel_type_same_tenant"
        )


def test_facility_tree_refuses_a_cycle(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        site = factories.facility(ours)
        area = factories.facility(ours, site)
        assert (
            _refused(lambda: Facility.objects.filter(pk=site.pk).update(parent=area))
            == "devices_facility_no_cycle"
        )


def test_facility_name_is_unique_beside_its_siblings(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        site = factories.facility(ours)
        assert (
            _refused(lambda: Facility.objects.create(tenant=ours, name=site.name, time_zone="UTC"))
            == "devices_facility_name_unique"
        )
        Facility.objects.create(tenant=ours, parent=site, name=site.name, time_zone="UTC")


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"country": "de"}, "devices_facility_country_code"),
        ({"latitude": 91, "longitude": 0}, "devices_facility_on_earth"),
        ({"latitude": None, "longitude": 0}, "devices_facility_on_earth"),
        ({"kind": "castle"}, "devices_facility_kind_known"),
        ({"time_zone": ""}, "devices_facility_named"),
    ],
)
def test_facility_refuses(ours: Tenant, values: dict[str, Any], constraint: str) -> None:
    with open_scope(Scope((ours.pk,))):
        site = factories.facility(ours)
        assert _refused(lambda: Facility.objects.filter(pk=site.pk).update(**values)) == constraint


def test_serial_is_unique_over_all_tenants(ours: Tenant, theirs: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        taken = factories.device(factories.facility(ours)).device.serial
    with open_scope(Scope((theirs.pk,))):
        other = factories.device(factories.facility(theirs)).device
        assert (
            _refused(lambda: Device.objects.filter(pk=other.pk).update(serial=taken))
            == "devices_device_serial_unique"
        )


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"serial": "with space"}, "devices_device_serial_form"),
        ({"serial": ""}, "devices_device_serial_form"),
        ({"state": "asleep"}, "devices_device_state_known"),
        ({"placement": "roof"}, "devices_device_placement_known"),
        ({"secret_sha256": b"short"}, "devices_device_secret_length"),
        ({"certificate_sha256": b"short"}, "devices_device_certificate_length"),
    ],
)
def test_device_refuses(ours: Tenant, values: dict[str, Any], constraint: str) -> None:
    with open_scope(Scope((ours.pk,))):
        device = factories.device(factories.facility(ours)).device
        assert _refused(lambda: Device.objects.filter(pk=device.pk).update(**values)) == constraint


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"step_ms": 0}, "devices_devicetype_step_range"),
        ({"samples": 3601}, "devices_devicetype_samples_range"),
        ({"code": "with space"}, "devices_devicetype_code_form"),
    ],
)
def test_device_type_refuses(ours: Tenant, values: dict[str, Any], constraint: str) -> None:
    with open_scope(Scope((ours.pk,))):
        kind = factories.device_type(ours)
        assert (
            _refused(lambda: DeviceType.objects.filter(pk=kind.pk).update(**values)) == constraint
        )


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        # Nothing fits a resolution of zero; of two violated constraints the first by name is told.
        ({"resolution": 0}, "maximum_fits"),
        ({"minimum": 5, "maximum": 5}, "limits_ordered"),
        ({"number": 256}, "number_range"),
        ({"quantity": "happiness"}, "quantity_known"),
        ({"key": "Not a code"}, "key_form"),
        # 10^12 W in nanowatts needs 70 bits.
        ({"resolution": Decimal("1e-9"), "maximum": 10**12}, "maximum_fits"),
        ({"resolution": Decimal("1e-9"), "minimum": -(10**12)}, "minimum_fits"),
    ],
)
def test_type_channel_refuses(ours: Tenant, values: dict[str, Any], constraint: str) -> None:
    with open_scope(Scope((ours.pk,))):
        kind = factories.device_type(ours)
        rows = DeviceTypeChannel.objects.filter(device_type=kind, number=0)
        found = _refused(lambda: rows.update(**values))
        assert found == f"devices_devicetypechannel_{constraint}"


@pytest.mark.parametrize(
    "values",
    [
        {"resolution": Decimal("0.2")},
        {"unit": "kW"},
        {"quantity": "voltage"},
        {"number": 7},
        {"minimum": -1},
        {"maximum": 1},
    ],
)
def test_scaling_of_a_channel_is_final(ours: Tenant, values: dict[str, Any]) -> None:
    with open_scope(Scope((ours.pk,))):
        channel = factories.device(factories.facility(ours)).device.channels.get(number=0)
        rows = Channel.objects.filter(pk=channel.pk)
        assert _refused(lambda: rows.update(**values)) == "devices_channel_scaling_final"
        assert rows.update(name="Another name", in_total=False) == 1


def _reported(device: Device) -> None:
    """The writer has taken one message of the device."""
    with connections["ingest"].cursor() as cursor:
        cursor.execute("UPDATE device_cursor SET committed = 1 WHERE device_id = %s", [device.pk])


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_what_has_reported_stays_where_and_what_it_is() -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        here, there = factories.facility(tenant), factories.facility(tenant)
        device = factories.device(here).device
        rows, channel = Device.objects.filter(pk=device.pk), Channel.objects.filter(device=device)
        assert rows.update(facility=there) == 1  # nothing has been measured yet
        assert rows.update(facility=here) == 1
        assert channel.filter(number=1).delete()[0] == 1
    _reported(device)
    with open_scope(Scope((tenant.pk,))):
        assert _refused(lambda: rows.update(facility=there)) == "devices_device_place_final"
        assert _refused(channel.delete) == "devices_channel_kept"
        assert rows.update(name="Another name", state="revoked", facility=here) == 1
        assert _refused(lambda: rows.update(state="active")) == "devices_device_revoked_final"


def test_facility_that_narrows_a_membership_cannot_be_deleted(ours: Tenant) -> None:
    """Without its last facility the membership would reach every other one of the tenant."""
    with open_scope(Scope((ours.pk,))):
        technician = factories.member(ours, Role.TECHNICIAN)
        site = factories.facility(ours)
        operations.grant_facility(membership_id=technician.pk, facility_id=site.pk, actor_id=None)
        with pytest.raises(ProtectedError):
            site.delete()


def test_device_with_an_allocation_stays_in_its_facility(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        branch = factories.branch(ours, factories.device_type(ours))
        rows = Device.objects.filter(pk=branch.device.pk)
        elsewhere = factories.facility(ours)
        assert _refused(lambda: rows.update(facility=elsewhere)) == "devices_device_place_final"


def test_channel_measures_one_load_at_a_time(ours: Tenant) -> None:
    day = timedelta(days=1)
    with open_scope(Scope((ours.pk,))):
        at = factories.facility(ours)
        channel = factories.device(at).device.channels.get(number=0)
        load = operations.create_load(
            tenant_id=ours.pk, facility_id=at.pk, name="Load", actor_id=None
        )

        def allocate(start: int, end: int | None) -> Allocation:
            return operations.allocate_channel(
                channel_id=channel.pk,
                load_id=load.pk,
                starts_at=factories.START + start * day,
                ends_at=None if end is None else factories.START + end * day,
                actor_id=None,
            )

        allocate(0, 2)
        allocate(2, 3)  # the end is no part of a period
        allocate(5, None)
        for start, end in ((1, 4), (-1, None), (6, 7), (4, 6)):
            assert _refused(partial(allocate, start, end)) == "devices_allocation_no_overlap"
        allocate(3, 5)
        assert _refused(lambda: allocate(-1, -1)) == "devices_allocation_period_ordered"


def test_cursor_and_link_belong_to_the_tenant_of_the_device(ours: Tenant, theirs: Tenant) -> None:
    with open_scope(Scope((ours.pk, theirs.pk))):
        device = factories.device(factories.facility(ours)).device
        for table in ("device_cursor", "device_link"):

            def insert(table: str = table) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(
                        f"INSERT INTO {table} (device_id, tenant_id) VALUES (%s, %s)",
                        [device.pk + 1_000_000, theirs.pk],
                    )

            assert _refused(insert) == f"{table}_device_same_tenant"


def test_limits_must_fit_with_a_message(ours: Tenant) -> None:
    spec = replace(factories.CHANNELS[0], resolution=Decimal(0))
    with open_scope(Scope((ours.pk,))), pytest.raises(ValidationError) as caught:
        operations.create_device_type(
            tenant_id=ours.pk, code="broken", name="Broken", channels=[spec], actor_id=None
        )
    assert "resolution" in str(caught.value)
