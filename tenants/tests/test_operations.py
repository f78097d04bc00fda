"""Operations on tenants and memberships leave their audit rows."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.utils import ProgrammingError

from tenants.domain import operations
from tenants.domain.audit import record
from tenants.models import AuditEntry, Membership, Tenant, TenantKind
from tenants.permissions import Role
from tenants.scope import Scope, open_scope, require_scope
from tenants.tests import factories


def _trail() -> list[tuple[str, str, int | None]]:
    return list(
        AuditEntry.objects.order_by("at").values_list("action", "subject_type", "subject_id")
    )


def test_create_tenant_leaves_the_scope_as_it_was(db: None) -> None:
    root = factories.operator()
    with open_scope(Scope((root.pk,))) as outer:
        made = factories.tenant(root)
        assert require_scope() == outer
        assert list(Tenant.objects.all()) == [root]
    with open_scope(Scope((made.pk,))):
        assert _trail() == [("tenant.create", "tenants.tenant", made.pk)]
        after = AuditEntry.objects.get().after
        assert after is not None
        assert after["slug"] == made.slug


def test_create_tenant_refuses_bad_values(db: None) -> None:
    with pytest.raises(ValidationError) as caught:
        operations.create_tenant(
            name="",
            slug="not a slug",
            kind=TenantKind.OPERATOR,
            parent_id=None,
            actor_id=None,
            time_zone="Nowhere",
        )
    assert set(caught.value.message_dict) == {"name", "slug", "time_zone"}


def test_membership_is_granted_changed_and_ended(db: None) -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        actor = factories.member(of, Role.ADMIN).user
        member = operations.grant_membership(
            tenant_id=of.pk, user_id=factories.user().pk, role=Role.ANALYST, actor_id=actor.pk
        )
        operations.change_role(membership_id=member.pk, role=Role.MANAGER, actor_id=actor.pk)
        ended = operations.end_membership(membership_id=member.pk, actor_id=actor.pk)
        assert ended.user_id == member.user_id
        assert list(Membership.objects.values_list("user_id", flat=True)) == [actor.pk]
        entries = AuditEntry.objects.filter(actor=actor).order_by("at")
        assert [
            (e.action, (e.before or {}).get("role"), (e.after or {}).get("role")) for e in entries
        ] == [
            ("membership.grant", None, "analyst"),
            ("membership.change_role", "analyst", "manager"),
            ("membership.end", "manager", None),
        ]


def test_membership_outside_the_scope_does_not_exist(db: None) -> None:
    of, other = factories.tenant(), factories.tenant()
    with open_scope(Scope((of.pk,))):
        member = factories.member(of, Role.ANALYST)
    with open_scope(Scope((other.pk,))):
        with pytest.raises(Membership.DoesNotExist), transaction.atomic():
            operations.change_role(membership_id=member.pk, role=Role.ADMIN, actor_id=None)
        stranger = factories.user()
        with pytest.raises(Tenant.DoesNotExist), transaction.atomic():
            operations.grant_membership(
                tenant_id=of.pk, user_id=stranger.pk, role=Role.ADMIN, actor_id=None
            )
        with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
            Membership.objects.create(tenant_id=of.pk, user=stranger, role="admin")


def test_narrowed_scope_appends_to_the_trail_without_reading_it(db: None) -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        member = factories.member(of, Role.CONSUMER)
    with open_scope(Scope((of.pk,), (1,))):
        record(tenant_id=of.pk, actor_id=None, action="test.narrowed", subject=member)
        assert not AuditEntry.objects.exists()
    with open_scope(Scope((of.pk,))):
        assert ("test.narrowed", "tenants.membership", member.pk) in _trail()


def test_failed_change_leaves_no_audit_row(db: None) -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        member = factories.member(of, Role.ANALYST)
        before = AuditEntry.objects.count()
        with pytest.raises(ValidationError):
            operations.grant_membership(
                tenant_id=of.pk, user_id=member.user_id, role=Role.ADMIN, actor_id=None
            )
        assert AuditEntry.objects.count() == before
