"""What holds for every route, whoever wrote it: forged requests, foreign redirects, headers,
cookies, hosts, errors.

The routes are those of the permission table, so that a new one is attacked without being listed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from devices.domain import queries
from portal.frame.filters import PortalFilterSet
from portal.tests.asking import ask, path_of, secrets_of, text_of
from portal.tests.permission_rows import ROWS
from portal.tests.permission_rows.notation import Row
from portal.tests.permission_rows.world import World

pytestmark = pytest.mark.django_db

UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")
# Called by programs, which send no cookie of a session, or forwarded to a GET that asks the person.
PROGRAMS: Final = {
    "oauth:token", "oauth:revoke", "oauth:introspect", "oauth:userinfo",
    "oauth:device-authorization", "oauth:logout", "consumer:backchannel-logout",
    "payments-webhook",
    *{row.route for row in ROWS if row.route.startswith("ddi:") and row.method in UNSAFE},
}  # fmt: skip
GETS: Final = tuple(row for row in ROWS if row.method == "GET")
WRITES: Final = tuple(
    row for row in ROWS if row.method in UNSAFE and row.route not in PROGRAMS | {"api:unknown"}
)
FOREIGN: Final = ("https://evil.example/", "/\\evil.example/")
# Of lists, logs, forms and pickers, beside the filters.
_PARAMETERS_OF_PAGES: Final = (
    *("sort", "page", "per_page", "q", "before", "log", "events", "level", "start", "from", "kind"),
    *("parent", "device", "tenant", "facilities", "facility-search", "columns", "next"),
)
PARAMETERS: Final = ("next", "redirect", "redirect_to", "return_to", "continue", "url", "back")


def asker(row: Row, world: World) -> str:
    """Somebody who gets what the row gives to those who may."""
    return next(person.name for person in world.people if person.expected(row) == row.may)


def kind_of(answer: Any) -> str:
    """The media type."""
    return str(answer.get("Content-Type", "")).partition(";")[0]


@pytest.mark.parametrize("row", WRITES, ids=str)
def test_write_without_the_token_of_the_form_is_refused(world: World, row: Row) -> None:
    strict = Client(enforce_csrf_checks=True)
    user = world.person(asker(row, world)).user
    if user is not None:
        strict.force_login(user)
    answer = ask(strict, row, path_of(row, world), world)
    assert answer.status_code == 403
    if row.route.startswith("api:"):
        assert "X-CSRFToken" in answer.json()["detail"]
    else:
        assert "CSRF" not in text_of(answer), "the page speaks to people"


@pytest.mark.parametrize("route", sorted(PROGRAMS))
def test_route_without_the_token_of_a_form_does_not_look_at_the_session(
    world: World, clients: dict[str, Client], route: str
) -> None:
    """So that a page of somebody else gets nothing by the cookie that the browser sends."""
    row = next(row for row in ROWS if row.route == route and row.method in UNSAFE)
    path = path_of(row, world)
    answers = [ask(clients[name], row, path, world) for name in ("own admin", "none nobody")]
    assert answers[0].status_code == answers[1].status_code
    assert text_of(answers[0]) == text_of(answers[1])


@pytest.mark.parametrize("name", ["own admin", "none nobody"])
@pytest.mark.parametrize("address", FOREIGN)
def test_no_route_leads_to_a_foreign_address(
    world: World, clients: dict[str, Client], name: str, address: str
) -> None:
    own = {"", urlsplit(settings.PUBLIC_URL).netloc, "testserver"}
    led = {}
    for row in ROWS:
        if row.method not in ("GET", "POST"):
            continue
        path = path_of(row, world)
        wanted = dict.fromkeys(PARAMETERS, address)
        form = {**(row.form(world) if row.form else {}), **wanted}
        at = path if row.method == "POST" else f"{path}?{urlencode(wanted)}"
        answer = ask(clients[name], row, at, world, form=form)
        location = str(answer.get("Location", ""))
        parts = urlsplit(location.replace("\\", "/"))
        if parts.netloc not in own or parts.scheme not in ("", "http", "https"):
            led[str(row)] = location
    assert led == {}


@pytest.mark.parametrize("row", GETS, ids=str)
def test_answer_is_protected(world: World, clients: dict[str, Client], row: Row) -> None:
    may = asker(row, world)
    for name in {may, "none nobody"}:
        answer = ask(clients[name], row, path_of(row, world), world)
        _assert_headers(answer)
        if kind_of(answer) == "text/html":
            _assert_nothing_inline(text_of(answer))
        if name == may and row.may != row.nobody:
            _assert_private(answer)


def _assert_headers(answer: Any) -> None:
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["X-Frame-Options"] == "DENY"
    policy = dict(
        directive.strip().partition(" ")[::2]
        for directive in answer["Content-Security-Policy"].split(";")
    )
    assert policy["script-src"] == policy["style-src"] == policy["default-src"] == "'self'"
    assert policy["object-src"] == policy["frame-ancestors"] == "'none'"
    assert (policy["base-uri"], policy["form-action"].split()[0]) == ("'self'", "'self'")


def _assert_private(answer: Any) -> None:
    """Nobody but the reader keeps it."""
    directives = set(re.split(r",\s*", answer.get("Cache-Control", "")))
    assert "private" in directives
    assert directives & {"no-store", "no-cache"}
    assert "public" not in directives


def _assert_nothing_inline(text: str) -> None:
    """No script or style that the policy would refuse, nothing of another origin."""
    assert re.findall(r"<style\b|\sstyle\s*=\s*[\"']|\son[a-z]+\s*=\s*[\"']", text) == []
    scripts = re.findall(r"<script\b([^>]*)>", text)
    assert [tag for tag in scripts if "src=" not in tag and "application/json" not in tag] == []
    assert re.findall(r"(?:src|href|action)\s*=\s*[\"']\s*javascript:", text) == []
    foreign = re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"']https?://", text)
    assert foreign == []


@pytest.mark.parametrize("name", ["own admin", "none nobody"])
def test_cookies_are_kept_from_scripts_and_other_sites(
    world: World, clients: dict[str, Client], name: str
) -> None:
    weak = {}
    for row in ROWS:
        answer = ask(clients[name], row, path_of(row, world), world)
        for cookie in answer.cookies.values():
            if not cookie.value:
                continue  # it is taken away
            if not cookie["httponly"] or cookie["samesite"] not in ("Lax", "Strict"):
                weak[str(row)] = cookie.OutputString()
    assert weak == {}


def test_cookies_are_tied_to_host_and_https_where_there_is_https() -> None:
    told = (
        "from django.conf import settings as s; "
        "print([(getattr(s, n + '_NAME'), getattr(s, n + '_SECURE'))"
        " for n in ('SESSION_COOKIE', 'CSRF_COOKIE')], s.SECURE_SSL_REDIRECT,"
        " s.SECURE_HSTS_SECONDS >= 31536000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={
            **os.environ,
            "WATTLINE_HTTPS": "1",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "SECRET_KEY": "x" * 60,
        },
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (
        "[('__Host-wattline_session', True), ('__Host-csrftoken', True)] True True"
    )


def test_unknown_host_is_refused_and_a_forwarded_one_ignored(
    world: World, clients: dict[str, Client]
) -> None:
    spoken = {}
    forwarded = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "gopher"}
    for row in ROWS:
        path = path_of(row, world)
        unknown = ask(clients["none nobody"], row, path, world, headers={"host": "evil.example"})
        assert unknown.status_code == 400
        answer = ask(clients["own admin"], row, path, world, headers=forwarded)
        if "evil.example" in text_of(answer) or "evil.example" in str(answer.headers):
            spoken[str(row)] = answer.status_code
    assert spoken == {}


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_strange_methods_tell_nothing(
    world: World, clients: dict[str, Client], method: str
) -> None:
    secrets = secrets_of(world)
    for row in ROWS:
        strange = Row(row.route, method, "", 0, 0, 0, 0, 0)
        for name in ("other manager", "none nobody"):
            answer = ask(clients[name], strange, path_of(row, world), world)
            assert answer.status_code < 500, str(row)
            text = text_of(answer)
            assert [secret for secret in secrets if secret in text] == []


_TELLING: Final = re.compile(
    r"Traceback|File \"|line \d+, in|/site-packages/|SELECT |psycopg|django\."
)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize(
    "path", ["/nothing/<script>alert(1)</script>", "/api/v1/nothing/", "/facilities/0/", "/%00"]
)
def test_missing_address_tells_nothing_of_the_machine(
    clients: dict[str, Client], path: str, accept: str
) -> None:
    for name in ("own admin", "none nobody"):
        answer = clients[name].get(path, headers={"accept": accept})
        # The API speaks JSON alone, and says so.
        spoken = "/api/" not in path or "json" in accept
        led = path.startswith("/facilities/") and name == "none nobody"
        assert answer.status_code == (302 if led else 404 if spoken else 406)
        text = text_of(answer)
        assert _TELLING.search(text) is None
        assert "<script>alert" not in text


def _filters(base: type[PortalFilterSet] = PortalFilterSet) -> set[str]:
    """The names of all filters of all lists."""
    return {
        *vars(base).get("base_filters", ()),
        *(name for derived in base.__subclasses__() for name in _filters(derived)),
    }


@pytest.mark.parametrize(
    "value", ["\0", "9" * 30, "9" * 5000, "-1", "x'\"<>%_\\", "²", "2026-02-30"]
)
def test_hostile_parameters_are_answered_on_every_page(
    world: World, clients: dict[str, Client], value: str
) -> None:
    """Whatever an address says, it shows something or is refused: it never fails."""
    names = {*_PARAMETERS_OF_PAGES, *_filters()}
    query = urlencode(dict.fromkeys(sorted(names), value))
    failed = []
    for row in GETS:
        client = clients["above operator"]
        client.raise_request_exception = False
        answer = ask(client, row, f"{path_of(row, world)}?{query}", world)
        client.raise_request_exception = True
        if answer.status_code == 500:
            failed.append(str(row))
    assert failed == []


def test_failing_page_tells_nothing_of_its_failure(
    clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("secret-7261 at /srv/secret-place")

    monkeypatch.setattr(queries, "facility_detail", fail)
    client = Client(raise_request_exception=False)
    client.cookies.load({k: v.value for k, v in clients["own admin"].cookies.items()})
    answer = client.get(reverse("facility", args=[1]))
    assert answer.status_code == 500
    text = text_of(answer)
    assert "secret-" not in text
    assert _TELLING.search(text) is None
    assert answer["Content-Security-Policy"]


def test_forged_form_gets_a_page_for_people() -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("login"), {"login": "a"})
    assert answer.status_code == 403
    assert kind_of(answer) == "text/html"
    assert _TELLING.search(text_of(answer)) is None
