"""Settings in the database: wanted by commands, reported by devices, and brought together."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.db.utils import DatabaseError
from django.test.utils import CaptureQueriesContext

from devices.commands.machine import FINISH
from devices.commands.states import Origin
from devices.configuration.reconciliation import MEMORY, MOST_ATTEMPTS, SETTLING
from devices.domain import commands_decisions as decisions
from devices.domain import commands_dispatch as dispatch
from devices.domain import commands_operations as operations
from devices.domain import commands_queries as queries
from devices.domain import configuration_desired, reconciliation, registry_operations
from devices.domain.commands_policy import SYSTEM, set_two_persons
from devices.domain.registry_operations import DeviceValues
from devices.models import (
    Command,
    ConfigurationChange,
    Device,
    DeviceConfiguration,
    DeviceState,
    Drift,
    Placement,
)
from devices.models.command import REASON_LENGTH
from devices.protocol import ResultStatus
from devices.telemetry.control_store import Wish
from devices.tests import factories
from devices.tests.test_commands import OFF, World, answer, connect, make_world
from tenants.models import AuditEntry
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + SETTLING


@pytest.fixture
def world() -> World:
    return make_world()


def _ask(world: World, **values: Any) -> operations.Asked:
    wanted: dict[str, Any] = {
        "kind": "set_reporting", "arguments": {"samples": 10}, "device_ids": world.ids(), "now": NOW
    } | values  # fmt: skip
    with open_scope(world.scope):
        return operations.ask(world.manager, **wanted)


def _row(world: World, number: int = 0) -> DeviceConfiguration:
    with open_scope(world.scope):
        return DeviceConfiguration.objects.get(device=world.devices[number])


def _changes(world: World) -> list[tuple[int, str, Any, Any]]:
    with open_scope(world.scope):
        rows = ConfigurationChange.objects.order_by("device", "version")
        return [(row.version, row.origin, row.before, row.after) for row in rows]


def _report(device: Device, at: datetime = NOW, **settings: Any) -> None:
    """The device's event, as the writer puts it into the inbox."""
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO device_inbox (received_at, tenant_id, device_id, topic, kind,"
            " occurred_at, body) VALUES (%s, %s, %s, 'commands', 'config.reported', %s, %s)",
            [at, device.tenant_id, device.pk, at, json.dumps(settings)],
        )


def _take(world: World, at: datetime = NOW) -> None:
    with open_scope(world.scope):
        dispatch.take_answers(now=at)


def _advance(world: World, at: datetime = LATER) -> int:
    with open_scope(world.scope):
        return reconciliation.advance(now=at, draw=lambda: 0.0)


def _asked(world: World) -> list[tuple[str, str, dict[str, Any], str]]:
    with open_scope(world.scope):
        rows = Command.objects.order_by("pk")
        return [(row.origin, row.kind, row.arguments, row.state) for row in rows]


def _credential(device: Device) -> tuple[int, int]:
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "SELECT step_ms, samples FROM devices_credential WHERE device_id = %s", [device.pk]
        )
        step_ms, samples = cursor.fetchone()
    return step_ms, samples


def test_a_command_that_sets_something_says_what_is_wanted(world: World) -> None:
    _ask(world)
    _ask(world, arguments={"samples": 20, "step_ms": 1000}, reason="Too coarse", origin=Origin.API)
    _ask(world, kind="identify", arguments={})

    row = _row(world)
    assert (row.desired, row.version) == ({"samples": 20, "step_ms": 1000}, 2)
    assert (row.desired_at, row.desired_by_id) == (NOW, world.manager.user_id)
    assert _changes(world) == [
        (1, "person", {"samples": None}, {"samples": 10}),
        (2, "api", {"samples": 10, "step_ms": None}, {"samples": 20, "step_ms": 1000}),
    ]


def test_a_reason_may_be_as_long_as_that_of_a_command(world: World) -> None:
    _ask(world, reason="y" * REASON_LENGTH)
    with open_scope(world.scope):
        assert ConfigurationChange.objects.get().reason == "y" * REASON_LENGTH
        assert Command.objects.get().reason == "y" * REASON_LENGTH


def test_what_is_wanted_already_is_no_change(world: World) -> None:
    _ask(world)
    _ask(world)

    assert _row(world).version == 1
    assert len(_changes(world)) == 1


def test_who_connects_is_told_how_to_report(world: World) -> None:
    (device,) = world.devices
    assert _credential(device) == (2000, 30)
    _ask(world, arguments={"samples": 10})
    assert _credential(device) == (2000, 10)
    _ask(world, arguments={"step_ms": 500})
    assert _credential(device) == (500, 10)


@pytest.mark.parametrize("value", ["'fast'", "0", "86400001", "1.5", "null", "[]", "1e12"])
def test_no_setting_can_keep_the_bridges_from_reading(world: World, value: str) -> None:
    _ask(world)
    with pytest.raises(DatabaseError), open_scope(world.scope), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE devices_deviceconfiguration"
            " SET desired = jsonb_build_object('step_ms', %s::jsonb)",
            [value.replace("'", '"')],
        )


def test_what_awaits_approval_is_not_wanted_yet(world: World) -> None:
    with open_scope(world.scope):
        asked = operations.ask(world.technician, device_ids=world.ids(), now=NOW, **OFF)
        assert not DeviceConfiguration.objects.exists()
        decisions.approve(world.manager, command_id=asked.command_ids[0], now=NOW)

    row = _row(world)
    assert (row.desired, row.desired_by_id) == ({"output": 0}, world.technician.user_id)


def test_a_command_that_is_cancelled_is_not_wanted_any_more() -> None:
    world = make_world(2)
    _ask(world, arguments={"samples": 10})
    second = _ask(world, arguments={"samples": 20})
    # Of one of them something else is wanted since.
    _ask(world, arguments={"samples": 25}, device_ids=world.ids()[1:])
    with open_scope(world.scope):
        assert second.batch is not None
        decisions.cancel(world.manager, batch_id=second.batch.pk, now=NOW)

    assert [_row(world, number).desired for number in (0, 1)] == [{"samples": 10}, {"samples": 25}]
    assert _changes(world)[2] == (3, "person", {"samples": 20}, {"samples": 10})


def test_what_was_never_approved_takes_nothing_back_with_it(world: World) -> None:
    with open_scope(world.scope):
        set_two_persons(actor=SYSTEM, tenant_id=world.tenant.pk, wanted=False)
        operations.ask(world.manager, device_ids=world.ids(), now=NOW, **OFF)
        awaiting = operations.ask(world.technician, device_ids=world.ids(), now=NOW, **OFF)
        decisions.cancel(world.technician, command_id=awaiting.command_ids[0], now=NOW)

    assert _row(world).desired == {"output": 0}


def test_reports_are_kept_and_the_last_one_counts(world: World) -> None:
    (device,) = world.devices
    _report(device, samples=5)
    _report(device, samples=30, channels="0-1,2", output="broken")
    _take(world)

    row = _row(world)
    assert row.reported == {"samples": 30, "channels": "0-2", "output": "broken"}
    assert (row.reported_at, row.desired, row.version) == (NOW, {}, 0)
    assert _advance(world) == 0  # not connected


def _given(world: World, connection: int, **values: Any) -> Command:
    """A command that the device has been given."""
    (device,) = world.devices
    connect(device, connection)
    (command_id,) = _ask(world, **values).command_ids
    with open_scope(world.scope):
        assert dispatch.send_due(now=NOW) == 1
        return Command.objects.get(pk=command_id)


def _told_of(world: World, command: Command) -> tuple[list[tuple[str, str]], str, str]:
    """The steps since it was sent, and where it is now."""
    with open_scope(world.scope):
        detail = queries.command_detail(command_id=command.pk)
    steps = [(step.step, step.cause) for step in detail.history]
    return steps[2:], detail.command.state, detail.command.cause


def _give_up(world: World, at: datetime) -> int:
    with open_scope(world.scope):
        return dispatch.give_up(now=at)


def test_what_a_device_reports_stands_for_a_last_word_that_was_lost(world: World) -> None:
    (device,) = world.devices
    command = _given(world, 7, arguments={"samples": 10})
    _report(device, samples=10, step_ms=2000)  # before it took the command: no proof of it
    answer(device, command, ResultStatus.ACCEPTED)
    _take(world)
    assert _told_of(world, command)[1:] == ("acknowledged", "")
    _report(device, samples=10, step_ms=2000)
    _take(world)
    assert _told_of(world, command)[1:] == ("acknowledged", "reported")
    assert _give_up(world, NOW + FINISH) == 1
    taken = ("acknowledged", "device")
    told = ("reported", "reported")
    ended = ("succeeded", "reported")
    assert _told_of(world, command) == ([taken, told, ended], "succeeded", "reported")
    answer(device, command, ResultStatus.FAILED, "the relay is stuck")
    _take(world, NOW + 2 * FINISH)
    assert _told_of(world, command)[1:] == ("failed", "device")


def test_a_report_that_comes_late_puts_a_failure_right(world: World) -> None:
    (device,) = world.devices
    command = _given(world, 7, arguments={"samples": 10})
    answer(device, command, ResultStatus.ACCEPTED)
    _report(device, samples=30)
    _take(world)
    assert _give_up(world, NOW + FINISH) == 1
    assert _told_of(world, command)[1:] == ("failed", "no_result")
    _report(device, samples=30)
    _take(world, NOW + 2 * FINISH)
    assert _told_of(world, command)[1:] == ("failed", "no_result")
    _report(device, samples=10)
    _take(world, NOW + 2 * FINISH)
    assert _told_of(world, command)[1:] == ("succeeded", "reported")


def test_a_report_proves_nothing_of_what_another_command_has_set_since(world: World) -> None:
    (device,) = world.devices
    earlier = _given(world, 7, arguments={"samples": 10})
    answer(device, earlier, ResultStatus.ACCEPTED)
    _take(world)
    assert _give_up(world, NOW + FINISH) == 1
    later = _given(world, 8, arguments={"samples": 10, "step_ms": 2000})
    answer(device, later, ResultStatus.DONE)
    _report(device, samples=10, step_ms=2000)
    _take(world, NOW + 2 * FINISH)
    assert _told_of(world, earlier)[1:] == ("failed", "no_result")
    assert _told_of(world, later)[1:] == ("succeeded", "device")


def test_a_device_that_was_reset_is_brought_back(world: World) -> None:
    (device,) = world.devices
    connect(device, 1)
    _ask(world, arguments={"samples": 10, "step_ms": 1000})
    with open_scope(world.scope):
        dispatch.send_due(now=NOW)
        command = Command.objects.get()
    answer(device, command, ResultStatus.DONE)
    _report(device, samples=10, step_ms=1000, output=1)
    _take(world)
    assert _advance(world) == 1
    assert (_row(world).next_at, _row(world).settled_at) == (None, LATER)
    before = _entries(world)

    later = NOW + 2 * MEMORY
    _report(device, later, samples=30, step_ms=2000, output=1)
    _take(world, later)
    assert _advance(world, later + SETTLING) == 1

    assert _asked(world)[1:] == [
        ("reconciliation", "set_reporting", {"step_ms": 1000, "samples": 10}, "queued")
    ]
    row = _row(world)
    assert (row.attempts, row.settled_at, row.version) == (1, None, 1)
    # The history of commands tells of it, not the audit trail.
    assert _entries(world) == before
    assert len(_changes(world)) == 1


def _entries(world: World) -> int:
    with open_scope(world.scope):
        return AuditEntry.objects.count()


def test_a_command_under_way_is_not_doubled(world: World) -> None:
    (device,) = world.devices
    connect(device, 1)
    _report(device, samples=30)
    _take(world)
    _ask(world)
    assert _advance(world) == 1
    assert len(_asked(world)) == 1
    # It has been given up: only then is the device told again.
    with open_scope(world.scope):
        Command.objects.update(state="expired", state_at=NOW)
    assert _advance(world, NOW + timedelta(hours=1)) == 1
    assert [origin for origin, *_rest in _asked(world)] == ["person", "reconciliation"]


def test_devices_that_are_away_wait_until_they_are_back(world: World) -> None:
    (device,) = world.devices
    _report(device, samples=30)
    _take(world)
    with open_scope(world.scope):
        wish = Wish({"samples": 10}, "person", "", None, NOW)
        configuration_desired.want(device_ids=world.ids(), wish=wish, told=False)
    assert _advance(world) == 0
    connect(device, 7)
    assert _advance(world) == 1
    assert len(_asked(world)) == 1


def test_a_look_at_what_has_moved_finds_the_differences_that_are_due_since(world: World) -> None:
    (device,) = world.devices
    _report(device, samples=30)
    _take(world)
    with open_scope(world.scope):
        wish = Wish({"samples": 10}, "person", "", None, NOW)
        configuration_desired.want(device_ids=world.ids(), wish=wish, told=False)

    def look(at: datetime, since: datetime) -> int:
        with open_scope(world.scope):
            return reconciliation.advance(now=at, since=since, draw=lambda: 0.0)

    assert look(LATER, NOW) == 0  # away
    connect(device, 7, changed_at=LATER)
    assert look(LATER, LATER + SETTLING) == 0
    assert look(LATER, LATER) == 1  # it has connected
    due = _row(world).next_at
    assert due is not None
    assert look(due, due) == 0
    assert look(due, LATER) == 1  # it has become due


def test_a_setting_that_is_refused_is_left_with_the_device_s_words(world: World) -> None:
    (device,) = world.devices
    connect(device, 1)
    _report(device, output=1)
    _take(world)
    _ask(world, kind="set_output", arguments={"output": False}, reason="Unpaid")
    with open_scope(world.scope):
        dispatch.send_due(now=NOW)
        command = Command.objects.get()
    answer(device, command, ResultStatus.REJECTED, "locked by hand")
    _take(world)
    assert _advance(world) == 1

    row = _row(world)
    assert (row.drift, row.drift_detail, row.next_at) == (Drift.REFUSED, "locked by hand", None)
    assert len(_asked(world)) == 1
    # Somebody has unlocked it and asks to try again.
    with open_scope(world.scope):
        configuration_desired.try_again(device_ids=world.ids(), now=NOW)
    assert _advance(world) == 1
    assert [(origin, state) for origin, _kind, _entries, state in _asked(world)] == [
        ("person", "failed"), ("reconciliation", "queued")
    ]  # fmt: skip


def test_attempts_come_to_an_end(world: World) -> None:
    (device,) = world.devices
    connect(device, 1)
    _report(device, samples=30)
    _take(world)
    with open_scope(world.scope):
        wish = Wish({"samples": 10}, "person", "", None, NOW)
        configuration_desired.want(device_ids=world.ids(), wish=wish, told=False)
    at = NOW
    for _ in range(MOST_ATTEMPTS + 1):
        at += timedelta(hours=1)
        _advance(world, at)
        with open_scope(world.scope):
            Command.objects.filter(state="queued").update(state="expired", state_at=at)

    assert len(_asked(world)) == MOST_ATTEMPTS
    row = _row(world)
    assert (row.drift, row.attempts, row.next_at) == (Drift.UNANSWERED, 0, at + MEMORY)


def test_a_device_that_cannot_be_asked_is_told_of(world: World) -> None:
    (device,) = world.devices
    connect(device, 1, capabilities=0)
    _report(device, samples=30)
    _take(world)
    with open_scope(world.scope):
        wish = Wish({"samples": 10}, "person", "", None, NOW)
        configuration_desired.want(device_ids=world.ids(), wish=wish, told=False)
    assert _advance(world) == 1

    row = _row(world)
    assert (row.drift, row.next_at) == (Drift.REFUSED, None)
    assert row.drift_detail.startswith("The device has said that it takes no commands")


def test_a_device_registered_anew_is_wanted_to_be_as_the_former(world: World) -> None:
    _ask(world)
    with open_scope(world.scope):
        former = Device.objects.get()
        values = DeviceValues(
            former.facility_id, former.device_type_id, "NEW-1", "New", Placement.MAINS
        )
        made = registry_operations.register_anew(
            device_id=former.pk,
            values=values,
            state=DeviceState.PLANNED,
            revoke=True,
            actor_id=None,
        )
        row = DeviceConfiguration.objects.get(device=made.registered.device)
        assert (row.desired, row.attempts, row.next_at) == ({"samples": 10}, 0, None)


def test_another_tenant_and_a_narrowed_member_see_and_change_nothing() -> None:
    world = make_world()
    _ask(world)
    with open_scope(world.scope):
        elsewhere = factories.facility(world.tenant)
    for scope in (Scope((factories.tenant().pk,)), Scope((world.tenant.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert not DeviceConfiguration.objects.exists()
            assert not ConfigurationChange.objects.exists()
            wish = Wish({"samples": 99}, "person", "", None, NOW)
            assert configuration_desired.want(device_ids=world.ids(), wish=wish, told=True) == []
            assert DeviceConfiguration.objects.update(desired={}) == 0
    assert _row(world).desired == {"samples": 10}


def test_the_history_of_wishes_is_only_added_to(world: World) -> None:
    _ask(world)
    for change in (
        lambda: ConfigurationChange.objects.update(reason="Nothing"),
        lambda: ConfigurationChange.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), open_scope(world.scope):
            change()


@pytest.mark.parametrize("number", [1, 3])
def test_many_devices_are_changed_and_looked_at_by_as_many_statements(number: int) -> None:
    world = make_world(number)
    for device in world.devices:
        connect(device, 1)
        _report(device, samples=10)
    with open_scope(world.scope), CaptureQueriesContext(connection) as taken:
        dispatch.take_answers(now=NOW)
    with open_scope(world.scope), CaptureQueriesContext(connection) as wanted:
        wish = Wish({"samples": 10}, "person", "", None, NOW)
        configuration_desired.want(device_ids=world.ids(), wish=wish, told=False)
    with open_scope(world.scope), CaptureQueriesContext(connection) as looked:
        assert reconciliation.advance(now=LATER) == number
    savepoints = ("SAVEPOINT", "RELEASE")
    assert [
        sum(not query["sql"].startswith(savepoints) for query in queries)
        for queries in (taken, wanted, looked)
    ] == [7, 3, 5]
