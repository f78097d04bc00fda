"""The ledger of commands in the database: asked, decided, sent, answered, given up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.utils import DatabaseError
from pytest_django import DjangoAssertNumQueries
from redis import Redis

from devices.commands.machine import MAX_ATTEMPTS
from devices.commands.states import Origin
from devices.dispatcher import OVERLAP, Dispatcher
from devices.domain import commands_decisions as decisions
from devices.domain import commands_dispatch as dispatch
from devices.domain import commands_operations as operations
from devices.domain import commands_queries as queries
from devices.domain import inbox
from devices.domain.commands_policy import SYSTEM, Actor, NotAllowedError, set_two_persons
from devices.domain.commands_targets import DevicesNotFound
from devices.domain.selection import Selection
from devices.ingest import queue
from devices.models import Command, CommandBatch, CommandEvent, Device, DeviceState
from devices.protocol import Command as CommandMessage
from devices.protocol import ResultStatus
from devices.protocol.framing import MessageReader
from devices.tests import factories
from tenants.models import AuditEntry, Tenant, User
from tenants.permissions import PERMISSIONS, Permission, Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OFF: dict[str, Any] = {
    "kind": "set_output",
    "arguments": {"output": False},
    "reason": "The bill is unpaid.",
}


@dataclass(frozen=True)
class World:
    """A tenant with devices, and people of two roles."""

    tenant: Tenant
    devices: list[Device]
    manager: Actor
    technician: Actor
    scope: Scope

    def ids(self) -> list[int]:
        return [device.pk for device in self.devices]


def actor_of(role: Role, of: Tenant) -> Actor:
    return Actor(factories.member(of, role).user_id, PERMISSIONS[role])


def make_world(devices: int = 1) -> World:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        kind = factories.device_type(of)
        at = factories.facility(of)
        made = [factories.device(at, kind).device for _ in range(devices)]
        people = actor_of(Role.MANAGER, of), actor_of(Role.TECHNICIAN, of)
    return World(of, made, *people, Scope((of.pk,)))


@pytest.fixture
def world() -> World:
    return make_world()


def connect(
    device: Device,
    connection: int,
    *,
    capabilities: int | None = None,
    changed_at: datetime | None = None,
) -> None:
    """The device is connected, as the writer would note it; 0: it is not."""
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET connected = %s, connection = %s, changed_at = %s,"
            " capabilities = coalesce(%s, capabilities) WHERE device_id = %s",
            [connection > 0, connection, changed_at or NOW, capabilities, device.pk],
        )


def answer(device: Device, command: Command, status: int, detail: str = "") -> None:
    """The device's RESULT, as the writer would put it into the inbox."""
    body = {"command": command.uid.hex, "status": status, "detail": detail}
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO device_inbox (received_at, tenant_id, device_id, topic, kind,"
            " occurred_at, body) VALUES (now(), %s, %s, 'commands', 'result', now(), %s)",
            [device.tenant_id, device.pk, json.dumps(body)],
        )


def ask(world: World, actor: Actor | None = None, **values: Any) -> operations.Asked:
    wanted: dict[str, Any] = {
        "kind": "identify",
        "arguments": {},
        "device_ids": world.ids(),
        "now": NOW,
    } | values
    with open_scope(world.scope):
        return operations.ask(actor or world.manager, **wanted)


def run(world: World, at: datetime = NOW) -> int:
    """What a dispatcher does at an instant."""
    done = 0
    for work in (dispatch.take_answers, dispatch.give_up):
        with open_scope(world.scope):
            done += work(now=at)
    with open_scope(world.scope):
        return done + dispatch.send_due(now=at, draw=lambda: 0.0)


def one(world: World, command_id: int) -> Command:
    with open_scope(world.scope):
        return Command.objects.get(pk=command_id)


def steps(world: World, command_id: int) -> list[tuple[str, str]]:
    with open_scope(world.scope):
        found = queries.command_detail(command_id=command_id)
    return [(step.step, step.cause) for step in found.history]


@pytest.fixture
def downlink() -> Iterator[Any]:
    """What bridges are told: called, it gives (device, command) of the notices since."""
    with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as pubsub:
        pubsub.subscribe(queue.DOWNLINK_CHANNEL)
        pubsub.get_message(timeout=5)

        def taken() -> list[tuple[int, CommandMessage]]:
            found = []
            while (message := pubsub.get_message(timeout=0.2)) is not None:
                device_id, sealed = queue.decode_downlink(message["data"])
                reader = MessageReader()
                reader.feed(sealed)
                ((_kind, body),) = list(reader)
                found.append((device_id, CommandMessage.decode(body)))
            return found

        yield taken


# --- Asking ---------------------------------------------------------------------------------


def test_a_command_goes_to_its_device_and_its_answer_ends_it(world: World, downlink: Any) -> None:
    (device,) = world.devices
    asked = ask(world, kind="set_power_limit", arguments={"power_limit_w": 4000})
    (command_id,) = asked.command_ids
    assert (asked.batch, run(world)) == (None, 0)  # not connected: it waits
    connect(device, 7)
    assert run(world) == 1
    command = one(world, command_id)
    expires_ms = int(command.expires_at.timestamp() * 1000)
    message = CommandMessage(
        command.uid.bytes, "set_power_limit", {"power_limit_w": 4000}, expires_ms
    )
    assert downlink() == [(device.pk, message)]
    assert (command.state, command.connection, command.attempts) == ("sent", 7, 1)

    answer(device, command, ResultStatus.ACCEPTED, "at it")
    answer(device, command, ResultStatus.DONE, "4000 W")
    assert run(world, NOW + SECOND) == 2
    command = one(world, command_id)
    assert (command.state, command.cause, command.detail) == ("succeeded", "device", "4000 W")
    assert steps(world, command_id) == [
        ("asked", ""),
        ("sent", "first"),
        ("acknowledged", "device"),
        ("succeeded", "device"),
    ]
    assert (run(world, NOW + 2 * SECOND), downlink()) == (0, [])


def test_a_request_is_told_of_in_the_audit_trail(world: World) -> None:
    (command_id,) = ask(world, reason="Where is it?").command_ids
    with open_scope(world.scope):
        entry = AuditEntry.objects.get(action="command.ask")
    assert (entry.actor_id, entry.subject_id) == (world.manager.user_id, command_id)
    assert entry.after == {
        "kind": "identify",
        "arguments": {},
        "reason": "Where is it?",
        "origin": "person",
        "device": str(world.devices[0]),
        "state": "queued",
    }


def test_bad_arguments_are_refused_in_a_sentence(world: World) -> None:
    with pytest.raises(ValidationError) as caught:
        ask(world, kind="set_reporting", arguments={"step_ms": 0})
    assert caught.value.message_dict == {"step_ms": ["Give a number from 1 to 86400000."]}


@pytest.mark.parametrize(
    ("state", "capabilities", "kind", "sentence"),
    [
        (
            DeviceState.SUSPENDED,
            3,
            "reboot",
            "The device is not active: only an active one can be given commands.",
        ),
        (
            DeviceState.ACTIVE,
            1,
            "reboot",
            "The device has said that it takes no commands: a newer firmware may be able to.",
        ),
        (DeviceState.ACTIVE, 2, "live", "The device has said that it cannot report live."),
    ],
)
def test_a_device_that_cannot_is_refused_in_a_sentence(
    world: World, state: str, capabilities: int, kind: str, sentence: str
) -> None:
    (device,) = world.devices
    connect(device, 7, capabilities=capabilities)
    with open_scope(world.scope):
        Device.objects.filter(pk=device.pk).update(state=state)
    arguments = {"seconds": 60} if kind == "live" else {}
    with pytest.raises(ValidationError) as caught:
        ask(world, kind=kind, arguments=arguments)
    assert caught.value.message_dict == {"device": [sentence]}


def test_devices_beyond_the_scope_are_not_found(world: World) -> None:
    other = make_world()
    with pytest.raises(DevicesNotFound):
        ask(world, device_ids=other.ids())


def test_a_batch_is_made_in_few_statements_and_tells_who_cannot(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    world = make_world(5)
    connect(world.devices[0], 7, capabilities=1)
    with open_scope(world.scope), django_assert_num_queries(7):
        asked = operations.ask(
            world.manager, kind="reboot", arguments={}, device_ids=world.ids(), now=NOW
        )
    assert asked.batch is not None
    with open_scope(world.scope):
        entry = queries.batch_entry(batch_id=asked.batch.pk)
    assert (entry.devices, entry.counts["queued"], len(asked.command_ids)) == (4, 4, 4)
    (refused,) = entry.refused
    assert (refused.code, refused.device_ids) == ("no_commands", (world.devices[0].pk,))


def test_a_selection_reaches_the_devices_of_each_tenant_in_a_batch_of_its_own() -> None:
    two = make_world(2), make_world(1)
    with open_scope(Scope(tuple(world.tenant.pk for world in two))):
        asked = operations.ask(
            SYSTEM, kind="reboot", arguments={}, selection=Selection(everything=True), now=NOW
        )
        found = [(batch.tenant_id, batch.devices) for batch in asked.batches]
    assert found == [(two[0].tenant.pk, 2), (two[1].tenant.pk, 1)]


def test_a_request_of_the_same_name_for_another_device_is_another_request() -> None:
    world = make_world(3)
    first, second, third = world.ids()
    ask(world, device_ids=[first], request_key="one")
    batch = ask(world, device_ids=[first, second], request_key="two")
    for key, device_ids in (("one", [second]), ("one", [first, second]), ("two", [third])):
        with pytest.raises(ValidationError) as caught:
            ask(world, device_ids=device_ids, request_key=key)
        assert set(caught.value.message_dict) == {"request_key"}
    assert ask(world, device_ids=[first, second], request_key="two") == batch


@pytest.mark.parametrize("devices", [1, 2])
def test_a_request_that_comes_twice_at_once_is_done_once(devices: int) -> None:
    world = make_world(devices)
    begun = threading.Barrier(2, timeout=60)

    def request(number: int) -> operations.Asked:
        try:
            with open_scope(world.scope):
                assert not Command.objects.exists()
                begun.wait()  # neither sees what the other one is about to make
                return operations.ask(
                    world.manager,
                    kind="identify",
                    arguments={},
                    device_ids=world.ids(),
                    request_key="once",
                    now=NOW,
                )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as two:
        first, second = two.map(request, (1, 2))
    assert first == second
    with open_scope(world.scope):
        assert Command.objects.count() == devices


# --- Order and supersession -----------------------------------------------------------------


def test_commands_of_a_device_go_out_one_after_the_other(world: World, downlink: Any) -> None:
    (device,) = world.devices
    connect(device, 7)
    first, second, third = (
        ask(world, kind="send_logs", arguments={"lines": lines}).command_ids[0]
        for lines in (1, 2, 3)
    )
    assert [run(world), run(world)] == [1, 0]
    answer(device, one(world, first), ResultStatus.ACCEPTED)
    assert run(world, NOW + SECOND) == 2  # who has taken one can be given the next
    answer(device, one(world, second), ResultStatus.FAILED, "no logs")
    assert run(world, NOW + 2 * SECOND) == 2
    assert [message.arguments["lines"] for _, message in downlink()] == [1, 2, 3]
    states = [one(world, pk).state for pk in (first, second, third)]
    assert states == ["acknowledged", "failed", "sent"]


def test_the_database_refuses_a_second_unanswered_command(world: World) -> None:
    with open_scope(world.scope):
        factories.command(world.devices[0], state="sent")
        with pytest.raises(DatabaseError), transaction.atomic():
            factories.command(world.devices[0], state="sent")


def test_a_newer_command_takes_the_place_of_those_that_set_nothing_else(world: World) -> None:
    both = ask(world, kind="set_reporting", arguments={"step_ms": 1, "samples": 2}).command_ids[0]
    step = ask(world, kind="set_reporting", arguments={"step_ms": 3}).command_ids[0]
    logs = ask(world, kind="send_logs", arguments={}).command_ids[0]
    assert one(world, both).state == "queued"  # it sets more
    newest = ask(world, kind="set_reporting", arguments={"step_ms": 4, "samples": 5})
    states = [one(world, pk).state for pk in (both, step, logs, *newest.command_ids)]
    assert states == ["cancelled", "cancelled", "queued", "queued"]
    assert steps(world, step) == [("asked", ""), ("cancelled", "superseded")]


def test_what_was_sent_is_not_superseded(world: World) -> None:
    connect(world.devices[0], 7)
    sent = ask(world, kind="reboot").command_ids[0]
    run(world)
    ask(world, kind="reboot")
    assert one(world, sent).state == "sent"


# --- Sending again, and giving up -----------------------------------------------------------


def test_it_is_sent_again_after_a_wait_and_at_once_over_a_new_connection(
    world: World, downlink: Any
) -> None:
    (device,) = world.devices
    connect(device, 7)
    (command_id,) = ask(world).command_ids
    assert [run(world), run(world, NOW + 9 * SECOND), run(world, NOW + 10 * SECOND)] == [1, 0, 1]
    connect(device, 0)
    assert run(world, NOW + 60 * SECOND) == 0
    connect(device, 8)
    assert run(world, NOW + 61 * SECOND) == 1
    assert len({message.command_id for _, message in downlink()}) == 1
    assert steps(world, command_id)[1:] == [
        ("sent", "first"),
        ("sent", "no_answer"),
        ("sent", "reconnected"),
    ]
    assert one(world, command_id).attempts == 3


def test_what_nobody_answered_ends_and_the_device_still_has_the_last_word(world: World) -> None:
    (device,) = world.devices
    connect(device, 7)
    (command_id,) = ask(world, expires_in_s=60).command_ids
    run(world)
    connect(device, 0)
    assert run(world, NOW + 89 * SECOND) == 0
    assert run(world, NOW + 90 * SECOND) == 1
    assert (one(world, command_id).state, one(world, command_id).cause) == ("expired", "no_answer")
    answer(device, one(world, command_id), ResultStatus.DONE)
    run(world, NOW + timedelta(days=1))
    assert one(world, command_id).state == "succeeded"
    assert steps(world, command_id)[2:] == [("expired", "no_answer"), ("succeeded", "device")]


def test_what_was_never_sent_expires_and_of_a_revoked_device_at_once(world: World) -> None:
    (device,) = world.devices
    never = ask(world, kind="reboot", expires_in_s=60).command_ids[0]
    other = ask(world, kind="send_logs").command_ids[0]
    assert run(world, NOW + 60 * SECOND) == 1
    with open_scope(world.scope):
        Device.objects.filter(pk=device.pk).update(state=DeviceState.REVOKED)
    assert run(world, NOW + 61 * SECOND) == 1
    ends = [(one(world, pk).state, one(world, pk).cause) for pk in (never, other)]
    assert ends == [("expired", "never_connected"), ("failed", "device_gone")]


def test_answers_that_nobody_asked_for_do_no_harm(world: World, downlink: Any) -> None:
    (device,) = world.devices
    other = make_world()
    connect(device, 7)
    (command_id,) = ask(world).command_ids
    run(world)
    command = one(world, command_id)
    answer(other.devices[0], command, ResultStatus.DONE)  # another tenant's device says so
    answer(device, Command(), ResultStatus.DONE)  # of no command that there is
    with open_scope(Scope((world.tenant.pk, other.tenant.pk))):
        assert dispatch.take_answers(now=NOW) == 2
    assert one(world, command_id).state == "sent"
    for _ in range(2):
        answer(device, command, ResultStatus.DONE)
    answer(device, command, ResultStatus.FAILED)
    run(world, NOW + SECOND)
    assert one(world, command_id).state == "succeeded"
    assert steps(world, command_id)[2:] == [
        ("succeeded", "device"),
        ("repeated", "device"),
        ("contradicted", "device"),
    ]


@pytest.mark.parametrize("status", [ResultStatus.ACCEPTED, ResultStatus.DONE])
def test_a_command_that_was_never_sent_is_not_the_devices_to_answer(
    world: World, status: int
) -> None:
    (device,) = world.devices
    waiting = ask(world, world.technician, **OFF).command_ids[0]
    queued = ask(world).command_ids[0]
    for command_id in (waiting, queued):
        answer(device, one(world, command_id), status)
    assert run(world) == 2  # both are taken: they hold up nobody else's answers
    states = [one(world, pk).state for pk in (waiting, queued)]
    assert states == ["awaiting_approval", "queued"]
    assert [steps(world, pk) for pk in (waiting, queued)] == [[("asked", "")]] * 2


def test_what_a_device_says_again_and_again_does_not_fill_the_history(world: World) -> None:
    (device,) = world.devices
    connect(device, 7)
    (command_id,) = ask(world).command_ids
    run(world)
    for status in (ResultStatus.DONE, *[ResultStatus.FAILED, ResultStatus.DONE] * 40):
        answer(device, one(world, command_id), status)
    assert run(world, NOW + SECOND) == 81
    for _ in range(3):
        answer(device, one(world, command_id), ResultStatus.DONE)
    run(world, NOW + 2 * SECOND)
    again = [step for step, _cause in steps(world, command_id)[3:]]
    assert len(again) == dispatch.MOST_AGAIN
    assert one(world, command_id).state == "succeeded"


def test_who_was_asked_often_enough_holds_up_nobody_else(
    world: World, downlink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (device,) = world.devices
    other = make_world()
    both = Scope((world.tenant.pk, other.tenant.pk))
    monkeypatch.setattr(dispatch, "MOST_SENT", 1)
    ask(world)
    for connection in range(1, MAX_ATTEMPTS + 2):  # the last time it is only waited for
        connect(device, connection)
        run(world)
    connect(other.devices[0], 1)
    ask(other, now=NOW + SECOND)
    downlink()
    with open_scope(both):
        assert dispatch.send_due(now=NOW + SECOND, draw=lambda: 0.0) == 1
    assert [device_id for device_id, _ in downlink()] == other.ids()


def test_answers_take_effect_with_their_transaction_or_not_at_all(world: World) -> None:
    (device,) = world.devices
    connect(device, 7)
    (command_id,) = ask(world).command_ids
    run(world)
    answer(device, one(world, command_id), ResultStatus.DONE)
    with open_scope(world.scope):
        assert dispatch.take_answers(now=NOW) == 1
        transaction.set_rollback(True)
    assert one(world, command_id).state == "sent"
    assert run(world, NOW) == 1
    assert one(world, command_id).state == "succeeded"


def test_of_two_dispatchers_one_works_at_a_time(world: World, downlink: Any) -> None:
    connect(world.devices[0], 7)
    ask(world)
    with open_scope(world.scope):
        assert dispatch.send_due(now=NOW) == 1
        with connections["owner"].cursor() as other:
            other.execute("BEGIN")
            other.execute("SELECT pg_try_advisory_xact_lock(49374)")
            assert other.fetchone() == (False,)
            other.execute("ROLLBACK")
    assert len(downlink()) == 1


# --- Approval -------------------------------------------------------------------------------


def test_switching_off_needs_a_reason(world: World) -> None:
    with pytest.raises(ValidationError) as caught:
        ask(world, **{**OFF, "reason": " "})
    assert set(caught.value.message_dict) == {"reason"}


@pytest.mark.parametrize("missing", [Permission.DEVICES_CONTROL, Permission.DEVICES_DISABLE])
def test_who_may_not_cannot_ask_for_it(world: World, missing: Permission) -> None:
    actor = Actor(world.manager.user_id, world.manager.permissions - {missing})
    with pytest.raises(NotAllowedError):
        ask(world, actor, **OFF)


def test_a_technician_needs_a_second_person_who_is_somebody_else(
    world: World, downlink: Any
) -> None:
    connect(world.devices[0], 7)
    (command_id,) = ask(world, world.technician, **OFF).command_ids
    assert (one(world, command_id).state, run(world)) == ("awaiting_approval", 0)
    may = Actor(world.technician.user_id, frozenset(Permission))
    for actor, error in ((world.technician, NotAllowedError), (may, ValidationError)):
        with pytest.raises(error), open_scope(world.scope):
            decisions.approve(actor, command_id=command_id, now=NOW)
    with open_scope(world.scope):
        decisions.approve(world.manager, command_id=command_id, now=NOW + SECOND)
    command = one(world, command_id)
    assert (command.state, command.approved_by_id) == ("queued", world.manager.user_id)
    assert run(world, NOW + SECOND) == 1
    assert steps(world, command_id) == [
        ("asked", ""),
        ("approved", "second_person"),
        ("sent", "first"),
    ]
    with open_scope(world.scope):
        actions = AuditEntry.objects.filter(action__startswith="command.").order_by("at")
        assert [entry.action for entry in actions] == ["command.ask", "command.approve"]


def test_a_tenant_can_ask_a_second_person_of_everybody(world: World) -> None:
    assert one(world, ask(world, **OFF).command_ids[0]).state == "queued"
    with open_scope(world.scope):
        admin = Actor(None, PERMISSIONS[Role.ADMIN])
        assert set_two_persons(actor=admin, tenant_id=world.tenant.pk, wanted=True)
        with pytest.raises(NotAllowedError):
            set_two_persons(actor=world.technician, tenant_id=world.tenant.pk, wanted=False)
    assert one(world, ask(world, **OFF).command_ids[0]).state == "awaiting_approval"
    on = ask(world, kind="set_output", arguments={"output": True})
    assert one(world, on.command_ids[0]).state == "queued"
    again = ask(world, SYSTEM, **OFF, origin=Origin.RECONCILIATION)
    assert one(world, again.command_ids[0]).state == "queued"


def test_what_nobody_approves_ends_and_a_refusal_is_told(world: World) -> None:
    late = ask(world, world.technician, **OFF).command_ids[0]
    assert run(world, NOW + timedelta(days=1)) == 1
    assert (one(world, late).state, one(world, late).cause) == ("expired", "not_approved")
    other = ask(world, world.technician, **OFF).command_ids[0]
    with open_scope(world.scope):
        decisions.refuse(world.manager, command_id=other, reason="They have paid.", now=NOW)
    assert (one(world, other).state, one(world, other).detail) == ("cancelled", "They have paid.")
    assert steps(world, other)[-1] == ("refused", "not_approved")


def test_an_approved_command_takes_the_place_of_earlier_ones(world: World) -> None:
    on = ask(world, kind="set_output", arguments={"output": True}).command_ids[0]
    off = ask(world, world.technician, **OFF).command_ids[0]
    assert one(world, on).state == "queued"  # it may yet be refused
    with open_scope(world.scope):
        decisions.approve(world.manager, command_id=off, now=NOW)
    assert [one(world, pk).state for pk in (on, off)] == ["cancelled", "queued"]


# --- Batches --------------------------------------------------------------------------------


def test_a_batch_is_cancelled_as_far_as_it_was_not_sent_and_its_failures_tried_again() -> None:
    world = make_world(4)
    first, second, third, _ = world.devices
    for number, device in enumerate(world.devices[:3]):
        connect(device, 7 + number)
    batch = ask(world, kind="reboot").batch
    assert batch is not None
    assert run(world) == 3
    with open_scope(world.scope):
        commands = {c.device_id: c for c in Command.objects.filter(batch=batch)}
    answer(first, commands[first.pk], ResultStatus.DONE)
    answer(second, commands[second.pk], ResultStatus.FAILED, "busy")
    run(world, NOW + SECOND)
    with open_scope(world.scope):
        decided = decisions.cancel(world.manager, batch_id=batch.pk, now=NOW + SECOND)
        entry = queries.batch_entry(batch_id=batch.pk)
    assert (len(decided.command_ids), decided.left) == (1, {"sent": 1})
    found = {state: count for state, count in entry.counts.items() if count}
    assert found == {"succeeded": 1, "failed": 1, "sent": 1, "cancelled": 1}

    with open_scope(world.scope):
        again = operations.retry_failed(world.manager, batch_id=batch.pk, now=NOW + SECOND)
        assert again.batch is not None
        assert (again.batch.retry_of_id, again.batch.devices) == (batch.pk, 1)
        assert [c.device_id for c in Command.objects.filter(batch=again.batch)] == [second.pk]
    with pytest.raises(ValidationError) as caught, open_scope(world.scope):
        operations.retry_failed(world.manager, batch_id=batch.pk, now=NOW + SECOND)
    assert caught.value.message_dict == {
        "batch": ["All that failed are being tried again, or have succeeded since."]
    }
    with open_scope(world.scope):
        decisions.cancel(world.manager, batch_id=again.batch.pk, now=NOW + SECOND)
        third_time = operations.retry_failed(world.manager, batch_id=batch.pk, now=NOW + SECOND)
        assert len(third_time.command_ids) == 1
    connect(third, 0)


def test_a_batch_is_approved_as_a_whole() -> None:
    world = make_world(3)
    batch = ask(world, world.technician, **OFF).batch
    assert batch is not None
    with open_scope(world.scope):
        decided = decisions.approve(world.manager, batch_id=batch.pk, now=NOW)
        assert len(decided.command_ids) == 3
        assert queries.batch_entry(batch_id=batch.pk).counts["queued"] == 3
        with pytest.raises(ValidationError):
            decisions.approve(world.manager, batch_id=batch.pk, now=NOW)


def test_a_sent_command_that_is_cancelled_is_not_sent_again(world: World) -> None:
    (device,) = world.devices
    connect(device, 7)
    (command_id,) = ask(world).command_ids
    run(world)
    with open_scope(world.scope):
        decisions.cancel(world.manager, command_id=command_id, now=NOW)
    connect(device, 8)
    assert run(world, NOW + SECOND) == 0
    answer(device, one(world, command_id), ResultStatus.DONE)
    run(world, NOW + 2 * SECOND)
    assert one(world, command_id).state == "succeeded"
    with pytest.raises(ValidationError) as caught, open_scope(world.scope):
        decisions.cancel(world.manager, command_id=command_id, now=NOW)
    assert caught.value.messages == ["The command has succeeded already."]


# --- Reading, and the wall ------------------------------------------------------------------


@pytest.mark.parametrize("many", [1, 3])
def test_lists_take_a_fixed_number_of_queries(
    many: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    world = make_world(many)
    for _ in range(many):
        batch = ask(world, device_ids=[*world.ids()], selection=Selection(everything=True)).batch
    assert batch is not None
    with open_scope(world.scope):
        with django_assert_num_queries(1):
            page = queries.command_page(limit=50, batch_id=batch.pk)
        with django_assert_num_queries(3):  # two of them set the planner's ways
            queries.command_page(limit=50, device_id=world.devices[0].pk)
        with django_assert_num_queries(2):
            batches = queries.batch_page(limit=50)
        with django_assert_num_queries(2):
            queries.command_detail(command_id=page.items[0].command_id)
    assert (len(page.items), len(batches.items)) == (many, many)


def test_pages_go_on_where_the_one_before_ended(world: World) -> None:
    made = [ask(world, kind="send_logs").command_ids[0] for _ in range(3)]
    with open_scope(world.scope):
        first = queries.command_page(limit=2)
        rest = queries.command_page(limit=2, after=first.next_after or 0)
    found = [entry.command_id for page in (first, rest) for entry in page.items]
    assert (found, rest.next_after) == (made[::-1], None)


def test_a_page_in_a_state_goes_on_where_the_one_before_ended() -> None:
    two = make_world(), make_world()
    made = [ask(world, kind="send_logs").command_ids[0] for _ in range(3) for world in two]
    with open_scope(two[0].scope):
        own = {entry.command_id for entry in queries.command_page(limit=9).items}
        decisions.cancel(two[0].manager, command_id=made[2], now=NOW)
    assert own == set(made[::2])
    with open_scope(Scope(tuple(world.tenant.pk for world in two))):
        first = queries.command_page(limit=3, states=["queued"])
        rest = queries.command_page(limit=3, states=["queued"], after=first.next_after or 0)
        gone = queries.command_page(limit=3, states=["cancelled", "failed"])
    found = [entry.command_id for page in (first, rest) for entry in page.items]
    assert (found, rest.next_after) == ([pk for pk in made[::-1] if pk != made[2]], None)
    assert [entry.command_id for entry in gone.items] == [made[2]]


def test_who_is_narrowed_to_other_facilities_sees_and_changes_nothing(world: World) -> None:
    batch = ask(world, selection=Selection(everything=True)).batch
    assert batch is not None
    with open_scope(world.scope):
        elsewhere = factories.facility(world.tenant)
        command_id = Command.objects.get(batch=batch).pk
    narrowed = Scope((world.tenant.pk,), (elsewhere.pk,))
    for scope in (narrowed, make_world().scope):
        with open_scope(scope):
            assert queries.command_page(limit=9).items == ()
            assert queries.batch_page(limit=9).items == ()
            assert CommandEvent.objects.count() == 0
            assert Command.objects.update(state="cancelled") == 0
            with pytest.raises(decisions.CommandNotFound):
                decisions.cancel(world.manager, command_id=command_id)
            with pytest.raises(operations.BatchNotFound):
                decisions.cancel(world.manager, batch_id=batch.pk)
            with pytest.raises(DevicesNotFound):
                operations.ask(world.manager, kind="reboot", arguments={}, device_ids=world.ids())
    assert one(world, command_id).state == "queued"


def test_who_is_narrowed_commands_the_devices_of_its_facilities(world: World) -> None:
    facility_id = world.devices[0].facility_id
    with open_scope(Scope((world.tenant.pk,), (facility_id,))):
        asked = operations.ask(
            world.technician,
            kind="reboot",
            arguments={},
            selection=Selection(everything=True),
            now=NOW,
        )
        assert asked.batch is not None
        assert [found.batch_id for found in queries.batch_page(limit=9).items] == [asked.batch.pk]


@pytest.mark.parametrize("table", ["devices_commandevent", "devices_commandbatch"])
def test_history_is_only_added_to(world: World, table: str) -> None:
    ask(world, selection=Selection(everything=True))
    for verb in (f"UPDATE {table} SET tenant_id = tenant_id", f"DELETE FROM {table}"):
        with (
            pytest.raises(DatabaseError),
            open_scope(world.scope),
            connections["default"].cursor() as cursor,
        ):
            cursor.execute(verb)
    with (
        pytest.raises(DatabaseError),
        transaction.atomic(using="owner"),
        connections["owner"].cursor() as cursor,
    ):
        cursor.execute("DELETE FROM devices_commandevent")


def test_a_dispatcher_works_for_all_tenants(downlink: Any) -> None:
    worlds = make_world(), make_world()
    for world in worlds:
        connect(world.devices[0], 7)
        ask(world, now=datetime.now(UTC))
    dispatcher = Dispatcher(settings.REDIS_URL, "test")
    assert [dispatcher.work(), dispatcher.work()] == [True, False]
    told = {device_id for device_id, _ in downlink()}
    assert told == {world.devices[0].pk for world in worlds}
    assert dispatcher.counters["sent"] == 2


def test_a_look_at_what_has_moved_finds_all_that_is_due_since(world: World, downlink: Any) -> None:
    (device,) = world.devices

    def look(at: datetime, since: datetime) -> int:
        with open_scope(world.scope):
            return dispatch.send_due(now=at, since=since, draw=lambda: 0.0)

    first, second = (
        ask(world, kind="send_logs", arguments={"lines": lines}).command_ids[0] for lines in (1, 2)
    )
    assert look(NOW, NOW) == 0  # away
    at = NOW + timedelta(minutes=10)
    connect(device, 7, changed_at=at)
    assert look(at, at + SECOND) == 0
    assert look(at, at) == 1  # it has connected
    assert look(at + 10 * SECOND, at + 10 * SECOND) == 0
    assert look(at + 10 * SECOND, at + 9 * SECOND) == 1  # it has not answered
    answer(device, one(world, first), ResultStatus.DONE)
    at += timedelta(minutes=1)
    with open_scope(world.scope):
        assert dispatch.take_answers(now=at) == 1
    assert look(at, at) == 1  # the next one's turn
    assert [message.arguments["lines"] for _, message in downlink()] == [1, 1, 2]
    assert one(world, second).state == "sent"


def test_a_dispatcher_finds_in_time_whatever_it_has_missed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Dispatcher(settings.REDIS_URL, "quick")
    assert quick.work() is False
    ask(world, now=datetime.now(UTC) - 2 * OVERLAP)
    connect(world.devices[0], 7)  # both are saved long after they happened
    assert quick.work() is False
    monkeypatch.setattr("devices.dispatcher.EVERYTHING_S", 0.0)
    thorough = Dispatcher(settings.REDIS_URL, "thorough")
    assert [thorough.work(), thorough.work()] == [True, False]
    assert thorough.counters["sent"] == 1


def test_a_dispatcher_that_was_disturbed_looks_at_everything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Dispatcher(settings.REDIS_URL, "test")
    assert dispatcher.work() is False
    ask(world, now=datetime.now(UTC) - 2 * OVERLAP)
    connect(world.devices[0], 7)
    with monkeypatch.context() as disturbed:
        disturbed.setattr(dispatch, "MOST_ANSWERS", "no number")  # the database refuses that
        with pytest.raises(DatabaseError):
            dispatcher.work()
    assert dispatcher.work() is True
    assert dispatcher.counters["sent"] == 1


def test_batches_and_people_stay_with_their_commands(world: World) -> None:
    asked = ask(world, world.technician, selection=Selection(everything=True), reason="Why not")
    with open_scope(world.scope):
        (entry,) = queries.entries_of(asked.command_ids)
        name = User.objects.get(pk=world.technician.user_id or 0).get_full_name()
        assert CommandBatch.objects.count() == 1
    assert (entry.asked_by, entry.reason, entry.batch_id) == (
        name,
        "Why not",
        asked.batch.pk if asked.batch else 0,
    )


def test_an_operator_says_how_a_tenant_approves(world: World) -> None:
    told = StringIO()
    for arguments in ([], ["--two-persons", "always"], ["--two-persons", "by-role"]):
        call_command("command_policy", world.tenant.slug, *arguments, stdout=told)
    answers = [line.split(": ")[1] for line in told.getvalue().splitlines()]
    assert answers == ["by-role", "always", "by-role"]
    with open_scope(world.scope):
        assert AuditEntry.objects.filter(action="command_policy.change").count() == 2
    with pytest.raises(CommandError, match="there is no tenant nowhere"):
        call_command("command_policy", "nowhere")


def test_of_two_who_take_from_the_inbox_the_second_waits_for_its_turn(world: World) -> None:
    (device,) = world.devices
    answer(device, Command(), ResultStatus.DONE)
    with open_scope(world.scope):
        assert len(inbox.take("commands", 9)) == 1
        with ThreadPoolExecutor(1) as other:
            assert other.submit(_take, world.scope).result() == 0
        transaction.set_rollback(True)
    assert _take(world.scope) == 1
    assert _take(world.scope) == 0


def _take(scope: Scope) -> int:
    try:
        with open_scope(scope):
            return len(inbox.take("commands", 9))
    finally:
        if threading.current_thread() is not threading.main_thread():
            connections.close_all()
