"""Constraints of tenants, users and memberships."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from tenants.domain import operations
from tenants.models import Membership, Tenant, TenantKind, User
from tenants.models.fields import validate_time_zone
from tenants.permission_texts import PERMISSION_GROUPS, PERMISSION_TEXTS, ROLE_TEXTS
from tenants.permissions import (
    CUSTOM_ROLE,
    NARROWED_ROLES,
    PERMISSIONS,
    Permission,
    Role,
    allows,
    completed,
    known,
)
from tenants.scope import Scope, open_scope
from tenants.tests import factories


def _violation(error: pytest.ExceptionInfo[IntegrityError]) -> str | None:
    cause = error.value.__cause__
    return getattr(getattr(cause, "diag", None), "constraint_name", None)


def test_email_is_unique_whatever_its_case(db: None) -> None:
    User.objects.create_user("Ada@Example.org", "secret")
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        User.objects.create_user("ADA@example.ORG")
    assert _violation(caught) == "tenants_user_email_unique"
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        User.objects.filter(email="ada@example.org").update(email="Ada@example.org")
    assert _violation(caught) == "tenants_user_email_lower_case"


def test_user_signs_in_with_the_address_in_any_case(db: None) -> None:
    user = User.objects.create_user("ada@example.org", "secret")
    assert User.objects.get_by_natural_key(" ADA@example.org") == user
    assert user.check_password("secret")


def test_user_without_a_password_cannot_sign_in_by_one(db: None) -> None:
    assert not User.objects.create_user("ada@example.org").has_usable_password()


def test_create_user_refuses_a_taken_address_with_a_message(db: None) -> None:
    operations.create_user(email="ada@example.org", password=None)
    with pytest.raises(ValidationError) as caught:
        operations.create_user(email="Ada@example.org", password=None)
    assert set(caught.value.message_dict) == {"email"}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_time_zone_accepts_iana_names(zone: str) -> None:
    validate_time_zone(zone)


@pytest.mark.parametrize("zone", ["Berlin", "UTC+1", "", "../etc/passwd"])
def test_time_zone_refuses_anything_else(zone: str) -> None:
    with pytest.raises(ValidationError, match="IANA"):
        validate_time_zone(zone)


def test_tenant_tree_refuses_a_cycle(db: None) -> None:
    root = factories.operator()
    middle = factories.tenant(root, TenantKind.RESELLER)
    leaf = factories.tenant(middle)
    with open_scope(Scope((root.pk, middle.pk, leaf.pk))):
        for child, parent in ((middle, leaf), (middle, middle)):
            with pytest.raises(IntegrityError) as caught, transaction.atomic():
                Tenant.objects.filter(pk=child.pk).update(parent=parent)
            assert _violation(caught) == "tenants_tenant_no_cycle"


def test_tenant_tree_refuses_a_cycle_beyond_the_scope(db: None) -> None:
    root = factories.operator()
    middle = factories.tenant(root, TenantKind.RESELLER)
    leaf = factories.tenant(middle)
    with (
        open_scope(Scope((middle.pk,))),
        pytest.raises(IntegrityError) as caught,
        transaction.atomic(),
    ):
        Tenant.objects.filter(pk=middle.pk).update(parent_id=leaf.pk)
    assert _violation(caught) == "tenants_tenant_no_cycle"


def test_only_operators_are_roots(db: None) -> None:
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        operations.create_tenant(
            name="A", slug="a", kind=TenantKind.CLIENT, parent_id=None, actor_id=None
        )
    assert _violation(caught) == "tenants_tenant_only_operators_are_roots"


def test_slug_is_unique_across_tenants_that_do_not_see_each_other(db: None) -> None:
    slug = factories.operator().slug
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        operations.create_tenant(
            name="A", slug=slug, kind=TenantKind.OPERATOR, parent_id=None, actor_id=None
        )
    assert _violation(caught) == "tenants_tenant_slug_unique"


def test_user_is_a_member_once(db: None) -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        membership = factories.member(of, Role.MANAGER)
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            Membership.objects.create(tenant=of, user=membership.user, role="admin")
    assert _violation(caught) == "tenants_membership_one_per_user"


def test_unknown_role_is_refused(db: None) -> None:
    of = factories.tenant()
    with (
        open_scope(Scope((of.pk,))),
        pytest.raises(IntegrityError) as caught,
        transaction.atomic(),
    ):
        Membership.objects.create(tenant=of, user=factories.user(), role="king")
    assert _violation(caught) == "tenants_membership_role_known"


def test_every_role_has_its_permissions() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert PERMISSIONS[Role.OPERATOR] == frozenset(Permission)
    assert all(permissions <= PERMISSIONS[Role.OPERATOR] for permissions in PERMISSIONS.values())
    assert {Role.CONSUMER} == NARROWED_ROLES


def test_allows_asks_for_a_permission() -> None:
    assert allows(role="manager", permission=Permission.DEVICES_CHANGE)
    assert not allows(role="consumer", permission=Permission.DEVICES_VIEW)
    assert not allows(role="support", permission=Permission.DEVICES_CONTROL)
    with pytest.raises(ValueError, match="king"):
        allows(role="king", permission=Permission.DEVICES_VIEW)


def test_every_permission_is_in_words_and_in_one_group() -> None:
    assert set(PERMISSION_TEXTS) == set(Permission)
    grouped = [permission for _label, members in PERMISSION_GROUPS for permission in members]
    assert sorted(grouped) == sorted(Permission)


def test_every_role_is_in_words() -> None:
    assert set(ROLE_TEXTS) == {*Role, CUSTOM_ROLE}


def test_roles_include_what_their_permissions_need() -> None:
    assert {role: completed(permissions) for role, permissions in PERMISSIONS.items()} == dict(
        PERMISSIONS
    )


def test_permission_that_does_not_exist_any_more_allows_nothing() -> None:
    assert known(["bills.view", "moon.view"]) == {Permission.BILLS_VIEW}
