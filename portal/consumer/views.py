"""The pages of the consumer view, and what the provider calls."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from devices.domain import home as domain
from devices.domain import home_use
from devices.domain.queries import FacilityNotFound
from portal.consumer import application, pages, provider, sessions
from portal.consumer import use as use_page
from portal.consumer.guard import AtHome, at_home, problem
from portal.feed.notices import memberships_changed
from portal.oauth import own

# A sign-in under way, in a cookie of its own, so that two tabs do not undo each other's.
_ATTEMPT_COOKIE: Final = "wattline_home_attempt_"
_ATTEMPT_S: Final = 600
_MAX_ATTEMPTS: Final = 4


@require_safe
@never_cache
@at_home
def home(request: AtHome, *, pk: int | None = None) -> HttpResponse:
    """The facility that was looked at last, or the one asked for."""
    visit = request.visit
    try:
        found = domain.home(
            facility_id=pk, preferred_id=visit.session.facility_id, now=datetime.now(UTC)
        )
    except FacilityNotFound as error:
        raise Http404 from error
    except domain.NoFacility:
        return render(request, "consumer/nothing.html", pages.person(visit))
    if pk is not None:
        sessions.remember_facility(visit, pk)
    return render(request, "consumer/home.html", pages.home(found, visit, now=datetime.now(UTC)))


@require_safe
@never_cache
@at_home
def today(request: AtHome, *, pk: int) -> HttpResponse:
    """The part of the page about today's energy, taken anew every minute."""
    try:
        found = domain.home(facility_id=pk, preferred_id=None, now=datetime.now(UTC))
    except (FacilityNotFound, domain.NoFacility) as error:
        raise Http404 from error
    return render(request, "consumer/today.html", pages.today(found))


@require_safe
@never_cache
@at_home
def use(request: AtHome, *, pk: int) -> HttpResponse:
    """The use of a day, week, month or year: `?span=month&of=2026-11-01`."""
    span, of = use_page.asked(request.GET.dict())
    try:
        found = home_use.use(facility_id=pk, span=span, of=of, now=datetime.now(UTC))
    except FacilityNotFound as error:
        raise Http404 from error
    context = pages.person(request.visit) | use_page.page(found)
    return render(request, "consumer/use.html", context)


# --- signing in and out ------------------------------------------------------------------


@require_safe
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider, which asks for a password only where it has to."""
    back = _safe(request.GET.get("next", ""))
    outside = urlsplit(settings.PUBLIC_URL)
    if request.get_host() != outside.netloc:
        # The answer, and with it the cookie, comes to the address that is registered.
        return HttpResponseRedirect(f"{settings.PUBLIC_URL}{request.get_full_path()}")
    person = request.user.pk if request.user.is_authenticated else None
    client_id = own.client_for(own.HOME, user_id=person)
    if client_id is None and person is None:
        query = urlencode({"next": request.get_full_path()})
        return HttpResponseRedirect(f"{reverse('login')}?{query}")
    if client_id is None:
        return problem(
            request,
            HTTPStatus.FORBIDDEN,
            _("There is no home for this account"),
            _("You are not a member of any organisation. Ask yours for an invitation."),
        )
    address, attempt = provider.begin(client_id=client_id, back=back)
    response = HttpResponseRedirect(address)
    former = [name for name in request.COOKIES if name.startswith(_ATTEMPT_COOKIE)]
    if len(former) >= _MAX_ATTEMPTS:
        for name in former:
            response.delete_cookie(name, path=reverse("consumer:home"))
    response.set_cookie(
        _attempt_cookie(attempt.state),
        signing.dumps(
            [attempt.client_id, attempt.state, attempt.nonce, attempt.verifier, attempt.back],
            salt=_ATTEMPT_COOKIE,
        ),
        max_age=_ATTEMPT_S,
        path=reverse("consumer:home"),
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response


@require_safe
@never_cache
def callback(request: HttpRequest) -> HttpResponse:
    """The provider's answer: a code to exchange, or the reason why there is none."""
    attempt = _attempt_of(request)
    if attempt is None:
        return problem(
            request,
            HTTPStatus.BAD_REQUEST,
            _("This sign-in is no longer under way"),
            _("It took too long, or it was begun in another browser. Please try again."),
            again=True,
        )
    try:
        response = _signed_in(request, attempt)
    except sessions.NoMembership:
        response = _no_membership(request)
    except (provider.Refused, provider.NotFromProvider):
        response = problem(
            request,
            HTTPStatus.BAD_REQUEST,
            _("Signing in did not work"),
            _("Nothing has happened to your account. Please try again."),
            again=True,
        )
    response.delete_cookie(_attempt_cookie(attempt.state), path=reverse("consumer:home"))
    return response


def _signed_in(request: HttpRequest, attempt: provider.Attempt) -> HttpResponse:
    issuer = request.GET.get("iss", "")
    if issuer != settings.PUBLIC_URL:
        raise provider.NotFromProvider("the answer names another issuer")
    if error := request.GET.get("error"):
        if error == "access_denied":
            raise sessions.NoMembership
        raise provider.Refused(error)
    tokens, person = provider.finish(
        attempt=attempt, code=request.GET.get("code", ""), issuer=issuer
    )
    secret = sessions.begin(client_id=attempt.client_id, tokens=tokens, person=person)
    sessions.replace_former(sessions.cookie_of(request))
    response = HttpResponseRedirect(_safe(attempt.back))
    sessions.set_cookie(response, secret)
    return response


def _no_membership(request: HttpRequest) -> HttpResponse:
    return problem(
        request,
        HTTPStatus.FORBIDDEN,
        _("There is no home for this account"),
        _("Your membership has ended, or you did not allow this view. Ask your organisation."),
        again=True,
    )


def _attempt_cookie(state: str) -> str:
    return _ATTEMPT_COOKIE + state[:12]


def _attempt_of(request: HttpRequest) -> provider.Attempt | None:
    """What this browser began with the state that has come back."""
    state = request.GET.get("state", "")
    try:
        values = signing.loads(
            request.COOKIES.get(_attempt_cookie(state), ""),
            salt=_ATTEMPT_COOKIE,
            max_age=_ATTEMPT_S,
        )
    except signing.BadSignature:
        return None
    attempt = provider.Attempt(*values)
    return attempt if attempt.state == state else None


@require_POST
@never_cache
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out here, then everywhere: the provider ends the session and brings the browser back."""
    try:
        address = sessions.end(sessions.visit(sessions.cookie_of(request)))
    except (sessions.SignedOut, sessions.NoMembership):
        address = reverse("consumer:signed-out")
    response = HttpResponseRedirect(address)
    sessions.forget_cookie(response)
    return response


@require_safe
@never_cache
def signed_out(request: HttpRequest) -> HttpResponse:
    """The page after signing out; its script removes what was kept for looking at offline."""
    return render(request, "consumer/signed_out.html")


@csrf_exempt
@require_POST
@never_cache
def backchannel_logout(request: HttpRequest) -> HttpResponse:
    """The provider tells that a session has ended (OpenID Connect Back-Channel Logout 1.0)."""
    try:
        users = sessions.ended_by_provider(request.POST.get("logout_token", ""))
    except provider.NotFromProvider as error:
        answer = {"error": "invalid_request", "error_description": str(error)}
        return JsonResponse(answer, status=HTTPStatus.BAD_REQUEST)
    for user_id in users:
        memberships_changed(user_id)
    return HttpResponse()


# --- what makes it an application --------------------------------------------------------


@require_safe
@cache_control(public=True, max_age=3600)
def manifest(request: HttpRequest) -> HttpResponse:
    """The web application manifest (W3C)."""
    del request
    return JsonResponse(application.manifest(), content_type="application/manifest+json")


@require_safe
@cache_control(no_cache=True)
def service_worker(request: HttpRequest) -> HttpResponse:
    """The service worker with the list of files that it keeps; browsers compare it byte by byte."""
    del request
    return HttpResponse(application.service_worker(), content_type="text/javascript")


@require_safe
@cache_control(no_cache=True)
def offline(request: HttpRequest) -> HttpResponse:
    """What is shown without a network; a page about nobody, filled by its script."""
    return render(request, "consumer/offline.html", application.offline_page())


def _safe(path: str) -> str:
    """An address of this view; anything else becomes its first page."""
    first = reverse("consumer:home")
    if path.startswith(first) and url_has_allowed_host_and_scheme(path, allowed_hosts=None):
        return path
    return first
