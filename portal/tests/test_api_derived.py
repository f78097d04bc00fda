"""Derived channels over the API: made, listed, previewed, changed; what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from devices.models import Channel
from devices.tests import factories
from portal.tests.registry_world import Place, ours
from tenants.scope import open_scope

__all__ = ["ours"]

pytestmark = pytest.mark.django_db


def _post(place: Place, path: str, **body: object) -> tuple[int, Any]:
    answer = place.client.post(f"/api/v1/{path}", body, content_type="application/json")
    return answer.status_code, answer.json()


def _make(place: Place, **body: object) -> tuple[int, Any]:
    values = {"key": "twice", "name": "Twice", "quantity": "voltage", "text": "2*voltage"}
    return _post(place, f"devices/{place.device.pk}/derived/", **{**values, **body})


def test_a_channel_is_made_listed_and_changed(ours: Place) -> None:
    status, made = _make(ours, valid_from="2026-03-01T12:00:00Z", reason="Two windings")
    assert status == 201
    channel = made["channel"]
    assert (made["text"], made["unit"], made["due"]) == ("2 * voltage", "V", None)
    listed = ours.client.get(f"/api/v1/devices/{ours.device.pk}/derived/").json()
    assert listed["results"] == [made]
    status, version = _post(
        ours, f"channels/{channel}/formulas/", text="3 * voltage", reason="Three windings"
    )
    assert status == 201
    versions = ours.client.get(f"/api/v1/channels/{channel}/formulas/").json()["results"]
    assert [one["text"] for one in versions] == ["2 * voltage", "3 * voltage"]
    assert versions[1] == version
    assert (versions[0]["reason"], versions[0]["author"]) == ("Two windings", ours.user.email)
    page = ours.client.get(f"/api/v1/channels/{channel}/formulas/?limit=1").json()
    assert [one["text"] for one in page["results"]] == ["2 * voltage"]
    rest = ours.client.get(page["next"]).json()
    assert ([one["text"] for one in rest["results"]], rest["next"]) == (["3 * voltage"], None)
    shown = ours.client.get(f"/api/v1/channels/{channel}/").json()
    assert shown["derived"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": "voltag"}, "text"),
        ({"text": "active_power"}, "text"),
        ({"key": "voltage"}, "key"),
        ({"key": "No key"}, "key"),
        ({"valid_from": "2026-03-01T12:07:00Z"}, "valid_from"),
        ({"resolution": "0"}, "resolution"),
        ({"quantity": "beauty"}, "quantity"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field(
    ours: Place, body: dict[str, object], field: str
) -> None:
    status, problem = _make(ours, **body)
    assert status == 400
    assert field in str(problem)
    with open_scope(ours.scope):
        assert not Channel.objects.filter(device=ours.device, derived=True).exists()


def test_a_formula_is_tried_without_being_kept(ours: Place) -> None:
    path = f"devices/{ours.device.pk}/derived/preview/"
    status, found = _post(ours, path, text="voltage*active_power/voltage")
    assert (status, found["text"], found["unit"]) == (200, "voltage * active_power / voltage", "W")
    assert (found["error"], found["times_ms"], found["values"]) == ("", [], [])
    status, found = _post(ours, path, text="voltage + 2 W")
    assert (status, found["times_ms"]) == (200, [])
    assert "voltage" in found["error"]


def test_measured_channels_have_no_formulas(ours: Place) -> None:
    with open_scope(ours.scope):
        measured = Channel.objects.filter(device=ours.device)[0].pk
    assert ours.client.get(f"/api/v1/channels/{measured}/formulas/").status_code == 404
    status, _ = _post(ours, f"channels/{measured}/formulas/", text="1 * voltage", reason="x")
    assert status == 404
    nowhere = f"devices/{factories.number() + 10**9}/derived/"
    status, _ = _post(ours, nowhere, key="a", name="A", quantity="voltage", text="voltage")
    assert status == 404
