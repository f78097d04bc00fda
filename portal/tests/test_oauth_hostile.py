"""The provider against those who were members, and against two who ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.db import connections
from django.test import Client
from django.urls import reverse

from portal.tests.account_world import PASSWORD, add_app, code_of
from portal.tests.oauth_world import (
    World,
    claims_of,
    commits,
    make_world,
    no_leftovers,
    refresh,
    works,
    world,
)
from tenants.domain import operations, tenant_operations
from tenants.domain.authentication_context import acr_of, amr_of
from tenants.models import Membership, Tenant
from tenants.models.uris import check_redirect
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commits", "no_leftovers", "world"]

pytestmark = pytest.mark.django_db


# --- who is no member any more --------------------------------------------------------------------


def _suspend_member(world: World) -> None:
    with open_scope(Scope((world.tenant.pk,))):
        membership = Membership.objects.get(user=world.user)
        operations.suspend_membership(
            membership_id=membership.pk, now=datetime.now(UTC), actor_id=None
        )


def _end_member(world: World) -> None:
    with open_scope(Scope((world.tenant.pk,))):
        membership = Membership.objects.get(user=world.user)
        operations.end_membership(membership_id=membership.pk, actor_id=None)


def _userinfo(token: str) -> int:
    answer = Client().get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
    return int(answer.status_code)


@pytest.mark.parametrize("leave", [_suspend_member, _end_member])
def test_tokens_of_a_former_member_tell_nothing(
    world: World, leave: Callable[[World], None]
) -> None:
    tokens, code = world.tokens(), world.allow()["code"]
    assert _userinfo(tokens["access_token"]) == 200
    leave(world)
    assert _userinfo(tokens["access_token"]) == 401
    assert refresh(world, tokens["refresh_token"]).json() == {"error": "invalid_grant"}
    assert world.exchange(code).json()["error"] == "invalid_grant"
    for name in ("access_token", "refresh_token"):
        assert world.post("introspect", token=tokens[name]).json() == {"active": False}


def _below(application_of: Tenant) -> World:
    """Somebody in a tenant below that of the application."""
    with open_scope(Scope((application_of.pk,))):
        application, secret = factories.application(application_of)
    tenant = factories.tenant(application_of)
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, Role.MANAGER).user
    browser = Client()
    browser.force_login(user)
    return World(tenant, user, application, secret, browser)


def test_tokens_of_a_suspended_tenant_tell_nothing(commits: None) -> None:
    """The application's own tenant, above it, goes on."""
    above = factories.operator()
    world = _below(above)
    tokens = world.tokens()
    with open_scope(Scope((above.pk, world.tenant.pk))):
        tenant_operations.suspend(tenant_id=world.tenant.pk, now=datetime.now(UTC), actor_id=None)
    assert not works(tokens["access_token"])
    assert refresh(world, tokens["refresh_token"]).json() == {"error": "invalid_grant"}


# --- how somebody signed in -----------------------------------------------------------------------


def _signed_in_by_password(world: World, *, code: str = "") -> None:
    world.user.set_password(PASSWORD)
    world.user.save(update_fields=["password"])
    world.browser = Client()
    form = {"login": world.user.email, "password": PASSWORD}
    world.browser.post(reverse("login"), form)
    if code:
        answer = world.browser.post(reverse("mfa_authenticate"), {"code": code})
        assert answer.status_code == 302


def _context(token: str) -> tuple[Any, Any]:
    claims = claims_of(token)
    return claims.get("amr"), claims.get("acr")


def test_id_token_tells_how_the_person_signed_in(world: World) -> None:
    _signed_in_by_password(world)
    one = ["pwd"], "https://refeds.org/profile/sfa"
    tokens = world.tokens()
    assert _context(tokens["id_token"]) == one
    renewed = refresh(world, tokens["refresh_token"]).json()
    assert _context(renewed["id_token"]) == one


def test_id_token_tells_of_the_second_factor(world: World) -> None:
    secret = add_app(world.user)
    two = ["pwd", "otp", "mfa"], "https://refeds.org/profile/mfa"
    _signed_in_by_password(world, code=code_of(secret))
    assert _context(world.tokens()["id_token"]) == two
    codes = Authenticator.objects.get(user=world.user, type="recovery_codes")
    _signed_in_by_password(world, code=RecoveryCodes(codes).get_unused_codes()[0])
    assert _context(world.tokens()["id_token"]) == two


def test_id_token_is_silent_where_nobody_knows(world: World) -> None:
    assert _context(world.tokens()["id_token"]) == (None, None)


@pytest.mark.parametrize(
    ("methods", "amr", "acr"),
    [
        (["passkey"], ["pop", "user", "mfa"], "phr"),
        (["password", "passkey"], ["pwd", "pop", "user", "mfa"], "phr"),
        (["invitation"], ["pwd"], "https://refeds.org/profile/sfa"),
        (["totp", "recovery_codes"], ["otp"], "https://refeds.org/profile/sfa"),
        (["company"], [], None),
        (["password", "company"], [], None),
        ([], [], None),
    ],
)
def test_ways_of_signing_in_have_their_names(
    methods: list[str], amr: list[str], acr: str | None
) -> None:
    assert (amr_of(methods), acr_of(methods)) == (amr, acr)


def test_what_is_told_is_announced() -> None:
    document = Client().get("/.well-known/openid-configuration").json()
    assert {"amr", "acr", "auth_time"} <= set(document["claims_supported"])
    assert document["acr_values_supported"][0] == "phr"


# --- two at once ----------------------------------------------------------------------------------


def _at_once(act: Callable[[], Any]) -> list[Any]:
    """What two threads get that begin together."""
    ready, got = threading.Barrier(2), list[Any]()

    def run() -> None:
        try:
            ready.wait(10)
            got.append(act())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(got, key=lambda answer: int(answer.status_code))


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_code_that_two_exchange_at_once_goes_to_one_and_then_ends() -> None:
    world = make_world()
    code = world.allow()["code"]
    won, lost = _at_once(lambda: world.exchange(code))
    assert (won.status_code, lost.status_code) == (200, 400)
    assert not works(won.json()["access_token"])
    assert refresh(world, won.json()["refresh_token"]).status_code == 400


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_refresh_token_that_two_use_at_once_goes_to_one_and_then_ends() -> None:
    world = make_world()
    tokens = world.tokens()
    won, lost = _at_once(lambda: refresh(world, tokens["refresh_token"]))
    assert (won.status_code, lost.status_code) == (200, 400)
    assert not works(won.json()["access_token"])
    assert refresh(world, won.json()["refresh_token"]).status_code == 400


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example;script-src/cb",
        "https://evil.example'x/cb",
        "https://a,b/cb",
        "https://ev\\il.example/cb",
        "https://\u4f8b.example/cb",
        'https://a"b/',
        "https://a b/",
        "https://[::1];x/",
        "https://a.example/\r\nX: y",
        "https://a.example\t/x",
    ],
)
def test_address_that_would_break_our_own_policy_is_not_registered(uri: str) -> None:
    assert check_redirect(uri) == f"{uri} is not an address."


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.org/callback?from=us",
        "https://xn--fsq.example:8443/cb",
        "http://127.0.0.1/callback",
        "http://[::1]:8080/callback",
        "com.example.app:/callback",
    ],
)
def test_address_as_it_should_be_is_registered(uri: str) -> None:
    assert check_redirect(uri) is None


# --- parameters of any shape ----------------------------------------------------------------------

_ODD = (
    "",
    "\x00",
    "a\x00b",
    "x" * 5000,
    "\u2028\U0001f600",
    "[",
    "[1]",
    "7",
    "null",
    '{"id_token": 7}',
    '{"id_token": {"sub": {"value": 7}}, "userinfo": []}',
    "a.b.c",
    "e30.e30.e30",
    "W10.W10.W10",
    "eyJhbGciOiJub25lIiwia2lkIjpbXX0.e30.",
    "none login",
    "/oauth/authorize?client_id=%00",
    "-1",
    "9" * 30,
    "\u0661",
    "//evil.example",
    "javascript:alert(1)",
    "https://app.example.org/callback\\@evil.example",
    "https://app.example.org/callback/../x",
)
_AUTHORIZE = (
    *("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge"),
    *("code_challenge_method", "prompt", "max_age", "id_token_hint", "claims", "acr_values"),
    *("response_mode", "ui_locales", "login_hint", "resource", "wattline_asked", "display"),
)
_TOKEN = (
    *("grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret"),
    *("refresh_token", "scope", "device_code", "resource", "client_assertion"),
)


@pytest.mark.parametrize("name", _AUTHORIZE)
def test_authorization_takes_anything_and_leads_nowhere_else(world: World, name: str) -> None:
    known = world.redirect_uri.removesuffix("/callback")
    for value in _ODD:
        for browser in (world.browser, Client()):
            world.browser, former = browser, world.browser
            answer = world.authorize(**{name: value})
            world.browser = former
            assert answer.status_code in {200, 302, 400}, (name, value)
            if answer.status_code == 302:
                assert answer["Location"].startswith((f"{known}/callback?", "/accounts/login/"))


@pytest.mark.parametrize("name", _TOKEN)
@pytest.mark.parametrize(
    "grant",
    [
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
        "password",
    ],
)
def test_token_endpoint_takes_anything_and_gives_nothing(
    world: World, name: str, grant: str
) -> None:
    for value in _ODD:
        values = {"grant_type": grant, "code": "x", "refresh_token": "x", "device_code": "x"}
        answer = world.post("token", **{**values, name: value})
        assert answer.status_code in {400, 401}, (name, value)
        assert "error" in answer.json()


@pytest.mark.parametrize("endpoint", ["introspect", "revoke", "device-authorization"])
def test_other_endpoints_take_anything(world: World, endpoint: str) -> None:
    for name in ("token", "token_type_hint", "scope", "client_id"):
        for value in _ODD:
            answer = world.post(endpoint, **{"token": "x", name: value})
            assert answer.status_code in {200, 400, 401}, (name, value)


def test_logout_takes_anything(world: World) -> None:
    for name in ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "logout_hint"):
        for value in _ODD:
            answer = world.browser.get("/oauth/logout", {name: value})
            assert answer.status_code in {200, 400}, (name, value)
            assert "_auth_user_id" in world.browser.session, (name, value)


def test_pages_before_a_sign_in_take_anything(db: None) -> None:
    browser = Client()
    for value in _ODD:
        for name, fields in (
            ("login", ("login", "password", "next")),
            ("password-forgotten", ("email",)),
            ("mfa_login_webauthn", ("credential", "next")),
            ("mfa_authenticate", ("code", "credential")),
        ):
            for field in fields:
                form = {"login": "a@b.example", "password": "x", field: value}
                answer = browser.post(reverse(name), form)
                assert answer.status_code in {200, 302, 429}, (name, field, value)
