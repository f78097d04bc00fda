"""Facilities: forms, areas, what others changed meanwhile."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from devices.domain import operations, registry_operations
from devices.models import (
    Facility,
    FacilityKind,
)
from devices.tests import factories
from portal.tests.registry_world import Place, edit_form, new_place, ours, text_of, theirs
from tenants.models import AuditEntry
from tenants.permissions import Role
from tenants.scope import open_scope
from tenants.tests.factories import operator

__all__ = ["ours", "theirs"]

pytestmark = pytest.mark.django_db


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
    above, below = new_place(top), new_place(factories.tenant(top))
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
    assert "limited to certain facilities" in text_of(answer)


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
    assert ours.facility.name not in text_of(page)
    assert "outside of your access" in text_of(page)
    # A browser sends no field that is disabled.
    form = {**edit_form(client, address), "name": "Workshop"}
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
    form = {**edit_form(client, address), "parent": {"nowhere": "", "beside": str(yard.pk)}[to]}
    answer = client.post(address, form)
    with open_scope(ours.scope):
        area.refresh_from_db()
    if to == "beside":
        assert (answer.status_code, area.parent_id) == (302, yard.pk)
    else:
        assert "stays where it is" in str(answer.context["form"].errors["parent"])
        assert (answer.status_code, area.parent_id) == (422, ours.facility.pk)


def test_a_facility_does_not_lie_in_itself(ours: Place) -> None:
    with open_scope(ours.scope):
        area = factories.facility(ours.tenant, ours.facility)
    address = reverse("facility-edit", args=[ours.facility.pk])
    for inside in (ours.facility, area):
        form = {**edit_form(ours.client, address), "parent": str(inside.pk)}
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
    slow, quick = edit_form(ours.client, address), edit_form(ours.client, address)
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
    again = re.search(r'name="based_on" value="([^"]+)"', text_of(answer))
    assert again is not None
    form = {**slow, "city": "Köln", "based_on": again[1]}
    assert ours.client.post(address, form).status_code == 302
    with open_scope(ours.scope):
        assert Facility.objects.get(pk=ours.facility.pk).city == "Köln"


def test_a_form_with_a_forged_base_is_refused(ours: Place) -> None:
    address = reverse("facility-edit", args=[ours.facility.pk])
    answer = ours.client.post(address, {**edit_form(ours.client, address), "based_on": "x"})
    assert answer.status_code == 422


def test_saving_what_has_not_changed_leaves_no_audit_row(ours: Place) -> None:
    address = reverse("facility-edit", args=[ours.facility.pk])
    assert ours.client.post(address, edit_form(ours.client, address)).status_code == 302
    with open_scope(ours.scope):
        assert not AuditEntry.objects.filter(action="facility.change").exists()
