"""What people have allowed, who sees and revokes it, and the commands that register."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from portal.oauth import bearer
from portal.tests.oauth_world import (
    World,
    call,
    commits,
    make_world,
    no_leftovers,
    refresh,
    works,
    world,
)
from tenants import oidc_keys
from tenants.domain import application_operations
from tenants.models import (
    AccessToken,
    Application,
    AuditEntry,
    Consent,
    RefreshToken,
)
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commits", "no_leftovers", "world"]

pytestmark = pytest.mark.django_db


# --- grants ------------------------------------------------------


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
        application_operations.deactivate_application(
            application_id=world.application.pk, actor_id=None
        )
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


# --- commands ----------------------------------------------------


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
