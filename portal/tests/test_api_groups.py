"""Groups and settings over the API: made, tried, changed; what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from devices.models import Command, DeviceGroup, DeviceState
from devices.tests import factories
from portal.tests.registry_world import Place, ours
from tenants.scope import Scope, open_scope

__all__ = ["ours"]

pytestmark = pytest.mark.django_db

GONE = {"conditions": [{"field": "group", "values": [10**9]}]}
RULE = {"conditions": [{"field": "connected", "values": [False]}]}


def _send(place: Place, method: str, path: str, **body: object) -> tuple[int, Any]:
    send = getattr(place.client, method)
    answer = send(f"/api/v1/{path}", body, content_type="application/json")
    return answer.status_code, answer.json() if answer.content else None


def _get(place: Place, path: str) -> Any:
    return place.client.get(f"/api/v1/{path}").json()


def test_a_group_of_members_is_made_changed_and_removed(ours: Place) -> None:
    status, made = _send(ours, "post", "groups/", name="Chillers", devices=[ours.device.pk])
    assert (status, made["count"], made["rule"]) == (201, 1, None)
    at = f"groups/{made['id']}/"
    assert _get(ours, f"{at}devices/")["results"] == [
        {
            "id": ours.device.pk,
            "serial": ours.device.serial,
            "name": ours.device.name,
            "facility": ours.device.facility_id,
        }
    ]
    status, changed = _send(ours, "put", at, name="Cooling")
    assert (status, changed["name"]) == (200, "Cooling")
    status, emptied = _send(ours, "post", f"{at}devices/", remove=[ours.device.pk])
    assert (status, emptied["count"]) == (200, 0)
    assert _send(ours, "delete", at) == (204, None)
    assert _get(ours, at)["status"] == 404


def test_a_rule_is_tried_and_kept(ours: Place) -> None:
    status, held = _send(ours, "post", "groups/preview/", rule=RULE)
    assert (status, held["count"]) == (200, len(held["sample"]))
    status, made = _send(ours, "post", "groups/", name="Away", rule=RULE)
    assert (status, made["rule"], made["count"]) == (201, RULE, held["count"])
    assert _get(ours, "groups/")["results"] == [made]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("post", "groups/", {"name": ""}, "name"),
        ("post", "groups/", {"name": "x", "rule": {"conditions": []}}, "rule"),
        ("post", "groups/", {"name": "x", "rule": GONE}, "rule"),
        ("post", "groups/", {"name": "x", "devices": ["a"]}, "devices"),
        ("post", "groups/", {"name": "x", "kind": "static"}, "kind"),
        ("post", "groups/preview/", {"rule": 1}, "rule"),
        ("patch", "devices/{device}/configuration/", {"settings": {"colour": 1}}, "colour"),
        ("patch", "devices/{device}/configuration/", {"settings": {"samples": 0}}, "samples"),
        ("patch", "devices/{device}/configuration/", {"settings": {"channels": "99"}}, "channels"),
        ("patch", "devices/{device}/configuration/", {"settings": {}}, "changes"),
        ("patch", "devices/{device}/configuration/", {"settings": []}, "settings"),
        ("patch", "devices/{device}/configuration/", {"settings": {"output": 0}}, "reason"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_its_field(
    ours: Place, method: str, path: str, body: dict[str, object], field: str
) -> None:
    status, problem = _send(ours, method, path.format(device=ours.device.pk), **body)
    assert status == 400
    assert field in str(problem["errors"])


def test_settings_are_changed_by_commands(ours: Place) -> None:
    at = f"devices/{ours.device.pk}/configuration/"
    before = _get(ours, at)
    assert (before["version"], before["desired"], before["reported"]) == (0, {}, None)
    status, found = _send(
        ours, "patch", at, settings={"samples": 10, "power_limit_w": 900}, reason="Test"
    )
    assert status == 200
    assert (found["desired"], found["pending"]) == (
        {"samples": 10, "power_limit_w": 900}, ["power_limit_w", "samples"]
    )  # fmt: skip
    assert [(one["after"], one["reason"]) for one in found["changes"]] == [
        ({"power_limit_w": 900}, "Test"), ({"samples": 10}, "Test")
    ]  # fmt: skip
    with open_scope(ours.scope):
        assert sorted(Command.objects.values_list("kind", flat=True)) == [
            "set_power_limit", "set_reporting"
        ]  # fmt: skip
    status, found = _send(ours, "patch", at, settings={"samples": None})
    assert (status, found["desired"]) == (200, {"power_limit_w": 900})


def test_a_planned_device_is_told_when_it_is_there(ours: Place) -> None:
    with open_scope(ours.scope):
        planned = factories.device(ours.device.facility, state=DeviceState.PLANNED).device
        gone = factories.device(ours.device.facility, state=DeviceState.REVOKED).device
    at = "devices/{}/configuration/"
    status, found = _send(ours, "patch", at.format(planned.pk), settings={"samples": 10})
    assert (status, found["desired"], found["pending"]) == (200, {"samples": 10}, [])
    for pk, settings in ((gone.pk, {"samples": 10}), (planned.pk, {"output": 1})):
        status, problem = _send(ours, "patch", at.format(pk), settings=settings)
        assert status == 400
        assert "only an active one" in str(problem)
    with open_scope(ours.scope):
        assert not Command.objects.exists()


def test_groups_of_others_are_not_there(ours: Place) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        group = DeviceGroup.objects.create(tenant=other, name="Theirs")
    for method, path in (
        ("get", f"groups/{group.pk}/"), ("get", f"groups/{group.pk}/devices/"),
        ("put", f"groups/{group.pk}/"), ("delete", f"groups/{group.pk}/"),
    ):  # fmt: skip
        assert _send(ours, method, path, **({"name": "x"} if method == "put" else {}))[0] == 404
