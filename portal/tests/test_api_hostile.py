"""The API against whoever sends what nobody should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.account.session import SET_UP
from portal.tests.oauth_world import World, commits, make_world, no_leftovers
from tenants.domain import company_operations
from tenants.models import SecondFactor
from tenants.scope import Scope, open_scope

__all__ = ["commits", "no_leftovers"]

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"


@pytest.fixture
def world(commits: None) -> World:
    return make_world(allowed_scopes=["openid", "facilities:read", "devices:read", "readings:read"])


@pytest.fixture
def token(world: World) -> str:
    scope = "facilities:read devices:read readings:read"
    answer = world.exchange(world.allow(scope=scope)["code"]).json()
    return str(answer["access_token"])


def _is_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content[:500]
    assert answer["Content-Type"] == PROBLEM
    body = json.loads(answer.content)
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert {"title", "detail", "code"} <= set(body)
    return dict(body)


_HOSTILE = (
    "",
    "0",
    "-1",
    "1e3",
    "9" * 30,
    "9223372036854775808",
    "\x00",
    "a\x00b",
    "%",
    "_",
    "\\",
    "'; DROP TABLE x; --",
    "null",
    "[]",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "x" * 5000,
    "\u0661",
    "1 OR 1=1",
    "../../etc/passwd",
)
_LISTS = {
    "facilities": ("limit", "cursor", "kind", "parent", "name"),
    "devices": ("limit", "cursor", "facility", "state", "placement", "serial"),
    "channels": ("limit", "cursor", "facility", "device", "quantity"),
}


def _cases() -> Iterator[tuple[str, str, str]]:
    for name, parameters in _LISTS.items():
        for parameter, value in product(parameters, _HOSTILE):
            yield name, parameter, value


def test_filters_and_cursors_take_anything(token: str) -> None:
    client, header = Client(), {"Authorization": f"Bearer {token}"}
    for name, parameter, value in _cases():
        answer = client.get(f"/api/v1/{name}/", {parameter: value}, headers=header)
        if answer.status_code != 200:
            body = _is_problem(answer, 400)
            assert [error["parameter"] for error in body["errors"]] == [parameter]


@pytest.mark.parametrize("number", ["0", "9" * 19, "9" * 40])
@pytest.mark.parametrize(
    "route",
    [
        "facilities/{}/",
        "facilities/{}/latest/",
        "devices/{}/",
        "devices/{}/latest/",
        "channels/{}/",
    ],
)
def test_number_that_is_none_is_not_found(token: str, route: str, number: str) -> None:
    answer = Client().get(
        f"/api/v1/{route.format(number)}", headers={"Authorization": f"Bearer {token}"}
    )
    _is_problem(answer, 404)


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v2/", "/api/v2/facilities/", "/api/v1/x", "/api/%00"]
)
def test_every_address_below_the_api_answers_with_a_problem(world: World, path: str) -> None:
    _is_problem(Client().get(path), 404)
    _is_problem(world.browser.get(path), 404)


def test_unknown_address_elsewhere_is_a_page(world: World) -> None:
    answer = world.browser.get("/nothing/of/that/name")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_request_for_another_host_is_told_as_a_problem() -> None:
    _is_problem(Client().get("/api/v1/me/", headers={"Host": "evil.example"}), 400)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options", "trace"])
def test_method_that_is_not_served_is_told_as_a_problem(token: str, method: str) -> None:
    answer = getattr(Client(), method)(
        "/api/v1/facilities/", headers={"Authorization": f"Bearer {token}"}
    )
    _is_problem(answer, 405)
    assert answer["Allow"] == "GET, HEAD"


def test_media_type_that_is_not_served_is_told_as_a_problem(token: str) -> None:
    header = {"Authorization": f"Bearer {token}", "Accept": "application/xml"}
    _is_problem(Client().get("/api/v1/facilities/", headers=header), 406)


@pytest.mark.parametrize("accepted", ["application/yaml", "*/*", "text/html, */*;q=0.1"])
def test_description_is_given_to_whoever_asks_for_it(accepted: str) -> None:
    answer = Client().get("/api/v1/schema/", headers={"Accept": accepted})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/yaml")


def test_post_with_a_foreign_body_is_told_as_a_problem(token: str) -> None:
    answer = Client().post(
        "/api/v1/nothing/",
        "<x/>",
        content_type="application/xml",
        headers={"Authorization": f"Bearer {token}"},
    )
    _is_problem(answer, 404)


def test_browser_without_its_second_factor_is_told_in_the_same_form(world: World) -> None:
    with open_scope(Scope((world.tenant.pk,))):
        company_operations.set_policy(
            tenant_id=world.tenant.pk, second_factor=SecondFactor.EVERYONE, actor_id=None
        )
    session = world.browser.session
    session[SET_UP] = True
    session.save()
    _is_problem(world.browser.get(reverse("api:me")), 403)


def test_answers_are_kept_by_nobody_else_and_read_by_no_other_site(token: str) -> None:
    for path in ("me", "facilities", "devices", "channels", "nothing"):
        answer = Client().get(
            f"/api/v1/{path}/",
            headers={"Authorization": f"Bearer {token}", "Origin": "https://evil.example"},
        )
        assert {"private", "no-cache"} <= set(answer["Cache-Control"].split(", "))
        assert {"Authorization", "Cookie"} <= {name.strip() for name in answer["Vary"].split(",")}
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_token_in_the_address_or_the_body_is_no_token(token: str) -> None:
    """RFC 6750, section 2: neither is offered, since addresses end up in logs."""
    _is_problem(Client().get("/api/v1/me/", {"access_token": token}), 401)


@pytest.mark.parametrize(
    "header", ["Basic abc", "Bearer", "Bearer ", "bearer\tx", "Bearer a b", "Bearer \u00e9", "x"]
)
def test_odd_authorization_is_told_as_a_problem(header: str) -> None:
    _is_problem(Client().get("/api/v1/me/", HTTP_AUTHORIZATION=header), 401)
