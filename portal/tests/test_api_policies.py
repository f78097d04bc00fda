"""Rules of two persons, limits and what waits for an approval, over the REST API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from devices.domain.commands_policy import SYSTEM
from devices.tests import factories
from firmware.domain import policy_operations
from firmware.domain.policy_operations import Change
from portal.benchmarks import tokens
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

COMMANDS, FIRMWARE = reverse("api:policy-commands"), reverse("api:policy-firmware")
NOTHING = {"second_person": False, "max_downloads": None, "bytes_per_s": None}


@dataclass(frozen=True)
class World:
    """A tenant below another, with two administrators."""

    above: Tenant
    of: Tenant
    first: User
    second: User


@pytest.fixture
def world() -> World:
    above = factories.tenant(kind=TenantKind.RESELLER)
    of = factories.tenant(parent=above)
    with open_scope(Scope((of.pk,))):
        first, second = (factories.member(of, Role.ADMIN).user for _ in range(2))
    return World(above, of, first, second)


def _client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _bearer(world: World, scopes: tuple[str, ...]) -> dict[str, str]:
    """The header of an application that the first administrator has allowed these scopes."""
    with open_scope(Scope((world.of.pk,))):
        of = tokens.application(tenant_id=world.of.pk, scopes=scopes)
        token, _row = tokens.issue(of, user_id=world.first.pk)
    return {"Authorization": f"Bearer {token}"}


def _patch(client: Client, url: str, body: object) -> Any:
    return client.patch(url, json.dumps(body), content_type="application/json")


def test_policies_are_read_with_what_is_demanded_above(world: World) -> None:
    with open_scope(Scope((world.above.pk,))):
        wanted = Change(two_persons=True, max_downloads=50)
        policy_operations.change(actor=SYSTEM, tenant_id=world.above.pk, wanted=wanted)
    client = _client(world.first)
    assert client.get(COMMANDS).json() == {
        "two_persons": False,
        "two_persons_above": True,
        "two_persons_counts": True,
        "off_asked": None,
    }
    changed = _patch(client, FIRMWARE, {"bytes_per_s": 9000})
    assert changed.status_code == 200
    above = NOTHING | {"max_downloads": 50}
    assert changed.json() == client.get(FIRMWARE).json()
    assert changed.json() == {
        "own": NOTHING | {"bytes_per_s": 9000},
        "above": above,
        "counts": above | {"bytes_per_s": 9000},
        "off_asked": None,
    }
    # What is not sent stays; null takes a limit away.
    assert _patch(client, FIRMWARE, {"max_downloads": 7}).json()["own"]["bytes_per_s"] == 9000
    assert _patch(client, FIRMWARE, {"bytes_per_s": None}).json()["own"] == NOTHING | {
        "max_downloads": 7
    }
    wider = _patch(client, FIRMWARE, {"max_downloads": 51})
    assert wider.status_code == 400
    assert wider.json()["errors"] == [
        {
            "parameter": "max_downloads",
            "detail": "The organisation above allows at most 50: give no more than that.",
        }
    ]


@pytest.mark.parametrize(("url", "name"), [(COMMANDS, "two_persons"), (FIRMWARE, "second_person")])
def test_a_rule_is_given_up_by_the_second_who_wants_it(world: World, url: str, name: str) -> None:
    first, second = _client(world.first), _client(world.second)

    def on(answer: Any) -> bool:
        found = answer.json()
        value: bool = found[name] if name in found else found["own"][name]
        return value

    assert on(_patch(first, url, {name: True}))
    for _ in range(2):
        asked = _patch(first, url, {name: False})
        assert on(asked)
        assert asked.json()["off_asked"]["by"] == world.first.get_full_name()
    waiting = second.get(reverse("api:approval-list")).json()
    assert [(one["kind"], one["subject"]) for one in waiting["results"]] == [
        ("command_rule" if url == COMMANDS else "firmware_rule", world.of.pk)
    ]
    assert first.get(reverse("api:approval-list")).json() == {"results": [], "more": False}
    given_up = _patch(second, url, {name: False})
    assert not on(given_up)
    assert given_up.json()["off_asked"] is None


@pytest.mark.parametrize(
    ("url", "body", "parameter"),
    [
        (COMMANDS, {}, "two_persons"),
        (COMMANDS, {"two_persons": None}, "two_persons"),
        (COMMANDS, {"two_persons": "perhaps"}, "two_persons"),
        (COMMANDS, {"two_persons": True, "three": 3}, "three"),
        (COMMANDS, [], ""),
        (COMMANDS, None, ""),
        (FIRMWARE, {}, ""),
        (FIRMWARE, {"second_person": None}, "second_person"),
        (FIRMWARE, {"max_downloads": 0}, "max_downloads"),
        (FIRMWARE, {"max_downloads": -1}, "max_downloads"),
        (FIRMWARE, {"max_downloads": 2**31}, "max_downloads"),
        (FIRMWARE, {"max_downloads": 1.5}, "max_downloads"),
        (FIRMWARE, {"bytes_per_s": 10**400}, "bytes_per_s"),
        (FIRMWARE, {"bytes_per_s": 2**63}, "bytes_per_s"),
        (FIRMWARE, {"bytes_per_s": "fast"}, "bytes_per_s"),
        (FIRMWARE, {"bytes": 5}, "bytes"),
    ],
)
def test_what_does_not_do_is_refused_and_changes_nothing(
    world: World, url: str, body: object, parameter: str
) -> None:
    client = _client(world.first)
    before = client.get(url).json()
    answer = _patch(client, url, body)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["parameter"] == parameter
    assert len(error["detail"]) > 10
    assert client.get(url).json() == before


def test_what_a_token_may_change_is_a_scope_of_its_own(world: World) -> None:
    body = json.dumps({"two_persons": True})
    sending = _bearer(world, ("commands:read", "commands:write"))
    kind = "application/json"
    refused = Client().patch(COMMANDS, body, content_type=kind, headers=sending)
    assert refused.status_code == 403
    assert refused.json()["code"] == "insufficient_scope"
    ruling = _bearer(world, ("commands:read", "policies:write"))
    done = Client().patch(COMMANDS, body, content_type=kind, headers=ruling)
    assert (done.status_code, done.json()["two_persons"]) == (200, True)


def test_approvals_are_those_that_role_and_token_allow(world: World) -> None:
    with open_scope(Scope((world.of.pk,))):
        kind, at = factories.device_type(world.of), factories.facility(world.of)
        device = factories.device(at, kind).device
        asker = factories.member(world.of, Role.TECHNICIAN).user
        made = factories.command(
            device,
            kind="set_output",
            arguments={"output": 0},
            reason="Not paid",
            state="awaiting_approval",
            queued_at=None,
            asked_by=asker,
            expires_at="2100-01-01T00:00:00Z",
        )
    found = _client(world.first).get(reverse("api:approval-list")).json()
    assert found == {
        "results": [
            {
                "kind": "command",
                "subject": made.pk,
                "name": f"{device.name} ({device.serial})",
                "asked_by": asker.get_full_name(),
                "since": "2026-03-01T12:00:00Z",
                "until": "2100-01-01T00:00:00Z",
                "reason": "Not paid",
                "command": "set_output",
                "arguments": {"output": 0},
                "devices": 1,
            }
        ],
        "more": False,
    }
    assert _client(asker).get(reverse("api:approval-list")).json()["results"] == []
    for scopes, count in ((("commands:read",), 0), (("commands:read", "commands:write"), 1)):
        headers = _bearer(world, scopes)
        answer = Client().get(reverse("api:approval-list"), headers=headers)
        assert len(answer.json()["results"]) == count
