"""From an application or a token to the tenants that it concerns, and what users have allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from django.db import connection

from tenants.domain.queries import TenantFacts, reachable_tenants, tenants_below
from tenants.models import Application, Consent
from tenants.scope import Scope


class UnknownToken(Exception):  # noqa: N818 - it reads as what happened
    """No access token of that value is valid: it never was, it expired, or it was revoked."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A valid access token. `user_id` None: a service account, bound to `facility_ids` if given."""

    token_id: int
    tenant_id: int
    application_id: int
    client_id: str
    application_tenant_id: int
    facility_ids: tuple[int, ...] | None
    user_id: int | None
    scopes: frozenset[str]
    expires: datetime


@dataclass(frozen=True, slots=True)
class ConsentFacts:
    """One application that a user has allowed something."""

    consent_id: int
    application_name: str
    tenant_name: str
    user_id: int
    user_email: str
    scopes: tuple[str, ...]
    granted_at: datetime


def checksum_of(token: str) -> str:
    """How a token is stored and looked up: its SHA-256 in hexadecimal digits."""
    return sha256(token.encode()).hexdigest()


def access_token(*, checksum: str) -> TokenFacts:
    """The valid access token with this checksum; raises UnknownToken. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_access_token(%s)", [checksum])
        row = cursor.fetchone()
    if row is None or row[8] <= datetime.now(UTC):
        raise UnknownToken
    facilities = None if row[5] is None else tuple(row[5])
    return TokenFacts(
        token_id=row[0],
        tenant_id=row[1],
        application_id=row[2],
        client_id=row[3],
        application_tenant_id=row[4],
        facility_ids=facilities,
        user_id=row[6],
        scopes=frozenset(row[7].split()),
        expires=row[8],
    )


def tenant_of_application(*, client_id: str) -> int | None:
    """The tenant that registered an active application; None without one. Needs no scope."""
    if "\x00" in client_id:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_tenant_of_application(%s)", [client_id])
        tenant_id = cursor.fetchone()[0]
    return None if tenant_id is None else int(tenant_id)


def scope_of_application(*, client_id: str) -> Scope:
    """The tenant of an active application and all below it, where its tokens may be; the empty
    scope when there is no such application. Needs no scope.
    """
    tenant_id = tenant_of_application(client_id=client_id)
    return Scope(()) if tenant_id is None else Scope(_below(tenant_id))


def scope_of_sign_on(*, sid: UUID) -> Scope:
    """The tenants of everything that a browser's session is signed on to. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_tenants_of_sign_on(%s)", [sid])
        return Scope(tuple(sorted(row[0] for row in cursor.fetchall())))


def _below(tenant_id: int) -> tuple[int, ...]:
    return tuple(sorted(t.tenant_id for t in tenants_below(tenant_ids=[tenant_id])[tenant_id]))


def tenants_for(*, user_id: int, application: Application) -> tuple[TenantFacts, ...]:
    """The tenants whose data the user may open to the application, by name. Needs no scope."""
    served = set(_below(application.tenant_id))
    return tuple(t for t in reachable_tenants(user_id=user_id) if t.tenant_id in served)


def consented_scopes(*, user_id: int, application_id: int, tenant_id: int) -> frozenset[str]:
    """What the user has allowed the application in the tenant so far."""
    found = Consent.objects.filter(
        user_id=user_id, application_id=application_id, tenant_id=tenant_id
    ).first()
    return frozenset(found.scopes) if found else frozenset()


def consents(*, user_id: int | None) -> tuple[ConsentFacts, ...]:
    """Consents in the scope, those of one user or (None) of everybody; one query."""
    rows = Consent.objects.select_related("user", "tenant")
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    return tuple(
        ConsentFacts(
            row.pk,
            row.application_name,
            row.tenant.name,
            row.user_id,
            row.user.email,
            tuple(row.scopes),
            row.granted_at,
        )
        for row in rows
    )
