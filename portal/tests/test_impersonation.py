"""Support acting as somebody else: never more than both may, never for long, never unseen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import sync_to_async
from celery import Celery
from django.core.mail import EmailMultiAlternatives
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse
from pytest_django import Settings

from devices.domain import operations as park_operations
from devices.tests import factories
from portal.feed import socket as feed_socket
from portal.tasks import end_impersonations
from portal.tests.live_client import own_hub, page
from tenants.domain import audit, authority, impersonation, operations
from tenants.domain.audit import Origin
from tenants.domain.impersonation import WITHHELD, ImpersonationRefused
from tenants.domain.queries import access_of
from tenants.models import AuditChannel, AuditEntry, Impersonation, Membership, User
from tenants.models.impersonation import MAX_DURATION
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tasks import KeywordTask
from tenants.tests.factories import application as application_of

_app = Celery("impersonation-test", set_as_current=False)

REASON = "The chart of the bakery stays empty"


@_app.task(base=KeywordTask, name="test.told_origin")
def told_origin(*, number: int) -> Origin:
    del number
    return audit.current_origin()


class World:
    """A reseller with support, a client below it with people and facilities."""

    def __init__(self) -> None:
        self.above = factories.tenant()
        self.tenant = factories.tenant(self.above)
        with open_scope(Scope((self.above.pk,))):
            self.support = factories.member(self.above, Role.SUPPORT).user
        with open_scope(Scope((self.tenant.pk,))):
            self.facilities = [factories.facility(self.tenant) for _ in range(2)]
            self.members = {
                role: factories.member(self.tenant, role)
                for role in (Role.ADMIN, Role.MANAGER, Role.ANALYST, Role.CONSUMER)
            }
            park_operations.grant_facility(
                membership_id=self.members[Role.CONSUMER].pk,
                facility_id=self.facilities[0].pk,
                actor_id=None,
            )

    @property
    def scope(self) -> Scope:
        return Scope((self.tenant.pk,))

    def begin(self, membership: Membership, support: User | None = None) -> Impersonation:
        access = access_of(user_id=(support or self.support).pk)
        with open_scope(Scope(access.tenant_ids)):
            return impersonation.begin(
                access=access,
                membership_id=membership.pk,
                reason=REASON,
                ticket="",
                now=datetime.now(UTC),
            )


@pytest.fixture
def world(db: None) -> World:
    return World()


@pytest.fixture
def client(world: World) -> Client:
    client = Client()
    client.force_login(world.support)
    return client


@pytest.fixture
def tasks_at_once(settings: Settings) -> Iterator[None]:
    """Tasks run where they are sent."""
    _app.conf.task_always_eager = True
    settings.CELERY_TASK_ALWAYS_EAGER = True  # the product's own reads it each time
    yield
    _app.conf.task_always_eager = False


def _begin(client: Client, membership: Membership, **form: str) -> Any:
    path = reverse("impersonation-begin", args=[membership.pk])
    return client.post(path, {"reason": REASON, "ticket": "HD-4711", **form})


def _actions(world: World) -> list[tuple[str, int | None, int | None]]:
    with open_scope(world.scope):
        rows = AuditEntry.objects.filter(action__startswith="impersonation.").order_by("at")
        return list(rows.values_list("action", "actor", "impersonator"))


# --- begin and end ------------------------------------------------


def test_support_sees_what_the_person_sees(client: Client, world: World) -> None:
    assert world.facilities[1].name in client.get(reverse("overview")).content.decode()
    assert _begin(client, world.members[Role.CONSUMER]).status_code == 302
    html = client.get(reverse("overview")).content.decode()
    assert world.facilities[0].name in html
    assert world.facilities[1].name not in html
    person = world.members[Role.CONSUMER].user
    assert f"{world.support.email}, you act as {person.email} of {world.tenant.name}." in html
    assert f"HD-4711: {REASON}" in html
    elsewhere = reverse("facility", args=[world.facilities[1].pk])
    assert client.get(elsewhere).status_code == 404
    assert client.post(reverse("impersonation-end")).status_code == 302
    html = client.get(reverse("overview")).content.decode()
    assert "you act as" not in html
    assert world.facilities[1].name in html


def test_begin_and_end_are_told_in_the_trail(client: Client, world: World) -> None:
    _begin(client, world.members[Role.ANALYST])
    client.post(reverse("impersonation-end"))
    support = world.support.pk
    assert _actions(world) == [
        ("impersonation.begin", support, None),
        ("impersonation.end", support, support),
    ]
    admin = Client()
    admin.force_login(world.members[Role.ADMIN].user)
    html = admin.get(reverse("audit"), {"action": "impersonation.begin"}).content.decode()
    assert world.support.email in html
    assert world.members[Role.ANALYST].user.email in html
    assert REASON in html


def test_the_person_is_told_by_mail(
    client: Client,
    world: World,
    mailoutbox: list[EmailMultiAlternatives],
    tasks_at_once: None,
    django_capture_on_commit_callbacks: Any,
) -> None:
    User.objects.filter(pk=world.support.pk).update(name="Sam Support")
    with django_capture_on_commit_callbacks(execute=True):
        _begin(client, world.members[Role.ANALYST])
    (message,) = mailoutbox
    assert message.to == [world.members[Role.ANALYST].user.email]
    assert message.subject == "Sam Support acts in your account"
    for part in (message.body, str(message.alternatives[0][0])):
        assert f"HD-4711: {REASON}" in part
        assert world.tenant.name in part


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [("", "This field is required"), ("too short", "at least 10 characters")],
)
def test_a_reason_is_required(client: Client, world: World, reason: str, sentence: str) -> None:
    answer = _begin(client, world.members[Role.ANALYST], reason=reason)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    with open_scope(world.scope):
        assert not Impersonation.objects.exists()


def test_blanks_are_no_reason(world: World) -> None:
    access = access_of(user_id=world.support.pk)
    with open_scope(Scope(access.tenant_ids)), pytest.raises(ImpersonationRefused):
        impersonation.begin(
            access=access,
            membership_id=world.members[Role.ANALYST].pk,
            reason="a" + " " * 20 + "b",
            ticket="",
            now=datetime.now(UTC),
        )


def test_it_ends_by_itself_and_nothing_is_done_by_mistake(client: Client, world: World) -> None:
    start = datetime.now(UTC)
    _begin(client, world.members[Role.MANAGER])
    with time_machine.travel(start + MAX_DURATION - timedelta(seconds=5), tick=False):
        assert "you act as" in client.get(reverse("overview")).content.decode()
    with time_machine.travel(start + MAX_DURATION + timedelta(seconds=5), tick=False):
        # A form that was filled in as the person is not sent as the supporter.
        answer = client.post(reverse("facility", args=[world.facilities[0].pk]))
        assert (answer.status_code, answer["Location"]) == (302, reverse("overview"))
        html = client.get(reverse("overview")).content.decode()
        assert "The impersonation has ended" in html
        assert "you act as" not in html
    with open_scope(world.scope):
        row = Impersonation.objects.get()
    assert row.ended_at == row.ends_at


def test_what_ran_out_is_closed_by_the_clock(world: World) -> None:
    row = world.begin(world.members[Role.ANALYST])
    end_impersonations()
    with open_scope(world.scope):
        assert Impersonation.objects.get().ended_at is None
    with time_machine.travel(row.ends_at + timedelta(minutes=3), tick=False):
        end_impersonations()
        end_impersonations()
    with open_scope(world.scope):
        assert Impersonation.objects.get().ended_at == row.ends_at
        entries = AuditEntry.objects.filter(action="impersonation.end")
        assert [entry.actor_id for entry in entries] == [None]


def test_signing_out_ends_it_and_the_supporters_session(client: Client, world: World) -> None:
    _begin(client, world.members[Role.ANALYST])
    client.post(reverse("logout"))
    assert client.get(reverse("overview")).status_code == 302
    with open_scope(world.scope):
        assert Impersonation.objects.get().ended_at is not None


@pytest.mark.parametrize("lost", ["role", "membership", "account", "person"])
def test_it_ends_with_what_it_rests_on(client: Client, world: World, lost: str) -> None:
    _begin(client, world.members[Role.ANALYST])
    with open_scope(Scope((world.above.pk, world.tenant.pk))):
        own = Membership.objects.get(user=world.support)
        if lost == "role":
            operations.change_role(membership_id=own.pk, role=Role.ANALYST, actor_id=None)
        elif lost == "membership":
            operations.end_membership(membership_id=own.pk, actor_id=None)
        elif lost == "person":
            operations.end_membership(membership_id=world.members[Role.ANALYST].pk, actor_id=None)
        else:
            User.objects.filter(pk=world.members[Role.ANALYST].user_id).update(is_active=False)
    assert client.get(reverse("overview")).status_code == 302
    assert "you act as" not in client.get(reverse("overview")).content.decode()


def test_a_person_who_becomes_an_operator_is_left(client: Client, world: World) -> None:
    member = world.members[Role.ANALYST]
    _begin(client, member)
    root = factories.operator()
    with open_scope(Scope((root.pk,))):
        operations.grant_membership(
            tenant_id=root.pk, user_id=member.user_id, role=Role.OPERATOR, actor_id=None
        )
    assert client.get(reverse("overview"))["Location"] == reverse("overview")
    assert "you act as" not in client.get(reverse("overview")).content.decode()


# --- whom ---------------------------------------------------------


def _refusal(world: World, membership: Membership) -> str:
    with pytest.raises(ImpersonationRefused) as caught:
        world.begin(membership)
    return str(caught.value)


def test_nobody_acts_as_the_powerful(world: World) -> None:
    with open_scope(Scope((world.above.pk,))):
        same = factories.member(world.above, Role.SUPPORT)
        admin = factories.member(world.above, Role.ADMIN)
        me = Membership.objects.get(user=world.support)
    assert "may act as others" in _refusal(world, same)
    assert "administrator" in _refusal(world, admin)
    assert "This is you" in _refusal(world, me)


def test_nobody_acts_as_a_member_who_is_powerful_elsewhere(world: World) -> None:
    root, unrelated = factories.operator(), factories.tenant()
    member = world.members[Role.ANALYST]
    with open_scope(Scope((unrelated.pk,))):
        operations.grant_membership(
            tenant_id=unrelated.pk, user_id=member.user_id, role=Role.SUPPORT, actor_id=None
        )
    assert "may act as others" in _refusal(world, member)
    other = world.members[Role.MANAGER]
    with open_scope(Scope((root.pk,))):
        operations.grant_membership(
            tenant_id=root.pk, user_id=other.user_id, role=Role.OPERATOR, actor_id=None
        )
    assert "operator" in _refusal(world, other)


def test_an_administrator_above_in_the_tree_is_nobodys_to_act_as(world: World) -> None:
    with open_scope(Scope((world.tenant.pk,))):
        member = factories.member(world.tenant, Role.ANALYST)
    assert world.above.parent_id is not None
    with open_scope(Scope((world.above.parent_id,))):
        operations.grant_membership(
            tenant_id=world.above.parent_id,
            user_id=member.user_id,
            role=Role.ADMIN,
            actor_id=None,
        )
    assert "administrator" in _refusal(world, member)


def test_an_administrator_below_may_be_acted_as(client: Client, world: World) -> None:
    assert _begin(client, world.members[Role.ADMIN])["Location"] == reverse("overview")


def test_the_list_offers_those_alone(client: Client, world: World) -> None:
    with open_scope(Scope((world.above.pk,))):
        admin = factories.member(world.above, Role.ADMIN).user
    html = client.get(reverse("impersonation")).content.decode()
    for membership in world.members.values():
        assert membership.user.email in html
    assert admin.email not in html
    assert html.count(world.support.email) == 1  # in the menu of the account


def test_a_member_of_another_tenant_does_not_exist(client: Client) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        stranger = factories.member(other, Role.ANALYST)
    assert _begin(client, stranger).status_code == 404


def test_a_person_is_acted_as_in_one_tenant_alone(client: Client, world: World) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        hidden = factories.facility(other)
        operations.grant_membership(
            tenant_id=other.pk,
            user_id=world.members[Role.ANALYST].user_id,
            role=Role.MANAGER,
            actor_id=None,
        )
    _begin(client, world.members[Role.ANALYST])
    html = client.get(reverse("overview")).content.decode()
    assert hidden.name not in html
    assert other.name not in html
    assert client.get(reverse("facility", args=[hidden.pk])).status_code == 404
    session = client.session
    session["current_tenant"] = other.pk
    session.save()
    assert client.get(reverse("facility", args=[hidden.pk])).status_code == 404
    switch = client.post(reverse("switch-tenant"), {"tenant": other.pk})
    assert switch.status_code == 403


# --- what ---------------------------------------------------------


def test_permissions_are_those_of_both_without_what_is_withheld(
    client: Client, world: World
) -> None:
    _begin(client, world.members[Role.ADMIN])
    request: Any = client.get(reverse("overview")).wsgi_request
    support = access_of(user_id=world.support.pk).permissions
    admin = access_of(user_id=world.members[Role.ADMIN].user_id).permissions
    assert request.access.permissions == (support & admin) - WITHHELD
    assert Permission.AUDIT_VIEW not in request.access.permissions  # support has it not
    assert client.get(reverse("audit")).status_code == 403
    assert client.get(reverse("impersonation")).status_code == 403


def _names(patterns: list[URLPattern | URLResolver], prefix: str = "") -> list[str]:
    found = []
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            found += _names(pattern.url_patterns, namespace)
        else:
            found.append(f"{prefix}{pattern.name}")
    return found


# Open to an operator who acts as an administrator, of all routes without arguments. A new route is
# refused unless it asks for permissions: look whether it may be done in somebody else's name.
NOT_THE_PERSONS_OWN = {
    "accounts", "account", "oauth", "consumer", "health-live", "login", "language", "switch-tenant",
}  # fmt: skip


def test_what_is_the_persons_own_is_refused(world: World) -> None:
    root = world.above
    with open_scope(Scope((root.pk,))):
        boss = factories.member(root, Role.OPERATOR).user
    client = Client()
    client.force_login(boss)
    _begin(client, world.members[Role.ADMIN])
    refused = {
        "oauth:authorize",
        "oauth:grants",
        "oauth:device",
        "account-sessions",
        "switch-tenant",
        "consumer:home",
        "login",
    }
    for name in refused:
        for method in (client.get, client.post):
            assert (name, method(reverse(name)).status_code) == (name, 403)
    revoke = reverse("oauth:revoke-grant", args=[1])
    assert client.post(revoke).status_code == 403


def test_no_route_without_permissions_is_open(client: Client, world: World) -> None:
    """Every route, found by itself: those that ask for nothing are refused, but for a few."""
    _begin(client, world.members[Role.ADMIN])
    open_routes = set()
    for name in _names(get_resolver().url_patterns):
        if name in ("logout", "oauth:logout", "oauth:logout-confirm", "impersonation-end"):
            continue
        try:
            path = reverse(name)
        except NoReverseMatch:  # it has arguments
            continue
        if client.get(path).status_code != 403:
            open_routes.add(name)
    assert not {name for name in open_routes if name.split(":")[0] in NOT_THE_PERSONS_OWN}
    assert "overview" in open_routes


def test_signing_in_applications_is_refused(client: Client, world: World) -> None:
    with open_scope(world.scope):
        application, _secret = application_of(world.tenant)
    _begin(client, world.members[Role.ANALYST])
    query = {"client_id": application.client_id, "response_type": "code", "scope": "openid"}
    answer = client.get(reverse("oauth:authorize"), query)
    assert answer.status_code == 403
    assert "Location" not in answer


def test_what_is_done_names_both(world: World) -> None:
    root = world.above
    with open_scope(Scope((root.pk,))):
        boss = factories.member(root, Role.OPERATOR).user
    client = Client()
    client.force_login(boss)
    member = world.members[Role.ADMIN]
    _begin(client, member)
    client.get(reverse("audit-csv")).getvalue()
    with open_scope(world.scope):
        entry = AuditEntry.objects.get(action="export.audit")
    assert (entry.actor_id, entry.impersonator_id) == (member.user_id, boss.pk)
    assert entry.reason == f"HD-4711: {REASON}"


def test_tasks_carry_the_real_person(world: World, tasks_at_once: None) -> None:
    where = Origin(AuditChannel.PORTAL, "192.0.2.7", world.support.pk, REASON)
    with audit.origin(where):
        told = told_origin.delay(number=1).get()
    assert told == Origin(AuditChannel.TASK, "192.0.2.7", world.support.pk, REASON)
    assert told_origin.delay(number=1).get() == Origin(AuditChannel.TASK)


def test_nobody_gives_or_takes_in_somebody_elses_name(world: World) -> None:
    """Even where a page forgot to ask."""
    member = world.members[Role.ADMIN]
    with open_scope(world.scope):
        assert authority.held(actor_id=member.user_id, tenant_id=world.tenant.pk)
        where = Origin(AuditChannel.PORTAL, None, world.support.pk, REASON)
        with audit.origin(where):
            assert authority.held(actor_id=member.user_id, tenant_id=world.tenant.pk) == frozenset()


def test_a_supporters_own_restriction_holds(world: World) -> None:
    """A supporter who is narrowed to facilities acts as nobody."""
    with open_scope(world.scope):
        narrow = factories.member(world.tenant, Role.SUPPORT)
        park_operations.grant_facility(
            membership_id=narrow.pk, facility_id=world.facilities[0].pk, actor_id=None
        )
    client = Client()
    client.force_login(narrow.user)
    assert _begin(client, world.members[Role.ANALYST]).status_code == 403


# --- the row ------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"ends": timedelta(minutes=31)}, "tenants_impersonation_short"),
        ({"ends": timedelta(0)}, "tenants_impersonation_short"),
        ({"reason": "too short"}, "tenants_impersonation_has_reason"),
        ({"itself": True}, "tenants_impersonation_of_another"),
    ],
)
def test_the_database_keeps_the_rules(
    world: World, changes: dict[str, Any], constraint: str
) -> None:
    member = world.members[Role.ANALYST]
    now = datetime.now(UTC)
    with (
        open_scope(world.scope),
        pytest.raises(IntegrityError, match=constraint),
        transaction.atomic(),
    ):
        Impersonation.objects.create(
            tenant=world.tenant,
            impersonator=member.user if changes.get("itself") else world.support,
            person=member.user,
            membership_id=member.pk,
            reason=changes.get("reason", REASON),
            started_at=now,
            ends_at=now + changes.get("ends", MAX_DURATION),
        )


# --- sockets ------------------------------------------------------


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
async def test_an_open_socket_ends_with_the_impersonation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_socket, "RECHECK_S", 600.0)

    def make() -> tuple[World, Client, list[str]]:
        world = World()
        with open_scope(world.scope):
            factories.device(world.facilities[0])
        clients = (Client(), Client())
        for client in clients:
            client.force_login(world.support)
            assert _begin(client, world.members[Role.CONSUMER]).status_code == 302
        return world, clients[0], [str(client.session.session_key) for client in clients]

    world, ended, keys = await sync_to_async(make)()
    watch = {"watch": {"facility": world.facilities[0].pk}}
    elsewhere = {"watch": {"facility": world.facilities[1].pk}}
    async with own_hub():
        async with page(None, session_key=keys[0]) as socket:
            await socket.send(elsewhere)
            assert "refused" in await socket.receive()
        async with page(None, session_key=keys[0]) as socket:
            await socket.send(watch)
            assert "description" in await socket.receive()
            await sync_to_async(ended.post)(reverse("impersonation-end"))
            assert await _refused(socket) == "the impersonation has begun or ended"
        soon = datetime.now(UTC) + timedelta(seconds=1)
        await sync_to_async(_shorten)(world, soon)
        async with page(None, session_key=keys[1]) as socket:
            await socket.send(watch)
            assert "description" in await socket.receive()
            assert await _refused(socket) == "the impersonation has ended"


def _shorten(world: World, ends_at: datetime) -> None:
    with open_scope(world.scope):
        Impersonation.objects.filter(ended_at__isnull=True).update(ends_at=ends_at)


async def _refused(socket: Any) -> str:
    while True:
        answer = await socket.receive()
        if isinstance(answer, dict) and "refused" in answer:
            return str(answer["refused"])
