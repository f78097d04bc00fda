"""What a signed-in browser of the portal may watch."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from devices.domain import queries
from portal import impersonation
from portal.account.session import SET_UP
from portal.feed.watching import PERMISSIONS, Refused, Target, Watching, look
from portal.middleware import CURRENT_TENANT
from tenants.domain.impersonation import ImpersonationEnded
from tenants.domain.queries import NoAccess


def describe(*, session_key: str | None, user_id: int, target: Target) -> Watching:
    """The devices behind `target`, after a look at session, membership and permission,
    and at the impersonation that the session may be in.

    Raises Refused.
    """
    session = _session_of(session_key, user_id)
    try:
        acting = impersonation.acting(session, user_id=user_id)
    except ImpersonationEnded:
        raise Refused("the impersonation has ended") from None
    now_in = acting.facts.impersonation_id if acting else None
    if target.tenant_id is None:
        target = replace(target, tenant_id=session.get(CURRENT_TENANT), impersonation_id=now_in)
    elif target.impersonation_id != now_in:
        raise Refused("the impersonation has begun or ended")
    if acting is not None:
        access, scope = acting.access, acting.scope
    else:
        try:
            access, scope = queries.access_and_scope(user_id=user_id, tenant_id=target.tenant_id)
        except NoAccess:
            raise Refused("the membership has ended") from None
    if not all(map(access.allows, PERMISSIONS[target.kind])):
        raise Refused("the role does not include readings")
    found = look(scope=scope, target=replace(target, tenant_id=access.tenant.tenant_id))
    if acting is None:
        return found
    return replace(found, acts_as=acting.facts.person.pk, until=acting.facts.ends_at)


def _session_of(session_key: str | None, user_id: int) -> SessionBase:
    """A session that still holds for the user; raises Refused."""
    store: SessionBase = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    request = HttpRequest()
    request.session = store
    user = get_user(request)  # the same checks as for a page: active, password unchanged
    if user.pk != user_id:
        raise Refused("the session has ended", signed_in=False)
    if store.get(SET_UP):
        raise Refused("the second factor is not set up")
    return store
