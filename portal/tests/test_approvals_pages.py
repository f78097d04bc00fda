"""The list of all approvals, its number in the navigation, and the rules of two persons."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from devices.domain import operations
from devices.domain.commands_policy import SYSTEM, two_persons
from devices.models import Command, Device, DeviceType, Facility
from devices.telemetry import status
from devices.tests import factories
from firmware.domain import policy_operations, policy_queries
from firmware.domain.policy_doors import Demands
from firmware.domain.policy_operations import Change
from firmware.models import Release, ReleaseState, Rollout, RolloutState
from firmware.tests import factories as firmware
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

COUNT = re.compile(r'class="wl-nav-count"><span class="wl-number" aria-hidden="true">(\d+)<')


@dataclass(frozen=True)
class World:
    """A tenant with two administrators, a manager and a technician who asks for things."""

    of: Tenant
    first: User
    second: User
    manager: User
    technician: User
    kind: DeviceType
    at: Facility

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    def device(self, at: Facility | None = None) -> Device:
        with open_scope(self.scope):
            return factories.device(at or self.at, self.kind).device

    def command(self, by: User | None = None, *, batch: bool = False, reason: str = "") -> Command:
        """One that waits."""
        device = self.device()
        with open_scope(self.scope):
            return factories.command(
                device,
                batch=batch,
                kind="set_output",
                arguments={"output": 0},
                state="awaiting_approval",
                queued_at=None,
                reason=reason,
                asked_by=by or self.technician,
                expires_at="2100-01-01T00:00:00Z",
            )

    def want(self, **values: bool) -> None:
        with open_scope(self.scope):
            wanted = Change(**values)
            policy_operations.change(actor=SYSTEM, tenant_id=self.of.pk, wanted=wanted)


@pytest.fixture
def world() -> World:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        roles = (Role.ADMIN, Role.ADMIN, Role.MANAGER, Role.TECHNICIAN)
        first, second, manager, technician = (factories.member(of, role).user for role in roles)
        return World(
            of,
            first,
            second,
            manager,
            technician,
            factories.device_type(of),
            factories.facility(of),
        )


def _client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _badge(client: Client) -> int:
    """The number beside the entry; 0 for none."""
    found = COUNT.search(client.get(reverse("account-profile")).content.decode())
    return int(found[1]) if found else 0


def test_what_waits_is_counted_listed_and_decided(world: World) -> None:
    command = world.command(reason="Not <paid>")
    batch = world.command(batch=True)
    manager = _client(world.manager)
    assert _badge(manager) == 2
    page = manager.get(reverse("approvals")).content.decode()
    assert page.count("Switch the output off") >= 2
    assert "Not &lt;paid&gt;" in page
    assert world.technician.get_full_name() in page
    assert reverse("command", args=[command.pk]) in page
    assert "To 1 device" in page

    assert batch.batch_id is not None
    refused = {"approvals": "1", "reason": "They have paid."}
    answer = manager.post(reverse("batch-refuse", args=[batch.batch_id]), refused)
    assert (answer.status_code, answer["Location"]) == (302, reverse("approvals"))
    answer = manager.post(reverse("command-approve", args=[command.pk]), {"approvals": "1"})
    assert answer["Location"] == reverse("approvals")
    with open_scope(world.scope):
        states = dict(Command.objects.values_list("pk", "state"))
    assert states == {command.pk: "queued", batch.pk: "cancelled"}
    assert _badge(manager) == 0
    assert "Nothing waits for you" in manager.get(reverse("approvals")).content.decode()


def test_nobody_is_told_of_what_is_not_theirs_to_approve(world: World) -> None:
    own = world.command(world.manager)
    theirs = factories.tenant()
    with open_scope(Scope((theirs.pk,))):
        stranger = factories.member(theirs, Role.ADMIN).user
    manager, admin = _client(world.manager), _client(world.first)
    assert (_badge(manager), _badge(admin), _badge(_client(stranger))) == (0, 1, 0)
    link = reverse("command", args=[own.pk])
    assert link not in manager.get(reverse("approvals")).content.decode()
    assert link in admin.get(reverse("approvals")).content.decode()
    technician = _client(world.technician)
    assert technician.get(reverse("approvals")).status_code == 403
    assert reverse("approvals") not in technician.get(reverse("overview")).content.decode()


def test_who_is_narrowed_to_facilities_sees_what_waits_there(world: World) -> None:
    inside, outside = world.command(), world.command()
    with open_scope(world.scope):
        elsewhere = factories.facility(world.of)
        moved = factories.device(elsewhere, world.kind).device
        there = factories.command(
            moved,
            state="awaiting_approval",
            queued_at=None,
            asked_by=world.technician,
            expires_at="2100-01-01T00:00:00Z",
        )
        membership = factories.member(world.of, Role.MANAGER)
        operations.grant_facility(
            membership_id=membership.pk, facility_id=elsewhere.pk, actor_id=None
        )
    client = _client(membership.user)
    assert _badge(client) == 1
    page = client.get(reverse("approvals")).content.decode()
    assert reverse("command", args=[there.pk]) in page
    for hidden in (inside, outside):
        assert reverse("command", args=[hidden.pk]) not in page


def test_releases_and_rollouts_wait_in_the_same_list(world: World) -> None:
    world.want(second_person=True)
    with open_scope(world.scope):
        draft = firmware.release(world.of, world.kind, state=ReleaseState.DRAFT, by=world.first)
        released = firmware.release(world.of, world.kind, "1.1.0")
        rollout = Rollout.objects.create(
            tenant=world.of, name="Spring", release=released, created_by=world.first
        )
        wave = firmware.rollout(world.of, released)
        Rollout.objects.filter(pk=wave.pk).update(
            state=RolloutState.AWAITING_APPROVAL, created_by=world.first
        )
    assert _badge(_client(world.first)) == 0
    # Managers approve roll-outs, not releases.
    assert _badge(_client(world.manager)) == 2
    second = _client(world.second)
    assert _badge(second) == 3
    page = second.get(reverse("approvals")).content.decode()
    for route, args in (
        ("release-approve", [draft.pk]),
        ("release-delete", [draft.pk]),
        ("rollout-approval", [rollout.pk, "approve"]),
        ("rollout-step", [rollout.pk, "remove"]),
        ("rollout-approval", [wave.pk, "approve"]),
        ("rollout-step", [wave.pk, "abort"]),
    ):
        assert reverse(route, args=args) in page
    answer = second.post(reverse("release-delete", args=[draft.pk]), {"approvals": "1"})
    assert answer["Location"] == reverse("approvals")
    with open_scope(world.scope):
        assert not Release.objects.filter(pk=draft.pk).exists()
    second.post(reverse("rollout-approval", args=[rollout.pk, "approve"]))
    assert _badge(second) == 1


@pytest.mark.parametrize("waiting", [1, 3])
def test_the_page_takes_as_many_queries_however_much_waits(
    world: World, waiting: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(waiting):
        world.command()
        world.command(batch=True)
    client = _client(world.first)
    client.get(reverse("approvals"))
    with django_assert_num_queries(16):
        page = client.get(reverse("approvals")).content.decode()
    assert page.count("wl-approvals-deeds") == 2 * waiting


def test_rules_are_explained_set_and_bind(world: World) -> None:
    admin = _client(world.first)
    page = admin.get(reverse("control-rules")).content.decode()
    assert "By role" in page
    assert "they may be stricter, never looser" in page
    sent = {"two_persons": "on", "second_person": "on", "max_downloads": "50", "bytes_per_s": ""}
    answer = admin.post(reverse("control-rules"), sent, follow=True)
    assert "The rules have been changed." in answer.content.decode()
    with open_scope(world.scope):
        assert two_persons(tenant_id=world.of.pk)
        assert policy_queries.demands(tenant_id=world.of.pk) == Demands(True, 50, None)


@pytest.mark.parametrize("sent", ["0", "-3", "many", "9" * 30, "1.5"])
def test_a_limit_that_is_none_is_refused(world: World, sent: str) -> None:
    answer = _client(world.first).post(reverse("control-rules"), {"max_downloads": sent})
    assert answer.status_code == 422
    assert "max_downloads_error" in answer.content.decode()
    with open_scope(world.scope):
        assert policy_queries.demands(tenant_id=world.of.pk) == Demands()


def test_a_rule_is_given_up_by_two_administrators(world: World) -> None:
    world.want(two_persons=True, second_person=True)
    first, second = _client(world.first), _client(world.second)
    url = reverse("control-rules")
    told = first.post(url, {"second_person": "on"}, follow=True).content.decode()
    assert "until another administrator agrees" in told
    assert "Take it back" in told
    assert reverse("control-rule-off", args=["commands"]) not in told
    first.post(reverse("control-rule-off", args=["commands"]))
    with open_scope(world.scope):
        assert two_persons(tenant_id=world.of.pk)
    assert (_badge(first), _badge(second), _badge(_client(world.manager))) == (0, 1, 0)
    page = second.get(reverse("approvals")).content.decode()
    assert "Give up two persons for switching off" in page
    # A form that does not touch it decides nothing.
    second.post(url, {"second_person": "on", "max_downloads": "7"})
    with open_scope(world.scope):
        assert two_persons(tenant_id=world.of.pk)
        assert policy_queries.demands(tenant_id=world.of.pk).max_downloads == 7
    off = reverse("control-rule-off", args=["commands"])
    assert second.post(off, {"approvals": "1"})["Location"] == reverse("approvals")
    with open_scope(world.scope):
        assert not two_persons(tenant_id=world.of.pk)
        assert policy_queries.second_person(tenant_id=world.of.pk)
    again = second.post(off, follow=True).content.decode()
    assert "nothing was changed" in again
    assert second.post(reverse("control-rule-off", args=["gravity"])).status_code == 404


def test_what_the_organisation_above_demands_is_shown_and_counts() -> None:
    above = factories.tenant(kind=TenantKind.RESELLER)
    below = factories.tenant(parent=above)
    with open_scope(Scope((above.pk,))):
        wanted = Change(two_persons=True, max_downloads=1234)
        policy_operations.change(actor=SYSTEM, tenant_id=above.pk, wanted=wanted)
    with open_scope(Scope((below.pk,))):
        admin = factories.member(below, Role.ADMIN).user
    client = _client(admin)
    page = client.get(reverse("control-rules")).content.decode()
    assert "The organisation above demands it, whatever is chosen here." in page
    assert "The organisation above allows at most 1,234." in page
    assert "Two persons · as above" in page
    assert "1,234 · as above" in page
    wider = client.post(reverse("control-rules"), {"max_downloads": "1235"})
    assert wider.status_code == 422
    assert "allows at most 1234" in wider.content.decode()
    client.post(reverse("control-rules"), {})
    with open_scope(Scope((below.pk,))):
        assert two_persons(tenant_id=below.pk)


def test_the_list_of_devices_is_narrowed_by_what_they_run(world: World) -> None:
    serials = {}
    for version in ("1.3.9", "1.4.0", "2.0.0-rc.1", "Build 77"):
        device = world.device()
        serials[version] = device.serial
        with open_scope(world.scope):
            status.set_firmware_version(connection, device.pk, version)
    client = _client(world.manager)

    def shown(wanted: str) -> set[str]:
        page = client.get(reverse("device-list"), {"firmware": wanted}).content.decode()
        return {version for version, serial in serials.items() if serial in page}

    assert shown("1.4.0") == {"1.4.0"}
    assert shown(">=1.3,<2") == {"1.3.9", "1.4.0"}
    assert shown("build") == {"Build 77"}
    assert shown("nothing of the kind") == set()
    assert shown("") == set(serials)
