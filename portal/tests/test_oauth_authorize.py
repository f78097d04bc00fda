"""The authorization endpoint: discovery, codes, prompts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test import Client
from jwcrypto import jwt
from pytest_django import Settings

from portal.oauth import bearer
from portal.tests.oauth_world import (
    VERIFIER,
    World,
    call,
    challenge,
    claims_of,
    commits,
    make_world,
    no_leftovers,
    sent_to,
    works,
    world,
)
from tenants import oidc_keys
from tenants.domain import oauth_operations
from tenants.domain.operations import change_role
from tenants.models import (
    Consent,
    Grant,
    Membership,
)
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commits", "no_leftovers", "world"]

pytestmark = pytest.mark.django_db


# --- discovery and keys ------------------------------------------


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


# --- authorization code ------------------------------------------


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


# --- prompts -----------------------------------------------------


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
