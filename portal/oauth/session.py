"""The session of a browser: when its user signed in, and under which `sid` applications know it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final
from uuid import UUID, uuid4

from django.db import transaction
from django.http import HttpRequest

from portal.tasks import send_logout_token
from tenants.domain.oauth_operations import end_sign_on
from tenants.domain.oauth_queries import scope_of_sign_on
from tenants.models import User
from tenants.scope import open_scope

_AUTHENTICATED_AT: Final = "authenticated_at"
_METHODS: Final = "authentication_methods"
SID: Final = "oauth_sid"


def note_authentication(request: HttpRequest) -> None:
    """The user has just proven who it is; to be called by every way of signing in."""
    request.session[_AUTHENTICATED_AT] = datetime.now(UTC).timestamp()


def note_methods(request: HttpRequest, methods: Sequence[str]) -> None:
    """How the user of this session signed in (`tenants/domain/authentication_context.py`)."""
    request.session[_METHODS] = list(methods)


def methods_of(request: HttpRequest) -> tuple[str, ...]:
    """How the user of this session signed in; empty when nobody has noted it."""
    return tuple(request.session.get(_METHODS, ()))


def authenticated_at(request: HttpRequest) -> datetime:
    """When the user of this session last proved who it is."""
    assert isinstance(request.user, User)
    noted = request.session.get(_AUTHENTICATED_AT)
    if noted is not None:
        return datetime.fromtimestamp(noted, UTC)
    return request.user.last_login or request.user.created_at


def sid_of(request: HttpRequest) -> UUID:
    """The identifier of this session for applications; made at the first call."""
    if SID not in request.session:
        request.session[SID] = str(uuid4())
    return UUID(request.session[SID])


def known_sid(request: HttpRequest) -> UUID | None:
    """The identifier of this session, if any application knows it."""
    found = request.session.get(SID)
    return UUID(found) if found else None


def end_everywhere(sid: UUID | None) -> None:
    """End a browser's session in all applications: tokens now, their own sessions by a notice."""
    if sid is None:
        return
    with open_scope(scope_of_sign_on(sid=sid)):
        notices = end_sign_on(sid=sid)
        for notice in notices:
            arguments = {
                "uri": notice.uri,
                "client_id": notice.client_id,
                "user_id": notice.user_id,
                "sid": str(notice.sid),
            }
            transaction.on_commit(partial(send_logout_token.delay, **arguments))
