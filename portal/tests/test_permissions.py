"""Who gets what answer, for every route that exists.

The table is `portal/tests/permission_rows/`: route and method against the status for everybody who
may ask: each role in the tenant of the objects, above it, below it, in another one, narrowed to
another facility, nobody at all, and access tokens of every sort. A route that is not in it fails,
and so does a method that is not and gets anything but 405. Every refused or narrowed answer is
searched for the names of the objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from portal.live.routing import websocket_urlpatterns
from portal.tests.asking import ask, path_of, secrets_of, text_of
from portal.tests.live_client import own_hub, page
from portal.tests.permission_rows import AREAS, ROWS, SOCKETS
from portal.tests.permission_rows.notation import Row
from portal.tests.permission_rows.world import NEAR, Person, World, make_world
from tenants.permissions import Role

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
API_ROWS: Final = tuple(row for row in ROWS if row.scopes is not None)
# Routes that look at an access token without being part of the API.
_TOKEN_ROUTES: Final = {"oauth:userinfo"}


def _routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from _routes(pattern.url_patterns, namespace)
        else:
            assert pattern.name, f"the route {pattern.pattern} has no name"
            yield f"{prefix}{pattern.name}"


def test_every_route_is_in_the_table() -> None:
    assert {row.route for row in ROWS} == set(_routes(get_resolver().url_patterns))


def test_every_socket_is_in_the_table() -> None:
    assert {path for path, _ in SOCKETS} == {str(route.pattern) for route in websocket_urlpatterns}


def test_every_row_names_its_route_once_and_known_roles() -> None:
    keys = [str(row) for row in ROWS]
    assert sorted(keys) == sorted(set(keys))
    assert {role for row in ROWS for role in row.roles.split()} <= {*Role, "custom"}


@pytest.mark.django_db
def test_every_route_of_the_api_has_scopes_unless_it_is_public() -> None:
    public = {"api:reference", "api:reference-callback", "api:schema", "api:unknown"}
    api = {row.route for row in ROWS if row.route.startswith("api:")}
    assert {row.route for row in API_ROWS} == api - public


@pytest.mark.django_db
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_route_answers(world: World, clients: dict[str, Client], row: Row) -> None:
    path, secrets = path_of(row, world), secrets_of(world)
    statuses: dict[str, int] = {}
    leaks: list[tuple[str, str]] = []
    for person in world.people:
        answer = ask(clients[person.name], row, path, world)
        statuses[person.name] = answer.status_code
        if not person.reads(row):
            found = text_of(answer)
            leaks += [(person.name, secret) for secret in secrets if secret in found]
    assert statuses == {person.name: person.expected(row) for person in world.people}
    assert leaks == []


@pytest.mark.django_db
@pytest.mark.parametrize("row", API_ROWS, ids=str)
def test_route_answers_tokens(world: World, row: Row) -> None:
    path, secrets = path_of(row, world), secrets_of(world)
    statuses: dict[str, int] = {}
    leaks: list[tuple[str, str]] = []
    for token in world.tokens:
        answer = ask(Client(), row, path, world, headers={"authorization": f"Bearer {token.value}"})
        statuses[token.name] = answer.status_code
        if not token.reads(row):
            found = text_of(answer)
            leaks += [(token.name, secret) for secret in secrets if secret in found]
    assert statuses == {token.name: token.expected(row) for token in world.tokens}
    assert leaks == []


@pytest.mark.django_db
def test_access_token_opens_no_page(world: World) -> None:
    """Outside the API a token is nothing: whoever sends one is nobody."""
    header = f"Bearer {world.token('own manager').value}"
    answers = {
        str(row): ask(
            Client(), row, path_of(row, world), world, headers={"authorization": header}
        ).status_code
        for row in ROWS
        if not row.route.startswith("api:") and row.route not in _TOKEN_ROUTES
    }
    assert answers == {str(row): row.nobody for row in ROWS if str(row) in answers}


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["expired", "revoked", "unknown"])
def test_bad_token_is_refused_beside_a_session(
    world: World, clients: dict[str, Client], name: str
) -> None:
    header = f"Bearer {world.token(name).value}"
    client = clients["own manager"]
    answers = {
        str(row): ask(
            client, row, path_of(row, world), world, headers={"authorization": header}
        ).status_code
        for row in API_ROWS
    }
    assert answers == dict.fromkeys(answers, 401)


@pytest.mark.django_db
@pytest.mark.parametrize("route", sorted({row.route for row in ROWS}))
def test_other_methods_are_refused(world: World, clients: dict[str, Client], route: str) -> None:
    rows = {row.method: row for row in ROWS if row.route == route}
    some = next(iter(rows.values()))
    path = path_of(some, world)
    token = {"authorization": f"Bearer {world.token('own manager').value}"}
    answers = {}
    for method in METHODS:
        if method in rows:
            continue
        other = Row(route, method, "", 405, 405, 405, 405, 405)
        for name in (
            "above operator",
            "own admin",
            "other manager",
            "none newcomer",
            "none nobody",
        ):
            answers[method, name] = ask(clients[name], other, path, world).status_code
        if some.scopes is not None:
            answers[method, "token"] = ask(Client(), other, path, world, headers=token).status_code
    assert answers == dict.fromkeys(answers, 405)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.subject and row.may != row.nobody], ids=str
)
def test_object_that_does_not_exist_looks_like_one_out_of_reach(
    world: World, clients: dict[str, Client], row: Row
) -> None:
    path = path_of(row, world)
    found = get_resolver().resolve(path)
    missing = reverse(
        row.route, args=[_missing(key) for key in (*found.args, *found.kwargs.values())]
    )
    strangers = ("elsewhere admin", "elsewhere consumer", "other admin", "other manager")
    for name in (*strangers, "below admin", "none newcomer", "none nobody"):
        person = world.person(name)
        if person.expected(row) == row.may:
            continue
        answers = [ask(clients[person.name], row, at, world) for at in (missing, path)]
        statuses = [answer.status_code for answer in answers]
        assert (person.name, statuses[0]) == (person.name, statuses[1])


def _missing(key: object) -> object:
    """A key like this one that nothing has."""
    if isinstance(key, int):
        return 2**40
    return uuid4() if isinstance(key, UUID) else "x" * len(str(key))


@pytest.mark.django_db
def test_every_secret_is_shown_to_somebody(world: World, clients: dict[str, Client]) -> None:
    """The names that refused answers are searched for do appear in the others."""
    shown = "".join(
        text_of(ask(clients[name], row, path_of(row, world), world))
        for name in ("above operator", "own admin")
        for row in ROWS
        if row.method == "GET" and row.may == 200
    )
    branch = world.park.branches[0]
    wanted = {branch.facility.name, branch.device.name, branch.device.serial}
    wanted |= {text for area in AREAS.values() for text in area.secrets(world)}
    assert [secret for secret in wanted if secret not in shown] == []


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
@pytest.mark.parametrize(("path", "subject"), SOCKETS)
async def test_socket_answers(path: str, subject: str) -> None:
    world = await sync_to_async(make_world, thread_sensitive=False)()
    secrets = await sync_to_async(secrets_of, thread_sensitive=False)(world)
    branch = world.park.branches[0]
    key = {"facility": branch.facility.pk, "device": branch.device.pk}[subject]
    found: dict[str, str] = {}
    leaks: list[str] = []
    async with own_hub():
        for person in world.people:
            async with page(person.user) as socket:
                await socket.send({"watch": {subject: key}})
                answer = await socket.receive()
                if "refused" in answer:
                    leaks += [secret for secret in secrets if secret in str(answer)]
                    answer = await socket.receive()
            found[person.name] = answer if isinstance(answer, str) else next(iter(answer))
    assert found == {person.name: _of_socket(person, path, subject) for person in world.people}
    assert leaks == []


def _of_socket(person: Person, path: str, subject: str) -> str:
    roles, may, far, others, newcomer, nobody = SOCKETS[path, subject]
    if person.place == "none":
        code = newcomer if person.user and person.user.is_active else nobody
    elif person.role not in roles.split():
        code = others
    elif person.place in NEAR:
        return may
    else:
        code = far
    return f"closed {code}"
