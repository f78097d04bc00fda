"""The people of the permission table, and the objects that they ask for.

The objects belong to the first facility of one client. Its people, those of the tenant above it, of
another client and of a tenant below it ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast

from devices.domain import operations as facilities
from devices.models import Facility
from devices.tests import factories
from devices.tests.factories import Park
from portal.benchmarks import tokens
from portal.tests.permission_rows.notation import Row
from tenants.domain import operations
from tenants.models import AccessToken, Membership, Tenant, User
from tenants.permissions import ACCESS_SCOPES, CUSTOM_ROLE, PERSONAL_SCOPES, Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories as people

Place = Literal["above", "own", "elsewhere", "other", "below", "none"]
NEAR: Final = ("above", "own")
# A role that a tenant has made; no built-in one allows just these.
CUSTOM: Final = (Permission.FACILITIES_VIEW, Permission.READINGS_VIEW, Permission.AUDIT_VIEW)

# "elsewhere": of the same tenant, but granted another facility.
_MEMBERS: Final[tuple[tuple[Place, str], ...]] = (
    ("above", "operator admin manager technician analyst support"),
    ("own", "admin manager technician analyst support consumer custom"),
    ("elsewhere", "admin manager support consumer"),
    ("other", "operator admin manager technician analyst support consumer custom"),
    ("below", "admin manager"),
)


@dataclass(frozen=True)
class Person:
    """Somebody who asks; `role` is empty for those of no tenant."""

    place: Place
    role: str
    user: User | None

    @property
    def name(self) -> str:
        """As in `but` of a row: "own manager"."""
        return f"{self.place} {self.role}" if self.role else self.place

    def expected(self, row: Row) -> int:
        """The status that the row says."""
        if self.name in row.but:
            return row.but[self.name]
        if self.place == "none":
            return row.newcomer if self.user and self.user.is_active else row.nobody
        if self.place == "elsewhere" and self.role in row.roles.split():
            return row.far if row.elsewhere is None else row.elsewhere
        return _of_member(row, self.role, near=self.place in NEAR)

    def reads(self, row: Row) -> bool:
        """Whether the answer may hold the texts of the objects."""
        roles = row.roles if row.readers is None else row.readers
        return self.place in NEAR and self.role in roles.split()


@dataclass(frozen=True)
class Token:
    """An access token; `role` is "service" for a service account, empty for one without effect."""

    name: str
    value: str
    place: Place
    role: str
    scopes: frozenset[str]
    narrowed: bool = False  # a service account of the facility that the objects are of

    def expected(self, row: Row) -> int:
        """The status that the row says."""
        if not self.role:
            return 401
        assert row.scopes is not None
        if self.name in row.but:
            return row.but[self.name]
        if not self.scopes.issuperset(row.scopes.split()):
            return 403
        concerned = self.role in ("service", *row.roles.split())
        narrowed = self.narrowed or self.place == "elsewhere"
        if concerned and narrowed and row.elsewhere is not None:
            return row.elsewhere
        if self.role == "service":
            return row.may if self.place in NEAR else row.far
        return _of_member(row, self.role, near=self.place in NEAR)

    def reads(self, row: Row) -> bool:
        """Whether the answer may hold the texts of the objects."""
        return self.place in NEAR and self.expected(row) == row.may


def _of_member(row: Row, role: str, *, near: bool) -> int:
    if role not in row.roles.split():
        return row.others
    return row.may if near else row.far


@dataclass
class World:
    """The tenant whose objects are asked for, and whoever asks."""

    park: Park
    other: Park
    below: Tenant
    people: list[Person] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    # What areas make for their rows, by name; see `Area.subjects`.
    made: dict[str, object] = field(default_factory=dict)

    def person(self, name: str) -> Person:
        """The person of this name, such as "own manager"."""
        return next(person for person in self.people if person.name == name)

    def token(self, name: str) -> Token:
        """The token of this name."""
        return next(token for token in self.tokens if token.name == name)


def make_world() -> World:
    """Everything; committed, because telemetry comes by another connection."""
    park, other = factories.park(), factories.park()
    world = World(park, other, factories.tenant(park.tenant))
    for place, roles in _MEMBERS:
        world.people += [_member(world, place, role) for role in roles.split()]
    inactive = factories.user()
    inactive.is_active = False
    inactive.save(update_fields=["is_active"])
    world.people += [
        Person("none", "newcomer", factories.user()),
        _suspended(world),
        Person("none", "inactive", inactive),
        Person("none", "nobody", None),
    ]
    _make_tokens(world)
    return world


def above(tenant: Tenant) -> Tenant:
    """The tenant above."""
    assert tenant.parent_id is not None
    with open_scope(Scope((tenant.parent_id,))):
        return Tenant.objects.get(pk=tenant.parent_id)


def _member(world: World, place: Place, role: str) -> Person:
    tenant = {
        "above": above(world.park.tenant),
        "own": world.park.tenant,
        "elsewhere": world.park.tenant,
        "other": above(world.other.tenant) if role == Role.OPERATOR else world.other.tenant,
        "below": world.below,
    }[place]
    with open_scope(Scope((tenant.pk,))):
        user = factories.user()
        membership = operations.grant_membership(
            tenant_id=tenant.pk,
            user_id=user.pk,
            role=people.custom_role(tenant, *CUSTOM).pk if role == CUSTOM_ROLE else Role(role),
            actor_id=None,
        )
        granted = {
            ("own", "consumer"): world.park.branches[0],
            ("other", "consumer"): world.other.branches[0],
        }
        at = world.park.branches[1] if place == "elsewhere" else granted.get((place, role))
        if at is not None:
            facilities.grant_facility(
                membership_id=membership.pk, facility_id=at.facility.pk, actor_id=None
            )
    return Person(place, role, user)


def _suspended(world: World) -> Person:
    """A manager of the tenant whose membership is suspended: as good as none."""
    person = _member(world, "own", Role.MANAGER)
    assert person.user is not None
    with open_scope(world.park.scope):
        operations.suspend_membership(
            membership_id=Membership.objects.get(user=person.user).pk,
            now=datetime.now(UTC),
            actor_id=None,
        )
    return Person("none", "suspended", person.user)


def _make_tokens(world: World) -> None:
    every = frozenset(ACCESS_SCOPES)
    impersonal = every - PERSONAL_SCOPES
    own, root = world.park.tenant, above(world.park.tenant)
    tenants = {"above": root, "other": world.other.tenant, "below": world.below}

    def of(
        person: str, scopes: frozenset[str] = every, *, name: str = "", seconds: int = 600
    ) -> AccessToken:
        """A token that `person` gave to an application of its tenant; without effect if named."""
        place, role = person.split()
        user = world.person(person).user
        assert user is not None
        with open_scope(Scope(((tenant := tenants.get(place, own)).pk,))):
            application = tokens.application(tenant_id=tenant.pk, scopes=every)
            value, row = tokens.issue(
                application, user_id=user.pk, scopes=scopes, lifetime=timedelta(seconds=seconds)
            )
        told = name or (person if scopes == every else f"{person} for {' '.join(scopes) or 'none'}")
        world.tokens.append(Token(told, value, cast(Place, place), "" if name else role, scopes))
        return row

    def service(name: str, place: Place, tenant: Tenant, facility: Facility | None = None) -> None:
        """A service account."""
        ids = [facility.pk] if facility else None
        with open_scope(Scope((tenant.pk,))):
            application = tokens.application(
                tenant_id=tenant.pk, scopes=impersonal, service=True, facility_ids=ids
            )
            value, _row = tokens.issue(application, user_id=None)
        narrowed = facility is not None
        world.tokens.append(Token(name, value, place, "service", impersonal, narrowed))

    for person in (
        *("above operator", "own manager", "own technician", "own support", "own consumer"),
        *("elsewhere manager", "elsewhere consumer", "other manager", "below manager"),
    ):
        of(person)
    for scopes in ((), ("openid",), *((scope,) for scope in sorted(impersonal))):
        of("own manager", frozenset(scopes))
    first, second = (branch.facility for branch in world.park.branches)
    service("service", "own", own)
    service("service of the facility", "own", own, first)
    service("service of another facility", "elsewhere", own, second)
    service("service of another tenant", "other", world.other.tenant)
    # A service account is bound to its own tenant and does not reach those below.
    service("service of the tenant above", "other", root)
    of("own manager", name="expired", seconds=-1)
    of("none inactive", name="of an inactive account")
    revoked = of("own manager", name="revoked")
    with open_scope(world.park.scope):
        revoked.revoke()
    world.tokens.append(Token("unknown", "x" * 43, "own", "", every))
