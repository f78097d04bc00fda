"""The sessions of the consumer view: from a browser's cookie to whom it speaks for.

Every request has its access token checked (`portal.oauth.bearer`), so that a revocation and the end
of a membership are effective here as they are in the API. A token that is about to expire is
renewed under a lock: of two tabs, the second finds what the first got.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from portal.consumer import provider, vault
from portal.oauth.bearer import Bearer, InvalidToken, authenticate
from tenants.domain import home_operations
from tenants.domain.home_operations import Renewal
from tenants.domain.home_queries import HomeSessionFacts, UnknownSession, home_session

# Renewed so long before its end: a page that is being made must not outlive it.
_EARLY: Final = timedelta(seconds=30)


class SignedOut(Exception):  # noqa: N818 - it reads as what happened
    """The browser has no session of the consumer view (any more)."""


class NoMembership(Exception):  # noqa: N818 - it reads as what happened
    """The person is signed in, and a member of the tenant no more."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is sealed in a session."""

    access: str
    refresh: str
    id_token: str
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser that is signed in: whom its access token speaks for, and what the session holds."""

    secret: str
    session: HomeSessionFacts
    bearer: Bearer
    contents: Contents


def cookie_of(request: HttpRequest) -> str | None:
    """The secret that the browser holds."""
    return request.COOKIES.get(settings.HOME_COOKIE_NAME)


def set_cookie(response: HttpResponse, secret: str) -> None:
    """Let the browser keep the secret for as long as the session may go unused."""
    response.set_cookie(
        settings.HOME_COOKIE_NAME,
        secret,
        max_age=settings.REFRESH_TOKEN_S,
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def forget_cookie(response: HttpResponse) -> None:
    """Let the browser forget the secret."""
    response.set_cookie(
        settings.HOME_COOKIE_NAME,
        "",
        max_age=0,
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def begin(*, client_id: str, tokens: provider.Tokens, person: provider.Person) -> str:
    """A new session; returns its secret. Raises NoMembership when the token opens nothing."""
    try:
        bearer = authenticate(tokens.access)
    except InvalidToken:
        raise NoMembership from None
    secret = vault.new_secret()
    home_operations.begin_session(
        secret=secret,
        client_id=client_id,
        tenant_id=bearer.tenant_id,
        user_id=person.user_id,
        sid=person.sid,
        sealed=_sealed(secret, tokens, person),
        access_expires_at=tokens.access_expires_at,
    )
    return secret


def visit(secret: str | None) -> Visit:
    """Whom a browser with this secret speaks for; raises SignedOut and NoMembership."""
    if not secret:
        raise SignedOut
    try:
        session = home_session(secret=secret)
        contents = _opened(secret, session.sealed)
    except (UnknownSession, vault.Unreadable):
        raise SignedOut from None
    if session.access_expires_at - datetime.now(UTC) > _EARLY:
        try:
            return Visit(secret, session, authenticate(contents.access), contents)
        except InvalidToken:
            pass  # revoked, or the membership has ended: the provider says whether it goes on
    return _renewed(secret, session)


def end(visited: Visit) -> str:
    """End the session of one browser here; the address at which it ends everywhere else."""
    home_operations.end_session(
        session_id=visited.session.session_id, tenant_id=visited.session.tenant_id
    )
    return provider.end_session_address(
        client_id=visited.session.client_id, id_token=visited.contents.id_token
    )


def remember_facility(visited: Visit, facility_id: int) -> None:
    """Show this facility first when the person comes back."""
    if facility_id != visited.session.facility_id:
        home_operations.note_facility(
            session_id=visited.session.session_id,
            tenant_id=visited.session.tenant_id,
            facility_id=facility_id,
        )


def replace_former(secret: str | None) -> None:
    """Somebody signs in where somebody was: give the former tokens back, end the former session."""
    if not secret:
        return
    try:
        session = home_session(secret=secret)
        contents = _opened(secret, session.sealed)
    except (UnknownSession, vault.Unreadable):
        return
    provider.revoke(client_id=session.client_id, refresh_token=contents.refresh)
    home_operations.end_session(session_id=session.session_id, tenant_id=session.tenant_id)


def ended_by_provider(token: str) -> tuple[int, ...]:
    """The provider says that a session ended: end it here; whose they were.

    Raises `provider.NotFromProvider`.
    """
    logout = provider.logout_of(token)
    return home_operations.end_sessions(
        client_id=logout.client_id, sid=logout.sid, user_id=logout.user_id
    )


def _renewed(secret: str, session: HomeSessionFacts) -> Visit:
    def exchange(sealed: bytes) -> Renewal | None:
        contents = _opened(secret, sealed)
        try:
            tokens, person = provider.refresh(
                client_id=session.client_id, refresh_token=contents.refresh
            )
        except provider.Refused:
            return None  # what the provider has noted about the refusal stays
        if (person.user_id, person.sid) != (session.user_id, session.sid):
            raise provider.NotFromProvider("the new ID token is about another session")
        return Renewal(_sealed(secret, tokens, person), tokens.access_expires_at)

    renewal = home_operations.renew_session(
        session_id=session.session_id,
        tenant_id=session.tenant_id,
        seen=session.sealed,
        renew=exchange,
    )
    if renewal is None:
        raise SignedOut
    contents = _opened(secret, renewal.sealed)
    try:
        bearer = authenticate(contents.access)
    except InvalidToken:
        raise NoMembership from None
    current = replace(session, sealed=renewal.sealed, access_expires_at=renewal.access_expires_at)
    return Visit(secret, current, bearer, contents)


def _sealed(secret: str, tokens: provider.Tokens, person: provider.Person) -> bytes:
    contents = Contents(
        access=tokens.access,
        refresh=tokens.refresh,
        id_token=tokens.id_token,
        name=person.name,
        language=person.language,
    )
    return vault.seal(secret, asdict(contents))


def _opened(secret: str, sealed: bytes) -> Contents:
    return Contents(**vault.unseal(secret, sealed))


def tag_of(sid: UUID) -> str:
    """A name for the session that a page may know: what the browser keeps offline carries it."""
    return sid.hex[:16]
