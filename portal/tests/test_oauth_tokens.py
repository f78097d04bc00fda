"""The token endpoint and what it gives: refresh, service accounts, devices, revocation, checks."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.oauth import bearer
from portal.tests.oauth_world import (
    SCOPES,
    VERIFIER,
    World,
    call,
    claims_of,
    commits,
    make_world,
    no_leftovers,
    refresh,
    send,
    sent_to,
    works,
    world,
)
from tenants import token_cache
from tenants.domain.oauth_queries import checksum_of
from tenants.models import Application, AuditEntry
from tenants.permissions import Permission
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commits", "no_leftovers", "world"]

pytestmark = pytest.mark.django_db


# --- refresh -----------------------------------------------------


def test_refresh_rotates(world: World) -> None:
    first = world.tokens()
    second = refresh(world, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert works(second["access_token"])
    assert not works(first["access_token"])
    assert claims_of(second["id_token"])["sid"] == claims_of(first["id_token"])["sid"]


def test_reuse_of_a_refresh_token_ends_the_whole_family(world: World) -> None:
    other = world.tokens()
    first = world.tokens()
    second = refresh(world, first["refresh_token"]).json()
    third = refresh(world, second["refresh_token"]).json()
    reused = refresh(world, first["refresh_token"])
    assert (reused.status_code, reused.json()["error"]) == (400, "invalid_grant")
    assert not works(third["access_token"])
    assert refresh(world, third["refresh_token"]).status_code == 400
    # Another sign-in of the same user is another family.
    assert works(other["access_token"])
    assert refresh(world, other["refresh_token"]).status_code == 200


def test_refresh_cannot_widen_the_scopes(world: World) -> None:
    tokens = world.tokens()
    wider = refresh(world, tokens["refresh_token"], scope=SCOPES + " devices:read")
    assert wider.json()["error"] == "invalid_scope"


def test_refresh_token_of_another_application_is_worth_nothing(world: World) -> None:
    tokens = world.tokens()
    with open_scope(Scope((world.tenant.pk,))):
        other, secret = factories.application(world.tenant)
    answer = call(
        other, secret, "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"]
    )
    assert answer.json()["error"] == "invalid_grant"
    assert refresh(world, tokens["refresh_token"]).status_code == 200


def test_closed_account_gets_no_tokens(world: World) -> None:
    tokens = world.tokens()
    world.user.is_active = False
    world.user.save(update_fields=["is_active"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400
    assert not works(tokens["access_token"])


# --- public clients, service accounts ----------------------------


def test_public_application_needs_pkce_and_no_secret(commits: None) -> None:
    world = make_world(
        client_type=Application.CLIENT_PUBLIC, redirect_uris="http://127.0.0.1/callback"
    )
    uri = "http://127.0.0.1:5123/callback"
    response = world.browser.post(
        f"/oauth/authorize?{world.query(redirect_uri=uri)}",
        {"answer": "allow", "tenant": world.tenant.pk},
    )
    code = sent_to(response, uri)["code"]
    answer = Client().post(
        "/oauth/token",
        {
            "grant_type": "authorization_code",
            "client_id": world.application.client_id,
            "code": code,
            "redirect_uri": uri,
            "code_verifier": VERIFIER,
        },
    )
    assert works(answer.json()["access_token"])


def service_account(**changes: object) -> World:
    return make_world(
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS, redirect_uris="", **changes
    )


def test_service_account_is_bound_to_tenant_and_facilities(commits: None) -> None:
    world = service_account(facility_ids=[7, 9])
    answer = world.post("token", grant_type="client_credentials", scope="readings:read").json()
    assert "refresh_token" not in answer
    found = bearer.authenticate(answer["access_token"])
    assert found.user_id is None
    assert found.scope == Scope((world.tenant.pk,), (7, 9))
    assert found.permissions == {Permission.READINGS_VIEW}


def test_parameters_of_a_request_never_become_its_authorization(commits: None) -> None:
    world, other = service_account(), make_world()
    answer = world.post(
        "token",
        grant_type="client_credentials",
        authorization=str(other.tenant.pk),
        tenant_id=str(other.tenant.pk),
        user=str(other.user.pk),
    ).json()
    found = bearer.authenticate(answer["access_token"])
    assert (found.tenant_id, found.user_id) == (world.tenant.pk, None)


def test_service_account_cannot_widen_its_scopes(commits: None) -> None:
    world = service_account(allowed_scopes=["facilities:read"])
    for scope in ("readings:read", "openid", "facilities:read readings:read"):
        answer = world.post("token", grant_type="client_credentials", scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def test_application_uses_only_the_grant_it_is_registered_for(world: World) -> None:
    for kind in ("client_credentials", "password", "urn:ietf:params:oauth:grant-type:device_code"):
        answer = world.post(
            "token", grant_type=kind, device_code="x", username=world.user.email, password="x"
        )
        assert answer.status_code in {400, 401}
        assert "access_token" not in answer.json()


def test_wrong_secret_and_two_names_are_refused(world: World) -> None:
    world.secret, right = "wrong", world.secret
    assert world.post("token", grant_type="client_credentials").status_code == 401
    other = service_account()
    mixed = call(
        other.application,
        "wrong",
        "token",
        grant_type="client_credentials",
        client_id=world.application.client_id,
        client_secret=right,
    )
    assert mixed.status_code == 401


# --- devices -----------------------------------------------------


def device_world() -> World:
    return make_world(
        authorization_grant_type=Application.GRANT_DEVICE_CODE,
        client_type=Application.CLIENT_PUBLIC,
        redirect_uris="",
    )


def ask(world: World) -> dict[str, Any]:
    answer = send(
        "device-authorization",
        client_id=world.application.client_id,
        scope="openid readings:read",
    )
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def poll(world: World, code: str) -> Any:
    return send(
        "token",
        grant_type="urn:ietf:params:oauth:grant-type:device_code",
        client_id=world.application.client_id,
        device_code=code,
    )


def test_device_gets_its_token_once_a_person_has_allowed_it(commits: None) -> None:
    world = device_world()
    asked = ask(world)
    assert asked["verification_uri"] == f"{settings.PUBLIC_URL}/oauth/device"
    assert poll(world, asked["device_code"]).json()["error"] == "authorization_pending"
    assert poll(world, asked["device_code"]).json()["error"] == "slow_down"
    typed = asked["user_code"].replace("-", " ").lower()
    page = world.browser.post("/oauth/device", {"user_code": typed}).content.decode()
    assert world.application.name in page
    answer = {"user_code": typed, "answer": "allow", "tenant": world.tenant.pk}
    assert "connected" in world.browser.post("/oauth/device", answer).content.decode()
    tokens = poll(world, asked["device_code"]).json()
    found = bearer.authenticate(tokens["access_token"])
    assert (found.user_id, found.tenant_id) == (world.user.pk, world.tenant.pk)
    assert poll(world, asked["device_code"]).json()["error"] == "invalid_grant"


def test_device_is_refused_expires_and_is_bound_to_its_application(commits: None) -> None:
    world, other = device_world(), device_world()
    asked = ask(world)
    assert poll(other, asked["device_code"]).json()["error"] == "invalid_grant"
    stranger = other.browser.post("/oauth/device", {"user_code": asked["user_code"]})
    assert world.application.name not in stranger.content.decode()
    world.browser.post("/oauth/device", {"user_code": asked["user_code"], "answer": "deny"})
    assert poll(world, asked["device_code"]).json()["error"] == "access_denied"
    late = ask(world)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11), tick=False):
        assert poll(world, late["device_code"]).json()["error"] == "expired_token"


def test_codes_of_devices_cannot_be_tried_out(commits: None) -> None:
    world = device_world()
    statuses = [
        world.browser.post("/oauth/device", {"user_code": "BBBB-BBBB"}).status_code
        for _ in range(21)
    ]
    assert statuses == [200] * 20 + [429]


# --- revocation, introspection -----------------------------------


def test_revocation_is_the_applications_own(world: World) -> None:
    tokens = world.tokens()
    with open_scope(Scope((world.tenant.pk,))):
        other, secret = factories.application(world.tenant)
    assert call(other, secret, "revoke", token=tokens["access_token"]).status_code == 200
    assert works(tokens["access_token"])
    assert world.post("revoke", token=tokens["access_token"]).status_code == 200
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400


def _told(world: World) -> list[tuple[str, int | None, str]]:
    """What the audit trail tells of tokens."""
    with open_scope(Scope((world.tenant.pk,))):
        entries = AuditEntry.objects.filter(action__startswith="token.").order_by("at", "id")
        return list(entries.values_list("action", "actor", "subject_name"))


def test_revocation_is_told_in_the_trail(world: World) -> None:
    tokens = world.tokens()
    world.post("revoke", token="x" * 43)
    assert _told(world) == []
    for _ in range(2):
        world.post("revoke", token=tokens["refresh_token"])
    assert _told(world) == [("token.revoke", world.user.pk, world.application.name)]


def test_a_token_or_code_used_twice_is_told_once(world: World) -> None:
    code = world.allow()["code"]
    world.exchange(code)
    for _ in range(3):
        assert world.exchange(code).status_code == 400
    reuse = ("token.reuse", world.user.pk, world.application.name)
    assert _told(world) == [reuse]
    tokens = world.tokens()
    assert refresh(world, tokens["refresh_token"]).status_code == 200
    for _ in range(3):
        assert refresh(world, tokens["refresh_token"]).status_code == 400
    assert _told(world) == [reuse, reuse]


def test_revoked_token_is_not_brought_back_by_a_slow_look_up(world: World) -> None:
    token = world.tokens()["access_token"]
    read_before = bearer.authenticate(token)
    cache.clear()
    world.post("revoke", token=token)
    token_cache.store(checksum_of(token), read_before)
    assert not works(token)


def test_introspection_tells_its_own_application_alone(world: World) -> None:
    tokens = world.tokens()
    mine = world.post("introspect", token=tokens["access_token"]).json()
    assert mine["active"] is True
    assert (mine["scope"], mine["sub"]) == (SCOPES, str(world.user.pk))
    assert world.post("introspect", token=tokens["refresh_token"]).json()["active"] is True
    stranger = make_world()
    for other in (stranger, make_world()):
        answer = other.post("introspect", token=tokens["access_token"])
        assert answer.json() == {"active": False}
    assert Client().post("/oauth/introspect", {"token": tokens["access_token"]}).status_code == 401
    world.post("revoke", token=tokens["access_token"])
    assert world.post("introspect", token=tokens["access_token"]).json() == {"active": False}


def test_public_application_cannot_introspect(commits: None) -> None:
    world = device_world()
    answer = Client().post(
        "/oauth/introspect",
        {
            "client_id": world.application.client_id,
            "token": "x",
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        },
    )
    assert answer.status_code == 401


# --- token checks ------------------------------------------------


def test_token_check_is_one_cache_look_up_and_no_query(world: World) -> None:
    token = world.tokens()["access_token"]
    bearer.authenticate(token)
    with CaptureQueriesContext(connection) as queries:
        bearer.authenticate(token)
    assert len(queries) == 0


def test_token_expires_in_the_cache_too(world: World) -> None:
    token = world.tokens()["access_token"]
    assert works(token)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=11), tick=False):
        assert not works(token)


@pytest.mark.parametrize("token", ["", "nonsense", "ü", "a" * 100_000])
def test_nonsense_is_no_token(token: str) -> None:
    assert not works(token)


# --- over processes ----------------------------------------------


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_revocation_is_seen_by_another_process() -> None:
    world = make_world()
    token = world.tokens()["access_token"]
    script = (
        "import django, sys; django.setup()\n"
        "from portal.oauth import bearer\n"
        "for line in sys.stdin:\n"
        "    try: bearer.authenticate(line.strip()); print('valid', flush=True)\n"
        "    except bearer.InvalidToken: print('invalid', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None

        def answer() -> str:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdin.write(token + "\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        assert [answer(), answer()] == ["valid", "valid"]
        assert world.post("revoke", token=token).status_code == 200
        assert answer() == "invalid"
        other.stdin.close()
