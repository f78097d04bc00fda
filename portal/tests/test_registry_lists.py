"""Lists of the registry: filters, files, cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import operations
from devices.models import (
    Device,
    DeviceState,
    Facility,
)
from devices.tests import factories
from portal.tests.registry_world import Place, ours, text_of, theirs
from tenants.scope import open_scope

__all__ = ["ours", "theirs"]

pytestmark = pytest.mark.django_db


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
    html = text_of(ours.client.get(reverse("device-list")))
    assert '<span class="wl-tag" data-tone="good">Active</span>' in html
