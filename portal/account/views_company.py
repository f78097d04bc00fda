"""Signing in through an organisation's own OpenID provider: there and back."""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from functools import partial

from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.utils import generate_code_challenge
from django.conf import settings
from django.contrib import messages
from django.core.cache import cache
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from portal.account import openid, session
from portal.account.next_page import next_page
from portal.account.tasks import demand_second_factor
from portal.feed.notices import memberships_changed
from portal.middleware import client_address
from tenants.domain.company_arrival import Arrival, Identity, NotAdmitted, arrive
from tenants.domain.company_queries import NoCompanyLogin, Provider, provider
from tenants.domain.oauth_operations import access_changed
from tenants.models import User
from tenants.scope import Scope, open_scope
from tenants.sealing import Unsealable

logger = logging.getLogger(__name__)

# A provider's subject is at most 255 ASCII characters long (OpenID Connect Core 1.0, section 2).
_LONGEST_SUBJECT = 191
# What goes into the log of an answer that does not hold, which may be as long as it likes.
_LONGEST_REASON = 300
# From one address; a whole office may begin its day behind one.
_STARTS_PER_MINUTE = 120


@require_GET
@never_cache
def start(request: HttpRequest, key: str) -> HttpResponse:
    """Send the browser to the provider."""
    if _too_often(request):
        return render(request, "429.html", status=429)
    known = _provider(key)
    pkce = generate_code_challenge()
    nonce = secrets.token_urlsafe(24)
    again = "again" in request.GET
    state = {
        "verifier": pkce["code_verifier"],
        "nonce": nonce,
        "next": next_page(request),
    }
    parameters = {
        "redirect_uri": callback_address(key),
        "state": statekit.stash_state(
            request, provider_id=key, state=state, state_id=secrets.token_urlsafe(24)
        ),
        "nonce": nonce,
        "code_challenge": pkce["code_challenge"].decode(),
        "code_challenge_method": "S256",
    }
    if again:
        parameters["prompt"] = "login"
    if email := request.GET.get("login_hint"):
        parameters["login_hint"] = email[:254]
    try:
        return HttpResponseRedirect(openid.authorization_address(known, parameters))
    except openid.ProviderFailed as error:
        return _failed(request, known, error)


@require_GET
@never_cache
def callback(request: HttpRequest, key: str) -> HttpResponse:
    """The browser comes back with a code; whose it is, is asked of the provider itself."""
    known = _provider(key)
    state = statekit.unstash_state(request, provider_id=key, state_id=request.GET.get("state", ""))
    if state is None:
        return _refused(request, _("This sign-in was begun elsewhere or too long ago. Try again."))
    try:
        openid.check_issuer(known, request.GET.get("iss"))
    except openid.ProviderFailed as error:
        return _failed(request, known, error)
    if "code" not in request.GET:
        logger.info("company.refused login=%s error=%r", key, request.GET.get("error", "")[:80])
        return _refused(request, _("Your organisation has not let you in. Try again."))
    try:
        claims = openid.redeem(
            request,
            known,
            code=request.GET["code"],
            redirect_uri=callback_address(key),
            code_verifier=state["verifier"],
            nonce=state["nonce"],
        )
        arrival = _arrive(known, claims)
    except openid.ProviderFailed as error:
        return _failed(request, known, error)
    except NotAdmitted as error:
        logger.warning("company.not_admitted login=%s code=%s", key, error.code)
        return _refused(request, str(error))
    session.sign_in(request, arrival.user, method="company")
    return HttpResponseRedirect(state["next"] or resolve_url(settings.LOGIN_REDIRECT_URL))


def callback_address(key: str) -> str:
    """The address that the provider has to know."""
    return f"{settings.PUBLIC_URL}{reverse('company-callback', args=[key])}"


def _provider(key: str) -> Provider:
    try:
        return provider(key=key)
    except NoCompanyLogin:
        raise Http404 from None
    except Unsealable:
        logger.exception("company.secret_unsealable login=%s", key)
        raise Http404 from None


def _arrive(known: Provider, claims: openid.Claims) -> Arrival:
    """The account, linked with the provider's person; raises NotAdmitted."""
    if not 0 < len(claims.subject) <= _LONGEST_SUBJECT or "\x00" in claims.subject:
        raise openid.ProviderFailed("its subject is too long, or no text")
    links = SocialAccount.objects.filter(provider=known.key)
    linked = links.filter(uid=claims.subject).first()
    with transaction.atomic():
        arrival = arrive(
            login_id=known.login_id,
            tenant_id=known.tenant_id,
            identity=Identity(
                email=claims.email,
                email_verified=claims.email_verified,
                name=claims.name,
                groups=claims.groups,
                user_id=linked.user_id if linked else None,
                linked_elsewhere=lambda user_id: links.filter(user_id=user_id).exists(),
            ),
            now=datetime.now(UTC),
        )
        if linked is None:
            # Somebody who came back to an account that nobody had any more takes its link over.
            links.filter(user=arrival.user).delete()
            SocialAccount.objects.create(
                provider=known.key, uid=claims.subject, user=arrival.user, extra_data={}
            )
        if arrival.changed:
            _tell(arrival.user, arrival.tenant_ids)
    return arrival


def _tell(user: User, tenant_ids: tuple[int, ...]) -> None:
    """Tokens and open pages of the person look at the new role."""
    with open_scope(Scope(tenant_ids)):
        access_changed(user_id=user.pk)
    transaction.on_commit(partial(memberships_changed, user.pk))
    transaction.on_commit(partial(demand_second_factor.delay, user_ids=[user.pk]))


def _too_often(request: HttpRequest) -> bool:
    key = f"company-start:{client_address(request)}"
    cache.add(key, 0, 60)
    try:
        return int(cache.incr(key)) > _STARTS_PER_MINUTE
    except ValueError:  # the minute has ended in between
        return False


def _failed(request: HttpRequest, known: Provider, error: Exception) -> HttpResponse:
    """What went wrong is for the log: it may tell about the organisation's network."""
    reason = str(error)[:_LONGEST_REASON]
    logger.warning("company.failed login=%s issuer=%s reason=%s", known.key, known.issuer, reason)
    openid.forget(known.issuer)
    text = _("%(name)s could not be reached, or gave an answer that does not hold. Try again.")
    return _refused(request, text % {"name": known.name})


def _refused(request: HttpRequest, text: str) -> HttpResponse:
    """The sign-in page, with the reason."""
    messages.error(request, text)
    query = "?again=1" if request.user.is_authenticated else ""
    return HttpResponseRedirect(f"{reverse('login')}{query}")
