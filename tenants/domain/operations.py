"""Changes to tenants, users and memberships; each leaves an audit row in the same transaction.

`actor_id` is the user who acts, None for the system. All but `create_tenant` and `create_user` need
an open scope that contains the tenant.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import connection, transaction
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import (
    NotAllowed,
    RoleChoice,
    lock_people,
    permissions_of,
    require,
    require_another,
    role_to_give,
)
from tenants.models import Membership, Tenant, TenantKind, User
from tenants.permissions import NARROWED_ROLES, Permission, Role
from tenants.scope import Scope, open_scope

# A tenant that has somebody in one of these roles keeps one.
_ADMINISTRATORS: Final = (Role.OPERATOR, Role.ADMIN)


class LastAdministrator(Exception):  # noqa: N818 - it reads as what happened
    """Nobody would be left to administer the tenant; the text says to the actor what to do."""


def create_tenant(
    *,
    name: str,
    slug: str,
    kind: TenantKind,
    parent_id: int | None,
    actor_id: int | None,
    time_zone: str = "UTC",
    language: str = "en",
) -> Tenant:
    """A new tenant.

    It is in no open scope yet, so its key is drawn first and a scope opened for it.

    Raises ValidationError for a bad value or a slug that is taken; IntegrityError for a parent that
    does not fit (only operators have none).
    """
    tenant = Tenant(
        name=name,
        slug=slug,
        kind=kind,
        parent_id=parent_id,
        time_zone=time_zone,
        language=language,
    )
    # The parent and a taken slug may lie outside the scope: the database's constraints judge them.
    tenant.clean_fields(exclude=["parent"])
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('tenants_tenant', 'id'))")
        tenant.pk = cursor.fetchone()[0]
    with open_scope(Scope((tenant.pk,))):
        return audit.insert(tenant, actor_id=actor_id, action="tenant.create")


def create_user(
    *,
    email: str,
    password: str | None,
    name: str = "",
    language: str = "en",
    time_zone: str = "UTC",
) -> User:
    """A new user, who may sign in but sees nothing before a membership is granted.

    Raises ValidationError for a bad address or one that is taken, in whatever case.
    """
    user = User(
        email=User.objects.normalize_email(email),
        name=name,
        language=language,
        time_zone=time_zone,
    )
    user.set_password(password)
    user.full_clean()
    user.save()
    return user


def set_language(*, user_id: int, language: str) -> None:
    """The language in which a person reads the portal; no tenant's matter, so none is told.

    Raises ValidationError for a language that is not offered.
    """
    user = User(pk=user_id, language=language)
    user.clean_fields(exclude=["email", "name", "password", "time_zone"])
    user.save(update_fields=["language"])


@transaction.atomic
def grant_membership(
    *,
    tenant_id: int,
    user_id: int,
    role: RoleChoice,
    actor_id: int | None,
    narrowed: bool = False,
    accepted_by_id: int | None = None,
) -> Membership:
    """Make a user a member.

    `narrowed` (always so for roles in NARROWED_ROLES): no facility is reached until
    `devices.domain.restrictions` grants one. `accepted_by_id`: the user accepts what `actor_id`
    once offered, and the audit trail names the one who acts now. Raises ValidationError when the
    user is a member already, NotAllowed and UnknownRole (`authority`).
    """
    lock_people(tenant_id=tenant_id)
    code, custom_role_id, permissions = role_to_give(tenant_id=tenant_id, role=role)
    require_another(actor_id=actor_id, user_id=user_id)
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.MEMBERS_CHANGE, over=permissions)
    membership = Membership(
        tenant_id=tenant_id,
        user_id=user_id,
        role=code,
        custom_role_id=custom_role_id,
        narrowed=narrowed or role in NARROWED_ROLES,
    )
    # The role may belong to a tenant above, which is in no scope: a trigger judges it.
    membership.full_clean(exclude=["custom_role"])
    return audit.insert(membership, actor_id=accepted_by_id or actor_id, action="membership.grant")


@transaction.atomic
def change_role(*, membership_id: int, role: RoleChoice, actor_id: int | None) -> Membership:
    """Give a member another role; raises Membership.DoesNotExist outside the scope.

    Whoever was narrowed stays so. Raises NotAllowed, UnknownRole and LastAdministrator. The entry
    point tells the user's tokens and open pages after commit (`membership.user_id`).
    """
    membership = _locked(membership_id)
    former = permissions_of(membership)
    code, custom_role_id, permissions = role_to_give(tenant_id=membership.tenant_id, role=role)
    _require_over(membership, former | permissions, actor_id)
    if role not in _ADMINISTRATORS:
        _keep_an_administrator(membership)
    values = {
        "role": code,
        "custom_role_id": custom_role_id,
        "narrowed": membership.narrowed or role in NARROWED_ROLES,
    }
    audit.update(
        membership, values, actor_id=actor_id, action="membership.change_role", validate=False
    )
    return membership


@transaction.atomic
def narrow(*, membership_id: int, narrowed: bool, actor_id: int | None) -> Membership:
    """Say whether a membership reaches only facilities that are granted one by one.

    The facilities themselves are the part of `devices.domain.restrictions`, which calls this one.
    Raises Membership.DoesNotExist outside the scope, NotAllowed and LastAdministrator.
    """
    membership = _locked(membership_id)
    _require_over(membership, permissions_of(membership), actor_id)
    if not narrowed and membership.role in NARROWED_ROLES:
        raise NotAllowed(
            _("Consumers see only facilities that are granted to them: give another role first.")
        )
    if narrowed:
        _keep_an_administrator(membership)
    membership.narrowed = narrowed
    membership.save(update_fields=["narrowed"])
    return membership


@transaction.atomic
def suspend_membership(*, membership_id: int, now: datetime, actor_id: int | None) -> Membership:
    """Let a membership count as none until it is restored; one that is suspended stays so.

    Raises Membership.DoesNotExist outside the scope, NotAllowed and LastAdministrator.
    """
    membership = _locked(membership_id)
    _require_over(membership, permissions_of(membership), actor_id)
    if membership.suspended_at is None:
        _keep_an_administrator(membership)
    audit.update(
        membership,
        {"suspended_at": membership.suspended_at or now},
        actor_id=actor_id,
        action="membership.suspend",
    )
    return membership


@transaction.atomic
def restore_membership(*, membership_id: int, actor_id: int | None) -> Membership:
    """End a suspension; raises Membership.DoesNotExist outside the scope, and NotAllowed."""
    membership = _locked(membership_id)
    _require_over(membership, permissions_of(membership), actor_id)
    audit.update(membership, {"suspended_at": None}, actor_id=actor_id, action="membership.restore")
    return membership


@transaction.atomic
def end_membership(*, membership_id: int, actor_id: int | None) -> Membership:
    """Remove a member; raises Membership.DoesNotExist outside the scope.

    Raises NotAllowed and LastAdministrator. Returns the former membership: the entry point closes
    the user's open pages after commit.
    """
    membership = _locked(membership_id)
    _require_over(membership, permissions_of(membership), actor_id)
    _keep_an_administrator(membership)
    audit.delete(membership, actor_id=actor_id, action="membership.end")
    return membership


def _locked(membership_id: int) -> Membership:
    """The membership, after its tenant's people were locked."""
    lock_people(tenant_id=Membership.objects.get(pk=membership_id).tenant_id)
    return Membership.objects.select_for_update().get(pk=membership_id)


def _require_over(
    membership: Membership, permissions: frozenset[Permission], actor_id: int | None
) -> None:
    require_another(actor_id=actor_id, user_id=membership.user_id)
    require(
        actor_id=actor_id,
        tenant_id=membership.tenant_id,
        to=Permission.MEMBERS_CHANGE,
        over=permissions,
    )


def _keep_an_administrator(membership: Membership) -> None:
    """Raises LastAdministrator when without this membership nobody administers the tenant."""
    acting = Membership.objects.filter(
        tenant_id=membership.tenant_id,
        role__in=_ADMINISTRATORS,
        narrowed=False,
        suspended_at__isnull=True,
        user__is_active=True,
    )
    if acting.filter(pk=membership.pk).exists() and not acting.exclude(pk=membership.pk).exists():
        raise LastAdministrator(
            _(
                "This is the last administrator of the tenant. Make somebody else administrator "
                "first."
            )
        )
