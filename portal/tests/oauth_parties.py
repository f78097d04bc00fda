"""What the tests by real clients share: a server that calls itself by its own address, somebody who
may allow an application something, and that one's browser.

The fixtures are for modules whose tests commit (`transaction=True`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from tenants.models import Application, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

CALLBACK = "https://app.example.org/callback"
BYE = "https://app.example.org/bye"


@pytest.fixture
def issuer(live_server: LiveServer, settings: Settings) -> str:
    """The server, which calls itself by the address that it is reached at."""
    settings.PUBLIC_URL = live_server.url
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_ISS_ENDPOINT": live_server.url}
    cache.clear()
    return str(live_server.url)


@dataclass(frozen=True)
class Member:
    """Somebody in a tenant, signed in to the portal in a browser."""

    tenant: Tenant
    user: User
    browser: requests.Session

    def application(self, **changes: object) -> tuple[Application, str]:
        """An application of the tenant, with its secret."""
        values = {"redirect_uris": CALLBACK, "post_logout_redirect_uris": BYE, **changes}
        with open_scope(Scope((self.tenant.pk,))):
            return factories.application(self.tenant, **values)

    def agree(self, address: str) -> str:
        """Allow what the page asks for; the address that the browser is sent to."""
        return agree(self.browser, address)


@pytest.fixture
def member() -> Member:
    """Somebody who may allow an application something."""
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        user = factories.member(tenant, Role.MANAGER).user
    return Member(tenant, user, browser_of(user))


def browser_of(user: User) -> requests.Session:
    """A browser in which the user is signed in."""
    client = Client()
    client.force_login(user)
    browser = requests.Session()
    for name, morsel in client.cookies.items():
        browser.cookies.set(name, morsel.value)
    return browser


def agree(browser: requests.Session, address: str) -> str:
    """Allow what the page asks for; the address that the browser is sent to."""
    page = browser.get(address, timeout=10, allow_redirects=False)
    if page.status_code == 302:
        return page.headers["Location"]
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    answer = browser.post(
        address, data={**hidden, "answer": "allow"}, allow_redirects=False, timeout=10
    )
    return answer.headers["Location"]


def discovered(issuer: str) -> dict[str, Any]:
    """The discovery document."""
    found: dict[str, Any] = requests.get(
        f"{issuer}/.well-known/openid-configuration", timeout=10
    ).json()
    assert found["issuer"] == issuer
    return found


def sent(location: str) -> dict[str, str]:
    """The parameters of an answer."""
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def signed_in(issuer: str, access_token: str) -> bool:
    """Whether the provider still takes an access token."""
    answer = requests.get(
        f"{issuer}/oauth/userinfo",
        headers={"Authorization": f"Bearer {access_token}"},
        timeout=10,
    )
    return answer.status_code == 200
