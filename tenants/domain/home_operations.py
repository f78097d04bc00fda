"""Sessions of the consumer view: begun, renewed, ended.

They say that somebody is signed in, like the sessions of the portal, and leave no audit entry of
their own: the sign-in itself does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from tenants.domain.oauth_queries import scope_of_application
from tenants.models import Application, HomeSession
from tenants.scope import Scope, open_scope


@dataclass(frozen=True, slots=True)
class Renewal:
    """What renewing a session came to: its sealed tokens, and whether they are new."""

    sealed: bytes
    access_expires_at: datetime


def begin_session(
    *,
    secret: str,
    client_id: str,
    tenant_id: int,
    user_id: int,
    sid: UUID,
    sealed: bytes,
    access_expires_at: datetime,
) -> None:
    """Remember a browser that has signed in. Needs no scope."""
    with open_scope(scope_of_application(client_id=client_id)):
        application = Application.objects.get(client_id=client_id)
        HomeSession.objects.create(
            secret=secret,
            tenant_id=tenant_id,
            application=application,
            user_id=user_id,
            sid=sid,
            sealed=sealed,
            access_expires_at=access_expires_at,
            renewed_at=timezone.now(),
        )


def renew_session(
    *, session_id: int, tenant_id: int, seen: bytes, renew: Callable[[bytes], Renewal | None]
) -> Renewal | None:
    """Exchange the tokens of a session, one request at a time.

    `seen` is what the caller read before: when another request has renewed the session meanwhile,
    its result is returned and nothing done. Else `renew` gets the sealed tokens while the row is
    locked; where it returns None, the provider refused, and the session is ended. None: it has
    ended. The exchange and its result are one transaction, so that no token is lost between them.
    """
    with open_scope(Scope((tenant_id,))):
        row = HomeSession.objects.select_for_update().filter(pk=session_id).first()
        if row is None:
            return None
        sealed = bytes(row.sealed)
        if sealed != seen:
            return Renewal(sealed, row.access_expires_at)
        renewal = renew(sealed)
        if renewal is None:
            row.delete()
            return None
        row.sealed, row.access_expires_at = renewal.sealed, renewal.access_expires_at
        row.renewed_at = timezone.now()
        row.save(update_fields=["sealed", "access_expires_at", "renewed_at"])
        return renewal


def end_session(*, session_id: int, tenant_id: int) -> None:
    """Forget one browser. Needs no scope."""
    with open_scope(Scope((tenant_id,))):
        HomeSession.objects.filter(pk=session_id).delete()


@transaction.atomic
def end_sessions(*, client_id: str, sid: UUID | None, user_id: int | None) -> tuple[int, ...]:
    """Forget the browsers that signed in to an application in the provider's session `sid`, or
    (None) all of a user; returns whose they were. Needs no scope.
    """
    with open_scope(scope_of_application(client_id=client_id)):
        found = HomeSession.objects.filter(application__client_id=client_id)
        if sid is not None:
            found = found.filter(sid=sid)
        if user_id is not None:
            found = found.filter(user_id=user_id)
        users = tuple(sorted(set(found.values_list("user_id", flat=True))))
        found.delete()
        return users


def note_facility(*, session_id: int, tenant_id: int, facility_id: int) -> None:
    """Show this facility first when the person comes back. Needs no scope."""
    with open_scope(Scope((tenant_id,))):
        HomeSession.objects.filter(pk=session_id).update(facility_id=facility_id)


def remove_unused(*, before: datetime) -> None:
    """Delete sessions that nobody has used since; their refresh tokens have expired."""
    HomeSession.objects.filter(renewed_at__lt=before).delete()
