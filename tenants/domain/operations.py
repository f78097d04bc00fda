"""Changes to tenants, users and memberships; each leaves an audit row in the same transaction.

`actor_id` is the user who acts, None for the system. All but `create_tenant` and `create_user` need
an open scope that contains the tenant.
"""

from __future__ import annotations

from django.db import connection, transaction

from tenants.domain import audit
from tenants.models import Membership, Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


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


@transaction.atomic
def grant_membership(
    *, tenant_id: int, user_id: int, role: Role, actor_id: int | None
) -> Membership:
    """Make a user a member; raises ValidationError when the user is one already."""
    membership = Membership(tenant_id=tenant_id, user_id=user_id, role=role.value)
    membership.full_clean()
    return audit.insert(membership, actor_id=actor_id, action="membership.grant")


@transaction.atomic
def change_role(*, membership_id: int, role: Role, actor_id: int | None) -> Membership:
    """Give a member another role; raises Membership.DoesNotExist outside the scope.

    The entry point tells the user's open pages after commit (`membership.user_id`).
    """
    membership = Membership.objects.select_for_update().get(pk=membership_id)
    audit.update(
        membership, {"role": role.value}, actor_id=actor_id, action="membership.change_role"
    )
    return membership


@transaction.atomic
def end_membership(*, membership_id: int, actor_id: int | None) -> Membership:
    """Remove a member; raises Membership.DoesNotExist outside the scope.

    Returns the former membership: the entry point closes the user's open pages after commit.
    """
    membership = Membership.objects.select_for_update().get(pk=membership_id)
    audit.delete(membership, actor_id=actor_id, action="membership.end")
    return membership
