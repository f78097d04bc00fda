"""What every response owes to the account of the person who asks."""

from __future__ import annotations

from collections.abc import Callable

from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from portal.account import devices
from portal.account.session import LISTED, REMEMBER
from portal.middleware import client_address

# The list of sessions says when each was used last, to this many seconds.
SEEN_EVERY_S = 300


class AccountMiddleware:
    """Remembers the browser of a sign-in, and when a session was used last."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request."""
        if request.session.get(LISTED):
            _note_use(request)
        response = self._get_response(request)
        signed_in: int | None = getattr(request, REMEMBER, None)
        if signed_in is not None:
            devices.remember(request, response, signed_in)
        return response


def _note_use(request: HttpRequest) -> None:
    key = request.session.session_key
    if cache.add(f"session-seen:{key}", 1, SEEN_EVERY_S):
        UserSession.objects.filter(session_key=key).update(
            last_seen_at=timezone.now(),
            **({"ip": address} if (address := client_address(request)) else {}),
        )
