"""From a bearer token to the one it speaks for: one look-up in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from redis.exceptions import RedisError

from devices.domain.queries import access_and_scope, scope_of_service
from tenants import token_cache
from tenants.domain.oauth_queries import UnknownToken, access_token, checksum_of
from tenants.domain.queries import NoAccess
from tenants.permissions import TENANT_WIDE, Permission, permissions_of_scopes
from tenants.scope import Scope


class InvalidToken(Exception):  # noqa: N818 - it reads as what happened
    """The token is unknown, expired or revoked, or its user lost every role in its tenant."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who sends a request with an access token, and what may be done with it.

    `user_id` None: a service account. `permissions` are those of the scopes and, for a person, of
    the role too; a service account of some facilities has none that concern the whole tenant.
    `scope` is to be opened for the request: the tenant and all below it, narrowed to the facilities
    of the person or of the service account. `role` is the code of the person's role, empty for a
    service account.
    """

    token_id: int
    application_id: int
    client_id: str
    user_id: int | None
    tenant_id: int
    scopes: frozenset[str]
    permissions: frozenset[Permission]
    scope: Scope
    expires: datetime
    role: str

    def allows(self, permission: Permission) -> bool:
        """Whether the token allows `permission`."""
        return permission in self.permissions


def authenticate(token: str) -> Bearer:
    """Whom the access token speaks for; raises InvalidToken. Needs no scope.

    With the token in the cache it is one look-up there and no query; else five queries at most, and
    for a service account of some facilities as many as they have levels of areas. While Redis
    is away every check asks the database.
    """
    checksum = checksum_of(token)
    try:
        found = token_cache.find(checksum)
    except token_cache.Revoked:
        raise InvalidToken from None
    except RedisError:
        return _from_database(checksum)
    if isinstance(found, Bearer):
        if found.expires <= datetime.now(UTC):
            raise InvalidToken
        return found
    bearer = _from_database(checksum)
    token_cache.store(checksum, bearer)
    return bearer


def _from_database(checksum: str) -> Bearer:
    role = ""
    try:
        facts = access_token(checksum=checksum)
        permissions = permissions_of_scopes(facts.scopes)
        if facts.user_id is None:
            scope = scope_of_service(tenant_id=facts.tenant_id, facility_ids=facts.facility_ids)
            if scope.facility_ids is not None:
                permissions -= TENANT_WIDE
        else:
            access, scope = access_and_scope(user_id=facts.user_id, tenant_id=facts.tenant_id)
            permissions &= access.permissions
            role = access.membership.role
    except (UnknownToken, NoAccess):
        raise InvalidToken from None
    return Bearer(
        token_id=facts.token_id,
        application_id=facts.application_id,
        client_id=facts.client_id,
        user_id=facts.user_id,
        tenant_id=facts.tenant_id,
        scopes=facts.scopes,
        permissions=permissions,
        scope=scope,
        expires=facts.expires,
        role=role,
    )
