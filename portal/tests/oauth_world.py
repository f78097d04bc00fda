"""What the tests of the provider share: an application, a member who is signed in, and what is sent
to and fro between them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core.cache import cache
from django.db import connections
from django.test import Client
from jwcrypto import jwk, jwt

from portal.oauth import bearer
from tenants.models import (
    Application,
    Tenant,
    User,
)
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

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


def refresh(world: World, token: str, **more: str) -> Any:
    return world.post("token", grant_type="refresh_token", refresh_token=token, **more)
