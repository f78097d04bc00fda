"""Authlib, a client that knows nothing of Wattline, against a real server: it finds its way by
discovery, signs somebody in, refreshes, revokes and signs out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from portal.tests.oauth_parties import BYE, CALLBACK, Member, discovered, issuer, member

__all__ = ["issuer", "member"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


def test_authlib_signs_in_refreshes_revokes_and_signs_out(issuer: str, member: Member) -> None:
    application, secret = member.application()
    found = discovered(issuer)
    session: Any = OAuth2Session(
        application.client_id,
        secret,
        scope="openid profile facilities:read",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint=found["token_endpoint"],
    )
    verifier = "0123456789" * 5
    address, state = session.create_authorization_url(
        found["authorization_endpoint"], code_verifier=verifier, nonce="n"
    )
    browser = member.browser
    location = member.agree(address)
    token = session.fetch_token(
        authorization_response=location, state=state, code_verifier=verifier
    )

    keys = KeySet.import_key_set(requests.get(found["jwks_uri"], timeout=10).json())
    claims = jwt.decode(token["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (issuer, application.client_id, "n")
    assert session.get(found["userinfo_endpoint"]).json()["sub"] == claims["sub"]

    fresh = session.refresh_token(found["token_endpoint"], refresh_token=token["refresh_token"])
    assert fresh["access_token"] != token["access_token"]
    told = session.introspect_token(found["introspection_endpoint"], token=fresh["access_token"])
    assert told.json()["active"] is True
    assert session.revoke_token(found["revocation_endpoint"], token=fresh["access_token"]).ok
    assert session.get(found["userinfo_endpoint"]).status_code == 401

    answer = browser.get(
        found["end_session_endpoint"],
        params={"id_token_hint": fresh["id_token"], "post_logout_redirect_uri": BYE},
        allow_redirects=False,
        timeout=10,
    )
    assert answer.headers["Location"] == BYE
    again = browser.get(address + "&prompt=none", allow_redirects=False, timeout=10)
    assert "error=login_required" in again.headers["Location"]


def test_authlib_acts_as_a_service_account(issuer: str, member: Member) -> None:
    application, secret = member.application(
        authorization_grant_type="client-credentials",
        redirect_uris="",
        post_logout_redirect_uris="",
    )
    session: Any = OAuth2Session(application.client_id, secret, scope="facilities:read")
    token = session.fetch_token(f"{issuer}/oauth/token", grant_type="client_credentials")
    assert token["scope"] == "facilities:read"
    assert "refresh_token" not in token


def test_two_refreshes_at_once_never_give_two_chains(issuer: str, member: Member) -> None:
    application, secret = member.application()
    session: Any = OAuth2Session(
        application.client_id,
        secret,
        scope="openid",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
    )
    address, state = session.create_authorization_url(
        f"{issuer}/oauth/authorize", code_verifier="v" * 43
    )
    location = member.agree(address)
    token = session.fetch_token(
        f"{issuer}/oauth/token",
        authorization_response=location,
        state=state,
        code_verifier="v" * 43,
    )

    def refresh(_: int) -> dict[str, Any]:
        answer = requests.post(
            f"{issuer}/oauth/token",
            data={"grant_type": "refresh_token", "refresh_token": token["refresh_token"]},
            auth=(application.client_id, secret),
            timeout=20,
        )
        return dict(answer.json())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(refresh, range(4)))
    assert sum("access_token" in answer for answer in answers) == 1
    for answer in answers:
        if "access_token" in answer:
            told = requests.get(
                f"{issuer}/oauth/userinfo",
                headers={"Authorization": f"Bearer {answer['access_token']}"},
                timeout=10,
            )
            # The others were reuse: the family has ended.
            assert told.status_code == 401
