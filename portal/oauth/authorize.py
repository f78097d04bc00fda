"""The authorization endpoint: who is it, which tenant, does the person agree; then a code.

The request is validated anew at every step from the query string, which the consent form posts back
to; nothing of it travels through hidden fields.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.encoding import iri_to_uri
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.oauth2_backends import get_oauthlib_core

from portal.oauth import session
from portal.oauth.discovery import PROMPTS
from portal.oauth.scopes import shown
from tenants.domain import oauth_operations
from tenants.domain.oauth_queries import consented_scopes, scope_of_application, tenants_for
from tenants.domain.oauth_validator import Authorization, active_application, claims_of_hint
from tenants.domain.queries import TenantFacts
from tenants.models import Application, User
from tenants.scope import open_scope

# In the address that a person returns to from the sign-in page: when and for which request the
# person was asked to sign in. Signed, so that an address cannot claim it.
_ASKED: Final = "wattline_asked"
_ASKED_MAX_AGE: Final = timedelta(minutes=30)
_S256: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_NONCE_LENGTH: Final = 255
# Parameters of OpenID Connect that change what is asked for and are not supported.
_UNSUPPORTED: Final = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}


class _Refused(Exception):  # noqa: N818 - it reads as what happened
    """The application gets an error instead of a code."""

    def __init__(self, error: str, description: str = "") -> None:
        super().__init__(error)
        self.error, self.description = error, description


@dataclass(frozen=True, slots=True)
class _Asked:
    """A valid authorization request."""

    application: Application
    redirect_uri: str
    state: str | None
    scopes: list[str]
    credentials: dict[str, Any]
    prompts: frozenset[str]
    max_age: int | None


@require_http_methods(["GET", "POST"])
@never_cache
def authorize(request: HttpRequest) -> HttpResponse:
    """RFC 6749, section 4.1, with PKCE (S256), and OpenID Connect Core, section 3.1.2."""
    if any("\x00" in value for value in request.GET.values()):
        return _error_page(request, "A parameter contains a zero byte.")
    scope = scope_of_application(client_id=request.GET.get("client_id", ""))
    with open_scope(scope):
        try:
            asked = _validated(request)
        except FatalClientError as error:
            return _error_page(request, error.oauthlib_error.description or "")
        except OAuthToolkitError as error:
            return _redirect_error(
                request, error.oauthlib_error.error, error.oauthlib_error.description
            )
        except _Refused as error:
            return _redirect_error(request, error.error, error.description)
        try:
            return _decide(request, asked)
        except _Refused as error:
            return _redirect_error(request, error.error, error.description)


def _validated(request: HttpRequest) -> _Asked:
    """The request; raises FatalClientError when nobody must be sent back to its address."""
    scopes, credentials = get_oauthlib_core().validate_authorization_request(request)
    application = active_application(credentials["client_id"])
    assert application is not None  # the library has found it in the same transaction
    for parameter, error in _UNSUPPORTED.items():
        if parameter in request.GET:
            raise _Refused(error)
    if len(request.GET.get("nonce", "")) > _NONCE_LENGTH:
        raise _Refused("invalid_request", "The nonce is too long.")
    if request.GET.get("response_mode", "query") != "query":
        raise _Refused("invalid_request", "Only response_mode=query is supported.")
    if credentials.get("code_challenge_method") != "S256":
        raise _Refused("invalid_request", "PKCE with code_challenge_method=S256 is required.")
    if not _S256.fullmatch(credentials.get("code_challenge") or ""):
        raise _Refused("invalid_request", "The code_challenge is not a SHA-256 in base64url.")
    prompts = frozenset(request.GET.get("prompt", "").split())
    if prompts - set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        raise _Refused("invalid_request", "The values of prompt do not go together.")
    max_age = request.GET.get("max_age")
    if max_age is not None and not re.fullmatch(r"[0-9]{1,9}", max_age):
        raise _Refused("invalid_request", "max_age is a number of seconds.")
    return _Asked(
        application=application,
        redirect_uri=credentials["redirect_uri"],
        state=credentials.get("state"),
        scopes=list(scopes),
        credentials=dict(credentials),
        prompts=prompts,
        max_age=None if max_age is None else int(max_age),
    )


def _decide(request: HttpRequest, asked: _Asked) -> HttpResponse:
    """A code, a page that asks, or the sign-in page; raises _Refused."""
    user = request.user
    silent = "none" in asked.prompts
    if not isinstance(user, User) or _must_sign_in_again(request, asked):
        if silent:
            raise _Refused("login_required")
        return _to_sign_in(request, again=isinstance(user, User))
    if (hint := request.GET.get("id_token_hint")) and not _is_hinted(hint, user):
        if silent:
            raise _Refused("login_required", "Somebody else is signed in.")
        if not _was_asked(request):
            return _to_sign_in(request, again=True)
    tenants = tenants_for(user_id=user.pk, application=asked.application)
    if not tenants:
        raise _Refused("access_denied", "The person is no member of a tenant of this application.")
    if request.method == "POST":
        return _answered(request, asked, user, tenants)
    chosen = _preferred(request, tenants)
    if not _must_ask(asked, user, chosen):
        return _issue(request, asked, user, chosen)
    if silent:
        raise _Refused("consent_required")
    return _consent_page(request, asked, tenants, chosen)


def _must_ask(asked: _Asked, user: User, tenant: TenantFacts) -> bool:
    """Whether the person has to agree (again)."""
    if asked.prompts & {"consent", "select_account"}:
        return True
    if asked.application.skip_authorization:
        return False
    agreed = consented_scopes(
        user_id=user.pk, application_id=asked.application.pk, tenant_id=tenant.tenant_id
    )
    return not set(asked.scopes) <= agreed


def _answered(
    request: HttpRequest, asked: _Asked, user: User, tenants: tuple[TenantFacts, ...]
) -> HttpResponse:
    """What the person chose on the consent page."""
    if request.POST.get("answer") == "other-account":
        return _to_sign_in(request, again=True)
    if request.POST.get("answer") != "allow":
        raise _Refused("access_denied", "The person did not agree.")
    chosen = next((t for t in tenants if str(t.tenant_id) == request.POST.get("tenant")), None)
    if chosen is None:
        raise _Refused("access_denied", "The person is no member of the chosen tenant.")
    oauth_operations.give_consent(
        application=asked.application,
        user_id=user.pk,
        tenant_id=chosen.tenant_id,
        scopes=asked.scopes,
    )
    return _issue(request, asked, user, chosen)


def _issue(request: HttpRequest, asked: _Asked, user: User, tenant: TenantFacts) -> HttpResponse:
    sign_on = oauth_operations.sign_on(
        sid=session.sid_of(request),
        application=asked.application,
        user_id=user.pk,
        tenant_id=tenant.tenant_id,
        authenticated_at=session.authenticated_at(request),
        methods=session.methods_of(request),
    )
    credentials = {
        **asked.credentials,
        "authorization": Authorization(tenant.tenant_id, sign_on, uuid4()),
    }
    try:
        location, _headers, _body, _status = get_oauthlib_core().create_authorization_response(
            request, asked.scopes, credentials, allow=True
        )
    except OAuthToolkitError as error:
        raise _Refused(error.oauthlib_error.error, error.oauthlib_error.description) from error
    return leave(location)


# --- signing in (again) -------------------------------------------


def _digest(request: HttpRequest) -> str:
    """The request that a person was sent to the sign-in page for."""
    parameters = request.GET.copy()
    parameters.pop(_ASKED, None)
    return parameters.urlencode()


def _asked_at(request: HttpRequest) -> float | None:
    """When the person was sent to the sign-in page for this very request."""
    try:
        marker = signing.loads(request.GET.get(_ASKED, ""), salt=_ASKED, max_age=_ASKED_MAX_AGE)
    except signing.BadSignature:
        return None
    return float(marker["at"]) if marker["request"] == _digest(request) else None


def _was_asked(request: HttpRequest) -> bool:
    """Whether the person has signed in since being asked to for this very request."""
    asked_at = _asked_at(request)
    return asked_at is not None and session.authenticated_at(request).timestamp() >= asked_at


def _must_sign_in_again(request: HttpRequest, asked: _Asked) -> bool:
    if request.method == "POST" and request.POST.get("answer") == "other-account":
        return False
    age = datetime.now(UTC) - session.authenticated_at(request)
    too_old = asked.max_age is not None and age > timedelta(seconds=asked.max_age)
    wanted = asked.prompts & {"login", "select_account"}
    return bool(too_old or wanted) and not _was_asked(request)


def _to_sign_in(request: HttpRequest, *, again: bool) -> HttpResponse:
    marker = signing.dumps(
        {"at": datetime.now(UTC).timestamp(), "request": _digest(request)}, salt=_ASKED
    )
    parameters = request.GET.copy()
    parameters[_ASKED] = marker
    query = {
        "next": f"{request.path}?{parameters.urlencode()}",
        **({"again": "1"} if again else {}),
    }
    return HttpResponseRedirect(f"{reverse('login')}?{urlencode(query)}")


def _is_hinted(hint: str, user: User) -> bool:
    claims = claims_of_hint(hint, issuer=settings.PUBLIC_URL)
    return claims is not None and claims.get("sub") == str(user.pk)


# --- answers ------------------------------------------------------


def _preferred(request: HttpRequest, tenants: tuple[TenantFacts, ...]) -> TenantFacts:
    """The tenant that the person works in at the moment, if it is served; else the first."""
    access = getattr(request, "access", None)
    current = access.tenant.tenant_id if access else None
    return next((t for t in tenants if t.tenant_id == current), tenants[0])


def _consent_page(
    request: HttpRequest, asked: _Asked, tenants: tuple[TenantFacts, ...], chosen: TenantFacts
) -> HttpResponse:
    response = render(
        request,
        "oauth/consent.html",
        {
            "application": asked.application.name,
            "host": urlsplit(asked.redirect_uri).netloc or asked.redirect_uri,
            "scopes": shown(asked.scopes),
            "tenants": tenants,
            "chosen": chosen,
            "access_minutes": settings.ACCESS_TOKEN_S // 60,
            "refresh_days": settings.REFRESH_TOKEN_S // 86_400,
        },
    )
    allow_form_to(response, asked.redirect_uri)
    return response


def allow_form_to(response: HttpResponse, uri: str) -> None:
    """Browsers apply the policy for forms to the redirects that follow a form, too."""
    parts = urlsplit(uri)
    source = f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"
    vars(response)["_csp_update"] = {"form-action": [source]}


def redirect_of(path: str) -> str | None:
    """Where an authorization request, given as a path with its query, leads in the end.

    None for any other path, and when the application or its address is not registered.
    """
    parts = urlsplit(path)
    if parts.netloc or parts.path != reverse("oauth:authorize"):
        return None
    query = QueryDict(parts.query)
    name, uri = str(query.get("client_id", "")), str(query.get("redirect_uri", ""))
    with open_scope(scope_of_application(client_id=name)):
        application = active_application(name)
        return uri if application is not None and application.redirect_uri_allowed(uri) else None


def _redirect_error(request: HttpRequest, error: str, description: str | None) -> HttpResponse:
    """Send an error to the application; its address has been validated before."""
    application = active_application(request.GET.get("client_id", ""))
    assert application is not None
    uri = request.GET.get("redirect_uri") or application.default_redirect_uri
    if not application.redirect_uri_allowed(uri):
        return _error_page(request, "Mismatching redirect URI.")
    answer = {"error": error, "iss": settings.PUBLIC_URL}
    if description:
        answer["error_description"] = description
    if state := request.GET.get("state"):
        answer["state"] = state
    return leave(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}")


def leave(location: str) -> HttpResponse:
    """Send the browser to an address that an application has registered, of whatever scheme."""
    response = HttpResponse(status=302)
    response["Location"] = iri_to_uri(location)
    return response


def _error_page(request: HttpRequest, problem: str) -> HttpResponse:
    return render(request, "oauth/error.html", {"problem": problem}, status=400)
