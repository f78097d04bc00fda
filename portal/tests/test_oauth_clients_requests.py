"""requests-oauthlib, the client that most Python programs use, against a real server: the flows,
and what an attacker with such a client would try.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import (
    InvalidGrantError,
    InvalidScopeError,
    MismatchingStateError,
    OAuth2Error,
)
from requests_oauthlib import OAuth2Session

from portal.tests.oauth_parties import (
    BYE,
    CALLBACK,
    Member,
    discovered,
    issuer,
    member,
    sent,
    signed_in,
)
from tenants.models import Application

__all__ = ["issuer", "member"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])

SCOPE = ["openid", "facilities:read"]


@pytest.fixture(autouse=True)
def plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library insists on https, which a test's server has not."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


@dataclass
class Party:
    """One application with its client, and the person who uses it."""

    issuer: str
    member: Member
    application: Application
    secret: str
    client: Any
    endpoints: dict[str, Any]

    def begin(self, **more: str) -> str:
        """Where the browser is sent."""
        address: str = self.client.authorization_url(
            self.endpoints["authorization_endpoint"], **more
        )[0]
        return address

    def fetch(self, location: str) -> dict[str, Any]:
        """Exchange the code of an answer."""
        token: dict[str, Any] = self.client.fetch_token(
            self.endpoints["token_endpoint"],
            authorization_response=location,
            client_secret=self.secret,
        )
        return token

    def refresh(self, refresh_token: str, **more: str) -> dict[str, Any]:
        """New tokens."""
        token: dict[str, Any] = self.client.refresh_token(
            self.endpoints["token_endpoint"],
            refresh_token=refresh_token,
            auth=(self.application.client_id, self.secret),
            **more,
        )
        return token

    def sign_in(self) -> dict[str, Any]:
        """From nothing to tokens."""
        return self.fetch(self.member.agree(self.begin()))


def party_of(issuer: str, member: Member, **changes: object) -> Party:
    """A client of a new application."""
    application, secret = member.application(**changes)
    client: Any = OAuth2Session(
        application.client_id, redirect_uri=CALLBACK, scope=SCOPE, pkce="S256"
    )
    return Party(issuer, member, application, secret, client, discovered(issuer))


@pytest.fixture
def party(issuer: str, member: Member) -> Party:
    return party_of(issuer, member)


def test_it_signs_in_refreshes_revokes_and_signs_out(party: Party) -> None:
    token = party.sign_in()
    userinfo = party.endpoints["userinfo_endpoint"]
    assert party.client.get(userinfo).json() == {"sub": str(party.member.user.pk)}
    fresh = party.refresh(token["refresh_token"])
    assert fresh["access_token"] != token["access_token"]
    assert not signed_in(party.issuer, token["access_token"])
    assert signed_in(party.issuer, fresh["access_token"])
    revoked = party.client.post(
        party.endpoints["revocation_endpoint"],
        data={"token": fresh["refresh_token"], "token_type_hint": "refresh_token"},
        auth=(party.application.client_id, party.secret),
        withhold_token=True,
    )
    assert revoked.status_code == 200
    assert not signed_in(party.issuer, fresh["access_token"])
    with pytest.raises(InvalidGrantError):
        party.refresh(fresh["refresh_token"])
    left = party.member.browser.get(
        party.endpoints["end_session_endpoint"],
        params={"id_token_hint": fresh["id_token"], "post_logout_redirect_uri": BYE},
        allow_redirects=False,
        timeout=10,
    )
    assert left.headers["Location"] == BYE


def test_replayed_code_ends_what_came_of_it(party: Party) -> None:
    location = party.member.agree(party.begin())
    token = party.fetch(location)
    with pytest.raises(InvalidGrantError):
        party.fetch(location)
    assert not signed_in(party.issuer, token["access_token"])
    with pytest.raises(InvalidGrantError):
        party.refresh(token["refresh_token"])


def test_reused_refresh_token_ends_the_family(party: Party) -> None:
    first = party.sign_in()
    second = party.refresh(first["refresh_token"])
    with pytest.raises(InvalidGrantError):
        party.refresh(first["refresh_token"])
    assert not signed_in(party.issuer, second["access_token"])
    with pytest.raises(InvalidGrantError):
        party.refresh(second["refresh_token"])


def test_answer_with_another_state_is_not_taken(party: Party) -> None:
    """An attacker's code in the victim's browser: the client notices (RFC 6749, 10.12)."""
    location = party.member.agree(party.begin())
    forged = location.replace(f"state={sent(location)['state']}", "state=forged")
    with pytest.raises(MismatchingStateError):
        party.fetch(forged)


def test_answer_names_its_issuer(party: Party) -> None:
    """RFC 9207: a client of several providers sees whose answer it is."""
    assert sent(party.member.agree(party.begin()))["iss"] == party.issuer
    refused = party.member.browser.get(
        party.begin(prompt="none", max_age="0"), allow_redirects=False, timeout=10
    )
    answer = sent(refused.headers["Location"])
    assert (answer["error"], answer["iss"]) == ("login_required", party.issuer)


def test_pkce_cannot_be_left_out_or_made_plain(party: Party) -> None:
    bare: Any = OAuth2Session(party.application.client_id, redirect_uri=CALLBACK, scope=SCOPE)
    plain: Any = OAuth2Session(
        party.application.client_id, redirect_uri=CALLBACK, scope=SCOPE, pkce="plain"
    )
    for client in (bare, plain):
        address = client.authorization_url(party.endpoints["authorization_endpoint"])[0]
        location = party.member.agree(address)
        assert sent(location)["error"] == "invalid_request"
        with pytest.raises(OAuth2Error, match="invalid_request"):
            client.fetch_token(
                party.endpoints["token_endpoint"],
                authorization_response=location,
                client_secret=party.secret,
            )


def test_code_that_was_intercepted_is_worth_nothing_without_its_verifier(party: Party) -> None:
    location = party.member.agree(party.begin())
    thief: Any = OAuth2Session(party.application.client_id, redirect_uri=CALLBACK, pkce="S256")
    thief.authorization_url(party.endpoints["authorization_endpoint"], sent(location)["state"])
    with pytest.raises(InvalidGrantError):
        thief.fetch_token(
            party.endpoints["token_endpoint"],
            authorization_response=location,
            client_secret=party.secret,
        )


def test_scopes_cannot_be_widened(issuer: str, member: Member) -> None:
    party = party_of(issuer, member, allowed_scopes=["openid", "facilities:read"])
    party.client.scope = ["openid", "facilities:read", "readings:read"]
    assert sent(party.member.agree(party.begin()))["error"] == "invalid_scope"
    party.client.scope = SCOPE
    token = party.sign_in()
    assert sorted(token["scope"]) == sorted(SCOPE)
    party.client.scope = ["openid", "facilities:read", "readings:read"]
    with pytest.raises(InvalidScopeError):
        party.refresh(token["refresh_token"])


def test_service_account_gets_no_person(issuer: str, member: Member) -> None:
    party = party_of(
        issuer,
        member,
        authorization_grant_type="client-credentials",
        redirect_uris="",
        post_logout_redirect_uris="",
    )
    for scope in (["openid"], ["facilities:read", "email"]):
        client: Any = OAuth2Session(
            client=BackendApplicationClient(party.application.client_id, scope=scope)
        )
        with pytest.raises(InvalidScopeError):
            client.fetch_token(party.endpoints["token_endpoint"], client_secret=party.secret)
