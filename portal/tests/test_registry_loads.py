"""Loads and what measures them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from devices.domain import operations, registry_allocations, registry_operations
from devices.domain.registry_versions import ChangedMeanwhile, values_of
from devices.models import (
    Allocation,
    DeviceType,
    Load,
    LoadCategory,
    Placement,
)
from devices.tests import factories
from devices.tests.meeting import Change, meet
from portal.enterprise.registry.texts import since
from portal.tests.registry_world import Place, edit_form, new_place, ours, text_of, theirs
from tenants.models import AuditEntry
from tenants.scope import Scope, open_scope

__all__ = ["ours", "theirs"]

pytestmark = pytest.mark.django_db


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
    html = text_of(ours.client.get(reverse("load-list", args=[ours.facility.pk])))
    assert "12:00" in html


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
@pytest.mark.parametrize(
    ("first", "refusal"), [("allocate", ValidationError), ("remove", Load.DoesNotExist)]
)
def test_a_load_is_measured_or_removed_never_both(first: str, refusal: type[Exception]) -> None:
    place = new_place()
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
    form = edit_form(ours.client, address)
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
    html = text_of(ours.client.get(reverse("device-type", args=[kind.pk])))
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
