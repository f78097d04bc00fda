"""Who is calling: a signed-in browser, or an application with an access token."""

from __future__ import annotations

from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request


class BrowserSession(SessionAuthentication):
    """The session of the portal, for pages of the portal itself and the interactive reference.

    Unsafe methods need the CSRF token. Its challenge names the bearer scheme, so that a caller
    without any credentials is answered 401 (RFC 9110, section 15.5.2) and learns what to send.
    """

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401."""
        del request
        return 'Bearer realm="wattline"'
