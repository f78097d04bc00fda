"""Rules of two persons and limits: inherited, given up by two; and what waits for whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import ProgrammingError, transaction
from pytest_django import DjangoAssertNumQueries

from devices.commands.kinds import Kind, checked
from devices.commands.states import Origin
from devices.domain.commands_policy import (
    SYSTEM,
    Actor,
    NotAllowedError,
    command_rule,
    needs_approval,
    two_persons,
)
from devices.tests import factories as parks
from firmware.domain import approvals_queries, policy_operations, policy_queries
from firmware.domain.policy_doors import Demands
from firmware.domain.policy_operations import MOST_BYTES_PER_S, MOST_DOWNLOADS, Change, Rule
from firmware.domain.rollout_operations import RolloutRefused
from firmware.models import Release, ReleaseState, Rollout, RolloutState
from firmware.tests import factories
from tenants.domain.two_persons import OffAsked
from tenants.models import AuditEntry, Tenant, TenantKind
from tenants.permissions import PERMISSIONS, Permission, Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

OFF = checked(Kind.SET_OUTPUT, {"output": False})


def _below(of: Tenant) -> Tenant:
    with open_scope(Scope((of.pk,))):
        return parks.tenant(parent=of, kind=TenantKind.CLIENT)


def _admin(of: Tenant) -> Actor:
    with open_scope(Scope((of.pk,))):
        return Actor(parks.member(of, Role.ADMIN).user_id, PERMISSIONS[Role.ADMIN])


def _want(of: Tenant, actor: Actor = SYSTEM, **values: Any) -> bool:
    with open_scope(Scope((of.pk,))):
        wanted = Change(**values)
        return policy_operations.change(
            actor=actor, tenant_id=of.pk, wanted=wanted, now=parks.START
        )


def _waits(of: Tenant, actor: Actor) -> list[tuple[str, int]]:
    """What waits; the count says the same."""
    with open_scope(Scope((of.pk,))):
        found = approvals_queries.approvals(actor, tenant_id=of.pk).waiting
        assert approvals_queries.count(actor, tenant_id=of.pk) == len(found)
    return sorted((one.kind.value, one.subject_id) for one in found)


def test_a_tenant_below_is_bound_by_the_rules_above() -> None:
    above = parks.tenant()
    below = _below(above)
    assert _want(above, two_persons=True, second_person=True, max_downloads=50, bytes_per_s=9_000)
    manager = Actor(None, PERMISSIONS[Role.MANAGER])
    # The scope of who acts below does not hold the tenant above.
    with open_scope(Scope((below.pk,))):
        assert two_persons(tenant_id=below.pk)
        assert needs_approval(manager, OFF, origin=Origin.PERSON, tenant_id=below.pk)
        assert policy_queries.second_person(tenant_id=below.pk)
        found = policy_queries.rules(tenant_id=below.pk)
    assert (found.commands.own, found.commands.above) == (False, True)
    assert found.firmware.own == Demands()
    assert found.firmware.above == found.firmware.counts == Demands(True, 50, 9_000)
    with open_scope(Scope((above.pk, below.pk))):
        assert policy_queries.firmware_rule(tenant_id=above.pk).above == Demands()


def test_a_tenant_below_may_be_stricter_and_never_looser() -> None:
    above = parks.tenant()
    below = _below(above)
    _want(above, two_persons=True, second_person=True, max_downloads=50, bytes_per_s=9_000)
    assert _want(below, max_downloads=20, bytes_per_s=None)
    _want(below, two_persons=False, second_person=False)
    with open_scope(Scope((below.pk,))):
        assert policy_queries.demands(tenant_id=below.pk) == Demands(True, 20, 9_000)
        assert two_persons(tenant_id=below.pk)
    with pytest.raises(RolloutRefused, match="at most 50") as refused:
        _want(below, max_downloads=51)
    assert refused.value.field == "max_downloads"
    _want(above, max_downloads=10)
    # What is not changed is not asked about again, and the narrower one counts.
    assert not _want(below, max_downloads=20)
    with open_scope(Scope((below.pk,))):
        assert policy_queries.demands(tenant_id=below.pk).max_downloads == 10


def test_rules_bind_nobody_beside_and_are_told_to_nobody_beside() -> None:
    ours, theirs = parks.tenant(), parks.tenant()
    _want(theirs, two_persons=True, second_person=True, max_downloads=1)
    with open_scope(Scope((ours.pk,))):
        assert not two_persons(tenant_id=ours.pk)
        assert policy_queries.demands(tenant_id=ours.pk) == Demands()
        with pytest.raises(ProgrammingError, match="not in the scope"), transaction.atomic():
            two_persons(tenant_id=theirs.pk)
        with pytest.raises(ProgrammingError, match="not in the scope"), transaction.atomic():
            policy_queries.demands(tenant_id=theirs.pk)


def test_a_member_narrowed_to_facilities_is_bound_as_everybody() -> None:
    of = parks.tenant()
    _want(of, two_persons=True, second_person=True)
    with open_scope(Scope((of.pk,), ())):
        assert two_persons(tenant_id=of.pk)
        assert policy_queries.second_person(tenant_id=of.pk)


@pytest.mark.parametrize("rule", [Rule.COMMANDS, Rule.FIRMWARE])
def test_giving_up_two_persons_takes_two_persons(rule: Rule) -> None:
    of = parks.tenant()
    first, second = _admin(of), _admin(of)
    name = {Rule.COMMANDS: "two_persons", Rule.FIRMWARE: "second_person"}[rule]

    def on() -> tuple[bool, OffAsked | None]:
        with open_scope(Scope((of.pk,))):
            if rule is Rule.COMMANDS:
                found = command_rule(tenant_id=of.pk)
                return found.counts, found.off_asked
            other = policy_queries.firmware_rule(tenant_id=of.pk)
            return other.counts.second_person, other.off_asked

    def decide(actor: Actor, *, agree: bool) -> bool:
        with open_scope(Scope((of.pk,))):
            return policy_operations.decide(actor=actor, tenant_id=of.pk, rule=rule, agree=agree)

    assert _want(of, first, **{name: True})
    assert not decide(second, agree=True)
    assert _want(of, first, **{name: False})
    # Asking again is one person still.
    assert not _want(of, first, **{name: False})
    assert not decide(first, agree=True)
    counts, asked = on()
    assert counts
    assert asked is not None
    assert (asked.by_id, asked.at) == (first.user_id, parks.START)
    assert _waits(of, first) == []
    assert _waits(of, second) == [(f"{name_of(rule)}_rule", of.pk)]

    assert decide(second, agree=False)
    assert on() == (True, None)
    assert _want(of, first, **{name: False})
    assert decide(first, agree=False)
    assert on() == (True, None)
    assert _want(of, first, **{name: False})
    assert decide(second, agree=True)
    assert on() == (False, None)
    assert _waits(of, second) == []
    with open_scope(Scope((of.pk,))):
        last = AuditEntry.objects.filter(action__contains="policy").order_by("at").last()
    assert last is not None
    assert last.actor_id == second.user_id
    assert last.before is not None
    assert last.after is not None
    assert (last.before[name], last.before["off_asked_by"]) == (True, first.user_id)
    assert (last.after[name], last.after["off_asked_by"]) == (False, None)


def name_of(rule: Rule) -> str:
    return {Rule.COMMANDS: "command", Rule.FIRMWARE: "firmware"}[rule]


def test_a_service_account_gives_no_rule_up() -> None:
    of = parks.tenant()
    account = Actor(None, PERMISSIONS[Role.ADMIN])
    assert _want(of, account, two_persons=True, second_person=True)
    for name in ("two_persons", "second_person"):
        with pytest.raises(NotAllowedError, match="Two persons have to agree"):
            _want(of, account, **{name: False})
    with open_scope(Scope((of.pk,))):
        assert two_persons(tenant_id=of.pk)
        assert policy_queries.second_person(tenant_id=of.pk)


def test_who_is_bound_by_a_rule_does_not_change_it() -> None:
    of = parks.tenant()
    for role in (Role.MANAGER, Role.TECHNICIAN):
        with pytest.raises(NotAllowedError):
            _want(of, Actor(None, PERMISSIONS[role]), two_persons=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_downloads", 0),
        ("max_downloads", -1),
        ("max_downloads", MOST_DOWNLOADS + 1),
        ("bytes_per_s", 0),
        ("bytes_per_s", MOST_BYTES_PER_S + 1),
    ],
)
def test_a_limit_that_no_column_holds_is_refused_with_a_sentence(name: str, value: int) -> None:
    of = parks.tenant()
    wanted: dict[str, Any] = {name: value}
    with pytest.raises(RolloutRefused, match="Give a number from 1 to") as refused:
        _want(of, **wanted)
    assert refused.value.field == name


def test_everything_waits_for_somebody_else_who_may_approve_it() -> None:
    of = parks.tenant()
    first, second = _admin(of), _admin(of)
    _want(of, second_person=True)
    with open_scope(Scope((of.pk,))):
        kind = parks.device_type(of)
        at, other = parks.facility(of), parks.facility(of)
        asker = parks.member(of, Role.TECHNICIAN).user
        alone, batched = (
            parks.command(
                parks.device(place, kind).device,
                batch=batch,
                state="awaiting_approval",
                queued_at=None,
                asked_by=asker,
                expires_at="2100-01-01T00:00:00Z",
            )
            for place, batch in ((at, False), (other, True))
        )
        maker = parks.member(of, Role.ADMIN).user
        draft = factories.release(of, kind, state=ReleaseState.DRAFT, by=maker)
        released = factories.release(of, kind, "1.1.0")
        rollout = Rollout.objects.create(
            tenant=of, name="Spring", release=released, created_by_id=first.user_id
        )
        waiting = factories.rollout(of, released)
        Rollout.objects.filter(pk=waiting.pk).update(state=RolloutState.AWAITING_APPROVAL)
    all_of_it = [
        ("command", alone.pk),
        ("command_batch", batched.batch_id),
        ("release", draft.pk),
        ("rollout", rollout.pk),
        ("wave", waiting.pk),
    ]
    assert _waits(of, second) == all_of_it
    assert _waits(of, first) == [one for one in all_of_it if one[0] != "rollout"]
    technician = Actor(asker.pk, PERMISSIONS[Role.TECHNICIAN])
    assert _waits(of, technician) == []
    assert _waits(of, Actor(asker.pk, PERMISSIONS[Role.ADMIN])) == all_of_it[2:]
    manager = Actor(second.user_id, PERMISSIONS[Role.MANAGER])
    assert [kind for kind, _pk in _waits(of, manager)] == [
        "command",
        "command_batch",
        "rollout",
        "wave",
    ]
    assert _waits(of, Actor(None, PERMISSIONS[Role.ADMIN])) == []
    assert _waits(parks.tenant(), second) == []
    # Who is narrowed to one of the facilities sees that of it, and nothing of the whole tenant.
    narrowed = Actor(second.user_id, frozenset({Permission.DEVICES_APPROVE}))
    with open_scope(Scope((of.pk,), (at.pk,))):
        assert approvals_queries.count(narrowed, tenant_id=of.pk) == 1
    # Who has changed a draft does not approve it.
    with open_scope(Scope((of.pk,))):
        Rollout.objects.filter(pk=rollout.pk).update(changed_by_id=second.user_id)
    assert ("rollout", rollout.pk) not in _waits(of, second)
    # Without the rule a draft waits for nobody.
    _want(of, second_person=False)
    assert _waits(of, second) == [one for one in all_of_it if one[0] != "rollout"]
    with open_scope(Scope((of.pk,))):
        assert Release.objects.get(pk=draft.pk).state == ReleaseState.DRAFT


def test_the_count_is_one_query_however_much_waits(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    of = parks.tenant()
    admin = _admin(of)
    _want(of, second_person=True)
    with open_scope(Scope((of.pk,))):
        kind = parks.device_type(of)
        at = parks.facility(of)
        for expected in (1, 2, 3):
            parks.command(
                parks.device(at, kind).device,
                state="awaiting_approval",
                queued_at=None,
                expires_at="2100-01-01T00:00:00Z",
            )
            with django_assert_num_queries(1):
                assert approvals_queries.count(admin, tenant_id=of.pk) == expected
            with django_assert_num_queries(7):
                approvals_queries.approvals(admin, tenant_id=of.pk)
