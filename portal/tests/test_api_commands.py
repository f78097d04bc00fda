"""Commands over the REST API: asked, watched, decided; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from devices.models import Command
from devices.tests import factories
from devices.tests.factories import Park
from tenants.models import User
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def park(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Park]:
    """A park, committed once."""
    with django_db_blocker.unblock():
        yield factories.park()
        factories.remove_everything()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def client(park: Park) -> Client:
    """The manager in a browser."""
    return signed_in(park.manager)


@pytest.fixture
def technician(park: Park) -> Client:
    """Somebody who may ask for an output to be switched off, and not approve it."""
    with open_scope(park.scope):
        return signed_in(factories.member(park.tenant, Role.TECHNICIAN).user)


def post(client: Client, name: str, body: object, *args: int) -> Any:
    return client.post(
        reverse(f"api:{name}", args=args), json.dumps(body), content_type="application/json"
    )


def test_a_command_is_asked_for_read_and_cancelled(park: Park, client: Client) -> None:
    device = park.branches[0].device
    body = {
        "devices": [device.pk],
        "kind": "set_power_limit",
        "arguments": {"power_limit_w": None},
        "reason": "Full again.",
        "expires_in_s": 3600,
    }
    made = post(client, "command-list", body)
    assert made.status_code == 201
    found = made.json()
    assert found["batches"] == []
    command = found["command"]
    number = command["id"]
    told = {name: command[name] for name in ("device", "kind", "arguments", "state", "reason")}
    assert told == {
        "device": device.pk,
        "kind": "set_power_limit",
        "arguments": {"power_limit_w": -1},
        "state": "queued",
        "reason": "Full again.",
    }
    assert command["asked_by"] == park.manager.get_full_name()
    query: dict[str, str | int] = {"device": device.pk, "state": "queued", "limit": 1}
    listed = client.get(reverse("api:command-list"), query).json()
    assert listed["results"] == [command]
    cancelled = post(client, "command-cancel", {}, number).json()
    assert [step["step"] for step in cancelled["history"]] == ["asked", "cancelled"]
    assert cancelled["command"]["state"] == "cancelled"
    again = post(client, "command-cancel", {}, number)
    assert (again.status_code, again.json()["errors"][0]["detail"]) == (
        400,
        "The command has been cancelled already.",
    )


def test_many_are_asked_by_a_selection_and_watched_as_a_batch(park: Park, client: Client) -> None:
    body = {"selection": {"everything": True}, "kind": "send_logs", "arguments": {"lines": 5}}
    made = post(client, "command-list", body).json()
    (batch,) = made["batches"]
    assert (made["command"], batch["devices"], batch["open"]) == (None, 2, True)
    assert batch["counts"]["queued"] == 2
    listed = client.get(reverse("api:command-list"), {"batch": batch["id"]}).json()
    assert {command["batch"] for command in listed["results"]} == {batch["id"]}
    ended = post(client, "batch-cancel", {}, batch["id"]).json()
    assert (ended["counts"]["cancelled"], ended["open"]) == (2, False)
    assert ended["causes"] == {"person": 2}
    newest = client.get(reverse("api:batch-list"), {"limit": 1}).json()
    assert newest["results"] == [ended]
    retried = post(client, "batch-retry", {}, batch["id"])
    assert retried.status_code == 400  # none has failed


def test_switching_off_waits_for_somebody_else(
    park: Park, client: Client, technician: Client
) -> None:
    device_id = park.branches[0].device.pk
    body = {"devices": [device_id], "kind": "set_output", "arguments": {"output": False}}
    refused = post(technician, "command-list", body)
    assert [error["parameter"] for error in refused.json()["errors"]] == ["reason"]
    made = post(technician, "command-list", body | {"reason": "Unpaid."}).json()["command"]
    assert made["state"] == "awaiting_approval"
    assert post(technician, "command-approve", {}, made["id"]).status_code == 403
    approved = post(client, "command-approve", {}, made["id"]).json()["command"]
    assert approved["state"] == "queued"
    assert approved["approved_by"]


def test_a_request_that_is_sent_again_is_done_once(park: Park, client: Client) -> None:
    ids = [branch.device.pk for branch in park.branches]
    for devices in ([ids[0]], ids):
        body = {"devices": devices, "kind": "identify", "request_key": f"mine-{len(devices)}"}
        first, second = (post(client, "command-list", body).json() for _ in range(2))
        assert first == second
        with open_scope(park.scope):
            asked = first["command"] or first["batches"][0]
            field = "pk" if first["command"] else "batch_id"
            assert Command.objects.filter(**{field: asked["id"]}).count() == len(devices)
        other = post(client, "command-list", body | {"kind": "reboot"})
        assert [error["parameter"] for error in other.json()["errors"]] == ["request_key"]


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({"devices": [1], "kind": "explode"}, "kind"),
        ({"kind": "reboot"}, "devices"),
        ({"devices": [], "kind": "reboot", "selection": {"what": 1}}, "selection"),
        ({"devices": [1], "kind": "reboot", "arguments": []}, "arguments"),
        ({"devices": [1], "kind": "live", "arguments": {"seconds": 0}}, "seconds"),
        ({"devices": [1], "kind": "reboot", "expires_in_s": 1}, "expires_in_s"),
        ({"devices": [1], "kind": "reboot", "surprise": 1}, "surprise"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_its_parameter(
    client: Client, body: dict[str, Any], parameter: str
) -> None:
    answer = post(client, "command-list", body)
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


def test_devices_commands_and_batches_of_others_do_not_exist(client: Client) -> None:
    assert post(client, "command-list", {"devices": [2**40], "kind": "reboot"}).status_code == 404
    for name in ("command", "batch"):
        assert client.get(reverse(f"api:{name}", args=[2**40])).status_code == 404
        assert post(client, f"{name}-cancel", {}, 2**40).status_code == 404


_RULES = [
    {"conditions": [condition]}
    for condition in (
        {"field": "TEXT", "values": ["x"]},
        {"field": "region", "values": ["xTEXT"]},
        {"field": "hardware", "values": ["xTEXT"]},
        {"field": "firmware", "values": ["xTEXT"]},
        {"field": "country", "values": ["xTEXT"]},
        {"field": "state", "values": ["xTEXT"]},
    )
]


@pytest.mark.parametrize("text", ["\0", "\ud800"])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("command-list", {"devices": [1], "kind": "reboot", "arguments": {"TEXT": 1}}),
        ("command-list", {"devices": [1], "kind": "reboot", "reason": "TEXT"}),
        ("command-list", {"devices": [1], "kind": "reboot", "request_key": "TEXT"}),
        ("command-list", {"devices": [1], "kind": "set_output", "arguments": {"output": "TEXT"}}),
        *(
            ("command-list", {"devices": [1], "kind": "set_display", "arguments": {key: "TEXT"}})
            for key in ("display.message", "display.price")
        ),
        *(("command-list", {"kind": "reboot", "selection": {"rule": rule}}) for rule in _RULES),
        *(("group-list", {"name": "Some", "rule": rule}) for rule in _RULES),
        *(("group-preview", {"rule": rule}) for rule in _RULES),
    ],
)
def test_text_that_cannot_be_stored_is_refused_in_a_sentence(
    client: Client, name: str, body: dict[str, Any], text: str
) -> None:
    told = json.dumps(body).replace("TEXT", json.dumps(text)[1:-1])
    answer = client.post(reverse(f"api:{name}"), told, content_type="application/json")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] != ["devices"]


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_settings_that_cannot_be_stored_are_refused_in_a_sentence(
    park: Park, client: Client, text: str
) -> None:
    at = reverse("api:device-configuration", args=[park.branches[0].device.pk])
    for settings in ({text: 1}, {"display.message": text}, {"channels": text}, {"limits": text}):
        told = json.dumps({"settings": settings})
        assert client.patch(at, told, content_type="application/json").status_code == 400
