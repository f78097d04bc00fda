"""Roll-outs over the REST API: a draft, its dry run, steps, devices, and a device's updates."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from devices.domain.commands_policy import SYSTEM
from firmware.domain import policy_operations, rollout_operations
from firmware.domain.policy_operations import Change
from firmware.domain.rollout_operations import RolloutRefused
from firmware.models import Rollout, RolloutState
from firmware.tests.rollout_park import CALM, RolloutPark
from tenants.models import User
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
BASE = "/api/v1/rollouts/"


@pytest.fixture
def park() -> RolloutPark:
    return RolloutPark.make()


@pytest.fixture
def api(park: RolloutPark) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=park.people[0]))
    return client


def _post(api: Client, address: str, body: Any = None) -> Any:
    return api.post(address, body or {}, content_type="application/json")


def _body(park: RolloutPark, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Spring",
        "release": park.releases["2.0.0"].pk,
        "selection": {"everything": True},
        "strategy": CALM,
        **changes,
    }


def test_a_rollout_goes_from_draft_to_roll_back(park: RolloutPark, api: Client) -> None:
    asked = {name: value for name, value in _body(park).items() if name != "name"}
    plan = _post(api, f"{BASE}preview/", asked).json()
    assert (plan["getting"], plan["waves"], plan["reasons"]) == (3, [1, 2], {})
    made = _post(api, BASE, _body(park))
    assert made.status_code == 201
    one = f"{BASE}{made.json()['id']}/"
    assert api.get(f"{one}plan/").json() == plan
    pages = [api.get(f"{one}plan/", {"limit": 2}).json()]
    while address := pages[-1]["next"]:
        pages.append(api.get(address).json())
    assert [len(page["devices"]) for page in pages] == [2, 1]
    assert [device for page in pages for device in page["devices"]] == plan["devices"]
    assert {page["getting"] for page in pages} == {3}
    changed = api.put(one, _body(park, name="Autumn"), content_type="application/json")
    assert (changed.json()["name"], changed.json()["state"]) == ("Autumn", "draft")
    assert _post(api, f"{one}start/").json()["devices"] == 3
    park.tick(2)
    park.obey()
    park.tick(3)
    told = api.get(one).json()
    assert told["waves"][0]["devices"] == {"succeeded": 1}
    assert _post(api, f"{one}pause/", {"note": "Storm"}).json()["state"] == "paused"
    assert api.get(one).json()["reason"] == "By a person: Storm"
    assert _post(api, f"{one}resume/").json()["state"] == "running"
    done = api.get(f"{one}targets/", {"state": "succeeded"}).json()["results"]
    device = done[0]["device"]
    (update,) = api.get(f"/api/v1/devices/{device}/updates/").json()["results"]
    assert (update["from_version"], update["to_version"]) == ("1.0.0", "2.0.0")
    back = _post(api, f"{one}roll-back/").json()
    assert (back["kind"], back["devices"]) == ("rollback", 1)
    assert back["takes_back"] == told["rollout"]["id"]
    listed = api.get(BASE, {"state": "aborted"}).json()["results"]
    assert [row["id"] for row in listed] == [told["rollout"]["id"]]


@pytest.mark.parametrize(
    ("changes", "member"),
    [
        ({"strategy": {"waves": []}}, "waves"),
        ({"strategy": {"gate": {"ratios": {"speed": 2}}}}, "gate"),
        ({"strategy": {"patience": 1}}, "patience"),
        ({"selection": {}}, "selection"),
        ({"release": 2**60}, "release"),
        ({"name": ""}, "name"),
        ({"force": True}, "force"),
    ],
)
def test_what_cannot_be_is_told_at_its_member(
    park: RolloutPark, api: Client, changes: dict[str, Any], member: str
) -> None:
    answer = _post(api, BASE, _body(park, **changes))
    assert answer.status_code == 400
    assert member in str(answer.json()["errors"])
    with open_scope(park.scope):
        assert not Rollout.objects.exists()


def test_a_step_that_does_not_fit_is_refused(park: RolloutPark, api: Client) -> None:
    row = park.draft()
    answer = _post(api, f"{BASE}{row.pk}/pause/")
    assert answer.status_code == 400
    assert "It has not been started yet." in str(answer.json())
    assert api.delete(f"{BASE}{row.pk}/").status_code == 204
    assert api.get(f"{BASE}{row.pk}/").status_code == 404
    assert api.get(f"{BASE}{row.pk}/targets/").status_code == 404


def test_a_service_account_is_none_of_two_persons(park: RolloutPark) -> None:
    row = park.draft()
    with open_scope(park.scope):
        policy_operations.change(
            actor=SYSTEM, tenant_id=park.tenant.pk, wanted=Change(second_person=True)
        )
        with pytest.raises(RolloutRefused, match="Two persons answer for it"):
            rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=None)
    assert park.fresh(row).state == RolloutState.DRAFT
    assert park.fresh(row).approved_by_id is None


@pytest.mark.parametrize("count", [1, 3])
def test_lists_take_the_same_queries(
    count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    park = RolloutPark.make(count)
    client = Client()
    client.force_login(User.objects.get(pk=park.people[0]))
    row = park.start()
    for address in (BASE, f"{BASE}{row.pk}/", f"{BASE}{row.pk}/targets/"):
        with django_assert_max_num_queries(16):
            assert client.get(address).status_code == 200
