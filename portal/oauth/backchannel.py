"""Telling applications that somebody signed out (OpenID Connect Back-Channel Logout 1.0)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import requests
from django.conf import settings
from jwcrypto import jwt

from portal import outbound
from tenants import oidc_keys

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LIFETIME: Final = timedelta(minutes=2)
_TIMEOUT_S: Final = 5


class NoticeRefused(Exception):  # noqa: N818 - it reads as what happened
    """The application answered neither 200 nor 204, or a code that says "not now"."""


def logout_token(*, client_id: str, user_id: int, sid: str, now: datetime) -> str:
    """The signed notice for one application; it has no nonce, so it never passes as an ID token."""
    key = oidc_keys.signing_key()
    claims = {
        "iss": settings.PUBLIC_URL,
        "aud": client_id,
        "sub": str(user_id),
        "sid": sid,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
        "jti": str(uuid4()),
        "events": {EVENT: {}},
    }
    header = {"alg": oidc_keys.ALGORITHM, "typ": "logout+jwt", "kid": key.thumbprint()}
    token = jwt.JWT(header=json.dumps(header), claims=json.dumps(claims))
    token.make_signed_token(key)
    return str(token.serialize())


def post(uri: str, token: str) -> None:
    """Send the notice; raises NoticeRefused or `requests.RequestException`. Follows no redirect.

    The installation itself is reached wherever it lies, everything else at public addresses alone
    (`portal/outbound.py`): people of tenants have typed them.
    """
    own = uri.startswith(f"{settings.PUBLIC_URL}/")
    with requests.Session() if own else outbound.Session() as session:
        response = session.post(
            uri, data={"logout_token": token}, timeout=_TIMEOUT_S, allow_redirects=False
        )
    if response.status_code not in {200, 204}:
        raise NoticeRefused(f"{uri} answered {response.status_code}")
