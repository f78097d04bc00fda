"""No order of operations widens anything, and none at the same time does.

The property: whatever people do to memberships, roles, restrictions and invitations, a membership
gains by one operation only what the one who gave it held in that tenant at that moment, nobody
gains anything by what he does himself, and what is refused changes nothing. All tenants are in
scope, so that the rules alone are judged and not the wall.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.domain.joining import join
from devices.domain.queries import scope_for
from devices.domain.restrictions import UnknownFacility, restrict
from devices.models import Facility, FacilityAccess
from devices.tests import factories
from devices.tests.meeting import Change, meet
from tenants.domain import operations, operations_invitations, operations_roles
from tenants.domain.authority import NotAllowed, UnknownRole, held, permissions_of
from tenants.domain.operations import LastAdministrator
from tenants.domain.operations_acceptance import SignInFirst, WrongPerson
from tenants.domain.operations_invitations import CannotInvite, Offer
from tenants.domain.operations_roles import RoleDraft, RoleInUse
from tenants.domain.queries_invitations import NotAcceptable
from tenants.models import CustomRole, Invitation, Membership, Tenant, TenantKind, User
from tenants.permissions import TENANT_WIDE, Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import custom_role

REFUSALS = (
    NotAllowed,
    UnknownRole,
    UnknownFacility,
    LastAdministrator,
    CannotInvite,
    NotAcceptable,
    WrongPerson,
    SignInFirst,
    RoleInUse,
    ValidationError,
    Membership.DoesNotExist,
    CustomRole.DoesNotExist,
    Invitation.DoesNotExist,
)


@dataclass(frozen=True)
class Reach:
    """What one membership gives at the moment."""

    user_id: int
    tenant_id: int
    permissions: frozenset[Permission]
    facilities: frozenset[int]


@dataclass
class World:
    """Three tenants in a line and one beside them, with people in every place."""

    tenants: list[Tenant]
    users: list[User]
    facilities: list[Facility]
    tokens: list[str] = field(default_factory=list)

    @property
    def scope(self) -> Scope:
        return Scope(tuple(tenant.pk for tenant in self.tenants))

    def reaches(self) -> dict[int, Reach]:
        """Every membership with what it gives; nothing while it is suspended."""
        all_of = {
            tenant.pk: frozenset(f.pk for f in self.facilities if f.tenant_id == tenant.pk)
            for tenant in self.tenants
        }
        granted: dict[int, set[int]] = {}
        for membership_id, facility_id in FacilityAccess.objects.values_list(
            "membership_id", "facility_id"
        ):
            granted.setdefault(membership_id, set()).add(facility_id)
        found = {}
        for row in Membership.objects.select_related("custom_role"):
            permissions = permissions_of(row) - (TENANT_WIDE if row.narrowed else frozenset())
            facilities = granted.get(row.pk, set()) if row.narrowed else all_of[row.tenant_id]
            if row.suspended_at is not None:
                permissions, facilities = frozenset(), frozenset()
            found[row.pk] = Reach(row.user_id, row.tenant_id, permissions, frozenset(facilities))
        return found

    def administered(self) -> set[int]:
        """The tenants that have somebody to administer them."""
        return set(
            Membership.objects.filter(
                role__in=["operator", "admin"], narrowed=False, suspended_at=None
            ).values_list("tenant_id", flat=True)
        )


def make_world() -> World:
    root = factories.operator()
    reseller = factories.tenant(root, TenantKind.RESELLER)
    client, sibling = factories.tenant(reseller), factories.tenant(root)
    tenants = [root, reseller, client, sibling]
    users = []
    with open_scope(Scope(tuple(tenant.pk for tenant in tenants))):
        for tenant, roles in (
            (root, (Role.OPERATOR, Role.SUPPORT)),
            (reseller, (Role.ADMIN, Role.ADMIN)),
            (client, (Role.ADMIN, Role.MANAGER, Role.CONSUMER)),
            (sibling, (Role.ADMIN,)),
        ):
            users += [factories.member(tenant, role).user for role in roles]
        # One who may invite and nothing else of weight, and one who may make roles.
        lesser = custom_role(reseller, Permission.MEMBERS_CHANGE, Permission.READINGS_VIEW)
        maker = custom_role(client, Permission.ROLES_CHANGE, Permission.MEMBERS_CHANGE)
        users += [factories.member(client, lesser.pk).user, factories.member(client, maker.pk).user]
        users.append(factories.user())
        facilities = [factories.facility(tenant) for tenant in tenants for _ in range(2)]
    return World(tenants, users, facilities)


Step = tuple[str, int, int, int, frozenset[Permission]]
# Numbers stand for tenants, people and rows, whatever there is of them when it comes to it.
NUMBER = st.integers(0, 60)
# Those who may do most act most often, else nearly everything would be refused.
ACTOR = st.sampled_from([0, 0, 0, 2, 2, 3, 4, 4, 4, 8, 9]) | NUMBER
PERMISSIONS = st.frozensets(st.sampled_from(list(Permission)), min_size=1, max_size=4)
STEP = st.tuples(
    st.sampled_from(
        [
            "grant", "grant", "grant", "change_role", "change_role", "restrict", "restrict",
            "suspend", "restore", "end", "make_role", "change_custom", "change_custom",
            "delete_role", "invite", "invite", "accept", "accept",
        ]
    ),
    ACTOR, NUMBER, NUMBER, PERMISSIONS,
)  # fmt: skip


def pick(rows: Any, number: int) -> Any:
    found = list(rows)
    return found[number % len(found)] if found else None


def any_role(number: int) -> Role | int:
    found: Role | int = pick(
        [*Role, *CustomRole.objects.order_by("pk").values_list("pk", flat=True)], number
    )
    return found


def act(world: World, step: Step) -> User | None:
    """Do one step; returns who gives what it may give."""
    name, a, b, c, _permissions = step
    actor: User = pick(world.users, a)
    if name in {"make_role", "change_custom", "delete_role"}:
        change_roles(world, step, actor)
    elif name == "grant":
        tenant, user = pick(world.tenants, b), pick(world.users, c)
        operations.grant_membership(
            tenant_id=tenant.pk, user_id=user.pk, role=any_role(a), actor_id=actor.pk
        )
    elif name == "invite":
        invite(world, step, actor)
    elif name == "accept" and world.tokens:
        accepted = join(
            token=pick(world.tokens, b), now=datetime.now(UTC), user=pick(world.users, c)
        )
        invitation = Invitation.objects.filter(accepted_by=accepted.user).latest("accepted_at")
        return invitation.invited_by
    elif name != "accept":
        change_membership(world, step, actor)
    return actor


def some(world: World, number: int) -> list[int]:
    """A subset of all facilities, those of other tenants among them."""
    return [f.pk for n, f in enumerate(world.facilities) if number >> n & 1]


def change_membership(world: World, step: Step, actor: User) -> None:
    name, _a, b, c, _permissions = step
    membership = pick(Membership.objects.order_by("pk"), b)
    of = {"membership_id": membership.pk, "actor_id": actor.pk}
    if name == "change_role":
        operations.change_role(role=any_role(c), **of)
    elif name == "suspend":
        operations.suspend_membership(now=datetime.now(UTC), **of)
    elif name == "restore":
        operations.restore_membership(**of)
    elif name == "end":
        operations.end_membership(**of)
    else:
        fitting = {f.pk for f in world.facilities if f.tenant_id == membership.tenant_id}
        chosen = some(world, c)
        wanted = [None, sorted(fitting & set(chosen)), chosen][c % 3]
        restrict(facility_ids=wanted, **of)


def change_roles(world: World, step: Step, actor: User) -> None:
    name, _a, b, c, permissions = step
    draft = RoleDraft(f"Role {c}", "", permissions)
    custom = pick(CustomRole.objects.order_by("pk"), b)
    if name == "make_role":
        tenant = pick(world.tenants, b)
        operations_roles.create_role(tenant_id=tenant.pk, draft=draft, actor_id=actor.pk)
    elif custom is not None and name == "change_custom":
        operations_roles.change_custom_role(role_id=custom.pk, draft=draft, actor_id=actor.pk)
    elif custom is not None:
        operations_roles.delete_role(role_id=custom.pk, actor_id=actor.pk)


def invite(world: World, step: Step, actor: User) -> None:
    _name, a, b, c, _permissions = step
    now = datetime.now(UTC)
    invitation = operations_invitations.invite(
        tenant_id=pick(world.tenants, b).pk,
        email=pick(world.users, c).email,
        offer=Offer(any_role(a + c), None if c % 2 else tuple(some(world, c)), "en"),
        now=now,
        actor_id=actor.pk,
    )
    letter = operations_invitations.write_letter(invitation_id=invitation.pk, now=now)
    assert letter is not None
    world.tokens.append(letter.token)


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, min_size=4, max_size=14))
def test_nothing_widens_by_any_order_of_operations(world: World, steps: list[Step]) -> None:
    world.tokens.clear()
    with open_scope(world.scope), transaction.atomic():
        for step in steps:
            _judge(world, step)
        transaction.set_rollback(True)


def _judge(world: World, step: Step) -> None:
    before, administered = world.reaches(), world.administered()
    actor = pick(world.users, step[1])
    givers = {actor.pk, *Invitation.objects.values_list("invited_by_id", flat=True)}
    holds = {
        (user_id, tenant.pk): held(actor_id=user_id, tenant_id=tenant.pk)
        for user_id in givers
        for tenant in world.tenants
    }
    custom = pick(CustomRole.objects.order_by("pk"), step[2])
    try:
        with transaction.atomic():
            giver = act(world, step)
    except REFUSALS:
        assert world.reaches() == before
        return
    assert giver is not None
    assert world.administered() >= administered
    nothing = Reach(0, 0, frozenset(), frozenset())
    for key, after in world.reaches().items():
        former = before.get(key, nothing)
        gained = after.permissions - former.permissions
        opened = after.facilities - former.facilities
        # A role is changed where it was made, and serves the tenants below.
        at = custom.tenant_id if step[0] == "change_custom" else after.tenant_id
        assert gained <= holds[giver.pk, at]
        if opened:
            assert Permission.MEMBERS_CHANGE in holds[giver.pk, at]
        if after.user_id == actor.pk and step[0] != "accept":
            assert not gained
            assert not opened


# --- at the same time ---------------------------------------------------------------------------


def at_once(scope: Scope, *changes: Callable[[], object]) -> list[type[Exception] | None]:
    """Run the changes in a thread and a transaction each, begun together; what each one raised."""
    gate = threading.Barrier(len(changes))
    raised: list[type[Exception] | None] = [None] * len(changes)

    def run(n: int) -> None:
        try:
            with open_scope(scope):
                gate.wait(20)
                changes[n]()
        except REFUSALS as error:
            raised[n] = type(error)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(changes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


def _role_change(of: Membership, by: Membership) -> Callable[[], object]:
    return lambda: operations.change_role(
        membership_id=of.pk, role=Role.ANALYST, actor_id=by.user_id
    )


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_two_administrators_cannot_demote_each_other_at_once() -> None:
    for _ in range(5):
        of = factories.tenant()
        scope = Scope((of.pk,))
        with open_scope(scope):
            one, two = factories.member(of, Role.ADMIN), factories.member(of, Role.ADMIN)
        raised = at_once(scope, _role_change(two, one), _role_change(one, two))
        assert set(raised) == {None, NotAllowed}
        with open_scope(scope):
            assert Membership.objects.filter(role="admin").count() == 1


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_two_operators_cannot_take_the_last_two_administrators_at_once() -> None:
    for _ in range(5):
        root = factories.operator()
        of = factories.tenant(root)
        scope = Scope((root.pk, of.pk))
        with open_scope(scope):
            above = [factories.member(root, Role.OPERATOR) for _ in range(2)]
            admins = [factories.member(of, Role.ADMIN) for _ in range(2)]
        raised = at_once(
            scope, _role_change(admins[0], above[0]), _role_change(admins[1], above[1])
        )
        assert set(raised) == {None, LastAdministrator}
        with open_scope(Scope((of.pk,))):
            assert Membership.objects.filter(role="admin").count() == 1


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_an_invitation_is_accepted_once_however_often_at_once() -> None:
    of, user = factories.tenant(), factories.user()
    scope = Scope((of.pk,))
    now = datetime.now(UTC)
    with open_scope(scope):
        invitation = operations_invitations.invite(
            tenant_id=of.pk,
            email=user.email,
            offer=Offer(Role.ANALYST, None, "en"),
            now=now,
            actor_id=None,
        )
        letter = operations_invitations.write_letter(invitation_id=invitation.pk, now=now)
    assert letter is not None
    raised = at_once(scope, *[lambda: join(token=letter.token, now=now, user=user)] * 4)
    assert sorted(raised, key=str) == sorted([None, *[NotAcceptable] * 3], key=str)
    with open_scope(scope):
        assert Membership.objects.get().user_id == user.pk


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_an_address_is_invited_once_however_often_at_once() -> None:
    of = factories.tenant()
    scope = Scope((of.pk,))

    def invite() -> None:
        operations_invitations.invite(
            tenant_id=of.pk,
            email="ada@example.org",
            offer=Offer(Role.ANALYST, None, "en"),
            now=datetime.now(UTC),
            actor_id=None,
        )

    assert sorted(at_once(scope, invite, invite), key=str) == sorted([None, CannotInvite], key=str)


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
@pytest.mark.parametrize(("first", "refusal"), [("give", RoleInUse), ("delete", UnknownRole)])
@pytest.mark.parametrize("way", ["change_role", "grant", "invite"])
def test_role_of_the_tenant_above_is_given_or_deleted_never_both(
    way: str, first: str, refusal: type[Exception]
) -> None:
    """Whoever gives a role and whoever deletes it hold different tenants: they meet at the role."""
    root = factories.operator()
    of = factories.tenant(root)
    below, both = Scope((of.pk,)), Scope((root.pk, of.pk))
    with open_scope(both):
        role = custom_role(root, Permission.BILLS_VIEW).pk
        member = factories.member(of, Role.ANALYST)
    offer = Offer(role, None, "en")
    give = {
        "change_role": lambda: operations.change_role(
            membership_id=member.pk, role=role, actor_id=None
        ),
        "grant": lambda: operations.grant_membership(
            tenant_id=of.pk, user_id=factories.user().pk, role=role, actor_id=None
        ),
        "invite": lambda: operations_invitations.invite(
            tenant_id=of.pk,
            email="ada@example.org",
            offer=offer,
            now=datetime.now(UTC),
            actor_id=None,
        ),
    }[way]
    changes = {
        "give": Change(below, give),
        "delete": Change(both, lambda: operations_roles.delete_role(role_id=role, actor_id=None)),
    }
    earlier, later = changes.pop(first), changes.popitem()[1]
    assert meet(earlier, later, refusals=REFUSALS) is refusal


# --- the restriction ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_losing_the_last_facility_does_not_widen() -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        member = factories.member(of, Role.TECHNICIAN)
        at = factories.facility(of)
        restrict(membership_id=member.pk, facility_ids=[at.pk], actor_id=None)
        FacilityAccess.objects.all().delete()
    assert scope_for(user=member.user) == Scope((of.pk,), ())


@pytest.mark.django_db
def test_membership_that_does_not_exist_reaches_nothing() -> None:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT door_facilities_of(%s)", [2**40])
        assert cursor.fetchone() == ([],)


@pytest.mark.django_db
def test_another_role_keeps_the_restriction() -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        member = factories.member(of, Role.CONSUMER)
        changed = operations.change_role(membership_id=member.pk, role=Role.MANAGER, actor_id=None)
        assert changed.narrowed
        operations.change_role(membership_id=member.pk, role=Role.CONSUMER, actor_id=None)
        with pytest.raises(NotAllowed, match="Consumers"):
            restrict(membership_id=member.pk, facility_ids=None, actor_id=None)
