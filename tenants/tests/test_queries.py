"""From a user to a scope, through the doors."""

from __future__ import annotations

import pytest
from pytest_django import DjangoAssertNumQueries

from tenants.domain import operations
from tenants.domain.queries import (
    NoAccess,
    access_of,
    all_tenant_ids,
    memberships_of,
    reachable_tenants,
    scope_of,
    tenants_below,
)
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


def _grant(user: User, of: Tenant, role: Role) -> None:
    with open_scope(Scope((of.pk,))):
        operations.grant_membership(tenant_id=of.pk, user_id=user.pk, role=role, actor_id=None)


def _tree() -> tuple[Tenant, Tenant, Tenant]:
    root = factories.operator()
    reseller = factories.tenant(root, TenantKind.RESELLER)
    return root, reseller, factories.tenant(reseller)


def test_memberships_are_those_of_the_user_alone(db: None) -> None:
    user, other = factories.user(), factories.user()
    one, two = factories.tenant(), factories.tenant()
    _grant(user, one, Role.MANAGER)
    _grant(user, two, Role.SUPPORT)
    _grant(other, two, Role.ADMIN)
    found = memberships_of(user_id=user.pk)
    assert [(m.tenant.tenant_id, m.role) for m in found] == [
        (one.pk, Role.MANAGER),
        (two.pk, Role.SUPPORT),
    ]
    assert found[0].tenant.name == one.name


def test_tenants_below_contain_the_tenant_itself(db: None) -> None:
    root, reseller, client = _tree()
    below = tenants_below(tenant_ids=[root.pk, client.pk])
    assert {key: {t.tenant_id for t in tenants} for key, tenants in below.items()} == {
        root.pk: {root.pk, reseller.pk, client.pk},
        client.pk: {client.pk},
    }


def test_all_tenant_ids_are_all(db: None) -> None:
    tree = _tree()
    assert set(all_tenant_ids()) >= {tenant.pk for tenant in tree}


def test_access_covers_the_tenant_and_all_below(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    user = factories.user()
    root, reseller, client = _tree()
    _grant(user, reseller, Role.ADMIN)
    with django_assert_num_queries(2):
        access = access_of(user_id=user.pk)
    assert access.tenant.tenant_id == reseller.pk
    assert scope_of(access=access) == Scope(tuple(sorted((reseller.pk, client.pk))))
    assert access.allows(Permission.MEMBERS_CHANGE)
    assert access_of(user_id=user.pk, tenant_id=client.pk).tenant_ids == (client.pk,)
    with pytest.raises(NoAccess):
        access_of(user_id=user.pk, tenant_id=root.pk)


def test_access_goes_by_the_nearest_membership(db: None) -> None:
    user = factories.user()
    root, reseller, client = _tree()
    _grant(user, root, Role.OPERATOR)
    _grant(user, client, Role.ANALYST)
    assert access_of(user_id=user.pk, tenant_id=client.pk).membership.role == Role.ANALYST
    assert access_of(user_id=user.pk, tenant_id=reseller.pk).membership.role == Role.OPERATOR


def test_user_without_membership_has_no_access(db: None) -> None:
    with pytest.raises(NoAccess, match="no tenant"):
        access_of(user_id=factories.user().pk)


def test_reachable_tenants_are_listed_once(db: None) -> None:
    user = factories.user()
    root, reseller, client = _tree()
    _grant(user, reseller, Role.ADMIN)
    _grant(user, client, Role.ANALYST)
    assert [tenant.tenant_id for tenant in reachable_tenants(user_id=user.pk)] == [
        reseller.pk,
        client.pk,
    ]
    assert root.pk not in {tenant.tenant_id for tenant in reachable_tenants(user_id=user.pk)}
