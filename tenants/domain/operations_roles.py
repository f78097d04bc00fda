"""Changes to the roles that a tenant makes itself; each leaves an audit row in the transaction.

All need an open scope with the tenant and, so that everybody who has a role is found, with all
tenants below it. A role outside the scope does not exist: CustomRole.DoesNotExist.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import NotAllowed, lock_people, require
from tenants.models import CustomRole, Invitation, Membership
from tenants.permissions import Permission, completed, known

# A tenant that makes more has lost sight of who may what.
MAX_ROLES: Final = 100
# Whom the refusal to delete a role names.
_NAMED: Final = 5


class RoleInUse(Exception):  # noqa: N818 - it reads as what happened
    """The role cannot be deleted; the text says to the actor who has it."""


class TooManyRoles(Exception):  # noqa: N818 - it reads as what happened
    """The tenant has MAX_ROLES roles already; the text says so to the actor."""


@dataclass(frozen=True, slots=True)
class RoleDraft:
    """What a role shall be."""

    name: str
    description: str
    permissions: frozenset[Permission]


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role after its change, and the users whose permissions it changed."""

    role: CustomRole
    user_ids: tuple[int, ...]


@transaction.atomic
def create_role(*, tenant_id: int, draft: RoleDraft, actor_id: int | None) -> CustomRole:
    """A new role; permissions bring along what they need.

    Raises ValidationError for a bad value or a name that is taken, NotAllowed for permissions that
    the actor does not hold, TooManyRoles.
    """
    lock_people(tenant_id=tenant_id)
    permissions = completed(draft.permissions)
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.ROLES_CHANGE, over=permissions)
    if CustomRole.objects.filter(tenant_id=tenant_id).count() >= MAX_ROLES:
        raise TooManyRoles(
            _("The tenant has %(count)d roles already. Delete one that nobody needs.")
            % {"count": MAX_ROLES}
        )
    role = CustomRole(tenant_id=tenant_id, **_values(draft, permissions))
    role.full_clean()
    return audit.insert(role, actor_id=actor_id, action="role.create")


@transaction.atomic
def change_custom_role(*, role_id: int, draft: RoleDraft, actor_id: int | None) -> RoleChanged:
    """Give a role another name or other permissions, for everybody who has it, at once.

    The actor holds all that the role includes before and after, and does not have the role. Raises
    as `create_role`; the entry point tells the tokens and open pages of `user_ids` after commit.
    """
    role = _locked(role_id)
    former, permissions = known(role.permissions), completed(draft.permissions)
    require(
        actor_id=actor_id,
        tenant_id=role.tenant_id,
        to=Permission.ROLES_CHANGE,
        over=former | permissions,
    )
    members = Membership.objects.filter(custom_role=role)
    if actor_id is not None and members.filter(user_id=actor_id).exists():
        raise NotAllowed(
            _("You have this role yourself: ask another administrator of the tenant to change it.")
        )
    values = _values(draft, permissions)
    # As a whole, for `update` cannot tell that another role has the name.
    candidate = copy(role)
    for name, value in values.items():
        setattr(candidate, name, value)
    candidate.full_clean()
    audit.update(role, values, actor_id=actor_id, action="role.change")
    changed = permissions != former
    users = members.values_list("user_id", flat=True).distinct() if changed else ()
    return RoleChanged(role, tuple(sorted(users)))


@transaction.atomic
def delete_role(*, role_id: int, actor_id: int | None) -> CustomRole:
    """Delete a role that nobody has or is invited to; raises RoleInUse and NotAllowed."""
    role = _locked(role_id)
    require(
        actor_id=actor_id,
        tenant_id=role.tenant_id,
        to=Permission.ROLES_CHANGE,
        over=known(role.permissions),
    )
    _require_unused(role)
    # Invitations that were accepted or revoked tell of the past; they do not hold the role.
    Invitation.objects.filter(custom_role=role).update(custom_role=None)
    audit.delete(role, actor_id=actor_id, action="role.delete")
    return role


def _locked(role_id: int) -> CustomRole:
    lock_people(tenant_id=CustomRole.objects.get(pk=role_id).tenant_id)
    return CustomRole.objects.select_for_update().get(pk=role_id)


def _values(draft: RoleDraft, permissions: frozenset[Permission]) -> dict[str, Any]:
    return {
        "name": draft.name.strip(),
        "description": draft.description.strip(),
        "permissions": sorted(permission.value for permission in permissions),
    }


def _require_unused(role: CustomRole) -> None:
    members = Membership.objects.filter(custom_role=role).select_related("user", "tenant")
    invited = Invitation.objects.filter(
        custom_role=role, accepted_at__isnull=True, revoked_at__isnull=True
    )
    count = members.count() + invited.count()
    if not count:
        return
    named = _names(
        [f"{m.user.get_full_name()} ({m.tenant.name})" for m in members[:_NAMED]],
        [_("%(email)s (invited)") % {"email": invitation.email} for invitation in invited[:_NAMED]],
    )
    if count > len(named):
        text = _("%(count)d people have this role, among them %(names)s. Give them another first.")
    else:
        text = _("This role is in use: %(names)s. Give them another one first.")
    raise RoleInUse(text % {"count": count, "names": ", ".join(named)})


def _names(*groups: Iterable[str]) -> list[str]:
    return [name for group in groups for name in group][:_NAMED]
