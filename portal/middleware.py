"""The scope of a request, and where its changes come from."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import Resolver404, ResolverMatch, resolve
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from devices.domain.queries import access_and_scope
from portal import impersonation
from portal.frame import acting
from tenants.domain import audit
from tenants.domain.impersonation import ImpersonationEnded
from tenants.domain.queries import Access, NoAccess
from tenants.models import AuditChannel, User
from tenants.scope import Scope, open_scope

# Session key: the tenant that the user has switched to, one of `reachable_tenants`.
CURRENT_TENANT: Final = "current_tenant"


# Paths below it are called by applications; what they change came in by the API.
_API: Final = "/api/"

Handler = Callable[[HttpRequest], HttpResponseBase]


class PrivateMiddleware:
    """Keeps what was answered to somebody who is signed in out of every cache: pages, files and
    refusals alike. A view that says itself how long its answer may be kept has its way.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request; mark the answer as private."""
        response = self._get_response(request)
        if isinstance(request.user, User) and "Cache-Control" not in response:
            add_never_cache_headers(response)
        return response


class OriginMiddleware:
    """Has the audit trail name the client's address and the way by which a change came in.

    The address is that of the connection: behind a proxy the web server puts the client's there
    (`uvicorn --proxy-headers` believes the proxies of `FORWARDED_ALLOW_IPS` alone).
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request; what it changes comes from its client."""
        api = request.path.startswith(_API)
        channel = AuditChannel.API if api else AuditChannel.PORTAL
        with audit.origin(audit.Origin(channel, client_address(request))):
            return self._get_response(request)


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address; None when the connection has none (a Unix socket).

    An IPv4 address in the clothes of an IPv6 one is given as what it is, and the zone of a
    link-local one, which means nothing elsewhere, is left out.
    """
    try:
        found = ipaddress.ip_address(request.META.get("REMOTE_ADDR", "").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


class ScopedRequest(HttpRequest):
    """A request behind `ScopeMiddleware`.

    `access` says how the user acts: views ask it for permissions. It is None for nobody, and for a
    user without any membership, whose scope is empty. With `impersonation`, `user` is the person
    who is impersonated, and `access` what both may.
    """

    access: Access | None
    impersonation: impersonation.Shown | None
    failed: bool


class ScopeMiddleware:
    """Opens the scope of a signed-in user for the request, and with it the request's transaction.

    A view that raises has its changes rolled back. A response that streams is produced after the
    scope has closed: such a view reads first, or opens the scope itself.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request inside its scope."""
        scoped = cast(ScopedRequest, request)
        scoped.access, scoped.impersonation, scoped.failed = None, None, False
        user = request.user
        if not isinstance(user, User):
            return self._get_response(request)
        if impersonation.noted(request.session):
            match = _match(request)
            if match is None or match.view_name not in impersonation.SIGN_OUT_ROUTES:
                return self._impersonating(scoped, user, match)
            impersonation.leave(request, user_id=user.pk)
        scoped.access, scope = _chosen(request, user)
        return self._in_scope(scoped, scope)

    def _in_scope(self, request: ScopedRequest, scope: Scope) -> HttpResponseBase:
        with open_scope(scope):
            if acting.has_moved(request):
                context = {"former": acting.opened_in(request)}
                return render(request, "acting_moved.html", context, status=409)
            response = self._get_response(request)
            # Django has turned the exception into a response already.
            if request.failed:
                transaction.set_rollback(True)
            return response

    def _impersonating(
        self, request: ScopedRequest, user: User, match: ResolverMatch | None
    ) -> HttpResponseBase:
        """Answer as the person whom the signed-in supporter acts as."""
        try:
            acted = impersonation.acting(request.session, user_id=user.pk)
        except ImpersonationEnded:
            # Not answered as the supporter: what was sent was meant to be done by the person.
            impersonation.leave(request, user_id=user.pk)
            messages.info(request, _("The impersonation has ended. You are yourself again."))
            return redirect("overview")
        assert acted is not None
        facts = acted.facts
        request.user, request.access = facts.person, acted.access
        request.impersonation = impersonation.Shown(
            supporter=user,
            person=facts.person,
            tenant_name=facts.tenant_name,
            reason=facts.reason,
            ends_at=facts.ends_at,
        )
        origin = replace(audit.current_origin(), impersonator_id=user.pk, reason=facts.reason)
        with audit.origin(origin):
            if match is not None and not impersonation.opens(match):
                with open_scope(acted.scope):
                    return render(request, "impersonation_refused.html", status=403)
            return self._in_scope(request, acted.scope)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Remember that the view raised."""
        del exception
        cast(ScopedRequest, request).failed = True


def _match(request: HttpRequest) -> ResolverMatch | None:
    """The route of a request; None for an address that leads nowhere."""
    try:
        return resolve(request.path_info)
    except Resolver404:
        return None


def _chosen(request: HttpRequest, user: User) -> tuple[Access | None, Scope]:
    """The access to the tenant in the session; when it is gone, to the user's own; else nothing."""
    chosen = request.session.get(CURRENT_TENANT)
    if chosen is not None:
        try:
            return access_and_scope(user_id=user.pk, tenant_id=chosen)
        except NoAccess:
            del request.session[CURRENT_TENANT]
    try:
        return access_and_scope(user_id=user.pk)
    except NoAccess:
        return None, Scope((), ())
