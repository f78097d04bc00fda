"""As whom a session acts while support impersonates somebody: rights and scope of both together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from devices.domain.queries import access_and_scope
from tenants.domain import impersonation
from tenants.domain.impersonation import ImpersonationEnded, ImpersonationFacts
from tenants.domain.queries import Access, NoAccess
from tenants.scope import Scope, open_scope


@dataclass(frozen=True, slots=True)
class Acting:
    """A supporter acting as a person: `access` allows what both may, without what is withheld."""

    facts: ImpersonationFacts
    access: Access
    scope: Scope


def act_as(*, impersonator_id: int, impersonation_id: int, tenant_id: int, now: datetime) -> Acting:
    """How the supporter acts; eleven queries. Raises ImpersonationEnded. Needs no open scope."""
    try:
        own, own_scope = access_and_scope(user_id=impersonator_id, tenant_id=tenant_id)
        with open_scope(own_scope):
            facts = impersonation.standing(impersonation_id=impersonation_id, access=own, now=now)
        access, scope = access_and_scope(user_id=facts.person.pk, tenant_id=tenant_id)
    except NoAccess:
        raise ImpersonationEnded from None
    if access.membership.membership_id != facts.membership_id:
        raise ImpersonationEnded
    return Acting(
        facts=facts,
        access=replace(access, ceiling=impersonation.ceiling(supporter=own), several=False),
        scope=_both(scope, own_scope),
    )


def _both(one: Scope, other: Scope) -> Scope:
    """What lies in both scopes."""
    tenants = tuple(key for key in one.tenant_ids if key in other.tenant_ids)
    if one.facility_ids is None or other.facility_ids is None:
        return Scope(
            tenants, one.facility_ids if other.facility_ids is None else other.facility_ids
        )
    return Scope(tenants, tuple(key for key in one.facility_ids if key in other.facility_ids))
