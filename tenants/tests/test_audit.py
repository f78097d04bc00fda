"""The audit trail tells who, what, when, from where, before and after; secrets never."""

from __future__ import annotations

import pytest
from celery import Celery
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from pytest_django import DjangoAssertNumQueries

from tenants.domain import audit, operations
from tenants.domain.audit import Origin
from tenants.models import AuditChannel, AuditEntry, Tenant, User
from tenants.permissions import Role
from tenants.scope import NoScope, Scope, open_scope, require_scope
from tenants.tasks import KeywordTask
from tenants.tests import factories

_app = Celery("audit-test", set_as_current=False)


@_app.task(base=KeywordTask, name="test.origin")
def told_origin() -> Origin:
    return audit.current_origin()


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


def _last() -> AuditEntry:
    found = AuditEntry.objects.first()
    assert found is not None
    return found


def test_origin_of_what_nobody_claims_is_the_command_line(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        factories.member(ours, Role.ANALYST)
        entry = _last()
    assert (entry.channel, entry.address, entry.impersonator_id) == ("command", None, None)


def test_entry_carries_the_origin_that_is_open(ours: Tenant) -> None:
    support = factories.user()
    where = Origin(AuditChannel.PORTAL, "2001:db8::7", support.pk, "Ticket 4711: cannot sign in")
    with open_scope(Scope((ours.pk,))), audit.origin(where):
        member = factories.member(ours, Role.ANALYST)
        entry = _last()
        assert (entry.channel, entry.address) == ("portal", "2001:db8::7")
        assert (entry.impersonator_id, entry.reason) == (support.pk, "Ticket 4711: cannot sign in")
        assert entry.subject_name == member.user.email
    assert audit.current_origin() == Origin(AuditChannel.COMMAND)


def test_origin_ends_with_an_exception() -> None:
    with pytest.raises(KeyError), audit.origin(Origin(AuditChannel.PORTAL)):
        raise KeyError
    assert audit.current_origin() == Origin(AuditChannel.COMMAND)


def test_origins_nest_and_end() -> None:
    outer, inner = Origin(AuditChannel.PORTAL), Origin(AuditChannel.API)
    with audit.origin(outer):
        with audit.origin(inner):
            assert audit.current_origin() == inner
        assert audit.current_origin() == outer


def test_task_is_the_origin_of_what_it_does() -> None:
    assert told_origin() == Origin(AuditChannel.TASK)


def test_update_saves_and_tells_what_changed_alone(
    ours: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    actor = factories.user()
    with open_scope(Scope((ours.pk,))):
        row = Tenant.objects.get(pk=ours.pk)
        Tenant.objects.filter(pk=ours.pk).update(language="en", time_zone="Asia/Tokyo")
        changed = audit.update(row, {"name": "New"}, actor_id=actor.pk, action="tenant.change")
        assert changed
        row.refresh_from_db()
        # The column that somebody else changed meanwhile is not written back.
        assert (row.name, row.time_zone) == ("New", "Asia/Tokyo")
        entry = _last()
        assert entry.before is not None
        assert entry.after is not None
        assert (entry.before["name"], entry.after["name"]) == (ours.name, "New")
        assert (entry.tenant_id, entry.actor_id) == (ours.pk, actor.pk)
        with django_assert_num_queries(0):
            assert not audit.update(row, {"name": "New"}, actor_id=None, action="tenant.change")


def test_update_refuses_a_bad_value_and_tells_nothing(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        before = AuditEntry.objects.count()
        with pytest.raises(ValidationError) as caught:
            audit.update(ours, {"time_zone": "Nowhere"}, actor_id=None, action="tenant.change")
        assert set(caught.value.message_dict) == {"time_zone"}
        assert AuditEntry.objects.count() == before
        assert Tenant.objects.get(pk=ours.pk).time_zone == "UTC"


def test_change_and_entry_are_one_transaction(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        member = factories.member(ours, Role.ANALYST)
        # The entry is refused: an impersonation needs a reason.
        without_reason = Origin(AuditChannel.PORTAL, None, member.user_id, "")
        with (
            pytest.raises(IntegrityError),
            transaction.atomic(),
            audit.origin(without_reason),
        ):
            operations.change_role(membership_id=member.pk, role=Role.ADMIN, actor_id=None)
        member.refresh_from_db()
        assert member.role == "analyst"


def test_snapshot_leaves_secrets_out(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        application, secret = factories.application(ours)
        told = str(list(AuditEntry.objects.values_list("before", "after")))
    assert secret not in told
    assert application.client_secret not in told
    assert "client_secret" not in audit.snapshot(application)
    assert "password" not in audit.snapshot(User(email="a@example.org", password="hash"))


def test_event_is_told_in_every_tenant_of_the_person(ours: Tenant) -> None:
    user, other, strange = factories.user(), factories.tenant(), factories.tenant()
    for of in (ours, other):
        with open_scope(Scope((of.pk,))):
            operations.grant_membership(
                tenant_id=of.pk, user_id=user.pk, role=Role.ANALYST, actor_id=None
            )
    audit.record_event(user_id=user.pk, action="session.begin", details={"method": "password"})
    for of, told in ((ours, 1), (other, 1), (strange, 0)):
        with open_scope(Scope((of.pk,))):
            entries = list(AuditEntry.objects.filter(action="session.begin"))
            assert len(entries) == told
            for entry in entries:
                assert (entry.actor_id, entry.subject_id) == (user.pk, user.pk)
                assert entry.after == {"method": "password"}
    with pytest.raises(NoScope):
        require_scope()


def test_event_of_a_person_without_membership_is_told_nowhere(db: None) -> None:
    ours = factories.tenant()
    audit.record_event(user_id=factories.user().pk, action="session.begin")
    with open_scope(Scope((ours.pk,))):
        assert not AuditEntry.objects.filter(action="session.begin").exists()


def test_event_inside_a_narrowed_scope_is_told(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        member = factories.member(ours, Role.CONSUMER)
    with open_scope(Scope((ours.pk,), ())) as outer:
        audit.record_event(user_id=member.user_id, action="export.readings")
        assert require_scope() == outer
    with open_scope(Scope((ours.pk,))):
        assert _last().action == "export.readings"
