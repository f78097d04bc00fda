"""The provider as applications meet it: every flow, over HTTP, on the real database and Redis."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from socket import socket
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from jwcrypto import jwk, jwt
from pytest_django import Settings

from portal.oauth import backchannel, bearer
from portal.tasks import send_logout_token
from tenants import oidc_keys, token_cache
from tenants.domain import oauth_operations
from tenants.domain.oauth_queries import checksum_of
from tenants.domain.operations import change_role
from tenants.models import (
    AccessToken,
    Application,
    AuditEntry,
    Consent,
    Grant,
    Membership,
    RefreshToken,
    Tenant,
    User,
)
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

pytestmark = pytest.mark.django_db

VERIFIER = "v" * 43
SCOPES = "openid email readings:read"


@dataclass
class World:
    """A tenant with an application, a member who is signed in, and a place for what comes back."""

    tenant: Tenant
    user: User
    application: Application
    secret: str
    browser: Client

    @property
    def redirect_uri(self) -> str:
        return str(self.application.redirect_uris)

    def query(self, **changes: str | None) -> str:
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.application.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPES,
            "state": "xyz",
            "nonce": "n-1",
            "code_challenge": challenge(VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return urlencode({name: value for name, value in values.items() if value is not None})

    def authorize(self, **changes: str | None) -> Any:
        return self.browser.get(f"/oauth/authorize?{self.query(**changes)}")

    def allow(self, answer: str = "allow", **changes: str | None) -> dict[str, str]:
        """Agree on the consent page; what the application is sent."""
        response = self.browser.post(
            f"/oauth/authorize?{self.query(**changes)}",
            {"answer": answer, "tenant": self.tenant.pk},
        )
        return sent_to(response, self.redirect_uri)

    def exchange(self, code: str, **changes: str | None) -> Any:
        return self.post(
            "token",
            grant_type="authorization_code",
            code=code,
            redirect_uri=changes.pop("redirect_uri", self.redirect_uri),
            code_verifier=changes.pop("code_verifier", VERIFIER),
            **changes,
        )

    def post(self, endpoint: str, **values: str | None) -> Any:
        """A request of the application itself, with its secret."""
        return call(self.application, self.secret, endpoint, **values)

    def tokens(self) -> dict[str, Any]:
        answer = self.exchange(self.allow()["code"])
        assert answer.status_code == 200, answer.content
        return dict(answer.json())


def challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def call(application: Application, secret: str, endpoint: str, **values: str | None) -> Any:
    sent = {name: value for name, value in values.items() if value is not None}
    credentials = base64.b64encode(f"{application.client_id}:{secret}".encode()).decode()
    return Client().post(
        f"/oauth/{endpoint}",
        urlencode(sent),
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Basic {credentials}"},
    )


def send(endpoint: str, **values: str) -> Any:
    """A request of an application that has no secret."""
    return Client().post(
        f"/oauth/{endpoint}",
        urlencode(values),
        content_type="application/x-www-form-urlencoded",
    )


def sent_to(response: Any, uri: str) -> dict[str, str]:
    """The parameters of a redirect, which must lead to `uri`."""
    assert response.status_code == 302, response.content
    location = urlsplit(response["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == uri
    return {name: values[0] for name, values in parse_qs(location.query).items()}


def works(token: str) -> bool:
    try:
        bearer.authenticate(token)
    except bearer.InvalidToken:
        return False
    return True


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a signed token, verified with the published keys."""
    keys = jwk.JWKSet.from_json(json.dumps(Client().get("/oauth/jwks").json()))
    return dict(json.loads(jwt.JWT(jwt=token, key=keys, algs=["RS256"]).claims))


def make_world(**changes: object) -> World:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, Role.MANAGER).user
        application, secret = factories.application(tenant, **changes)
    browser = Client()
    browser.force_login(user)
    return World(tenant, user, application, secret, browser)


@pytest.fixture
def world(commits: None) -> World:
    return make_world()


@pytest.fixture
def commits(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for the end of a transaction happens at once: the tests' own never commits."""
    monkeypatch.setattr(
        connections["default"], "on_commit", lambda act, robust=False: act(), raising=True
    )


@pytest.fixture(autouse=True)
def no_leftovers() -> None:
    cache.clear()


# --- discovery and keys -------------------------------------------


def test_discovery_announces_what_exists() -> None:
    document = Client().get("/.well-known/openid-configuration").json()
    assert document["issuer"] == settings.PUBLIC_URL
    announced = {value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
    for address in announced:
        path = address.removeprefix(settings.PUBLIC_URL)
        assert Client().post(path).status_code != 404, address
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    assert document == Client().get("/.well-known/oauth-authorization-server").json()


def test_rotation_keeps_old_tokens_valid_and_was_announced(
    world: World, settings: Settings, tmp_path: Any
) -> None:
    settings.OIDC_KEYS_DIR = tmp_path
    before = {key["kid"] for key in oidc_keys.published()}
    signed = world.tokens()["id_token"]
    assert oidc_keys.rotate() in before
    assert claims_of(signed)["sub"] == str(world.user.pk)
    oidc_keys.rotate()
    with pytest.raises(jwt.JWTMissingKey):
        claims_of(signed)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.pem")} == {
        "current.pem": 0o600,
        "next.pem": 0o600,
        "previous.pem": 0o600,
    }


def test_published_keys_hold_nothing_private() -> None:
    for key in oidc_keys.published():
        assert set(key) == {"alg", "use", "kid", "kty", "n", "e"}


# --- authorization code -------------------------------------------


def test_consent_page_names_data_tenant_and_duration(world: World) -> None:
    html = world.authorize().content.decode()
    for text in (world.application.name, world.tenant.name, "readings of your devices", "30 days"):
        assert text in html


def test_consent_page_may_lead_to_the_application_and_is_in_no_frame(world: World) -> None:
    response = world.authorize()
    policy = response["Content-Security-Policy"]
    origin = world.redirect_uri.removesuffix("/callback")
    assert f"form-action 'self' {origin}" in policy
    assert "frame-ancestors 'none'" in policy


def test_code_becomes_tokens_and_claims(world: World) -> None:
    answer = world.allow()
    assert (answer["state"], answer["iss"]) == ("xyz", settings.PUBLIC_URL)
    response = world.exchange(answer["code"])
    tokens = response.json()
    assert "no-store" in response["Cache-Control"]
    assert (tokens["expires_in"], tokens["token_type"]) == (600, "Bearer")
    claims = claims_of(tokens["id_token"])
    assert claims["iss"] == settings.PUBLIC_URL
    assert claims["aud"] == world.application.client_id
    assert (claims["sub"], claims["nonce"]) == (str(world.user.pk), "n-1")
    assert claims["email"] == world.user.email
    assert "name" not in claims
    told = Client().get(
        "/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
    )
    assert told.json() == {"sub": str(world.user.pk), "email": world.user.email}


def test_tokens_and_codes_are_stored_as_digests_alone(world: World) -> None:
    code = world.allow()["code"]
    tokens = world.exchange(code).json()
    with open_scope(Scope((world.tenant.pk,))), connection.cursor() as cursor:
        stored = ""
        for table in ("grant", "accesstoken", "refreshtoken", "application", "idtoken"):
            cursor.execute(f"SELECT t::text FROM tenants_{table} t")
            stored += str(cursor.fetchall())
    assert stored
    for secret in (code, tokens["access_token"], tokens["refresh_token"], world.secret):
        assert secret not in stored


def test_bearer_acts_in_its_tenant_with_its_scopes_alone(world: World) -> None:
    found = bearer.authenticate(world.tokens()["access_token"])
    assert found.scope == Scope((world.tenant.pk,))
    assert found.user_id == world.user.pk
    assert found.permissions == {Permission.READINGS_VIEW}


def test_scopes_never_exceed_the_role(world: World) -> None:
    token = world.exchange(world.allow(scope="devices:read")["code"]).json()["access_token"]
    assert bearer.authenticate(token).allows(Permission.DEVICES_VIEW)
    with open_scope(Scope((world.tenant.pk,))):
        membership = Membership.objects.get(user=world.user)
        change_role(membership_id=membership.pk, role=Role.CONSUMER, actor_id=None)
        oauth_operations.access_changed(user_id=world.user.pk)
    assert not bearer.authenticate(token).allows(Permission.DEVICES_VIEW)
    assert bearer.authenticate(token).scope.facility_ids == ()


def test_code_is_replayed_and_everything_that_came_of_it_ends(world: World) -> None:
    code = world.allow()["code"]
    tokens = world.exchange(code).json()
    assert works(tokens["access_token"])
    replay = world.exchange(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert not works(tokens["access_token"])
    again = world.post("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert again.json()["error"] == "invalid_grant"


def test_code_is_replayed_after_a_refresh_and_the_newer_tokens_end(world: World) -> None:
    code = world.allow()["code"]
    first = world.exchange(code).json()
    second = world.post(
        "token", grant_type="refresh_token", refresh_token=first["refresh_token"]
    ).json()
    assert world.exchange(code).status_code == 400
    assert not works(second["access_token"])


def test_code_expires(world: World) -> None:
    code = world.allow()["code"]
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=61), tick=False):
        assert world.exchange(code).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unauthorized_client"),
        ({"response_type": "code token"}, "unauthorized_client"),
        ({"scope": "openid admin"}, "invalid_scope"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
    ],
)
def test_unsafe_request_is_refused(world: World, changes: dict[str, str], error: str) -> None:
    answer = sent_to(world.authorize(**changes), world.redirect_uri)
    assert (answer["error"], answer["state"]) == (error, "xyz")
    assert answer["iss"] == settings.PUBLIC_URL
    assert "code" not in answer


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example.org/callback",
        "{registered}/../evil",
        "{registered}?next=evil",
        "{registered}#x",
        "https://evil@{host}/callback",
        "//evil.example.org",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_an_address_that_is_not_registered(world: World, uri: str) -> None:
    host = urlsplit(world.redirect_uri).netloc
    uri = uri.format(registered=world.redirect_uri, host=host)
    for changes in ({}, {"scope": "nonsense"}, {"prompt": "none"}, {"request": "x"}):
        response = world.authorize(redirect_uri=uri, **changes)
        assert response.status_code == 400
        assert "Location" not in response


def test_unknown_application_gets_a_page(world: World) -> None:
    assert world.authorize(client_id="nobody").status_code == 400
    assert world.authorize(client_id="a\x00b").status_code == 400


@pytest.mark.parametrize("verifier", [None, "w" * 43, challenge(VERIFIER)])
def test_code_without_its_verifier_is_worth_nothing(world: World, verifier: str | None) -> None:
    response = world.exchange(world.allow()["code"], code_verifier=verifier)
    assert response.status_code == 400
    assert "access_token" not in response.json()


def test_code_is_bound_to_its_redirect_address(world: World) -> None:
    response = world.exchange(world.allow()["code"], redirect_uri="https://evil.example.org/")
    assert response.status_code == 400


def test_code_of_another_application_is_worth_nothing(world: World) -> None:
    with open_scope(Scope((world.tenant.pk,))):
        other, secret = factories.application(world.tenant, redirect_uris=world.redirect_uri)
    response = call(
        other,
        secret,
        "token",
        grant_type="authorization_code",
        code=world.allow()["code"],
        redirect_uri=world.redirect_uri,
        code_verifier=VERIFIER,
    )
    assert response.json()["error"] == "invalid_grant"


def test_refusal_reaches_the_application(world: World) -> None:
    answer = world.allow("deny")
    assert answer["error"] == "access_denied"
    with open_scope(Scope((world.tenant.pk,))):
        assert Consent.objects.count() == Grant.objects.count() == 0


def test_consent_form_is_protected_against_forgery(world: World) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(world.user)
    response = strict.post(f"/oauth/authorize?{world.query()}", {"answer": "allow"})
    assert response.status_code == 403


def test_person_of_another_tenant_cannot_authorize(world: World) -> None:
    other = make_world()
    world.browser = other.browser
    assert sent_to(world.authorize(), world.redirect_uri)["error"] == "access_denied"
    assert world.allow()["error"] == "access_denied"


def test_tenant_cannot_be_chosen_at_will(world: World) -> None:
    other = make_world()
    response = world.browser.post(
        f"/oauth/authorize?{world.query()}", {"answer": "allow", "tenant": other.tenant.pk}
    )
    assert sent_to(response, world.redirect_uri)["error"] == "access_denied"


def test_application_of_an_operator_serves_the_tenants_below(commits: None) -> None:
    root = factories.operator()
    client = factories.tenant(root)
    with open_scope(Scope((root.pk,))):
        application, secret = factories.application(root)
    with open_scope(Scope((client.pk,))):
        user = factories.member(client, Role.CONSUMER).user
    browser = Client()
    browser.force_login(user)
    below = World(client, user, application, secret, browser)
    found = bearer.authenticate(below.tokens()["access_token"])
    assert (found.tenant_id, found.scope) == (client.pk, Scope((client.pk,), ()))


# --- prompts ------------------------------------------------------


def test_consent_is_remembered_until_more_is_asked(world: World) -> None:
    world.tokens()
    assert "code" in sent_to(world.authorize(), world.redirect_uri)
    assert "code" in sent_to(world.authorize(scope="openid"), world.redirect_uri)
    assert world.authorize(scope="openid devices:read").status_code == 200
    assert world.authorize(prompt="consent").status_code == 200


def test_prompt_none_never_asks(world: World) -> None:
    uri = world.redirect_uri
    assert sent_to(world.authorize(prompt="none"), uri)["error"] == "consent_required"
    signed = world.tokens()["id_token"]
    assert "code" in sent_to(world.authorize(prompt="none"), uri)
    assert "code" in sent_to(world.authorize(prompt="none", id_token_hint=signed), uri)
    stranger = make_world().tokens()["id_token"]
    answer = sent_to(world.authorize(prompt="none", id_token_hint=stranger), uri)
    assert answer["error"] == "login_required"
    world.browser = Client()
    assert sent_to(world.authorize(prompt="none"), uri)["error"] == "login_required"


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "0"}])
def test_signing_in_again_is_demanded_and_cannot_be_skipped(
    commits: None, changes: dict[str, str]
) -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, Role.MANAGER).user
        application, secret = factories.application(tenant, skip_authorization=True)
    user.set_password("correct horse battery")
    user.save(update_fields=["password"])
    world = World(tenant, user, application, secret, Client())
    world.browser.force_login(user)
    page = world.authorize(**changes)
    login = urlsplit(page["Location"])
    assert login.path == "/accounts/login/"
    back = parse_qs(login.query)["next"][0]
    # Straight back, without having signed in: asked again.
    assert "/accounts/login/" in world.browser.get(back)["Location"]
    assert world.browser.get(page["Location"]).status_code == 200
    form = {"login": user.email, "password": "correct horse battery", "next": back}
    after = world.browser.post(page["Location"], form)
    assert after["Location"] == back
    answer = sent_to(world.browser.get(back), world.redirect_uri)
    claims = claims_of(world.exchange(answer["code"]).json()["id_token"])
    assert abs(claims["auth_time"] - datetime.now(UTC).timestamp()) < 60
    # The mark of one request serves no other.
    other = back.replace("state=xyz", "state=other")
    assert "/accounts/login/" in world.browser.get(other)["Location"]


def test_somebody_who_is_not_signed_in_comes_back(world: World) -> None:
    world.browser = Client()
    login = urlsplit(world.authorize()["Location"])
    back = parse_qs(login.query)["next"][0]
    assert back.startswith("/oauth/authorize?")
    page = Client().get(f"{login.path}?{login.query}")
    origin = world.redirect_uri.removesuffix("/callback")
    assert f"form-action 'self' {origin}" in page["Content-Security-Policy"]


# --- refresh ------------------------------------------------------


def refresh(world: World, token: str, **more: str) -> Any:
    return world.post("token", grant_type="refresh_token", refresh_token=token, **more)


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


# --- public clients, service accounts -----------------------------


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


# --- devices ------------------------------------------------------


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


# --- revocation, introspection ------------------------------------


def test_revocation_is_the_applications_own(world: World) -> None:
    tokens = world.tokens()
    with open_scope(Scope((world.tenant.pk,))):
        other, secret = factories.application(world.tenant)
    assert call(other, secret, "revoke", token=tokens["access_token"]).status_code == 200
    assert works(tokens["access_token"])
    assert world.post("revoke", token=tokens["access_token"]).status_code == 200
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400


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


# --- token checks -------------------------------------------------


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


# --- grants -------------------------------------------------------


def test_person_sees_and_revokes_what_was_allowed(world: World) -> None:
    tokens = world.tokens()
    assert world.application.name in world.browser.get("/oauth/grants/").content.decode()
    with open_scope(Scope((world.tenant.pk,))):
        pk = Consent.objects.get().pk
    stranger = make_world().browser.post(f"/oauth/grants/{pk}/revoke")
    assert stranger.status_code == 404
    assert world.browser.post(f"/oauth/grants/{pk}/revoke").status_code == 302
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400
    assert world.authorize().status_code == 200
    with open_scope(Scope((world.tenant.pk,))):
        actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"consent.give", "consent.revoke", "application.register"} <= actions


def test_administrator_revokes_what_others_allowed(world: World) -> None:
    tokens = world.tokens()
    with open_scope(Scope((world.tenant.pk,))):
        admin = factories.member(world.tenant, Role.ADMIN).user
        analyst = factories.member(world.tenant, Role.ANALYST).user
        pk = Consent.objects.get().pk
    browser = Client()
    browser.force_login(analyst)
    assert world.user.email not in browser.get("/oauth/grants/").content.decode()
    assert browser.post(f"/oauth/grants/{pk}/revoke").status_code == 404
    browser.force_login(admin)
    assert world.user.email in browser.get("/oauth/grants/").content.decode()
    assert browser.post(f"/oauth/grants/{pk}/revoke").status_code == 302
    assert not works(tokens["access_token"])


def test_deactivated_application_is_refused_everywhere(world: World) -> None:
    tokens = world.tokens()
    with open_scope(Scope((world.tenant.pk,))):
        oauth_operations.deactivate_application(application_id=world.application.pk, actor_id=None)
        assert AccessToken.objects.count() == 0
        assert RefreshToken.objects.filter(revoked__isnull=True).count() == 0
    assert not works(tokens["access_token"])
    assert world.authorize().status_code == 400
    assert refresh(world, tokens["refresh_token"]).status_code == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": ""},
        {"redirect_uris": "http://app.example.org/callback"},
        {"redirect_uris": "https://*.example.org/"},
        {"redirect_uris": "javascript:alert(1)"},
        {"redirect_uris": "https://user@example.org/"},
        {"post_logout_redirect_uris": "http://app.example.org/"},
        {"allowed_scopes": ["admin"]},
        {"backchannel_logout_uri": "ftp://app.example.org/"},
    ],
)
def test_unsafe_application_is_not_registered(changes: dict[str, Any]) -> None:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))), pytest.raises(ValidationError):
        factories.application(tenant, **changes)


# --- signing out --------------------------------------------------


def test_signing_out_of_the_portal_ends_every_application(
    commits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(backchannel_logout_uri="https://app.example.org/backchannel")
    tokens = world.tokens()
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(send_logout_token, "delay", lambda **kwargs: sent.append(kwargs))
    assert world.browser.post("/accounts/logout/").status_code == 302
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).status_code == 400
    assert sent == [
        {
            "uri": "https://app.example.org/backchannel",
            "client_id": world.application.client_id,
            "user_id": world.user.pk,
            "sid": claims_of(tokens["id_token"])["sid"],
        }
    ]


def test_application_signs_out_with_its_id_token(commits: None) -> None:
    uri = "https://app.example.org/bye"
    world = make_world(post_logout_redirect_uris=uri)
    tokens = world.tokens()
    query = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": uri,
        "state": "s",
    }
    posted = world.browser.post("/oauth/logout", query)
    assert posted.status_code == 303
    response = world.browser.get(posted["Location"])
    assert sent_to(response, uri) == {"state": "s"}
    assert "_auth_user_id" not in world.browser.session
    assert not works(tokens["access_token"])


def test_logout_without_a_token_of_the_session_asks(commits: None) -> None:
    uri = "https://app.example.org/bye"
    world = make_world(post_logout_redirect_uris=uri)
    query = {"client_id": world.application.client_id, "post_logout_redirect_uri": uri}
    page = world.browser.get("/oauth/logout", query)
    assert page.status_code == 200
    assert "_auth_user_id" in world.browser.session
    found = page.content.decode().split('name="target" value="')[1].split('"')[0]
    response = world.browser.post("/oauth/logout/confirm", {"target": found})
    assert sent_to(response, uri) == {}
    forged = world.browser.post("/oauth/logout/confirm", {"target": "https://evil.example.org"})
    assert forged["Location"] == "/accounts/login/"


def test_logout_is_no_open_redirect(commits: None) -> None:
    world = make_world(post_logout_redirect_uris="https://app.example.org/bye")
    signed = world.tokens()["id_token"]
    other = make_world()
    evil = "https://evil.example.org/"
    for query in (
        {"post_logout_redirect_uri": evil},
        {"post_logout_redirect_uri": evil, "client_id": world.application.client_id},
        {"post_logout_redirect_uri": evil, "id_token_hint": signed},
        {"id_token_hint": signed, "client_id": other.application.client_id},
        {"id_token_hint": signed[:-8] + "AAAAAAAA"},
        {"post_logout_redirect_uri": evil, "client_id": "nobody"},
    ):
        for browser in (world.browser, Client()):
            response = browser.get("/oauth/logout", query)
            assert response.status_code == 400
            assert "Location" not in response
    assert "_auth_user_id" in world.browser.session


def test_logout_token_is_signed_and_no_id_token(world: World) -> None:
    now = datetime.now(UTC)
    token = backchannel.logout_token(client_id="app", user_id=3, sid="s", now=now)
    claims = claims_of(token)
    assert claims["events"] == {backchannel.EVENT: {}}
    assert (claims["aud"], claims["sub"], claims["sid"]) == ("app", "3", "s")
    assert "nonce" not in claims
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header["typ"] == "logout+jwt"


class _Receiver(BaseHTTPRequestHandler):
    """An application that is told of sign-outs: it fails once, then answers 204."""

    got: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.got.append(parse_qs(body)["logout_token"][0])
        self.send_response(503 if len(self.got) == 1 else 204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Silent."""


def test_application_is_told_of_a_sign_out_until_it_has_heard() -> None:
    _Receiver.got.clear()
    with HTTPServer(("127.0.0.1", 0), _Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        # `apply` runs the task, and its retries, in this process.
        done = send_logout_token.apply(
            kwargs={
                "uri": f"http://127.0.0.1:{server.server_port}/backchannel",
                "client_id": "app",
                "user_id": 3,
                "sid": "s",
            }
        )
        server.shutdown()
    assert done.state == "SUCCESS"
    first, second = (claims_of(token) for token in _Receiver.got)
    assert first["jti"] != second["jti"]
    assert second["events"] == {backchannel.EVENT: {}}


def test_unreachable_application_is_given_up_in_the_end() -> None:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}/"
        with pytest.raises(requests.RequestException):
            backchannel.post(uri, "token")
        done = send_logout_token.apply(
            kwargs={"uri": uri, "client_id": "app", "user_id": 3, "sid": "s"}
        )
    assert done.state == "SUCCESS"


# --- commands -----------------------------------------------------


def test_registered_application_works(commits: None) -> None:
    tenant = factories.tenant()
    out = StringIO()
    arguments = ["--kind", "service", "--scope", "facilities:read", "--facility", "4"]
    call_command("register_application", tenant.slug, "Meter reader", *arguments, stdout=out)
    told = dict(line.split("=", 1) for line in out.getvalue().splitlines())
    application = Application(client_id=told["client_id"])
    answer = call(application, told["client_secret"], "token", grant_type="client_credentials")
    found = bearer.authenticate(answer.json()["access_token"])
    assert found.scope == Scope((tenant.pk,), (4,))
    with pytest.raises(CommandError, match="no tenant"):
        call_command("register_application", "nowhere", "x")
    with pytest.raises(CommandError, match="redirect address"):
        call_command("register_application", tenant.slug, "x")


def test_key_is_rotated_by_a_command(settings: Settings, tmp_path: Any) -> None:
    settings.OIDC_KEYS_DIR = tmp_path
    out = StringIO()
    call_command("rotate_oidc_key", stdout=out)
    assert str(oidc_keys.signing_key().thumbprint()) in out.getvalue()
    settings.OIDC_KEYS_DIR = "/proc/nowhere"
    with pytest.raises(CommandError, match="OIDC_KEYS_DIR"):
        call_command("rotate_oidc_key")


# --- over processes -----------------------------------------------


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
