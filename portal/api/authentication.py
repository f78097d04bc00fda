"""Who is calling: an application with an access token, or a signed-in browser.

`ApiView.dispatch` has looked the token up already, because the scope of the request opens with it;
the class here tells the framework what was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast

from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from portal.oauth.bearer import Bearer, InvalidToken, authenticate

CHALLENGE: Final = 'Bearer realm="wattline"'


class BadToken(AuthenticationFailed):
    """The access token is unknown, expired or revoked (RFC 6750, section 3.1)."""

    default_detail = "The access token is unknown, expired or revoked: get a new one."
    default_code = "invalid_token"


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of the framework for a request with a token; `pk` None: a service account."""

    pk: int | None
    is_authenticated: Literal[True] = True
    is_active: Literal[True] = True


def find_bearer(request: HttpRequest) -> Bearer | None:
    """Whom the token of the request speaks for; None without one. Raises BadToken."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise BadToken("The header Authorization must be: Bearer, a space, the access token.")
    try:
        return authenticate(token.strip())
    except InvalidToken:
        raise BadToken from None


class AccessToken(BaseAuthentication):
    """Applications."""

    def authenticate(self, request: Request) -> tuple[Caller, Bearer] | None:
        """The caller and its token; None without a token. Raises BadToken."""
        found = cast(Bearer | BadToken | None, getattr(request, "bearer", None))
        if isinstance(found, BadToken):
            raise found
        return None if found is None else (Caller(found.user_id), found)

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401; it says more where a token was sent (RFC 6750, section 3)."""
        if isinstance(getattr(request, "bearer", None), BadToken):
            return f'{CHALLENGE}, error="invalid_token"'
        return CHALLENGE


class BrowserSession(SessionAuthentication):
    """The session of the portal, for its own pages and the interactive reference.

    Unsafe methods need the CSRF token.
    """

    def enforce_csrf(self, request: Request) -> None:
        """Raises PermissionDenied for a request that another site could have sent."""
        try:
            super().enforce_csrf(request)
        except PermissionDenied:
            raise PermissionDenied(
                "A request with the session of the portal needs its token in the header"
                " X-CSRFToken. Applications send an access token instead."
            ) from None
