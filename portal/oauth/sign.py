"""The logout that applications ask for."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from portal.account import session as account_session
from portal.oauth import session
from portal.oauth.authorize import allow_form_to, leave
from tenants.domain.oauth_queries import scope_of_application
from tenants.domain.oauth_validator import active_application, claims_of_hint
from tenants.models import Application, User
from tenants.scope import open_scope

_TARGET: Final = "oauth-logout-target"


class _Refused(Exception):  # noqa: N818 - it reads as what happened
    """A logout request that names what is not registered: nobody is sent anywhere."""


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
def logout(request: HttpRequest) -> HttpResponse:
    """RP-Initiated Logout 1.0.

    With an ID token of the very session that the browser has, it is ended at once; else the person
    is asked. A request that another site posts comes without the cookie of the session, so it is
    turned into one that a browser follows with it.
    """
    if request.method == "POST":
        query = request.POST.urlencode()
        return HttpResponseRedirect(f"{request.path}?{query}", status=303)
    try:
        application, claims, target = _requested(request)
    except _Refused as error:
        return render(request, "oauth/error.html", {"problem": str(error)}, status=400)
    if not isinstance(request.user, User):
        return _signed_out(target)
    known = session.known_sid(request)
    if claims is not None and known is not None and claims.get("sid") == str(known):
        return _end(request, target)
    response = render(
        request,
        "oauth/logout.html",
        {
            "application": application.name if application else "",
            "target": signing.dumps(target, salt=_TARGET),
        },
    )
    if target:
        allow_form_to(response, target)
    return response


@require_POST
@never_cache
def logout_confirm(request: HttpRequest) -> HttpResponse:
    """The person's answer to the question of `logout`."""
    try:
        target = signing.loads(request.POST.get("target", ""), salt=_TARGET, max_age=3600)
    except signing.BadSignature:
        target = None
    return _end(request, target)


def _requested(
    request: HttpRequest,
) -> tuple[Application | None, dict[str, Any] | None, str | None]:
    """Which application asks, whom it means, and where it wants the browser afterwards."""
    hint, client_id = request.GET.get("id_token_hint"), request.GET.get("client_id")
    uri = request.GET.get("post_logout_redirect_uri")
    claims = claims_of_hint(hint, issuer=settings.PUBLIC_URL) if hint else None
    if hint and claims is None:
        raise _Refused("The id_token_hint is no ID token of this provider.")
    audience = str(claims["aud"]) if claims else None
    if client_id and audience and client_id != audience:
        raise _Refused("The id_token_hint was issued to another application.")
    name = client_id or audience
    if name is None:
        if uri:
            raise _Refused("A post_logout_redirect_uri needs a client_id or an id_token_hint.")
        return None, claims, None
    with open_scope(scope_of_application(client_id=name)):
        application = active_application(name)
        if application is None:
            raise _Refused("The application is not known.")
        if uri and not application.post_logout_redirect_uri_allowed(uri):
            raise _Refused("The post_logout_redirect_uri is not registered.")
    if uri and (state := request.GET.get("state")):
        uri += ("&" if "?" in uri else "?") + urlencode({"state": state})
    return application, claims, uri


def _end(request: HttpRequest, target: str | None) -> HttpResponse:
    account_session.end(request)
    return _signed_out(target)


def _signed_out(target: str | None) -> HttpResponse:
    if target:
        return leave(target)
    return HttpResponseRedirect(reverse("login"))
