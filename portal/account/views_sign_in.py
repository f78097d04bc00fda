"""Signing in: an address, then a password or a passkey, then a second factor; and signing out."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from allauth.account.internal.flows.login import perform_login, perform_password_login
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import Login
from allauth.account.views import BaseReauthenticateView
from allauth.core.internal import ratelimit
from allauth.mfa.base.internal.flows import post_authentication
from allauth.mfa.base.views import AuthenticateView, ReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.internal import auth as webauthn
from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LogoutView
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from portal.account import session
from portal.account.adapter import TOO_MANY
from portal.account.forms import (
    AddressForm,
    PasswordForm,
    ReauthenticationPasswordForm,
)
from portal.account.forms_factors import SignInPasskeyForm
from portal.account.next_page import next_page
from portal.oauth import session as sign_on
from portal.oauth.authorize import allow_form_to, redirect_of
from tenants.domain.company_queries import Route, route_of
from tenants.models import User

get_and_post = require_http_methods(["GET", "POST"])


@get_and_post
@never_cache
@sensitive_post_parameters("password")
def sign_in(request: HttpRequest) -> HttpResponse:
    """The sign-in page: first who it is, then the password.

    Which ways there are follows from the domain of the address alone, so that nobody learns which
    addresses have an account. With `again` it asks somebody who is signed in already, too.
    """
    if request.user.is_authenticated and "again" not in request.GET:
        return HttpResponseRedirect(next_page(request) or resolve_url(settings.LOGIN_REDIRECT_URL))
    if request.method == "GET":
        return _page(request, AddressForm())
    if "password" in request.POST:
        return _by_password(request)
    form = AddressForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    return _page(request, PasswordForm(initial=form.cleaned_data, request=request))


def _by_password(request: HttpRequest) -> HttpResponse:
    form = PasswordForm(request.POST, request=request)
    if not form.is_valid():
        return _page(request, form, 429 if form.has_error("__all__", TOO_MANY) else 200)
    assert form.user is not None
    _begin(request, form.user)
    login = Login(user=form.user, redirect_url=next_page(request), email=form.user.email)
    return _answered(perform_password_login(request, {"email": form.user.email}, login))


def _begin(request: HttpRequest, user: User) -> None:
    """The first step is done: nobody may know the session's key from before."""
    clear_login(request)
    if isinstance(request.user, User):
        session.ask_again(request, user)
    request.session.cycle_key()


def _answered(response: HttpResponseBase) -> HttpResponse:
    return cast(HttpResponse, response)


def _page(request: HttpRequest, form: AddressForm, status: int = 200) -> HttpResponse:
    """The page of the step that `form` belongs to, whose form may lead to an application."""
    second = isinstance(form, PasswordForm)
    following = next_page(request)
    again = "again" in request.GET
    email = str(form["login"].value() or "") if second else ""
    route = route_of(email=email) if email else None
    context = {
        "form": form,
        "next": following,
        "again": again,
        "email": email,
        "company": route,
        "company_url": _company_url(route, email, following, again) if route else "",
        # Where the organisation demands its own sign-in, a password is for the exception.
        "password_shown": route is None
        or not route.is_enforced
        or not {"password", "by_password"}.isdisjoint(request.POST),
        "restart": _address("login", following, again),
        "passkey_url": _address("mfa_login_webauthn", following, again),
        "refused": form.has_error("__all__", TOO_MANY),
    }
    template = "account/password.html" if second else "account/login.html"
    response = render(request, template, context, status=status)
    return _leading(response, following)


def _address(name: str, following: str, again: bool) -> str:
    query = {"next": following} if following else {}
    if again:
        query["again"] = "1"
    return reverse(name) + (f"?{urlencode(query)}" if query else "")


def _company_url(route: Route, email: str, following: str, again: bool) -> str:
    query = {"login_hint": email} | ({"next": following} if following else {})
    if again:
        query["again"] = "1"
    return f"{reverse('company-start', args=[route.key])}?{urlencode(query)}"


def _leading(response: HttpResponse, following: str) -> HttpResponse:
    if uri := redirect_of(following):
        allow_form_to(response, uri)
    return response


@get_and_post
@never_cache
def passkey(request: HttpRequest) -> HttpResponse:
    """Sign in by a passkey alone: GET gives the options for the browser, POST takes its answer."""
    if not ratelimit.consume(request, app="allauth.mfa", action="webauthn_login", limit_get=True):
        return render(request, "429.html", status=429)
    if request.user.is_authenticated and "again" not in request.GET:
        return HttpResponseRedirect(next_page(request) or resolve_url(settings.LOGIN_REDIRECT_URL))
    if request.method == "GET":
        return JsonResponse({"request_options": webauthn.begin_authentication(user=None)})
    form = SignInPasskeyForm(data=request.POST)
    if not form.is_valid():
        messages.error(
            request,
            _("This passkey could not be used. Try again, or sign in with your password."),
        )
        return HttpResponseRedirect(_address("login", next_page(request), "again" in request.GET))
    authenticator = form.cleaned_data["credential"]
    _begin(request, authenticator.user)
    post_authentication(request, authenticator, passwordless=True)
    login = Login(user=authenticator.user, redirect_url=next_page(request))
    return _answered(perform_login(request, login))


@method_decorator([get_and_post, never_cache], name="dispatch")
class SecondFactorView(AuthenticateView):
    """The second factor, after the password."""

    template_name = "account/second_factor.html"

    def form_invalid(self, form: Form) -> HttpResponse:
        """The page again, with the reason."""
        limited = any(form.has_error(name, "too_many_login_attempts") for name in form.fields)
        context = self.get_context_data()
        return self.render_to_response(context, status=429 if limited else 200)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What the person can prove it with."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        user = self.stage.login.user
        return context | _factors(user)

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """The page, whose form may lead to an application that waits behind it."""
        response = super().render_to_response(context, **kwargs)
        return _leading(response, self.stage.login.redirect_url or "")


def _factors(user: User) -> dict[str, bool]:
    types = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    return {
        "has_app": "totp" in types,
        "has_codes": "recovery_codes" in types,
        "has_passkey": "webauthn" in types,
    }


class _Reauthentication:
    """What the three ways of proving it once more have in common."""

    request: HttpRequest

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The other ways, and what the person has."""
        context: dict[str, Any] = super().get_context_data(**kwargs)  # type: ignore[misc]
        return context | _factors(cast(User, self.request.user))

    def form_valid(self, form: Form) -> HttpResponse:
        """Proven: go on with what was asked for."""
        sign_on.note_authentication(self.request)
        return cast(HttpResponse, super().form_valid(form))  # type: ignore[misc]


@method_decorator([get_and_post, never_cache, login_required], name="dispatch")
class ReauthenticateByPasswordView(_Reauthentication, BaseReauthenticateView):
    """The password once more, before the account's security is changed."""

    template_name = "account/reauthenticate.html"
    form_class = ReauthenticationPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """The form asks for the person's own password."""
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form: Form) -> HttpResponse:
        """Noted, then on."""
        reauthenticate_by_password(self.request)
        return super().form_valid(form)


@method_decorator([get_and_post, never_cache], name="dispatch")
class ReauthenticateByCodeView(_Reauthentication, ReauthenticateView):
    """A code, before the account's security is changed."""

    template_name = "account/reauthenticate.html"


@method_decorator([get_and_post, never_cache], name="dispatch")
class ReauthenticateByPasskeyView(_Reauthentication, ReauthenticateWebAuthnView):
    """A passkey, before the account's security is changed."""

    template_name = "account/reauthenticate.html"

    def form_invalid(self, form: Form) -> HttpResponse:
        """The page again, with the reason."""
        return cast(HttpResponse, self.render_to_response(self.get_context_data(form=form)))


class SignOutView(LogoutView):
    """Sign out of the portal and of every application that this session signed in to."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """End the session everywhere."""
        session.end(request)
        return super().post(request, *args, **kwargs)
