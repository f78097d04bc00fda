"""People, browsers and their ways in, for the tests of accounts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.contrib.messages import get_messages
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "an entirely different phrase"


@pytest.fixture(autouse=True)
def counters_start_anew() -> None:
    """No failure of another test is counted."""
    cache.clear()


@pytest.fixture(autouse=True)
def tasks_run_at_once(settings: Settings) -> None:
    """Mail goes out at the commit."""
    settings.CELERY_TASK_ALWAYS_EAGER = True


@pytest.fixture
def user(db: None) -> User:
    """Somebody with PASSWORD."""
    return factories.user(PASSWORD)


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Callable[..., Any]) -> Callable[[], Any]:
    """Runs what waits for the commit, as if there had been one."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def browser(address: str = "") -> Client:
    """A new browser at a place that no other test uses."""
    number = factories.number()
    return Client(REMOTE_ADDR=address or f"10.{number >> 8 & 255}.{number & 255}.7")


def sign_in(user: User, client: Client | None = None, password: str = PASSWORD) -> Client:
    """By password."""
    client = client or browser()
    client.post(reverse("login"), {"login": user.email, "password": password})
    return client


def signed_in(client: Client) -> bool:
    """Whether the browser's session is somebody's."""
    return "_auth_user_id" in client.session


def prove(client: Client, password: str = PASSWORD) -> None:
    """The password once more."""
    client.post(reverse("account_reauthenticate"), {"password": password})


def add_app(user: User) -> str:
    """An authenticator app and recovery codes; returns the app's secret."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def code_of(secret: str, step: int = 0) -> str:
    """The app's code now, or some steps of 30 s later."""
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step)))


def told(response: Any) -> list[str]:
    """The messages of a response."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def member_of(tenant: Tenant, role: Role) -> User:
    """A new person of the role."""
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, role).user
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    return user
