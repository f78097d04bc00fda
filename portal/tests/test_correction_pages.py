"""The pages of corrections: what a person sees, previews, makes and withdraws."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from devices.models import Correction
from devices.tests import factories
from devices.tests.factories import START, Park
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def park(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Park]:
    """A park with an hour of steady power, committed once."""
    with django_db_blocker.unblock():
        made = factories.park()
        device = made.branches[0].device
        for minute in range(60):
            at = START + timedelta(minutes=minute)
            factories.store_frame(device, minute + 10, at, [[6000] * 30, [23000] * 30])
        yield made
        factories.remove_everything()


@pytest.fixture
def client(park: Park) -> Client:
    """The manager in a browser."""
    signed_in = Client()
    signed_in.force_login(park.manager)
    return signed_in


def _form(park: Park, **values: str) -> dict[str, str]:
    # On the clock of Berlin: 13:00 is 12:00 UTC.
    return {
        "channel": str(park.branches[0].channel.pk),
        "kind": "scale",
        "starts_at": "2026-03-01T13:00",
        "ends_at": "2026-03-01T14:00",
        "factor": "1.5",
        "holds": "on",
        "reason": "The ratio was wrong.",
        **values,
    }


def _address(park: Park) -> str:
    return reverse("correction-create", args=[park.branches[0].device.pk])


def _made(park: Park) -> list[Correction]:
    """Those that were not there from the beginning."""
    with open_scope(park.scope):
        return list(Correction.objects.filter(starts_at__gte=START - timedelta(hours=5)))


def test_a_correction_is_previewed_then_made_then_withdrawn(park: Park, client: Client) -> None:
    seen = client.post(_address(park), _form(park, step="preview"))
    assert seen.status_code == 200
    preview = seen.context["preview"]
    assert (preview["before"], preview["after"]) == ("600\xa0Wh", "900\xa0Wh")
    assert preview["difference"] == "+300\xa0Wh"
    assert preview["changed"] == "1,800"
    assert len(preview["days"]) == 1
    assert _made(park) == []
    shown = seen.context["form"]["shown"].value()
    made = client.post(_address(park), _form(park, step="make", shown=shown))
    listing = reverse("correction-list", args=[park.branches[0].device.pk])
    assert (made.status_code, made["Location"]) == (302, listing)
    (row,) = _made(park)
    page = client.get(listing)
    assert "× 1.5" in page.content.decode()
    assert "The ratio was wrong." in page.content.decode()
    assert len(page.context["corrections"]) == 3
    address = reverse("correction-withdraw", args=[row.pk])
    before = client.get(address).context["preview"]
    assert (before["before"], before["after"]) == ("900\xa0Wh", "600\xa0Wh")
    assert client.post(address, {"reason": " "}).status_code == 422
    gone = client.post(address, {"reason": "It was right."})
    assert (gone.status_code, gone["Location"]) == (302, listing)
    assert "It was right." in client.get(listing).content.decode()
    # A second time there is nothing to withdraw.
    assert client.get(address)["Location"] == listing


def test_what_was_not_previewed_is_not_made(park: Park, client: Client) -> None:
    seen = client.post(_address(park), _form(park, step="preview"))
    shown = seen.context["form"]["shown"].value()
    other = client.post(_address(park), _form(park, step="make", shown=shown, factor="2"))
    assert other.status_code == 200
    assert other.context["changed"]
    assert other.context["preview"]["after"] == "1.20\xa0kWh"
    without = client.post(_address(park), _form(park, step="make"))
    assert without.status_code == 200
    assert _made(park) == []


def test_given_readings_are_read_line_by_line(park: Park, client: Client) -> None:
    lines = "2026-03-01 13:00; 100\n\n2026-03-01T13:30\t50,5\n"
    seen = client.post(_address(park), _form(park, kind="replace", readings=lines, step="preview"))
    assert seen.status_code == 200
    assert seen.context["preview"]["readings_after"] == "60"
    assert seen.context["preview"]["after"] == "75\xa0Wh"


def test_an_hour_that_comes_twice_is_told_apart_by_the_order_of_lines(
    park: Park, client: Client
) -> None:
    lines = "2025-10-26 02:30; 1\n2025-10-26 02:30; 2"
    seen = client.post(
        _address(park),
        _form(
            park,
            kind="replace",
            starts_at="2025-10-26T00:00",
            ends_at="2025-10-26T05:00",
            readings=lines,
            holds="",
            step="preview",
        ),
    )
    assert seen.context["preview"]["readings_after"] == "2"


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"channel": "0"}, "channel", "no such channel"),
        ({"kind": "other"}, "kind", "not one of"),
        ({"starts_at": "soon"}, "starts_at", "Write a date"),
        ({"ends_at": "2026-03-01T13:00"}, "ends_at", "after the beginning"),
        ({"factor": "1"}, "factor", "other than 1"),
        ({"factor": "x"}, "factor", "number"),
        ({"reason": ""}, "reason", "required"),
        ({"kind": "shift"}, "minutes", "Give the time"),
        ({"kind": "replace"}, "readings", "Give the readings"),
        ({"kind": "replace", "readings": "2026-03-01; 5"}, "readings", "Line 1 is no reading"),
        ({"kind": "replace", "readings": "2026-02-30 13:00; 5"}, "readings", "Line 1 is no"),
        ({"kind": "replace", "readings": "2026-03-29 02:30; 5"}, "readings", "put forward"),
        ({"kind": "replace", "readings": "2026-03-01 15:00; 5"}, "readings", "outside"),
    ],
)
def test_what_cannot_be_done_is_told_at_its_field(
    park: Park, client: Client, values: dict[str, str], field: str, text: str
) -> None:
    refused = client.post(_address(park), _form(park, step="preview", **values))
    assert refused.status_code == 422
    errors = refused.context["form"].errors
    assert list(errors) == [field]
    assert text in errors[field][0]
    assert "preview" not in refused.context


def test_a_list_takes_as_many_queries_for_three_as_for_one(
    park: Park, client: Client, django_assert_max_num_queries: Any
) -> None:
    device = park.branches[1].device
    listing = reverse("correction-list", args=[device.pk])
    client.get(listing)
    with django_assert_max_num_queries(60) as before:
        client.get(listing)
    with open_scope(park.scope):
        for days in (6, 8, 10):
            factories.correction(device, days=days)
    with django_assert_max_num_queries(60) as after:
        assert len(client.get(listing).context["corrections"]) == 5
    assert len(after) == len(before)
