"""The scope of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devices.domain.queries import access_and_scope
from tenants.domain.queries import Access, NoAccess
from tenants.models import User
from tenants.scope import Scope, open_scope

# Session key: the tenant that the user has switched to, one of `reachable_tenants`.
CURRENT_TENANT: Final = "current_tenant"


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

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
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
