"""The consumer view's side of OAuth2 and OpenID Connect, by Authlib.

It finds its way by the discovery document, sends PKCE (S256), state and nonce, compares the issuer
of the answer (RFC 9207), and verifies ID tokens and logout tokens with the published keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from django.conf import settings
from django.core.cache import cache
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from portal.consumer.transport import InProcessAdapter
from portal.oauth import own

_ALGORITHMS: Final = ["RS256"]
# How far the clocks of two machines may differ, in seconds.
_LEEWAY_S: Final = 10
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
# A logout token is used within seconds; after this its `jti` need not be remembered any more.
_LOGOUT_AGE: Final = timedelta(minutes=5)


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """The provider did not give tokens; `code` is the error of OAuth2, such as invalid_grant."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(description or code)
        self.code = code


class NotFromProvider(Exception):  # noqa: N818 - it reads as what happened
    """A token or an answer that the provider did not make for this application, or not now."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in under way: what the answer has to match. Kept by the browser, signed."""

    client_id: str
    state: str
    nonce: str
    verifier: str
    back: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave; `access_expires_at` is the access token's end."""

    access: str
    refresh: str
    id_token: str
    access_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Who signed in, by the ID token: `sid` names the session at the provider."""

    user_id: int
    sid: UUID
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Logout:
    """What a logout token says: this session, or all sessions of this user."""

    client_id: str
    user_id: int | None
    sid: UUID | None


def _client(client_id: str) -> Any:
    session: Any = OAuth2Session(
        client_id,
        own.secret_of(client_id),
        scope=" ".join(own.HOME.scopes),
        redirect_uri=own.address(own.HOME.callback),
        code_challenge_method="S256",
        leeway=0,
    )
    session.mount(settings.PUBLIC_URL, InProcessAdapter())
    return session


def _metadata(session: Any) -> dict[str, Any]:
    """The discovery document; raises NotFromProvider when it is of another issuer."""
    found: dict[str, Any] = session.get(
        f"{settings.PUBLIC_URL}/.well-known/openid-configuration", withhold_token=True
    ).json()
    if found["issuer"] != settings.PUBLIC_URL:
        raise NotFromProvider("the discovery document names another issuer")
    return found


def begin(*, client_id: str, back: str, prompt: str = "") -> tuple[str, Attempt]:
    """The address to send the browser to, and what to remember until it comes back."""
    session = _client(client_id)
    attempt = Attempt(
        client_id=client_id,
        state=generate_token(32),
        nonce=generate_token(32),
        verifier=generate_token(64),
        back=back,
    )
    address, _state = session.create_authorization_url(
        _metadata(session)["authorization_endpoint"],
        state=attempt.state,
        nonce=attempt.nonce,
        code_verifier=attempt.verifier,
        **({"prompt": prompt} if prompt else {}),
    )
    return address, attempt


def finish(*, attempt: Attempt, code: str, issuer: str) -> tuple[Tokens, Person]:
    """Exchange the code; raises Refused and NotFromProvider."""
    session = _client(attempt.client_id)
    metadata = _metadata(session)
    if issuer != metadata["issuer"]:
        raise NotFromProvider("the answer came from another provider")
    try:
        answer = session.fetch_token(
            metadata["token_endpoint"],
            grant_type="authorization_code",
            code=code,
            code_verifier=attempt.verifier,
        )
    except OAuthError as error:
        raise Refused(str(error.error), str(error.description or "")) from error
    tokens = _tokens(answer)
    return tokens, _person(session, metadata, attempt.client_id, tokens, nonce=attempt.nonce)


def refresh(*, client_id: str, refresh_token: str) -> tuple[Tokens, Person]:
    """New tokens; raises Refused when the provider has ended the session, and NotFromProvider."""
    session = _client(client_id)
    metadata = _metadata(session)
    try:
        answer = session.refresh_token(metadata["token_endpoint"], refresh_token=refresh_token)
    except OAuthError as error:
        raise Refused(str(error.error), str(error.description or "")) from error
    tokens = _tokens(answer)
    return tokens, _person(session, metadata, client_id, tokens, nonce=None)


def revoke(*, client_id: str, refresh_token: str) -> None:
    """Give tokens back that nobody will use any more."""
    session = _client(client_id)
    session.revoke_token(_metadata(session)["revocation_endpoint"], token=refresh_token)


def end_session_address(*, client_id: str, id_token: str) -> str:
    """Where the browser goes to sign out everywhere (RP-Initiated Logout 1.0)."""
    assert own.HOME.signed_out is not None
    query = {
        "id_token_hint": id_token,
        "client_id": client_id,
        "post_logout_redirect_uri": own.address(own.HOME.signed_out),
    }
    endpoint = _metadata(_client(client_id))["end_session_endpoint"]
    return f"{endpoint}?{urlencode(query)}"


def _tokens(answer: dict[str, Any]) -> Tokens:
    return Tokens(
        access=answer["access_token"],
        refresh=answer["refresh_token"],
        id_token=answer["id_token"],
        access_expires_at=datetime.now(UTC) + timedelta(seconds=int(answer["expires_in"])),
    )


def _keys(session: Any, metadata: dict[str, Any]) -> KeySet:
    # Read anew each time: in this process it costs nothing, and no rotation meets an old copy.
    return KeySet.import_key_set(session.get(metadata["jwks_uri"], withhold_token=True).json())


def _person(
    session: Any, metadata: dict[str, Any], client_id: str, tokens: Tokens, *, nonce: str | None
) -> Person:
    """Whom the ID token names (OpenID Connect Core, 3.1.3.7 and 12.2); raises NotFromProvider.

    `nonce` None: of a refresh, which has none.
    """
    options: dict[str, Any] = {
        "iss": {"essential": True, "value": metadata["issuer"]},
        "aud": {"essential": True, "value": client_id},
        "sid": {"essential": True},
    }
    if nonce is not None:
        options["nonce"] = {"essential": True, "value": nonce}
    try:
        signed = jwt.decode(tokens.id_token, _keys(session, metadata), algorithms=_ALGORITHMS)
        claims = CodeIDToken(
            signed.claims,
            signed.header,
            options=options,
            params={"nonce": nonce, "client_id": client_id, "access_token": tokens.access},
        )
        claims.validate(leeway=_LEEWAY_S)
        return Person(
            user_id=int(claims["sub"]),
            sid=UUID(claims["sid"]),
            name=str(claims.get("name", "")),
            language=str(claims.get("locale", "")),
        )
    except (JoseError, ValueError) as error:
        raise NotFromProvider(f"the ID token is not for this sign-in: {error}") from error


def logout_of(token: str) -> Logout:
    """What a logout token says (OpenID Connect Back-Channel Logout 1.0, section 2.6).

    Raises NotFromProvider, also for a token that was used before.
    """
    session = _client("")
    metadata = _metadata(session)
    now = datetime.now(UTC)
    try:
        signed = jwt.decode(token, _keys(session, metadata), algorithms=_ALGORITHMS)
        JWTClaimsRegistry(
            int(now.timestamp()),
            _LEEWAY_S,
            iss={"essential": True, "value": metadata["issuer"]},
            aud={"essential": True},
            iat={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
        ).validate(signed.claims)
        return _logout(signed.header, signed.claims, now)
    except (JoseError, ValueError) as error:
        raise NotFromProvider(f"no logout token: {error}") from error


def _logout(header: Any, claims: dict[str, Any], now: datetime) -> Logout:
    if header.get("typ", "logout+jwt") != "logout+jwt":
        raise NotFromProvider("a token of another type")
    if "nonce" in claims or not isinstance(claims.get("events"), dict):
        raise NotFromProvider("an ID token, or none at all")
    if not isinstance(claims["events"].get(_LOGOUT_EVENT), dict):
        raise NotFromProvider("a token about another event")
    audience = claims["aud"]
    if not isinstance(audience, str) or not own.is_own(own.HOME, audience):
        raise NotFromProvider("a token for another application")
    if now.timestamp() - int(claims["iat"]) > _LOGOUT_AGE.total_seconds():
        raise NotFromProvider("an old token")
    sid, subject = claims.get("sid"), claims.get("sub")
    if sid is None and subject is None:
        raise NotFromProvider("a token about nobody")
    seconds = 2 * int(_LOGOUT_AGE.total_seconds())
    if not cache.add(f"home-logout:{claims['jti']}", 1, timeout=seconds):
        raise NotFromProvider("a token that was used before")
    return Logout(
        client_id=audience,
        user_id=None if subject is None else int(subject),
        sid=None if sid is None else UUID(sid),
    )
