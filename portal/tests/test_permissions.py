"""Who gets what answer, for every route that exists.

`HTTP` is one table: route and method against the status for each principal. A route that is not in
it fails, and so does a method that is not and gets anything but 405. `SOCKETS` is the same for
WebSockets. The objects asked for belong to the first facility of one tenant, and every refused or
narrowed answer is searched for their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from devices.tests.factories import Park
from portal.live.routing import websocket_urlpatterns
from portal.tests.live_client import own_hub, page
from tenants.models import User
from tenants.permissions import Role
from tenants.scope import open_scope

PRINCIPALS: Final = (
    "manager",  # of the tenant that owns the objects
    "technician",  # of the same tenant
    "consumer",  # of the same tenant, granted the facility of the objects
    "neighbour",  # a consumer of the same tenant, granted another facility
    "stranger",  # a manager of another tenant
    "newcomer",  # signed in, member of no tenant
    "nobody",  # not signed in
)
# Who may read the names of the objects.
_TRUSTED: Final = {"manager", "technician", "consumer"}

Statuses = tuple[int, int, int, int, int, int, int]


@dataclass(frozen=True)
class Row:
    """One route and method; `statuses` in the order of PRINCIPALS."""

    name: str
    method: str
    statuses: Statuses
    subject: str | None = None  # whose key the route takes: facility, device or channel


_SEEN: Final = "description"


def _answers(*answers: str | int) -> tuple[str, ...]:
    return tuple(str(a) if isinstance(a, str) else f"closed {a}" for a in answers)


# A new route adds its rows here. 302 leads to the sign-in page, or on from it.
# fmt: off
HTTP: Final = (
    #                            manager technician consumer neighbour stranger newcomer nobody
    Row("health-live",  "GET",  (200, 200, 200, 200, 200, 200, 200)),
    Row("health-ready", "GET",  (503, 503, 503, 503, 503, 503, 503)),  # no process runs in the test
    Row("login",        "GET",  (302, 302, 302, 302, 302, 302, 200)),
    Row("login",        "POST", (302, 302, 302, 302, 302, 302, 200)),
    Row("login",        "PUT",  (302, 302, 302, 302, 302, 302, 200)),
    Row("login",        "PATCH", (302, 302, 302, 302, 302, 302, 405)),
    Row("login",        "DELETE", (302, 302, 302, 302, 302, 302, 405)),
    Row("logout",       "POST", (302, 302, 302, 302, 302, 302, 302)),
    Row("overview",     "GET",  (200, 200, 200, 200, 200, 200, 302)),
    Row("facility",     "GET",  (200, 200, 200, 404, 404, 403, 302), "facility"),
    Row("device",       "GET",  (200, 200, 403, 403, 404, 403, 302), "device"),
    Row("design",       "GET",  (200, 200, 200, 200, 200, 200, 302)),
    Row("api:reference",       "GET", (200, 200, 200, 200, 200, 200, 200)),
    Row("api:schema",          "GET", (200, 200, 200, 200, 200, 200, 200)),
    Row("api:me",              "GET", (200, 200, 200, 200, 200, 403, 401)),
    Row("api:facility-list",   "GET", (200, 200, 200, 200, 200, 403, 401)),
    Row("api:facility",        "GET", (200, 200, 200, 404, 404, 403, 401), "facility"),
    Row("api:facility-latest", "GET", (200, 200, 200, 404, 404, 403, 401), "facility"),
    Row("api:device-list",     "GET", (200, 200, 403, 403, 200, 403, 401)),
    Row("api:device",          "GET", (200, 200, 403, 403, 404, 403, 401), "device"),
    Row("api:device-latest",   "GET", (200, 200, 403, 403, 404, 403, 401), "device"),
    Row("api:channel-list",    "GET", (200, 200, 403, 403, 200, 403, 401)),
    Row("api:channel",         "GET", (200, 200, 403, 403, 404, 403, 401), "channel"),
    *(
        Row("api:unknown", method, (404, 404, 404, 404, 404, 404, 404))
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
    Row("oauth:configuration", "GET",    (200, 200, 200, 200, 200, 200, 200)),
    Row("oauth:metadata", "GET",         (200, 200, 200, 200, 200, 200, 200)),
    Row("oauth:jwks", "GET",             (200, 200, 200, 200, 200, 200, 200)),
    Row("oauth:authorize", "GET",        (400, 400, 400, 400, 400, 400, 400)),
    Row("oauth:authorize", "POST",       (400, 400, 400, 400, 400, 400, 400)),
    Row("oauth:token", "POST",           (400, 400, 400, 400, 400, 400, 400)),
    Row("oauth:revoke", "POST",          (400, 400, 400, 400, 400, 400, 400)),
    Row("oauth:introspect", "POST",      (401, 401, 401, 401, 401, 401, 401)),
    Row("oauth:userinfo", "GET",         (401, 401, 401, 401, 401, 401, 401)),
    Row("oauth:userinfo", "POST",        (401, 401, 401, 401, 401, 401, 401)),
    Row("oauth:device-authorization", "POST",(401, 401, 401, 401, 401, 401, 401)),
    Row("oauth:device", "GET",           (200, 200, 200, 200, 200, 200, 302)),
    Row("oauth:device", "POST",          (200, 200, 200, 200, 200, 200, 302)),
    Row("oauth:logout", "GET",           (200, 200, 200, 200, 200, 200, 302)),
    Row("oauth:logout", "POST",          (303, 303, 303, 303, 303, 303, 303)),
    Row("oauth:logout-confirm", "POST",  (302, 302, 302, 302, 302, 302, 302)),
    Row("oauth:grants", "GET",           (200, 200, 200, 200, 200, 200, 302)),
    Row("oauth:revoke-grant", "POST",    (302, 404, 404, 404, 404, 404, 302), "consent"),
)
# WebSockets: what a page gets to a request to watch the facility or device: its description, or a
# close code (see portal/feed/socket.py).
SOCKETS: Final = {
    ("ws/live/", "facility"): _answers(_SEEN, _SEEN, _SEEN, 4403, 4403, 4403, 4401),
    ("ws/live/", "device"):   _answers(_SEEN, _SEEN, 4403, 4403, 4403, 4403, 4401),
}
# fmt: on
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class World:
    """The tenant whose objects are asked for, another one with data of its own, and the people."""

    park: Park
    other: Park
    users: dict[str, User | None]

    def path(self, row: Row) -> str:
        """The address of a row."""
        branch = self.park.branches[0]
        if row.name == "api:unknown":
            return reverse(row.name, args=["nothing/"])
        keys = {
            "facility": branch.facility.pk,
            "device": branch.device.pk,
            "channel": branch.channel.pk,
            "consent": self.park.consent.pk,
        }
        return reverse(row.name, args=[keys[row.subject]] if row.subject else [])

    def secrets(self) -> list[str]:
        """Texts that only the trusted may read."""
        branch = self.park.branches[0]
        return [branch.facility.name, branch.device.name, branch.device.serial, branch.load.name]


def _make_world() -> World:
    park, other = factories.park(), factories.park()
    with open_scope(park.scope):
        technician = factories.member(park.tenant, Role.TECHNICIAN).user
    users = {
        "manager": park.manager,
        "technician": technician,
        "consumer": park.consumer(0),
        "neighbour": park.consumer(1),
        "stranger": other.manager,
        "newcomer": factories.user(),
        "nobody": None,
    }
    assert tuple(users) == PRINCIPALS
    return World(park, other, users)


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Committed once for the module, because telemetry comes by another connection."""
    with django_db_blocker.unblock():
        yield _make_world()
        factories.remove_everything()


def _client(user: User | None) -> Client:
    client = Client(raise_request_exception=True)
    if user is not None:
        client.force_login(user)
    return client


def _routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from _routes(pattern.url_patterns, namespace)
        else:
            assert pattern.name, f"the route {pattern.pattern} has no name"
            yield f"{prefix}{pattern.name}"


def test_every_route_is_in_the_table() -> None:
    assert {row.name for row in HTTP} == set(_routes(get_resolver().url_patterns))


def test_every_socket_is_in_the_table() -> None:
    assert {path for path, _ in SOCKETS} == {str(route.pattern) for route in websocket_urlpatterns}


@pytest.mark.django_db
@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("row", HTTP, ids=lambda row: f"{row.method}-{row.name}")
def test_route_answers(world: World, row: Row, principal: str) -> None:
    client = _client(world.users[principal])
    response = client.generic(row.method, world.path(row))
    assert response.status_code == row.statuses[PRINCIPALS.index(principal)]
    if principal not in _TRUSTED:
        text = response.content.decode()
        assert [secret for secret in world.secrets() if secret in text] == []


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted({row.name for row in HTTP}))
def test_other_methods_are_refused(world: World, name: str) -> None:
    rows = {row.method: row for row in HTTP if row.name == name}
    some = next(iter(rows.values()))
    answers = {
        (method, principal): _client(user).generic(method, world.path(some)).status_code
        for method in METHODS
        if method not in rows
        for principal, user in world.users.items()
    }
    assert answers == dict.fromkeys(answers, 405)


@pytest.mark.django_db
@pytest.mark.parametrize("row", [row for row in HTTP if row.subject], ids=lambda row: row.name)
def test_object_that_does_not_exist_looks_like_one_out_of_reach(world: World, row: Row) -> None:
    missing = reverse(row.name, args=[2**40])
    for principal in ("neighbour", "stranger", "newcomer", "nobody"):
        client = _client(world.users[principal])
        statuses = [
            client.generic(row.method, path).status_code for path in (missing, world.path(row))
        ]
        assert (principal, statuses[0]) == (principal, statuses[1])


@pytest.mark.django_db
def test_every_page_shows_its_object_to_the_manager(world: World) -> None:
    """The names that refused answers are searched for do appear in the others."""
    client = _client(world.users["manager"])
    shown = "".join(
        client.get(world.path(row)).content.decode() for row in HTTP if row.method == "GET"
    )
    branch = world.park.branches[0]
    assert branch.facility.name in shown
    assert branch.device.serial in shown


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
@pytest.mark.parametrize(("path", "subject"), SOCKETS)
async def test_socket_answers(path: str, subject: str) -> None:
    world = await sync_to_async(_make_world, thread_sensitive=False)()
    branch = world.park.branches[0]
    key = {"facility": branch.facility.pk, "device": branch.device.pk}[subject]
    found = []
    async with own_hub():
        for principal, user in world.users.items():
            async with page(user) as socket:
                await socket.send({"watch": {subject: key}})
                answer = await socket.receive()
                if "refused" in answer:
                    assert [secret for secret in world.secrets() if secret in str(answer)] == []
                    answer = await socket.receive()
            found.append(answer if isinstance(answer, str) else next(iter(answer)))
            assert (principal in _TRUSTED) >= (found[-1] == _SEEN)
    assert tuple(found) == SOCKETS[path, subject]
