"""Who may see what: memberships, tenants below them, and the scope that follows.

The first three functions go through the doors in the wall (functions of the database that run as
its owner), because they answer what must be known before a scope can be opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection

from tenants.models import Tenant, User
from tenants.permissions import PERMISSIONS, Permission, Role
from tenants.scope import Scope

# Tenants of one group. A query that walks through a table walks through the rows of all tenants,
# whatever the scope: one tenant after the other it would do so as often as there are tenants.
BATCH_TENANTS: Final = 1000


class NoAccess(Exception):  # noqa: N818 - it reads as what happened
    """The user has no membership at all, or none that covers the tenant asked for."""


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """What a page says about a tenant."""

    tenant_id: int
    name: str
    slug: str
    kind: str


@dataclass(frozen=True, slots=True)
class MembershipFacts:
    """One role of a user, and the tenant that it is held in."""

    membership_id: int
    user_id: int
    role: Role
    tenant: TenantFacts


@dataclass(frozen=True, slots=True)
class Access:
    """How a user acts at the moment: in which tenant, by which membership.

    `tenant` is the membership's own tenant or one below it; `tenant_ids` are that tenant and all
    below it. `ceiling` is what may be allowed at most, whatever the role: somebody who impersonates
    the user gets no more than that; None sets no limit.
    """

    membership: MembershipFacts
    tenant: TenantFacts
    tenant_ids: tuple[int, ...]
    ceiling: frozenset[Permission] | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role allows, as far as the ceiling lets it."""
        of_role = PERMISSIONS[self.membership.role]
        return of_role if self.ceiling is None else of_role & self.ceiling

    def allows(self, permission: Permission) -> bool:
        """Whether `permission` is among them."""
        return permission in self.permissions


def memberships_of(*, user_id: int) -> tuple[MembershipFacts, ...]:
    """The user's memberships, by the tenants' names. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT membership_id, role, tenant_id, tenant_name, tenant_slug, tenant_kind"
            " FROM door_memberships_of(%s)",
            [user_id],
        )
        rows = cursor.fetchall()
    return tuple(
        MembershipFacts(row[0], user_id, Role(row[1]), TenantFacts(*row[2:])) for row in rows
    )


def tenants_below(*, tenant_ids: Sequence[int]) -> dict[int, tuple[TenantFacts, ...]]:
    """For each tenant: itself and all tenants below it, by name. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT root_id, tenant_id, tenant_name, tenant_slug, tenant_kind"
            " FROM door_tenants_below(%s)",
            [list(tenant_ids)],
        )
        rows = cursor.fetchall()
    below: dict[int, list[TenantFacts]] = {tenant_id: [] for tenant_id in tenant_ids}
    for row in rows:
        below[row[0]].append(TenantFacts(*row[1:]))
    return {root: tuple(tenants) for root, tenants in below.items()}


def all_tenant_ids() -> tuple[int, ...]:
    """Every tenant, for tasks that go through all of them one by one. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_tenant_ids()")
        return tuple(row[0] for row in cursor.fetchall())


def tenant_batches() -> tuple[tuple[int, ...], ...]:
    """Every tenant, in groups for tasks that read large tables once for all of a group. Needs no
    scope.
    """
    ids = all_tenant_ids()
    return tuple(ids[at : at + BATCH_TENANTS] for at in range(0, len(ids), BATCH_TENANTS))


def reachable_tenants(*, user_id: int) -> tuple[TenantFacts, ...]:
    """Every tenant that the user may switch to, by name. Needs no scope."""
    roots = [membership.tenant.tenant_id for membership in memberships_of(user_id=user_id)]
    below = tenants_below(tenant_ids=roots)
    found = {tenant.tenant_id: tenant for tenants in below.values() for tenant in tenants}
    return tuple(sorted(found.values(), key=lambda tenant: (tenant.name, tenant.tenant_id)))


def access_of(*, user_id: int, tenant_id: int | None = None) -> Access:
    """How the user acts in `tenant_id`, or in the first of the user's own tenants; two queries.

    When several memberships reach the tenant, the one held nearest to it counts. Raises NoAccess
    when none does. Needs no scope.
    """
    memberships = memberships_of(user_id=user_id)
    if not memberships:
        raise NoAccess("the user is a member of no tenant: grant a membership first")
    if tenant_id is None:
        tenant_id = memberships[0].tenant.tenant_id
    below = tenants_below(tenant_ids=[*{m.tenant.tenant_id for m in memberships} | {tenant_id}])
    # The nearer a membership is held, the fewer tenants lie below it.
    for membership in sorted(memberships, key=lambda m: len(below[m.tenant.tenant_id])):
        for tenant in below[membership.tenant.tenant_id]:
            if tenant.tenant_id == tenant_id:
                ids = tuple(sorted(facts.tenant_id for facts in below[tenant_id]))
                return Access(membership, tenant, ids)
    raise NoAccess(f"no membership of the user covers tenant {tenant_id}")


def user_and_tenant(*, user_id: int | None, tenant_id: int) -> tuple[User | None, TenantFacts]:
    """A user (None without one) and the tenant that it acts in, which the scope holds."""
    tenant = Tenant.objects.get(pk=tenant_id)
    user = None if user_id is None else User.objects.get(pk=user_id)
    return user, TenantFacts(tenant.pk, tenant.name, tenant.slug, tenant.kind)


def scope_of(*, access: Access) -> Scope:
    """The scope of a whole tenant and all below it.

    Facilities belong to a higher layer: `devices.domain.queries.scope_for` narrows it to those of
    the membership.
    """
    return Scope(access.tenant_ids)
