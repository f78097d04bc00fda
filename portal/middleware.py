"""The scope of a request, and where its changes come from."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final, cast

from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devices.domain.queries import access_and_scope
from tenants.domain import audit
from tenants.domain.queries import Access, NoAccess
from tenants.models import AuditChannel, User
from tenants.scope import Scope, open_scope

# Session key: the tenant that the user has switched to, one of `reachable_tenants`.
CURRENT_TENANT: Final = "current_tenant"


# Paths below it are called by applications; what they change came in by the API.
_API: Final = "/api/"

Handler = Callable[[HttpRequest], HttpResponseBase]


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
    user without any membership, whose scope is empty.
    """

    access: Access | None
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
        scoped.access, scoped.failed = None, False
        if not isinstance(request.user, User):
            return self._get_response(request)
        scoped.access, scope = _chosen(request, request.user)
        with open_scope(scope):
            response = self._get_response(request)
            # Django has turned the exception into a response already.
            if scoped.failed:
                transaction.set_rollback(True)
            return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Remember that the view raised."""
        del exception
        cast(ScopedRequest, request).failed = True


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
