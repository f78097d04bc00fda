"""Who may give what to whom.

Three rules, asked by every operation on people and roles, so that no order of them widens anything:
nobody gives a permission that he does not hold himself in that tenant, nobody changes somebody who
may more than he does, and nobody changes himself.

`actor_id` None is the system, which holds everything. All need an open scope with the tenant.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from tenants.domain.audit import current_origin
from tenants.domain.queries import NoAccess, RoleFacts, access_of, hold_role, usable_roles
from tenants.models import Membership, Tenant
from tenants.permission_texts import PERMISSION_TEXTS, in_words
from tenants.permissions import CUSTOM_ROLE, PERMISSIONS, Permission, Role

# A role to be given: a built-in one, or a custom one by its id.
RoleChoice = Role | int


class NotAllowed(Exception):  # noqa: N818 - it reads as what happened
    """The actor may not do this; the text says to the actor why."""


class UnknownRole(Exception):  # noqa: N818 - it reads as what happened
    """No such role can be used in the tenant; the text says so to the actor."""


def lock_people(*, tenant_id: int) -> None:
    """Let changes of people and roles of a tenant wait for each other until the transaction ends.

    What an operation rests on (who holds what, who is the last administrator) then cannot change
    before it commits. Rows that refer to the tenant do not wait.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)


def held(*, actor_id: int | None, tenant_id: int) -> frozenset[Permission]:
    """What the actor may do in a tenant at the moment; two queries."""
    if actor_id is None:
        return frozenset(Permission)
    if current_origin().impersonator_id is not None:
        # Whoever is acted as gives and takes nothing: that stays the person's own.
        return frozenset()
    try:
        return access_of(user_id=actor_id, tenant_id=tenant_id).permissions
    except NoAccess:
        return frozenset()


def require(
    *,
    actor_id: int | None,
    tenant_id: int,
    to: Permission,
    over: frozenset[Permission] = frozenset(),
) -> None:
    """Raises NotAllowed unless the actor holds `to`, and all that is given or taken (`over`)."""
    holds = held(actor_id=actor_id, tenant_id=tenant_id)
    if to not in holds:
        raise NotAllowed(
            _("You need the permission “%(permission)s” in this tenant for that.")
            % {"permission": PERMISSION_TEXTS[to].label}
        )
    if lacking := over - holds:
        raise NotAllowed(
            _(
                "This includes permissions that you do not have yourself: %(permissions)s. "
                "Ask somebody who has them."
            )
            % {"permissions": in_words(lacking)}
        )


def require_another(*, actor_id: int | None, user_id: int) -> None:
    """Raises NotAllowed when the actor would change himself."""
    if actor_id == user_id:
        raise NotAllowed(
            _("Nobody changes their own membership: ask another administrator of the tenant.")
        )


def role_given(
    *, tenant_id: int, role: RoleChoice
) -> tuple[str, int | None, frozenset[Permission]]:
    """Code, custom role and permissions of a role that is to be given in a tenant.

    Raises UnknownRole for a custom role that belongs neither to the tenant nor to one above it.
    """
    if isinstance(role, Role):
        return role.value, None, PERMISSIONS[role]
    for found in usable_roles(tenant_ids=[tenant_id]):
        if found.role_id == role:
            return CUSTOM_ROLE, role, found.permissions
    raise UnknownRole(_("This role does not exist any more: choose another one."))


def role_to_give(
    *, tenant_id: int, role: RoleChoice
) -> tuple[str, int | None, frozenset[Permission]]:
    """As `role_given`, for a change that gives the role: until the transaction ends nobody deletes
    it, neither here nor in the tenant above that made it.
    """
    if not isinstance(role, Role):
        hold_role(role_id=role)
    # Read behind the lock: whoever was deleting the role has done so by now.
    return role_given(tenant_id=tenant_id, role=role)


def role_permissions(*, tenant_id: int, role: RoleChoice) -> frozenset[Permission]:
    """What a role allows; nothing for one that cannot be used in the tenant."""
    try:
        return role_given(tenant_id=tenant_id, role=role)[2]
    except UnknownRole:
        return frozenset()


def permissions_of(membership: Membership) -> frozenset[Permission]:
    """All that the role of a membership includes, narrowed or not."""
    if membership.custom_role_id is None:
        return PERMISSIONS[Role(membership.role)]
    return role_given(tenant_id=membership.tenant_id, role=membership.custom_role_id)[2]


def givable(
    *, actor_id: int | None, tenant_id: int
) -> tuple[tuple[Role, ...], tuple[RoleFacts, ...]]:
    """The built-in and the custom roles that the actor may give in a tenant; three queries."""
    holds = held(actor_id=actor_id, tenant_id=tenant_id)
    if Permission.MEMBERS_CHANGE not in holds:
        return (), ()
    return (
        tuple(role for role in Role if PERMISSIONS[role] <= holds),
        tuple(r for r in usable_roles(tenant_ids=[tenant_id]) if r.permissions <= holds),
    )
