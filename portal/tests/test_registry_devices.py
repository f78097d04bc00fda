"""Devices: registering, moving, states."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from devices.domain import operations, registry_operations
from devices.models import (
    Device,
    DeviceState,
    Placement,
)
from devices.tests import factories
from portal.tests.registry_world import Place, edit_form, new_place, ours, report, text_of, theirs
from tenants.models import AuditEntry, TenantKind
from tenants.scope import open_scope
from tenants.tests.factories import operator

__all__ = ["ours", "theirs"]

pytestmark = pytest.mark.django_db


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
    assert secret in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    assert secret not in text_of(ours.client.get(reverse("device-edit", args=[made.pk])))


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
    assert theirs.device.name not in text_of(answer)


def test_facility_and_type_of_two_tenants_do_not_go_together() -> None:
    """Somebody who sees several tenants is told at the field."""
    above = new_place(operator())
    below = new_place(factories.tenant(above.tenant, TenantKind.RESELLER))
    form = _device_form(above, device_type=str(below.device.device_type_id))
    answer = above.client.post(reverse("device-create"), form)
    assert "another organisation" in str(answer.context["form"].errors["device_type"])
    address = reverse("device-edit", args=[above.device.pk])
    form = {**edit_form(above.client, address), "facility": str(below.facility.pk)}
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
    answer = ours.client.post(address, {**edit_form(ours.client, address), **changes})
    assert answer.status_code == 302
    with open_scope(ours.scope):
        device = Device.objects.get(pk=ours.device.pk)
        assert (device.facility_id, device.serial) == (other.pk, "CHANGED-1")
        assert [channel.key for channel in device.channels.all()] == ["active_power"]


def test_a_device_whose_channels_are_allocated_keeps_its_facility(ours: Place) -> None:
    with open_scope(ours.scope):
        report(ours.device)
        other = factories.facility(ours.tenant)
    address = reverse("device-edit", args=[ours.device.pk])
    answer = ours.client.post(
        address, {**edit_form(ours.client, address), "facility": str(other.pk)}
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
    assert reverse("device-anew", args=[ours.device.pk]) in text_of(page)
    changes = {"facility": str(other.pk), "device_type": str(kind.pk), "serial": "CHANGED-1"}
    # The form does not take them at all; the name is changed all the same.
    form = {**edit_form(ours.client, address), **changes, "name": "Renamed"}
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
    answer = ours.client.post(address, {**edit_form(ours.client, address), "name": "x"})
    assert "revoked" in str(answer.context["form"].non_field_errors())


def test_a_device_is_registered_anew_and_the_former_revoked(ours: Place) -> None:
    address = reverse("device-anew", args=[ours.device.pk])
    form = edit_form(ours.client, address)
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
