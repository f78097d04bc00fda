"""The tenant tree: counts, branches, making, changing and suspending a tenant below."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.domain.tenant_tree import Counts, TenantNotFound, tree
from devices.models import DeviceState
from devices.tests import factories
from portal.benchmarks import tokens
from portal.enterprise.administration import tenant_views
from portal.oauth.bearer import InvalidToken, authenticate
from tenants.domain import operations, tenant_operations
from tenants.domain.authority import NotAllowed
from tenants.domain.oauth_queries import scope_of_application
from tenants.domain.queries import access_of, memberships_of
from tenants.domain.tenant_operations import TenantDraft, TenantRefused
from tenants.models import Application, AuditEntry, Invitation, Tenant, TenantKind, User
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Role
from tenants.scope import Scope, open_scope


class Family:
    """An operator, a reseller below it, two clients below that, each with somebody."""

    def __init__(self) -> None:
        self.root = factories.operator()
        self.reseller = factories.tenant(self.root, TenantKind.RESELLER)
        self.clients = [factories.tenant(self.reseller) for _ in range(2)]
        self.all = [self.root, self.reseller, *self.clients]
        self.boss = self.member(self.root, Role.OPERATOR)
        self.admin = self.member(self.reseller, Role.ADMIN)
        self.manager = self.member(self.clients[0], Role.MANAGER)

    def member(self, of: Tenant, role: Role) -> User:
        with open_scope(Scope((of.pk,))):
            return factories.member(of, role).user

    @property
    def scope(self) -> Scope:
        return Scope(tuple(tenant.pk for tenant in self.all))


@pytest.fixture
def family(db: None) -> Family:
    return Family()


def _client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- counts -------------------------------------------------------


def test_counts_are_own_and_with_all_below(family: Family) -> None:
    with open_scope(family.scope):
        kind = factories.device_type(family.clients[0])
        for number, of in enumerate(family.clients):
            for _ in range(number + 1):
                factories.facility(of)
        at = factories.facility(family.clients[0])
        factories.device(at, kind)
        factories.device(at, kind, state=DeviceState.REVOKED)
        found = tree(top=family.root.pk)
    first, second = (found.node(tenant.pk) for tenant in family.clients)
    assert first.own == first.total == Counts(2, 1, 1)
    assert second.own == Counts(2, 0, 0)
    reseller = found.node(family.reseller.pk)
    assert (reseller.own, reseller.total) == (Counts(0, 0, 1), Counts(4, 1, 2))
    root = found.node(family.root.pk)
    assert (root.total, root.below, root.children) == (Counts(4, 1, 3), 3, 1)
    assert [node.tenant_id for node in found.path(family.clients[0].pk)] == [
        family.root.pk,
        family.reseller.pk,
    ]
    assert found.branch(family.root.pk) == (reseller,)


def test_the_tree_ends_at_the_scope(family: Family) -> None:
    other = Family()
    with open_scope(Scope((family.reseller.pk, *(tenant.pk for tenant in family.clients)))):
        found = tree(top=family.reseller.pk)
    assert set(found.nodes) == {family.reseller.pk, *(tenant.pk for tenant in family.clients)}
    assert found.path(family.clients[0].pk) == (found.node(family.reseller.pk),)
    for stranger in (family.root, other.reseller):
        with pytest.raises(TenantNotFound):
            found.node(stranger.pk)


@pytest.mark.parametrize("more", [1, 3])
def test_the_tree_costs_four_queries(family: Family, more: int) -> None:
    made = [factories.tenant(family.reseller) for _ in range(more)]
    scope = Scope((*family.scope.tenant_ids, *(tenant.pk for tenant in made)))
    with open_scope(scope), CaptureQueriesContext(connection) as context:
        assert len(tree(top=family.root.pk).nodes) == 4 + more
    assert len(context) == 4


# --- pages --------------------------------------------------------


def test_branches_come_one_by_one(family: Family) -> None:
    client = _client(family.boss)
    html = client.get(reverse("tenants")).content.decode()
    assert family.reseller.name in html
    assert family.clients[0].name not in html
    part = client.get(reverse("tenant-branch", args=[family.reseller.pk])).content.decode()
    assert "<html" not in part
    assert all(tenant.name in part for tenant in family.clients)


def test_a_long_branch_comes_in_parts(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenant_views, "BRANCH_PART", 1)
    client = _client(family.boss)
    path = reverse("tenant-branch", args=[family.reseller.pk])
    first = client.get(path).content.decode()
    assert "Show 1 more" in first
    assert f"{path}?from=1" in first
    second = client.get(path, {"from": "1"}).content.decode()
    assert "more" not in second
    assert "<ul" not in second
    for tenant in family.clients:
        assert (tenant.name in first) != (tenant.name in second)
    assert client.get(path, {"from": "nonsense"}).status_code == 200


def test_a_search_finds_tenants_with_their_path(family: Family) -> None:
    client = _client(family.boss)
    html = client.get(reverse("tenants"), {"q": family.clients[1].name}).content.decode()
    assert family.clients[1].name in html
    assert f"{family.reseller.name} ›" in html
    assert family.clients[0].name not in html
    assert "Nothing matches" in client.get(reverse("tenants"), {"q": "nobody"}).content.decode()


def test_a_tenant_beside_does_not_exist(family: Family) -> None:
    client, other = _client(family.admin), Family()
    for tenant in (family.root, other.reseller, other.clients[0]):
        for name in ("tenant", "tenant-branch", "tenant-new", "tenant-change"):
            assert client.get(reverse(name, args=[tenant.pk])).status_code == 404
        for name in ("tenant-suspend", "tenant-resume"):
            assert client.post(reverse(name, args=[tenant.pk])).status_code == 404


# --- make and change ----------------------------------------------


def _make(client: Client, parent: Tenant, **form: str) -> Any:
    values = {
        "name": "Bakery Müller",
        "kind": "client",
        "time_zone": "Europe/Berlin",
        "language": "en",
        **form,
    }
    return client.post(reverse("tenant-new", args=[parent.pk]), values)


def _tenants(name: str, of: Family) -> list[Tenant]:
    ids = access_of(user_id=of.boss.pk).tenant_ids
    with open_scope(Scope(ids)):
        return list(Tenant.objects.filter(name=name).order_by("pk"))


def test_a_tenant_is_made_below_and_its_administrator_invited(family: Family) -> None:
    answer = _make(_client(family.admin), family.reseller, admin_email="New@Example.org")
    (made,) = _tenants("Bakery Müller", family)
    assert answer["Location"] == reverse("tenant", args=[made.pk])
    assert (made.parent_id, made.kind, made.slug) == (family.reseller.pk, "client", "bakery-muller")
    with open_scope(Scope((made.pk,))):
        invitation = Invitation.objects.get()
        assert (invitation.email, invitation.role) == ("new@example.org", Role.ADMIN)
        actions = AuditEntry.objects.order_by("at").values_list("action", "actor")
        assert list(actions) == [
            ("tenant.create", family.admin.pk),
            ("invitation.create", family.admin.pk),
        ]


def test_a_short_name_that_is_taken_gets_a_number(family: Family) -> None:
    client = _client(family.boss)
    for _ in range(3):
        assert _make(client, family.reseller).status_code == 302
    slugs = [tenant.slug for tenant in _tenants("Bakery Müller", family)]
    assert slugs == ["bakery-muller", "bakery-muller-2", "bakery-muller-3"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": ""}, "This field is required"),
        ({"time_zone": "Berlin"}, "is not a time zone"),
        ({"kind": "operator"}, "Select a valid choice"),
        ({"language": "xx"}, "Select a valid choice"),
        ({"admin_email": "nobody"}, "valid email address"),
    ],
)
def test_a_bad_tenant_says_what_is_wrong(
    family: Family, form: dict[str, str], sentence: str
) -> None:
    answer = _make(_client(family.boss), family.reseller, **form)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not _tenants("Bakery Müller", family)


def test_a_client_has_nothing_below_it(family: Family) -> None:
    answer = _make(_client(family.boss), family.clients[0])
    assert "only operators and resellers" in answer.content.decode()


def test_a_tenant_is_changed(family: Family) -> None:
    client = _client(family.admin)
    path = reverse("tenant-change", args=[family.clients[0].pk])
    form = {"name": "Renamed", "time_zone": "Asia/Tokyo", "language": "en"}
    assert client.post(path, form)["Location"] == reverse("tenant", args=[family.clients[0].pk])
    with open_scope(family.scope):
        row = Tenant.objects.get(pk=family.clients[0].pk)
        entry = AuditEntry.objects.get(action="tenant.change")
    assert (row.name, row.time_zone, row.slug) == ("Renamed", "Asia/Tokyo", family.clients[0].slug)
    assert entry.actor_id == family.admin.pk
    assert client.post(path, {**form, "time_zone": "Nowhere"}).status_code == 422


def test_operations_ask_for_the_permission_themselves(family: Family) -> None:
    now = datetime.now(UTC)
    draft = TenantDraft("A", TenantKind.CLIENT, "UTC", "en")
    key, manager = family.clients[0].pk, family.manager.pk
    with open_scope(family.scope):
        with pytest.raises(NotAllowed):
            tenant_operations.create_below(
                parent_id=family.reseller.pk, draft=draft, now=now, actor_id=manager
            )
        with pytest.raises(NotAllowed):
            tenant_operations.change_tenant(
                tenant_id=key, values={"name": "Mine"}, actor_id=manager
            )
        with pytest.raises(NotAllowed):
            tenant_operations.suspend(tenant_id=key, now=now, actor_id=manager)


# --- suspend ------------------------------------------------------


def _suspend(family: Family, tenant: Tenant) -> None:
    answer = _client(family.boss).post(reverse("tenant-suspend", args=[tenant.pk]))
    assert answer.status_code == 302


def test_the_people_of_a_suspended_tenant_and_below_are_refused(family: Family) -> None:
    with open_scope(family.scope):
        facility = factories.facility(family.clients[0])
    people = {user: _client(user) for user in (family.admin, family.manager)}
    page = reverse("facility", args=[facility.pk])
    assert {client.get(page).status_code for client in people.values()} == {200}
    _suspend(family, family.reseller)
    assert {client.get(page).status_code for client in people.values()} == {403}
    assert [memberships_of(user_id=user.pk) for user in people] == [(), ()]
    # Those above still reach it, and see that it is suspended.
    boss = _client(family.boss)
    assert boss.get(page).status_code == 200
    html = boss.get(reverse("tenant", args=[family.clients[0].pk])).content.decode()
    assert "Suspended above" in html
    boss.post(reverse("tenant-resume", args=[family.reseller.pk]))
    assert {client.get(page).status_code for client in people.values()} == {200}
    with open_scope(family.scope):
        told = AuditEntry.objects.filter(action__in=["tenant.suspend", "tenant.resume"])
        assert [entry.actor_id for entry in told] == [family.boss.pk] * 2


def test_a_member_of_another_tenant_keeps_that_one(family: Family) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        operations.grant_membership(
            tenant_id=other.pk, user_id=family.manager.pk, role=Role.ANALYST, actor_id=None
        )
    _suspend(family, family.clients[0])
    assert access_of(user_id=family.manager.pk).tenant.tenant_id == other.pk


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_applications_of_a_suspended_tenant_are_refused_at_once() -> None:
    family = Family()
    of = family.clients[0]
    scopes = frozenset(ACCESS_SCOPES) - PERSONAL_SCOPES
    with open_scope(Scope((of.pk,))):
        service = tokens.application(tenant_id=of.pk, scopes=scopes, service=True)
        of_service, _row = tokens.issue(service, user_id=None)
    with open_scope(Scope((family.root.pk, of.pk))):
        shared = tokens.application(tenant_id=family.root.pk, scopes=scopes)
        of_person, row = tokens.issue(shared, user_id=family.manager.pk)
        type(row).objects.filter(pk=row.pk).update(tenant_id=of.pk)
    for value in (of_service, of_person):
        authenticate(value)
    _suspend(family, family.reseller)
    for value in (of_service, of_person):
        with pytest.raises(InvalidToken):
            authenticate(value)
    assert scope_of_application(client_id=service.client_id) == Scope(())
    # Nor does a token that is issued all the same open anything.
    with open_scope(Scope((of.pk,))):
        later, _row = tokens.issue(service, user_id=None)
    with pytest.raises(InvalidToken):
        authenticate(later)
    _client(family.boss).post(reverse("tenant-resume", args=[family.reseller.pk]))
    assert scope_of_application(client_id=service.client_id) == Scope((of.pk,))
    with open_scope(Scope((of.pk,))):
        assert Application.objects.get().is_active
        again, _row = tokens.issue(service, user_id=None)
    assert authenticate(again).tenant_id == of.pk


def test_nobody_suspends_the_own_tenant_or_one_above(family: Family) -> None:
    client = _client(family.admin)
    answer = client.post(reverse("tenant-suspend", args=[family.reseller.pk]), follow=True)
    assert "ask who is above it" in answer.content.decode()
    assert client.post(reverse("tenant-suspend", args=[family.root.pk])).status_code == 404
    with open_scope(family.scope), pytest.raises(TenantRefused, match="nobody could resume"):
        tenant_operations.suspend(
            tenant_id=family.root.pk, now=timezone.now(), actor_id=family.boss.pk
        )
    page = client.get(reverse("tenant", args=[family.reseller.pk])).content.decode()
    assert reverse("tenant-suspend", args=[family.reseller.pk]) not in page
    with open_scope(family.scope):
        assert not Tenant.objects.filter(suspended_at__isnull=False).exists()


def test_nothing_is_made_below_a_suspended_tenant(family: Family) -> None:
    _suspend(family, family.reseller)
    answer = _make(_client(family.boss), family.reseller)
    assert "is suspended" in answer.content.decode()
