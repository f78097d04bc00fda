"""Sessions of the consumer view, and the installation's own applications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from django.db import connection


class UnknownSession(Exception):  # noqa: N818 - it reads as what happened
    """No session has this secret: it never had, or it has ended."""


@dataclass(frozen=True, slots=True)
class HomeSessionFacts:
    """A session of the consumer view; `sealed` opens with the secret that the browser holds."""

    session_id: int
    tenant_id: int
    user_id: int
    client_id: str
    sid: UUID
    sealed: bytes
    access_expires_at: datetime
    facility_id: int | None


def home_session(*, secret: str) -> HomeSessionFacts:
    """The session of a browser that holds `secret`; raises UnknownSession. Needs no scope."""
    with connection.cursor() as cursor:
        digest = sha256(secret.encode()).hexdigest()
        cursor.execute("SELECT * FROM door_home_session(%s)", [digest])
        row = cursor.fetchone()
    if row is None:
        raise UnknownSession
    return HomeSessionFacts(
        session_id=row[0],
        tenant_id=row[1],
        user_id=row[2],
        client_id=row[3],
        sid=row[4],
        sealed=bytes(row[5]),
        access_expires_at=row[6],
        facility_id=row[7],
    )


def own_applications(*, prefix: str, user_id: int | None) -> tuple[str, ...]:
    """The identifiers of the installation's own applications that begin with `prefix`.

    With `user_id` only those whose tenant is above (or is) one of the person's. Needs no scope.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_own_applications(%s, %s)", [prefix, user_id])
        return tuple(row[0] for row in cursor.fetchall())
