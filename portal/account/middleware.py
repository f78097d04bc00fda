"""What every response owes to the account of the person who asks."""

from __future__ import annotations

from collections.abc import Callable

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.account import devices
from portal.account.session import LISTED, REMEMBER, SET_UP, must_set_up
from portal.api.problems import MEDIA_TYPE, problem
from portal.middleware import client_address
from tenants.models import User

_ON_THE_WAY = (
    "/account/security/",
    "/accounts/",
    "/oauth/logout",
    "/health/",
    "/language",
    "/i18n/",
)
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
        if request.session.get(SET_UP) and (answer := _lead_to_set_up(request)):
            return answer
        response = self._get_response(request)
        signed_in: int | None = getattr(request, REMEMBER, None)
        if signed_in is not None:
            devices.remember(request, response, signed_in)
        return response


def _lead_to_set_up(request: HttpRequest) -> HttpResponse | None:
    """The way to a second factor, for who must have one; None once it is there, and on that way.

    What is on the way: the pages that make one, the proof that they ask for, and signing out.
    """
    if not isinstance(request.user, User) or request.path.startswith(_ON_THE_WAY):
        return None
    if not must_set_up(request.user):
        del request.session[SET_UP]
        return None
    if request.path.startswith("/api/"):
        text = "Set up a second factor in the portal first: your organisation demands it."
        body = problem(403, "second_factor_missing", text)
        return JsonResponse(body, status=403, content_type=MEDIA_TYPE)
    messages.warning(
        request, _("Your organisation demands a second step: add a passkey or an app to go on.")
    )
    return HttpResponseRedirect(reverse("mfa_index"))


def _note_use(request: HttpRequest) -> None:
    key = request.session.session_key
    if cache.add(f"session-seen:{key}", 1, SEEN_EVERY_S):
        UserSession.objects.filter(session_key=key).update(
            last_seen_at=timezone.now(),
            **({"ip": address} if (address := client_address(request)) else {}),
        )
