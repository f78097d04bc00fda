"""Who may see what: memberships, tenants below them, and the scope that follows.

The first three functions go through the doors in the wall (functions of the database that run as
its owner), because they answer what must be known before a scope can be opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.utils.functional import Promise

from tenants.models import Tenant, User
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import CUSTOM_ROLE, PERMISSIONS, TENANT_WIDE, Permission, Role, known
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
    """One role of a user, and the tenant that it is held in.

    `role` is the code of a built-in role or CUSTOM_ROLE; `permissions` are all that it includes.
    `narrowed`: only facilities that are granted one by one are reached.
    """

    membership_id: int
    user_id: int
    role: str
    role_name: str | Promise
    permissions: frozenset[Permission]
    tenant: TenantFacts
    narrowed: bool


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """A custom role; `tenant_id` is the tenant that made it, `usable_in` are those asked for that
    may give it.
    """

    role_id: int
    tenant_id: int
    tenant_name: str
    name: str
    description: str
    permissions: frozenset[Permission]
    usable_in: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """How a user acts at the moment: in which tenant, by which membership.

    `tenant` is the membership's own tenant or one below it; `tenant_ids` are that tenant and all
    below it. `ceiling` is what may be allowed at most, whatever the role: somebody who impersonates
    the user gets no more than that; None sets no limit. `several`: the user could act in another
    tenant as well.
    """

    membership: MembershipFacts
    tenant: TenantFacts
    tenant_ids: tuple[int, ...]
    ceiling: frozenset[Permission] | None = None
    several: bool = False

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the role allows as far as the ceiling lets it, without what concerns the whole
        tenant when the membership is narrowed.
        """
        allowed = self.membership.permissions
        if self.membership.narrowed:
            allowed -= TENANT_WIDE
        return allowed if self.ceiling is None else allowed & self.ceiling

    def allows(self, permission: Permission) -> bool:
        """Whether `permission` is among them."""
        return permission in self.permissions


def memberships_of(*, user_id: int) -> tuple[MembershipFacts, ...]:
    """The user's memberships that are not suspended, by the tenants' names. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT membership_id, role, role_name, permissions, narrowed,"
            " tenant_id, tenant_name, tenant_slug, tenant_kind"
            " FROM door_memberships_of(%s)",
            [user_id],
        )
        rows = cursor.fetchall()
    return tuple(
        MembershipFacts(
            membership_id=row[0],
            user_id=user_id,
            role=row[1],
            role_name=row[2] or ROLE_TEXTS[row[1]].label,
            permissions=known(row[3]) if row[1] == CUSTOM_ROLE else PERMISSIONS[Role(row[1])],
            narrowed=row[4],
            tenant=TenantFacts(*row[5:]),
        )
        for row in rows
    )


def usable_roles(*, tenant_ids: Sequence[int]) -> tuple[RoleFacts, ...]:
    """The custom roles of the tenants and of those above them, by name. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT role_id, tenant_id, tenant_name, role_name, description, permissions,"
            " usable_in FROM door_roles_of(%s)",
            [list(tenant_ids)],
        )
        rows = cursor.fetchall()
    return tuple(
        RoleFacts(row[0], row[1], row[2], row[3], row[4], known(row[5]), tuple(row[6]))
        for row in rows
    )


def hold_role(*, role_id: int) -> None:
    """Keep a custom role from being deleted until the transaction ends, whichever tenant made it;
    waits for whoever is deleting it. Needs no scope.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_hold_role(%s)", [role_id])


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
                own = {facts for m in memberships for facts in below[m.tenant.tenant_id]}
                return Access(membership, tenant, ids, several=len(own) > 1)
    raise NoAccess(f"no membership of the user covers tenant {tenant_id}")


def reaches(*, user_id: int, tenant_id: int) -> bool:
    """Whether a membership of the user covers the tenant; two queries. Needs no scope."""
    try:
        access_of(user_id=user_id, tenant_id=tenant_id)
    except NoAccess:
        return False
    return True


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
