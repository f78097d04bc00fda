"""Corrections over the REST API: made, previewed, listed, withdrawn; and what is refused."""

from __future__ import annotations

import json
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

HOUR = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T14:00:00+01:00"}


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


def _post(client: Client, name: str, pk: int, body: object) -> Any:
    return client.post(
        reverse(f"api:{name}", args=[pk]), json.dumps(body), content_type="application/json"
    )


def test_a_correction_is_made_read_and_withdrawn(park: Park, client: Client) -> None:
    channel = park.branches[0].channel
    body = {"kind": "scale", **HOUR, "factor": "1.5", "reason": "The ratio was wrong."}
    made = _post(client, "correction-list", channel.pk, body)
    assert made.status_code == 201
    found = made.json()
    number, known_at = found.pop("id"), found.pop("known_at")
    assert known_at.endswith("Z")
    assert found == {
        "channel": channel.pk,
        "device": channel.device_id,
        "kind": "scale",
        "start": "2026-03-01T12:00:00Z",
        "end": "2026-03-01T13:00:00Z",
        "factor": "1.5000000000",
        "offset": "0.0000000000",
        "shift_s": None,
        "reading_count": None,
        "reason": "The ratio was wrong.",
        "author": park.manager.get_full_name(),
        "withdrawal": None,
    }
    history = client.get(
        reverse("api:channel-series", args=[channel.pk]),
        {"start": "2026-03-01T12:10:00Z", "end": "2026-03-01T12:20:00Z", "resolution": "raw"},
    ).json()
    assert set(history["raw"]["value"]) == {900.0}
    gone = _post(client, "correction-withdraw", number, {"reason": "It was right."})
    assert gone.status_code == 201
    assert gone.json()["withdrawal"]["reason"] == "It was right."
    again = _post(client, "correction-withdraw", number, {"reason": "It was right."})
    assert again.status_code == 400
    assert "withdrawn already" in again.json()["errors"][0]["detail"]
    alone = client.get(reverse("api:correction", args=[number])).json()
    assert alone == gone.json()
    listed = client.get(reverse("api:correction-list", args=[channel.pk])).json()
    assert listed["results"][-1] == alone
    assert len(listed["results"]) == 3


def test_a_preview_tells_days_and_writes_nothing(park: Park, client: Client) -> None:
    channel = park.branches[0].channel
    body = {"kind": "scale", **HOUR, "factor": 0.5}
    with open_scope(park.scope):
        before = Correction.objects.count()
    found = _post(client, "correction-preview", channel.pk, body).json()
    assert found["unit"] == "Wh"
    assert (found["readings_before"], found["readings_after"]) == (1800, 1800)
    assert found["changed"] == 1800
    assert found["value_before"] == pytest.approx(600, rel=1e-3)
    assert found["value_after"] == pytest.approx(300, rel=1e-3)
    assert len(found["days"]) == 1
    assert found["cut"] is False
    with open_scope(park.scope):
        assert Correction.objects.count() == before


def test_readings_and_shifts_are_taken(park: Park, client: Client) -> None:
    channel = park.branches[0].channel
    given = [
        {"time": "2026-03-01T12:00:00Z", "value": "100"},
        {"time": "2026-03-01T12:30:00Z", "value": 50},
    ]
    replaced = _post(
        client,
        "correction-list",
        channel.pk,
        {"kind": "replace", **HOUR, "readings": given, "reason": "Read by hand."},
    )
    assert replaced.status_code == 201
    assert replaced.json()["reading_count"] == 60
    shifted = _post(
        client,
        "correction-list",
        channel.pk,
        {"kind": "shift", **HOUR, "shift_s": "-3600.5", "reason": "The clock was wrong."},
    )
    assert shifted.json()["shift_s"] == -3600.5


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ([], ""),
        ({}, "kind"),
        ({"kind": "improve", **HOUR}, "kind"),
        ({"kind": "remove", **HOUR, "end": "2026-03-01T12:00:00Z"}, "end"),
        ({"kind": "remove", **HOUR, "end": "2099-03-01T12:00:00Z"}, "end"),
        ({"kind": "scale", **HOUR}, "factor"),
        ({"kind": "scale", **HOUR, "factor": "many"}, "factor"),
        ({"kind": "shift", **HOUR}, "shift_s"),
        ({"kind": "replace", **HOUR}, "readings"),
        ({"kind": "replace", **HOUR, "readings": 5}, "readings"),
        ({"kind": "replace", **HOUR, "readings": [[]] * 50_001}, "readings"),
        ({"kind": "remove", **HOUR, "colour": "blue"}, "colour"),
    ],
)
def test_what_cannot_be_done_names_its_parameter(
    park: Park, client: Client, body: object, parameter: str
) -> None:
    answer = _post(client, "correction-preview", park.branches[0].channel.pk, body)
    assert answer.status_code == 400
    assert parameter in [one["parameter"] for one in answer.json()["errors"]]


def test_a_correction_needs_a_reason(park: Park, client: Client) -> None:
    body = {"kind": "remove", **HOUR}
    for reason in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "x" * 501}):
        answer = _post(client, "correction-list", park.branches[0].channel.pk, {**body, **reason})
        assert answer.status_code == 400
        assert [one["parameter"] for one in answer.json()["errors"]] == ["reason"]
