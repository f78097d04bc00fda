"""Facilities, devices and loads: lists and forms."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import operations, registry_allocations, registry_operations
from devices.domain.registry_versions import ChangedMeanwhile, values_of
from devices.models import (
    Allocation,
    Device,
    DeviceState,
    DeviceType,
    Facility,
    FacilityKind,
    Load,
    LoadCategory,
    Placement,
)
from devices.tests import factories
from devices.tests.meeting import Change, meet
from portal.enterprise.registry.texts import since
from tenants.models import AuditEntry, Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import operator

pytestmark = pytest.mark.django_db


@dataclass
class Place:
    """A tenant with a facility and a device, and somebody who keeps them."""

    tenant: Tenant
    facility: Facility
    device: Device
    user: User

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    @property
    def client(self) -> Client:
        """Signed in."""
        client = Client()
        client.force_login(self.user)
        return client


def _place(tenant: Tenant | None = None, role: Role = Role.ADMIN) -> Place:
    of = tenant or factories.tenant()
    with open_scope(Scope((of.pk,))):
        at = factories.facility(of)
        return Place(of, at, factories.device(at).device, factories.member(of, role).user)


@pytest.fixture
def ours() -> Place:
    return _place()


@pytest.fixture
def theirs() -> Place:
    return _place()


def _report(device: Device) -> None:
    """As if the device had sent a message: an allocation has the same effect and needs no other
    connection."""
    load = operations.create_load(
        tenant_id=device.tenant_id,
        facility_id=device.facility_id,
        name="Oven",
        actor_id=None,
    )
    operations.allocate_channel(
        channel_id=device.channels.get(number=0).pk,
        load_id=load.pk,
        starts_at=factories.START,
        actor_id=None,
    )


def _text(response: Any) -> str:
    return str(response.content.decode())


# --- lists --------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("facility-list", lambda place: factories.facility(place.tenant)),
        ("device-list", lambda place: factories.device(place.facility)),
        ("device-type-list", lambda place: factories.device_type(place.tenant)),
        ("import-list", lambda place: factories.import_run(place.tenant)),
        ("code-list", lambda place: factories.withdrawn_code(place.device)),
    ],
)
def test_list_costs_the_same_at_one_and_three_rows(
    ours: Place, name: str, more: Callable[[Place], object]
) -> None:
    client, costs = ours.client, []
    for rows in (1, 2):
        with open_scope(ours.scope):
            for _ in range(rows):
                more(ours)
        client.get(reverse(name))
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse(name)).status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_loads_cost_the_same_at_one_and_three_rows(ours: Place) -> None:
    client, costs = ours.client, []
    for n in (1, 2):
        with open_scope(ours.scope):
            for m in range(n):
                operations.create_load(
                    tenant_id=ours.tenant.pk,
                    facility_id=ours.facility.pk,
                    name=f"Load {n} {m}",
                    actor_id=None,
                )
        address = reverse("load-list", args=[ours.facility.pk])
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        costs.append(len(queries))
    assert costs[0] == costs[1]


def _exported(client: Client, name: str, **query: str) -> list[dict[str, str]]:
    answer = client.get(reverse(name), {"export": "csv", **query})
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))


def test_devices_are_filtered_by_their_link(ours: Place) -> None:
    with open_scope(ours.scope):
        planned = factories.device(ours.facility, state=DeviceState.PLANNED).device
    serials = {
        link: {row["Serial"] for row in _exported(ours.client, "device-list", link=link)}
        for link in ("online", "offline", "never")
    }
    assert serials == {"online": set(), "offline": set(), "never": {ours.device.serial}}
    found = _exported(ours.client, "device-list", state="planned")
    assert [row["Serial"] for row in found] == [planned.serial]


def test_devices_are_found_by_serial_and_facility(ours: Place) -> None:
    with open_scope(ours.scope):
        other = factories.device(factories.facility(ours.tenant)).device
    found = _exported(ours.client, "device-list", q=other.serial)
    assert [row["Serial"] for row in found] == [other.serial]
    found = _exported(ours.client, "device-list", facility=str(ours.facility.pk))
    assert [row["Serial"] for row in found] == [ours.device.serial]


def test_facilities_count_active_devices_alone(ours: Place) -> None:
    with open_scope(ours.scope):
        factories.device(ours.facility, state=DeviceState.PLANNED)
    (row,) = _exported(ours.client, "facility-list")
    assert (row["Devices"], row["Online"]) == ("1", "0")


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_names_are_no_formulas_in_exports(ours: Place, evil: str) -> None:
    with open_scope(ours.scope):
        Device.objects.filter(pk=ours.device.pk).update(name=evil)
        Facility.objects.filter(pk=ours.facility.pk).update(name=evil, street=evil)
    (device,) = _exported(ours.client, "device-list")
    (facility,) = _exported(ours.client, "facility-list")
    assert (device["Name"], device["Facility"]) == (f"'{evil}", f"'{evil}")
    assert (facility["Name"], facility["Place"][0]) == (f"'{evil}", "'")


def test_lists_show_badges_in_their_tones(ours: Place) -> None:
    html = _text(ours.client.get(reverse("device-list")))
    assert '<span class="wl-tag" data-tone="good">Active</span>' in html


# --- facilities ---------------------------------------------------


def _facility_form(**changes: str) -> dict[str, str]:
    return {
        "name": "Market 14",
        "kind": "shop",
        "time_zone": "Europe/Berlin",
        "city": "Heidelberg",
        "country": "de",
        "latitude": "49.4094",
        "longitude": "8.6944",
        **changes,
    }


def test_a_facility_is_created_in_the_tenant_that_is_worked_in(ours: Place) -> None:
    answer = ours.client.post(reverse("facility-create"), _facility_form())
    with open_scope(ours.scope):
        made = Facility.objects.get(name="Market 14")
        entry = AuditEntry.objects.get(action="facility.create", subject_id=made.pk)
    assert answer["Location"] == reverse("facility", args=[made.pk])
    assert (made.tenant_id, made.country, str(made.latitude)) == (
        ours.tenant.pk,
        "DE",
        "49.409400",
    )
    assert entry.actor_id == ours.user.pk


def test_an_area_belongs_to_the_tenant_of_the_facility_around_it() -> None:
    """Whoever works in the tenant above creates it all the same."""
    top = operator()
    above, below = _place(top), _place(factories.tenant(top))
    form = _facility_form(name="Kitchen", parent=str(below.facility.pk))
    assert above.client.post(reverse("facility-create"), form).status_code == 302
    with open_scope(below.scope):
        assert Facility.objects.get(name="Kitchen").parent_id == below.facility.pk


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"name": ""}, "name", "required"),
        ({"time_zone": "Berlin"}, "time_zone", "valid choice"),
        ({"country": "D"}, "country", "two capital letters"),
        ({"latitude": ""}, "latitude", "both latitude and longitude"),
        ({"latitude": "100"}, "latitude", "less than or equal to 90"),
        ({"parent": "theirs"}, "parent", "no such facility in your organisation"),
    ],
)
def test_a_bad_facility_is_refused_at_its_field(
    ours: Place, theirs: Place, changes: dict[str, str], field: str, sentence: str
) -> None:
    if changes.get("parent"):
        changes = {"parent": str(theirs.facility.pk)}
    answer = ours.client.post(reverse("facility-create"), _facility_form(**changes))
    assert answer.status_code == 422
    assert sentence in str(answer.context["form"].errors[field])


def test_a_name_that_is_taken_is_told_at_the_name(ours: Place) -> None:
    answer = ours.client.post(reverse("facility-create"), _facility_form(name=ours.facility.name))
    assert "another facility of this name" in str(answer.context["form"].errors["name"])


def test_somebody_who_is_narrowed_creates_no_facility(ours: Place) -> None:
    client = _granted(ours, ours.facility)
    answer = client.post(reverse("facility-create"), _facility_form())
    assert answer.status_code == 422
    assert "limited to certain facilities" in _text(answer)


def _granted(place: Place, facility: Facility) -> Client:
    """A manager who reaches this facility alone, signed in."""
    with open_scope(place.scope):
        member = factories.member(place.tenant, Role.MANAGER)
        operations.grant_facility(membership_id=member.pk, facility_id=facility.pk, actor_id=None)
    client = Client()
    client.force_login(member.user)
    return client


def test_an_area_stays_in_its_facility_when_somebody_edits_it_who_sees_the_area_alone(
    ours: Place,
) -> None:
    with open_scope(ours.scope):
        area = factories.facility(ours.tenant, ours.facility)
    client, address = _granted(ours, area), reverse("facility-edit", args=[area.pk])
    page = client.get(address)
    assert ours.facility.name not in _text(page)
    assert "outside of your access" in _text(page)
    # A browser sends no field that is disabled.
    form = {**_edit_form(client, address), "name": "Workshop"}
    del form["parent"]
    assert client.post(address, form).status_code == 302
    with open_scope(ours.scope):
        area.refresh_from_db()
    assert (area.name, area.parent_id) == ("Workshop", ours.facility.pk)


@pytest.mark.parametrize("to", ["nowhere", "beside"])
def test_somebody_who_is_narrowed_moves_a_facility_within_the_own_ones_alone(
    ours: Place, to: str
) -> None:
    """An area taken out of its site would be lost to everybody who was granted the site."""
    with open_scope(ours.scope):
        area = factories.facility(ours.tenant, ours.facility)
        yard = factories.facility(ours.tenant, ours.facility)
    client, address = _granted(ours, ours.facility), reverse("facility-edit", args=[area.pk])
    form = {**_edit_form(client, address), "parent": {"nowhere": "", "beside": str(yard.pk)}[to]}
    answer = client.post(address, form)
    with open_scope(ours.scope):
        area.refresh_from_db()
    if to == "beside":
        assert (answer.status_code, area.parent_id) == (302, yard.pk)
    else:
        assert "stays where it is" in str(answer.context["form"].errors["parent"])
        assert (answer.status_code, area.parent_id) == (422, ours.facility.pk)


def _edit_form(client: Client, address: str) -> dict[str, str]:
    """The fields of a form as a browser would send them."""
    form = client.get(address).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else str(value) for name, value in values.items()}


def test_a_facility_does_not_lie_in_itself(ours: Place) -> None:
    with open_scope(ours.scope):
        area = factories.facility(ours.tenant, ours.facility)
    address = reverse("facility-edit", args=[ours.facility.pk])
    for inside in (ours.facility, area):
        form = {**_edit_form(ours.client, address), "parent": str(inside.pk)}
        answer = ours.client.post(address, form)
        assert "no such facility" in str(answer.context["form"].errors["parent"])
    with open_scope(ours.scope), pytest.raises(ValidationError, match="lies inside"):
        registry_operations.update_facility(
            facility_id=ours.facility.pk,
            values=registry_operations.FacilityValues(
                name="x", kind=FacilityKind.SITE, time_zone="UTC", parent_id=area.pk
            ),
            based_on=None,
            actor_id=None,
        )


def test_an_edit_of_what_has_changed_meanwhile_is_refused_with_the_change(ours: Place) -> None:
    address = reverse("facility-edit", args=[ours.facility.pk])
    slow, quick = _edit_form(ours.client, address), _edit_form(ours.client, address)
    assert ours.client.post(address, {**quick, "city": "Bonn"}).status_code == 302
    answer = ours.client.post(address, {**slow, "city": "Köln"})
    assert answer.status_code == 409
    (change,) = answer.context["changes"]
    assert (change.label, change.before, change.after, change.mine) == (
        "City",
        "–",
        "Bonn",
        "Köln",
    )
    with open_scope(ours.scope):
        assert Facility.objects.get(pk=ours.facility.pk).city == "Bonn"
    # Who has seen the change may overwrite it.
    again = re.search(r'name="based_on" value="([^"]+)"', _text(answer))
    assert again is not None
    form = {**slow, "city": "Köln", "based_on": again[1]}
    assert ours.client.post(address, form).status_code == 302
    with open_scope(ours.scope):
        assert Facility.objects.get(pk=ours.facility.pk).city == "Köln"


def test_a_form_with_a_forged_base_is_refused(ours: Place) -> None:
    address = reverse("facility-edit", args=[ours.facility.pk])
    answer = ours.client.post(address, {**_edit_form(ours.client, address), "based_on": "x"})
    assert answer.status_code == 422


def test_saving_what_has_not_changed_leaves_no_audit_row(ours: Place) -> None:
    address = reverse("facility-edit", args=[ours.facility.pk])
    assert ours.client.post(address, _edit_form(ours.client, address)).status_code == 302
    with open_scope(ours.scope):
        assert not AuditEntry.objects.filter(action="facility.change").exists()


# --- devices ------------------------------------------------------


def _device_form(place: Place, **changes: str) -> dict[str, str]:
    return {
        "serial": "NEW-1",
        "name": "Mains",
        "facility": str(place.facility.pk),
        "device_type": str(place.device.device_type_id),
        "placement": "mains",
        "state": "active",
        **changes,
    }


def test_a_device_is_registered_and_its_secret_shown_once(ours: Place) -> None:
    answer = ours.client.post(reverse("device-create"), _device_form(ours))
    with open_scope(ours.scope):
        made = Device.objects.get(serial="NEW-1")
        assert (made.tenant_id, made.state, made.channels.count()) == (ours.tenant.pk, "active", 2)
    secret = answer.context["secret"]
    assert secret in _text(answer)
    assert "no-store" in answer["Cache-Control"]
    assert secret not in _text(ours.client.get(reverse("device-edit", args=[made.pk])))


@pytest.mark.parametrize("field", ["facility", "device_type"])
def test_ids_of_another_tenant_are_no_choice_for_a_device(
    ours: Place, theirs: Place, field: str
) -> None:
    foreign = {"facility": theirs.facility.pk, "device_type": theirs.device.device_type_id}
    form = _device_form(ours, **{field: str(foreign[field])})
    answer = ours.client.post(reverse("device-create"), form)
    assert answer.status_code == 422
    assert "in your organisation" in str(answer.context["form"].errors[field])


def test_a_serial_that_another_tenant_has_is_refused_without_naming_it(
    ours: Place, theirs: Place
) -> None:
    form = _device_form(ours, serial=theirs.device.serial)
    answer = ours.client.post(reverse("device-create"), form)
    assert "registered already" in str(answer.context["form"].errors["serial"])
    assert theirs.device.name not in _text(answer)


def test_facility_and_type_of_two_tenants_do_not_go_together() -> None:
    """Somebody who sees several tenants is told at the field."""
    above = _place(operator())
    below = _place(factories.tenant(above.tenant, TenantKind.RESELLER))
    form = _device_form(above, device_type=str(below.device.device_type_id))
    answer = above.client.post(reverse("device-create"), form)
    assert "another organisation" in str(answer.context["form"].errors["device_type"])
    address = reverse("device-edit", args=[above.device.pk])
    form = {**_edit_form(above.client, address), "facility": str(below.facility.pk)}
    answer = above.client.post(address, form)
    assert "no such facility" in str(answer.context["form"].errors["facility"])


def test_a_device_that_has_done_nothing_moves_and_changes_its_type(ours: Place) -> None:
    with open_scope(ours.scope):
        other = factories.facility(ours.tenant)
        kind = operations.create_device_type(
            tenant_id=ours.tenant.pk,
            code="one-channel",
            name="One channel",
            channels=factories.CHANNELS[:1],
            actor_id=None,
        )
    address = reverse("device-edit", args=[ours.device.pk])
    changes = {"facility": str(other.pk), "device_type": str(kind.pk), "serial": "CHANGED-1"}
    answer = ours.client.post(address, {**_edit_form(ours.client, address), **changes})
    assert answer.status_code == 302
    with open_scope(ours.scope):
        device = Device.objects.get(pk=ours.device.pk)
        assert (device.facility_id, device.serial) == (other.pk, "CHANGED-1")
        assert [channel.key for channel in device.channels.all()] == ["active_power"]


def test_a_device_whose_channels_are_allocated_keeps_its_facility(ours: Place) -> None:
    with open_scope(ours.scope):
        _report(ours.device)
        other = factories.facility(ours.tenant)
    address = reverse("device-edit", args=[ours.device.pk])
    answer = ours.client.post(
        address, {**_edit_form(ours.client, address), "facility": str(other.pk)}
    )
    assert answer.status_code == 422
    assert "registered anew" in str(answer.context["form"].errors["facility"])


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_facility_type_and_serial_of_a_device_that_has_reported_are_final(ours: Place) -> None:
    factories.telemetry(ours.device)
    with open_scope(ours.scope):
        other, kind = factories.facility(ours.tenant), factories.device_type(ours.tenant)
    address = reverse("device-edit", args=[ours.device.pk])
    page = ours.client.get(address)
    assert reverse("device-anew", args=[ours.device.pk]) in _text(page)
    changes = {"facility": str(other.pk), "device_type": str(kind.pk), "serial": "CHANGED-1"}
    # The form does not take them at all; the name is changed all the same.
    form = {**_edit_form(ours.client, address), **changes, "name": "Renamed"}
    assert ours.client.post(address, form).status_code == 302
    with open_scope(ours.scope):
        device = Device.objects.get(pk=ours.device.pk)
        assert (device.name, device.serial) == ("Renamed", ours.device.serial)
        assert (device.facility_id, device.device_type_id) == (
            ours.facility.pk,
            ours.device.device_type_id,
        )
        values = registry_operations.DeviceValues(
            facility_id=other.pk,
            device_type_id=kind.pk,
            serial="CHANGED-1",
            name="x",
            placement=Placement.MAINS,
        )
        with pytest.raises(ValidationError) as refused:
            registry_operations.update_device(
                device_id=device.pk, values=values, based_on=None, actor_id=None
            )
    assert sorted(refused.value.message_dict) == ["device_type", "facility", "serial"]


def test_a_revoked_device_is_not_changed(ours: Place) -> None:
    with open_scope(ours.scope):
        operations.change_state(device_id=ours.device.pk, state=DeviceState.REVOKED, actor_id=None)
    address = reverse("device-edit", args=[ours.device.pk])
    answer = ours.client.post(address, {**_edit_form(ours.client, address), "name": "x"})
    assert "revoked" in str(answer.context["form"].non_field_errors())


def test_a_device_is_registered_anew_and_the_former_revoked(ours: Place) -> None:
    address = reverse("device-anew", args=[ours.device.pk])
    form = _edit_form(ours.client, address)
    assert form["serial"] == f"{ours.device.serial}-2"
    answer = ours.client.post(address, {**form, "revoke": "on"})
    assert answer.status_code == 200
    assert answer.context["secret"]
    with open_scope(ours.scope):
        former = Device.objects.get(pk=ours.device.pk)
        new = Device.objects.get(serial=form["serial"])
        assert (former.state, new.state) == ("revoked", "active")
        entry = AuditEntry.objects.get(action="device.register_anew")
        assert entry.after == {"successor": new.pk, "serial": new.serial}


def test_devices_change_their_state_each_by_itself(ours: Place, theirs: Place) -> None:
    with open_scope(ours.scope):
        planned = factories.device(ours.facility, state=DeviceState.PLANNED).device
        suspended = factories.device(ours.facility, state=DeviceState.SUSPENDED).device
    ids = [ours.device.pk, planned.pk, suspended.pk, theirs.device.pk]
    answer = ours.client.post(
        reverse("device-states"), {"state": "suspended", "device": [str(pk) for pk in ids]}
    )
    results = {result.device_id: result.refusal for result in answer.context["results"]}
    assert results.keys() == {ours.device.pk, planned.pk, suspended.pk}
    assert results[ours.device.pk] == ""
    assert "planned" in results[planned.pk]
    assert "already" in results[suspended.pk]
    with open_scope(ours.scope):
        assert Device.objects.get(pk=ours.device.pk).state == "suspended"
    with open_scope(theirs.scope):
        assert Device.objects.get(pk=theirs.device.pk).state == "active"


@pytest.mark.parametrize("state", ["revoked", "planned", "", "x"])
def test_the_list_offers_no_other_state(ours: Place, state: str) -> None:
    form = {"state": state, "device": [str(ours.device.pk)]}
    assert ours.client.post(reverse("device-states"), form).status_code == 302
    with open_scope(ours.scope):
        assert Device.objects.get(pk=ours.device.pk).state == "active"


# --- loads --------------------------------------------------------


@pytest.fixture
def load(ours: Place) -> Load:
    with open_scope(ours.scope):
        return operations.create_load(
            tenant_id=ours.tenant.pk,
            facility_id=ours.facility.pk,
            name="Oven",
            category=LoadCategory.COOKING,
            actor_id=None,
        )


def _allocate(place: Place, load: Load, **changes: str) -> Any:
    with open_scope(place.scope):
        channel = place.device.channels.get(number=0)
    form = {"channel": str(channel.pk), "starts_at": "2026-03-01T12:00", **changes}
    return place.client.post(reverse("allocation-create", args=[load.pk]), form)


def test_an_allocation_is_on_the_clock_of_the_facility(ours: Place, load: Load) -> None:
    assert _allocate(ours, load).status_code == 302
    with open_scope(ours.scope):
        made = Allocation.objects.get()
        assert made.starts_at == datetime(2026, 3, 1, 11, tzinfo=UTC)
        assert (made.load_id, made.ends_at) == (load.pk, None)
    html = _text(ours.client.get(reverse("load-list", args=[ours.facility.pk])))
    assert "12:00" in html


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
@pytest.mark.parametrize(
    ("first", "refusal"), [("allocate", ValidationError), ("remove", Load.DoesNotExist)]
)
def test_a_load_is_measured_or_removed_never_both(first: str, refusal: type[Exception]) -> None:
    place = _place()
    with open_scope(place.scope):
        load = operations.create_load(
            tenant_id=place.tenant.pk, facility_id=place.facility.pk, name="Oven", actor_id=None
        )
        channel = place.device.channels.get(number=0)
    changes = {
        "allocate": Change(
            place.scope,
            lambda: registry_allocations.allocate(
                load_id=load.pk,
                channel_id=channel.pk,
                starts_at=factories.START,
                ends_at=None,
                actor_id=None,
            ),
        ),
        "remove": Change(
            place.scope, lambda: registry_allocations.remove_load(load_id=load.pk, actor_id=None)
        ),
    }
    earlier, later = changes.pop(first), changes.popitem()[1]
    assert meet(earlier, later, refusals=(ValidationError, Load.DoesNotExist)) is refusal


def test_an_overlap_is_refused_by_name(ours: Place, load: Load) -> None:
    assert _allocate(ours, load).status_code == 302
    with open_scope(ours.scope):
        other = operations.create_load(
            tenant_id=ours.tenant.pk, facility_id=ours.facility.pk, name="Fridge", actor_id=None
        )
    answer = _allocate(ours, other, starts_at="2026-04-01T00:00")
    error = str(answer.context["form"].errors["channel"])
    assert "“Oven”" in error
    assert "2026" in error
    assert _allocate(ours, other, ends_at="2026-03-01T12:00", starts_at="2026-01-01T00:00")


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"ends_at": "2026-03-01T12:00"}, "ends_at", "after the beginning"),
        ({"starts_at": "2026-03-29T02:30"}, "starts_at", "put forward"),
        ({"starts_at": "soon"}, "starts_at", "Write a date"),
        ({"channel": "1"}, "channel", "no such channel"),
    ],
)
def test_a_bad_allocation_is_refused_at_its_field(
    ours: Place, load: Load, changes: dict[str, str], field: str, sentence: str
) -> None:
    answer = _allocate(ours, load, **changes)
    assert answer.status_code == 422
    assert sentence in str(answer.context["form"].errors[field])


def test_a_channel_of_another_facility_or_tenant_is_no_choice(
    ours: Place, theirs: Place, load: Load
) -> None:
    with open_scope(ours.scope):
        other = factories.device(factories.facility(ours.tenant)).device.channels.get(number=0)
    with open_scope(theirs.scope):
        foreign = theirs.device.channels.get(number=0)
    for channel in (other, foreign):
        answer = _allocate(ours, load, channel=str(channel.pk))
        assert "no such channel" in str(answer.context["form"].errors["channel"])


def test_an_allocation_ends_and_is_removed(ours: Place, load: Load) -> None:
    _allocate(ours, load)
    with open_scope(ours.scope):
        pk = Allocation.objects.get().pk
    end = reverse("allocation-end", args=[pk])
    answer = ours.client.post(end, {"ends_at": "2026-02-01T00:00"})
    assert "after the beginning" in str(answer.context["form"].errors["ends_at"])
    assert ours.client.post(end, {"ends_at": "2026-05-01T00:00"}).status_code == 302
    # A load that was measured is kept until its allocations are gone.
    assert ours.client.post(reverse("load-remove", args=[load.pk])).status_code == 302
    with open_scope(ours.scope):
        assert Load.objects.filter(pk=load.pk).exists()
    assert ours.client.post(reverse("allocation-remove", args=[pk])).status_code == 302
    assert ours.client.post(reverse("load-remove", args=[load.pk])).status_code == 302
    with open_scope(ours.scope):
        assert not Load.objects.filter(pk=load.pk).exists()
        actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"allocation.end", "allocation.remove", "load.remove"} <= actions


def test_a_load_is_renamed_and_a_taken_name_refused(ours: Place, load: Load) -> None:
    address = reverse("load-edit", args=[load.pk])
    form = _edit_form(ours.client, address)
    assert ours.client.post(address, {**form, "name": "Big oven"}).status_code == 302
    assert ours.client.post(address, {**form, "name": "Small oven"}).status_code == 409
    created = ours.client.post(
        reverse("load-create", args=[ours.facility.pk]),
        {"name": "Big oven", "category": "cooking"},
    )
    assert "a load of this name" in str(created.context["form"].errors["name"])


def test_changes_are_told_field_by_field(ours: Place, load: Load) -> None:
    with open_scope(ours.scope):
        base = values_of(load, registry_allocations.LOAD_FIELDS)
        Load.objects.filter(pk=load.pk).update(name="Other", category=LoadCategory.HVAC)
        with pytest.raises(ChangedMeanwhile) as refused:
            registry_allocations.update_load(
                load_id=load.pk,
                name="Mine",
                category=LoadCategory.COOKING,
                based_on=base,
                actor_id=None,
            )
    told = [(change.field, change.before, change.after) for change in refused.value.changes]
    assert told == [("name", "Oven", "Other"), ("category", "cooking", "hvac")]


def test_a_device_type_shows_its_channels(ours: Place) -> None:
    with open_scope(ours.scope):
        kind = DeviceType.objects.get(pk=ours.device.device_type_id)
    html = _text(ours.client.get(reverse("device-type", args=[kind.pk])))
    for channel in factories.CHANNELS:
        assert channel.key in html
    assert kind.code in html


def test_values_of_an_operation_are_checked_without_a_form(ours: Place, theirs: Place) -> None:
    """The database's own refusals come out at the fields too, whoever calls."""
    with open_scope(Scope((ours.tenant.pk, theirs.tenant.pk))):
        values = registry_operations.DeviceValues(
            facility_id=theirs.facility.pk,
            device_type_id=ours.device.device_type_id,
            serial=ours.device.serial,
            name="x",
            placement=Placement.MAINS,
        )
        with pytest.raises(ValidationError, match="another organisation") as refused:
            registry_operations.update_device(
                device_id=ours.device.pk, values=values, based_on=None, actor_id=None
            )
    assert list(refused.value.message_dict) == ["facility"]


def test_age_of_a_link_is_told_in_its_unit() -> None:
    told = [
        since(timedelta(seconds=30)),
        since(timedelta(minutes=1)),
        since(timedelta(hours=5)),
        since(timedelta(days=3)),
    ]
    assert told == ["just now", "1 minute ago", "5 hours ago", "3 days ago"]
