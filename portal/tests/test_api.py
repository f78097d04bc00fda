"""The REST API: what it answers, at what cost, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import time_machine
import yaml
from django.core.management import call_command
from django.db import connection, connections
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from pytest_django import DjangoDbBlocker, Settings
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.domain import operations
from devices.models import Channel, Device, DeviceState, DeviceType
from devices.protocol.data import Block, encode_data
from devices.tests import factories
from devices.tests.factories import START, Park
from portal.api import checks
from portal.api.access import Requires
from portal.api.throttling import take
from portal.api.views import ApiView
from portal.benchmarks import tokens
from portal.settings import BASE_DIR
from tenants.models import AccessToken
from tenants.permissions import ACCESS_SCOPES, Permission, Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

READ = ("facilities:read", "devices:read", "readings:read")


@dataclass(frozen=True)
class World:
    """A tenant, and another one whose data must never show."""

    ours: Park
    theirs: Park

    def secrets(self) -> list[str]:
        """Names that nobody of our tenant may read."""
        return [
            text
            for branch in self.theirs.branches
            for text in (branch.facility.name, branch.device.name, branch.device.serial)
        ]


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Committed once for the module, because telemetry comes by another connection."""
    with django_db_blocker.unblock():
        yield World(factories.park(), factories.park())
        factories.remove_everything()


@pytest.fixture
def client(world: World) -> Client:
    """The manager in a browser."""
    signed_in = Client()
    signed_in.force_login(world.ours.manager)
    return signed_in


def get(client: Client, name: str, pk: int | None = None, /, **query: str | int) -> Any:
    response = client.get(reverse(f"api:{name}", args=[] if pk is None else [pk]), query)
    assert response.status_code == 200, response.content
    return response.json()


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The body of an error, which has the one shape."""
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert {key: body[key] for key in ("type", "status", "code")} == {
        "type": "about:blank",
        "status": status,
        "code": code,
    }
    assert set(body) - {"type", "title", "status", "detail", "code"} <= {"errors"}
    return body


# --- lists --------------------------------------------------------


def test_facilities_are_those_of_the_tenant(client: Client, world: World) -> None:
    body = get(client, "facility-list")
    branches = world.ours.branches
    assert [row["id"] for row in body["results"]] == [b.facility.pk for b in branches]
    assert body["results"][0] == {
        "id": branches[0].facility.pk,
        "parent": None,
        "name": branches[0].facility.name,
        "kind": "site",
        "address": "",
        "time_zone": "Europe/Berlin",
        "latitude": None,
        "longitude": None,
    }
    assert (body["next"], body["next_cursor"]) == (None, None)


def test_devices_say_how_they_are_connected(client: Client, world: World) -> None:
    branch = world.ours.branches[0]
    with open_scope(world.ours.scope):
        device_type = DeviceType.objects.get(pk=branch.device.device_type_id).code
    assert get(client, "device", branch.device.pk) == {
        "id": branch.device.pk,
        "facility": branch.facility.pk,
        "serial": branch.device.serial,
        "name": branch.device.name,
        "device_type": device_type,
        "placement": "mains",
        "state": "active",
        "hardware_revision": "",
        "firmware_version": "",
        "connected": False,
        "last_seen_at": "2026-03-01T12:00:00Z",
    }


def test_channels_say_how_to_read_them(client: Client, world: World) -> None:
    branch = world.ours.branches[0]
    assert get(client, "channel", branch.channel.pk) == {
        "id": branch.channel.pk,
        "device": branch.device.pk,
        "facility": branch.facility.pk,
        "number": 0,
        "key": "active_power",
        "name": "Active power",
        "quantity": "active_power",
        "unit": "W",
        "resolution": 0.1,
        "in_total": True,
        "derived": False,
    }


@pytest.mark.parametrize("name", ["facility-list", "device-list", "channel-list"])
def test_pages_together_are_the_whole_list(client: Client, name: str) -> None:
    whole = [row["id"] for row in get(client, name)["results"]]
    assert len(whole) >= 2
    found, address = [], f"{reverse(f'api:{name}')}?limit=1"
    while address:
        body = client.get(address).json()
        assert len(body["results"]) == 1
        found += [row["id"] for row in body["results"]]
        assert (body["next"] is None) == (body["next_cursor"] is None)
        address = body["next"]
    assert found == whole


def test_filters_keep_what_matches(client: Client, world: World) -> None:
    first, second = world.ours.branches

    def ids(name: str, /, **query: str | int) -> list[int]:
        return [row["id"] for row in get(client, name, **query)["results"]]

    assert ids("facility-list", name=first.facility.name.upper()) == [first.facility.pk]
    assert ids("facility-list", kind="household") == []
    assert ids("facility-list", parent=first.facility.pk) == []
    assert ids("device-list", facility=second.facility.pk) == [second.device.pk]
    assert ids("device-list", serial=first.device.serial) == [first.device.pk]
    assert ids("device-list", state="revoked") == []
    assert ids("device-list", placement="mains") == [first.device.pk, second.device.pk]
    assert ids("channel-list", device=first.device.pk, quantity="active_power") == [
        first.channel.pk
    ]
    with open_scope(world.ours.scope):
        channels = set(Channel.objects.filter(device=second.device).values_list("pk", flat=True))
    assert set(ids("channel-list", facility=second.facility.pk)) == channels


def test_filters_of_another_tenant_find_nothing(client: Client, world: World) -> None:
    theirs = world.theirs.branches[0]
    for name, query in (
        ("facility-list", {"name": theirs.facility.name}),
        ("device-list", {"facility": theirs.facility.pk}),
        ("device-list", {"serial": theirs.device.serial}),
        ("channel-list", {"facility": theirs.facility.pk}),
        ("channel-list", {"device": theirs.device.pk}),
    ):
        assert get(client, name, **query)["results"] == []


@pytest.mark.parametrize("role", ["manager", "consumer"])
def test_no_answer_holds_anything_of_another_tenant(world: World, role: str) -> None:
    ours = world.ours
    caller = Client()
    caller.force_login(ours.manager if role == "manager" else ours.consumer(0))
    first, second = ours.branches
    texts = "".join(
        caller.get(reverse(f"api:{name}", args=args)).content.decode()
        for name, args in (
            ("me", []),
            ("facility-list", []),
            ("device-list", []),
            ("channel-list", []),
            ("facility-latest", [first.facility.pk]),
        )
    )
    assert first.facility.name in texts
    assert [secret for secret in world.secrets() if secret in texts] == []
    assert (second.facility.name in texts) == (role == "manager")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "YWZ0ZXI6LTE"}, "cursor"),  # after:-1
        ({"cursor": "YWZ0ZXI6MDE"}, "cursor"),  # after:01, which nothing answers
        ({"kind": "castle"}, "kind"),
        ({"parent": str(2**63)}, "parent"),
        ({"name": "a\x00b"}, "name"),
        ({"colour": "red"}, "colour"),
        ({"limit": ["1", "2"]}, "limit"),
    ],
)
def test_parameter_at_fault_is_named(client: Client, query: Any, parameter: str) -> None:
    body = problem(client.get(reverse("api:facility-list"), query), 400, "invalid_parameter")
    assert [error["parameter"] for error in body["errors"]] == [parameter]


# --- cost ---------------------------------------------------------


def _queries(user_client: Client, address: str) -> int:
    user_client.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert user_client.get(address).status_code == 200
    return len(captured)


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_lists_and_latest_take_as_many_queries_for_three_as_for_one() -> None:
    counts = []
    park = factories.park()
    facility = park.branches[0].facility
    caller = Client()
    caller.force_login(park.consumer(0))
    manager = Client()
    manager.force_login(park.manager)
    for more in (0, 2):
        with open_scope(park.scope):
            kind = park.branches[0].device.device_type
            added = [factories.device(facility, kind).device for _ in range(more)]
            for _ in range(more):
                factories.facility(park.tenant)
        for device in added:
            factories.telemetry(device)
        latest = reverse("api:facility-latest", args=[facility.pk])
        assert len(manager.get(latest).json()["values"]) == 2 * (1 + more)
        lists = [reverse(f"api:{n}-list") for n in ("facility", "device", "channel")]
        counts.append([_queries(manager, address) for address in [*lists, latest]])
    assert counts[0] == counts[1]
    # Session, user, access and scope take eight; then one, two, one and one.
    own = [count - min(counts[0]) for count in counts[0]]
    assert own == [0, 1, 0, 0]


# --- latest values ------------------------------------------------


def store(of: Device, sequence: int, at: datetime, blocks: list[Block]) -> None:
    """A frame as the writer would leave it; `at` is its last sample."""
    body = encode_data(sequence, blocks)
    started = datetime.fromtimestamp(min(int(b.times[0]) for b in blocks) / 1000, UTC)
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, 1, %s)",
            [at, of.tenant_id, of.pk, sequence, started, at, body],
        )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, last_received_at = %s, last_sample_at = %s"
            " WHERE device_id = %s",
            [sequence, at, at, of.pk],
        )


def block(at: datetime, channels: tuple[int, ...], rows: list[list[int]], **options: Any) -> Block:
    samples = len(rows[0])
    end = int(at.timestamp() * 1000)
    times = np.arange(end - 2000 * (samples - 1), end + 1, 2000, dtype=np.int64)
    return Block(times, channels, np.array(rows, np.int64), **options)


def test_latest_values_are_the_last_samples(client: Client, world: World) -> None:
    branch = world.ours.branches[0]
    with time_machine.travel(START + timedelta(seconds=10), tick=False):
        of_facility = get(client, "facility-latest", branch.facility.pk)
        of_device = get(client, "device-latest", branch.device.pk)
    power = of_facility["values"][0]
    assert power == {
        "device": branch.device.pk,
        "channel": branch.channel.pk,
        "key": "active_power",
        "quantity": "active_power",
        "unit": "W",
        "in_total": True,
        "value": 101.0,
        "time": "2026-03-01T12:00:02.000Z",
        "age_s": 8.0,
    }
    assert [value["value"] for value in of_facility["values"]] == [101.0, 230.1]
    assert of_device == of_facility


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_channel_that_the_last_frame_lacks_keeps_its_last_value() -> None:
    park = factories.park()
    device = park.branches[0].device
    later, last = START + timedelta(seconds=60), START + timedelta(seconds=120)
    present = np.array([[True, True], [True, False]])
    store(device, 5, later, [block(later, (0, 1), [[10, 20], [23000, 0]], present=present)])
    store(device, 6, last, [block(last, (0,), [[30]])])
    caller = Client()
    caller.force_login(park.manager)
    values = get(caller, "device-latest", device.pk)["values"]
    assert [(value["key"], value["value"], value["time"]) for value in values] == [
        ("active_power", 3.0, "2026-03-01T12:02:00.000Z"),
        ("voltage", 230.0, "2026-03-01T12:00:58.000Z"),
    ]


def test_device_that_never_reported_has_no_values(client: Client, world: World) -> None:
    with open_scope(world.ours.scope):
        silent = factories.device(world.ours.branches[1].facility).device
    assert get(client, "device-latest", silent.pk) == {"values": []}


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_revoked_devices_are_left_out_of_their_facility() -> None:
    park = factories.park()
    branch = park.branches[0]
    with open_scope(park.scope):
        operations.change_state(
            device_id=branch.device.pk, state=DeviceState.REVOKED, actor_id=None
        )
    caller = Client()
    caller.force_login(park.manager)
    assert get(caller, "facility-latest", branch.facility.pk) == {"values": []}


# --- headers ------------------------------------------------------


@pytest.mark.parametrize("name", ["facility-list", "facility-latest", "schema"])
def test_answer_that_the_caller_has_already_is_not_sent_again(
    client: Client, world: World, name: str
) -> None:
    args = [world.ours.branches[0].facility.pk] if name == "facility-latest" else []
    address = reverse(f"api:{name}", args=args)
    first = client.get(address)
    again = client.get(address, headers={"If-None-Match": first["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert client.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_answers_are_kept_by_nobody_else(client: Client) -> None:
    response = client.get(reverse("api:me"))
    assert set(response["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert {"Authorization", "Cookie"} <= set(response["Vary"].split(", "))


def test_quota_is_told_and_kept(client: Client, settings: Settings) -> None:
    settings.API_REQUESTS_PER_MINUTE = 2
    # Earlier than the session, in a minute of which nobody else has made use.
    with time_machine.travel(datetime(2021, 1, 1, 0, 0, 18, tzinfo=UTC), tick=False):
        responses = [client.get(reverse("api:me")) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [response["RateLimit"] for response in responses] == [
        '"minute";r=1;t=42',
        '"minute";r=0;t=42',
        '"minute";r=0;t=42',
    ]
    assert responses[0]["RateLimit-Policy"] == '"minute";q=2;w=60'
    assert responses[2]["Retry-After"] == "42"
    problem(responses[2], 429, "throttled")


def test_quota_begins_anew_with_each_minute_and_for_each_caller() -> None:
    used = [take("test:a", now=now, limit=1).exceeded for now in (60.0, 119.9, 120.0)]
    assert used == [False, True, False]
    assert take("test:b", now=60.0, limit=1).exceeded is False


# --- errors -------------------------------------------------------


def test_errors_have_one_shape(client: Client, world: World) -> None:
    nobody = Client()
    refused = nobody.get(reverse("api:me"))
    problem(refused, 401, "not_authenticated")
    assert refused["WWW-Authenticate"] == 'Bearer realm="wattline"'
    theirs = world.theirs.branches[0].facility.pk
    problem(client.get(reverse("api:facility", args=[theirs])), 404, "not_found")
    wrong = client.post(reverse("api:me"))
    problem(wrong, 405, "method_not_allowed")
    assert wrong["Allow"] == "GET, HEAD"
    problem(client.get("/api/v1/facilities"), 404, "not_found")
    problem(client.get(reverse("api:me"), headers={"Accept": "text/html"}), 406, "not_acceptable")
    problem(client.get("/api/v1/facilities/99999999999999999999/"), 404, "not_found")


def test_head_and_options(client: Client) -> None:
    assert client.head(reverse("api:me")).status_code == 200
    problem(client.options(reverse("api:me")), 405, "method_not_allowed")


# --- tokens -------------------------------------------------------


def bearer(token: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {token}"})


def token_of(world: World, *scopes: str, role: str = "manager", **options: Any) -> str:
    ours = world.ours
    user = ours.manager if role == "manager" else ours.consumer(0)
    with open_scope(ours.scope):
        of = tokens.application(tenant_id=ours.tenant.pk, scopes=list(ACCESS_SCOPES))
        return tokens.issue(of, user_id=user.pk, scopes=scopes, **options)[0]


def test_token_reaches_what_its_scopes_and_its_user_reach(world: World) -> None:
    ours = world.ours
    facility = ours.branches[0].facility.pk
    other = ours.branches[1].facility.pk
    manager, consumer = (
        bearer(token_of(world, *READ, role=role)) for role in ("manager", "consumer")
    )
    routes = [
        ("me", []),
        ("facility-list", []),
        ("facility-latest", [facility]),
        ("facility-latest", [other]),
        ("facility-latest", [world.theirs.branches[0].facility.pk]),
        ("device-list", []),
    ]
    answers = [
        [caller.get(reverse(f"api:{name}", args=args)).status_code for name, args in routes]
        for caller in (manager, consumer)
    ]
    assert answers == [[200, 200, 200, 200, 404, 200], [200, 200, 200, 404, 404, 403]]


def test_token_without_the_scope_is_refused_and_told_which(world: World) -> None:
    caller = bearer(token_of(world, "openid", "facilities:read"))
    assert caller.get(reverse("api:facility-list")).status_code == 200
    refused = caller.get(reverse("api:facility-latest", args=[world.ours.branches[0].facility.pk]))
    problem(refused, 403, "insufficient_scope")
    assert refused["WWW-Authenticate"] == (
        'Bearer realm="wattline", error="insufficient_scope", scope="facilities:read readings:read"'
    )


def test_personal_data_needs_its_scope(world: World) -> None:
    plain = bearer(token_of(world, "facilities:read")).get(reverse("api:me")).json()
    full = bearer(token_of(world, "email")).get(reverse("api:me")).json()
    manager = world.ours.manager
    assert plain["user"] == {"id": manager.pk, "name": None, "email": None}
    assert full["user"]["email"] == manager.email
    assert plain["scopes"] == ["facilities:read"]
    assert plain["permissions"] == ["facilities.view"]
    assert plain["tenant"]["id"] == world.ours.tenant.pk


def test_service_account_sees_its_facilities_alone(world: World) -> None:
    ours = world.ours
    mine = ours.branches[0].facility.pk
    with open_scope(ours.scope):
        account = tokens.application(
            tenant_id=ours.tenant.pk, scopes=READ, service=True, facility_ids=[mine]
        )
        token, _ = tokens.issue(account, user_id=None)
    caller = bearer(token)
    assert [row["id"] for row in get(caller, "facility-list")["results"]] == [mine]
    assert get(caller, "me")["user"] is None
    assert len(get(caller, "facility-latest", mine)["values"]) == 2
    other = reverse("api:facility-latest", args=[ours.branches[1].facility.pk])
    assert caller.get(other).status_code == 404


def test_service_account_reaches_the_areas_of_its_facilities(world: World) -> None:
    ours = world.ours
    site = ours.branches[0].facility
    with open_scope(ours.scope):
        hall = factories.facility(ours.tenant, site)
        room = factories.facility(ours.tenant, hall)
        account = tokens.application(
            tenant_id=ours.tenant.pk, scopes=READ, service=True, facility_ids=[site.pk]
        )
        token, _ = tokens.issue(account, user_id=None)
    found = get(bearer(token), "facility-list")["results"]
    assert {row["id"] for row in found} == {site.pk, hall.pk, room.pk}


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer ", "Bearer", "Basic YTpi", ""])
def test_bad_credentials_are_refused_even_beside_a_session(client: Client, header: str) -> None:
    refused = client.get(reverse("api:me"), headers={"Authorization": header})
    problem(refused, 401, "invalid_token")
    assert refused["WWW-Authenticate"] == 'Bearer realm="wattline", error="invalid_token"'


def test_expired_token_is_refused(world: World) -> None:
    token = token_of(world, *READ, lifetime=timedelta(seconds=-1))
    problem(bearer(token).get(reverse("api:facility-list")), 401, "invalid_token")


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_revoked_token_is_refused_at_once() -> None:
    park = factories.park()
    with open_scope(park.scope):
        of = tokens.application(tenant_id=park.tenant.pk, scopes=READ)
        token, row = tokens.issue(of, user_id=park.manager.pk)
    caller = bearer(token)
    assert caller.get(reverse("api:facility-list")).status_code == 200
    with open_scope(park.scope):
        AccessToken.objects.get(pk=row.pk).revoke()
    problem(caller.get(reverse("api:facility-list")), 401, "invalid_token")


def test_token_wins_over_a_session(client: Client, world: World) -> None:
    token = token_of(world, "facilities:read", role="consumer")
    answer = client.get(reverse("api:facility-list"), headers={"Authorization": f"Bearer {token}"})
    assert [row["id"] for row in answer.json()["results"]] == [world.ours.branches[0].facility.pk]


def test_known_token_costs_no_query_before_the_answer(world: World) -> None:
    caller = bearer(token_of(world, *READ))
    address = reverse("api:facility-list")
    caller.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert caller.get(address).status_code == 200
    found = [query["sql"] for query in captured if "devices_facility" in query["sql"]]
    assert len(found) == 1
    # Savepoint, scope, the facilities, the former scope, release.
    assert len(captured) == 5


# --- declarations -------------------------------------------------


class Undeclared(APIView):
    """Forgot everything."""

    def get(self, request: Any) -> Response:
        return Response({"secret": 1})


class Careless(ApiView):
    """Declares one method and serves two, with a scope that does not give the permission."""

    access = {"GET": Requires((Permission.DEVICES_VIEW,), ("facilities:read",))}

    def get(self, request: Any) -> Response:
        return Response({"secret": 1})

    def post(self, request: Any) -> Response:
        return Response({"secret": 2})


def test_view_that_declares_nothing_refuses_everybody(world: World) -> None:
    request = RequestFactory().get("/")
    request.user = world.ours.manager
    request.access = object()  # type: ignore[attr-defined]
    assert Undeclared.as_view()(request).status_code == 403


def test_method_that_is_not_declared_is_refused(world: World) -> None:
    request = RequestFactory().post("/")
    request.user = world.ours.manager
    request._dont_enforce_csrf_checks = True  # type: ignore[attr-defined]
    assert Careless.as_view()(request).status_code == 405


def test_check_finds_views_that_declare_too_little() -> None:
    patterns = [
        path("a/", Undeclared.as_view(), name="a"),
        path("b/", Careless.as_view(), name="b"),
        path("c/", lambda request: None, name="c"),  # type: ignore[arg-type,return-value]
    ]
    found = {route.name: list(checks.faults(route)) for route in checks.routes(patterns)}
    assert found == {
        "a": ["declares no access", "serves GET without declaring it"],
        "b": [
            "declares permissions for GET that its scopes do not give",
            "serves POST without declaring it",
        ],
        "c": ["is no API view"],
    }


def test_every_route_declares_enough() -> None:
    assert checks.check_routes_declare_access(None) == []


# --- schema -------------------------------------------------------


def test_committed_schema_is_that_of_the_views(tmp_path: Any) -> None:
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(made))
    committed = BASE_DIR / "docs" / "openapi.yaml"
    assert made.read_text() == committed.read_text(), (
        "run: manage.py spectacular --file docs/openapi.yaml"
    )


def test_schema_names_scopes_that_exist(client: Client) -> None:
    schema = yaml.safe_load(client.get(reverse("api:schema")).content)
    named = {
        scope
        for operations_ in schema["paths"].values()
        for operation in operations_.values()
        for way in operation["security"]
        for scope in way.get("oauth2", [])
    }
    flows = schema["components"]["securitySchemes"]["oauth2"]["flows"]
    writing = {"commands:read", "commands:write", "devices:derive"}
    writing |= {"firmware:read", "firmware:write", "rollouts:write", "policies:write"}
    writing |= {"bills:read", "bills:write", "tariffs:read", "tariffs:write"}
    writing |= {"payments:read", "payments:write"}
    assert named == {*READ, *writing, "readings:correct", "readings:export"}
    assert set(flows["authorizationCode"]["scopes"]) == set(ACCESS_SCOPES)


def test_reference_has_no_inline_code() -> None:
    response = Client().get(reverse("api:reference"))
    html = response.content.decode()
    assert "<style" not in html
    assert " style=" not in html
    assert "unsafe" not in response["Content-Security-Policy"]
    assert reverse("api:schema") in html


def test_roles_have_the_scope_of_a_whole_tenant(world: World) -> None:
    """The permission that the analyst of the benchmark needs."""
    with open_scope(Scope((world.ours.tenant.pk,))):
        analyst = factories.member(world.ours.tenant, Role.ANALYST).user
    caller = Client()
    caller.force_login(analyst)
    assert len(get(caller, "facility-list")["results"]) == 2


@pytest.mark.parametrize("path", ["a%0Ab/", "facilities/%C2%8B7%0A%F2%A6%8E%B4/latest/", "%00/"])
def test_address_with_control_characters_is_a_problem_like_any_other(
    client: Client, path: str
) -> None:
    problem(client.get(f"/api/v1/{path}"), 404, "not_found")


def test_requests_are_answered_and_not_counted_while_redis_is_away(
    world: World, settings: Settings
) -> None:
    with open_scope(world.ours.scope):
        application = tokens.application(tenant_id=world.ours.tenant.pk, scopes=READ)
        token, _row = tokens.issue(application, user_id=world.ours.manager.pk)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"  # where nobody listens
    answer = Client(headers={"authorization": f"Bearer {token}"}).get(reverse("api:facility-list"))
    assert answer.status_code == 200
    assert "RateLimit" not in answer
