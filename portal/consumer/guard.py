"""Which requests the consumer view answers: those of a browser with a session of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, Final, ParamSpec, cast
from urllib.parse import urlencode

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from portal.consumer import sessions
from tenants.permissions import Permission
from tenants.scope import open_scope

PERMISSIONS: Final = (Permission.FACILITIES_VIEW, Permission.READINGS_VIEW)
# A part of a page is asked for by a script, which cannot follow a sign-in.
PART_HEADER: Final = "X-Wattline-Part"

Parameters = ParamSpec("Parameters")


class AtHome(HttpRequest):
    """A request behind `at_home`."""

    visit: sessions.Visit


View = Callable[Concatenate[AtHome, Parameters], HttpResponse]


def at_home(view: View[Parameters]) -> Callable[..., HttpResponse]:
    """Run the view in the scope of the browser's access token; others are led to sign in."""

    @wraps(view)
    def guarded(
        request: HttpRequest, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> HttpResponse:
        try:
            visit = sessions.visit(sessions.cookie_of(request))
        except sessions.SignedOut:
            return _to_sign_in(request)
        except sessions.NoMembership:
            return _not_allowed(request)
        if not all(map(visit.bearer.allows, PERMISSIONS)):
            return _not_allowed(request)
        cast(AtHome, request).visit = visit
        with translation.override(_language(visit)), open_scope(visit.bearer.scope):
            response = view(cast(AtHome, request), *args, **kwargs)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                transaction.set_rollback(True)
        sessions.set_cookie(response, visit.secret)
        patch_vary_headers(response, ["Cookie"])
        return response

    return guarded


def _language(visit: sessions.Visit) -> str:
    """The person's language, where the portal speaks it; else the browser's."""
    known = dict(settings.LANGUAGES)
    wanted = visit.contents.language
    return wanted if wanted in known else translation.get_language() or settings.LANGUAGE_CODE


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    if PART_HEADER in request.headers:
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    query = urlencode({"next": request.get_full_path()})
    response = HttpResponseRedirect(f"{reverse('consumer:sign-in')}?{query}")
    if sessions.cookie_of(request):
        sessions.forget_cookie(response)
    return response


def _not_allowed(request: HttpRequest) -> HttpResponse:
    return problem(
        request,
        HTTPStatus.FORBIDDEN,
        _("There is nothing to show you here"),
        _("Your role does not include the readings of a facility. Ask your organisation."),
        again=True,
    )


def problem(
    request: HttpRequest, status: HTTPStatus, title: str, text: str, **context: Any
) -> HttpResponse:
    """A page that says what is wrong and what to do."""
    return render(
        request, "consumer/problem.html", {"title": title, "text": text, **context}, status=status
    )
