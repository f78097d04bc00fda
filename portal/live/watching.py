"""What a signed-in browser of the portal may watch."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from devices.domain import queries
from portal.feed.watching import PERMISSIONS, Refused, Target, Watching, look
from portal.middleware import CURRENT_TENANT
from tenants.domain.queries import NoAccess


def describe(*, session_key: str | None, user_id: int, target: Target) -> Watching:
    """The devices behind `target`, after a look at session, membership and permission.

    Raises Refused.
    """
    tenant_id = _tenant_of_session(session_key, user_id)
    if target.tenant_id is not None:
        tenant_id = target.tenant_id
    try:
        access, scope = queries.access_and_scope(user_id=user_id, tenant_id=tenant_id)
    except NoAccess:
        raise Refused("the membership has ended") from None
    if not all(map(access.allows, PERMISSIONS[target.kind])):
        raise Refused("the role does not include readings")
    return look(scope=scope, target=replace(target, tenant_id=access.tenant.tenant_id))


def _tenant_of_session(session_key: str | None, user_id: int) -> int | None:
    """The tenant chosen in a session that still holds for the user; None for the user's own."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    request = HttpRequest()
    request.session = store
    user = get_user(request)  # the same checks as for a page: active, password unchanged
    if user.pk != user_id:
        raise Refused("the session has ended", signed_in=False)
    tenant_id: int | None = store.get(CURRENT_TENANT)
    return tenant_id
