"""What happens in the demo, once, however often it is started or ended in the middle."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connections
from pytest_django.fixtures import Settings

from devices.commands.states import State
from devices.domain import commands_decisions, groups_operations
from devices.domain.commands_policy import SYSTEM
from devices.models import Command, CommandBatch, Device, DeviceGroup
from devices.simulator.park import LOST
from firmware.domain import policy_operations, rollout_operations
from firmware.models import Rollout, RolloutTarget, TargetState
from portal.management.demo_billing import BILLING, Opening, pasts
from portal.management.demo_dunning import OVERDUE
from portal.management.demo_groups import REFRIGERATION
from portal.management.demo_prepaid import PaidByDay, Wallets
from portal.management.demo_story import (
    GATEWAYS_ROLLOUT,
    METERS_ROLLOUT,
    STORY,
    SUBMETERS_ROLLOUT,
    Ask,
    RollOut,
    perform,
)
from tenants.domain.queries import all_tenant_ids
from tenants.models import AuditEntry
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
# Updates by image and by patch, commands, live, log: what simulated devices say in HELLO.
_CAPABILITIES = 0x7FF
LAST = STORY[-1]


@pytest.fixture
def demo(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The demo, without recordings; its devices have not been heard of."""
    settings.HOME = tmp_path
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]
    monkeypatch.setenv("WATTLINE_DATA", str(tmp_path / "data"))
    call_command("demo", stdout=io.StringIO(), stderr=io.StringIO())
    yield
    cache.clear()


def connect(**filters: Any) -> None:
    """Devices say HELLO, as the writer stores it."""
    with open_scope(Scope(all_tenant_ids())):
        ids = list(Device.objects.filter(state="active", **filters).values_list("pk", flat=True))
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET connected = true, connection = connection + 1,"
            " firmware_version = '1.0.0', hardware_revision = 'simulated rev A',"
            " capabilities = %s WHERE device_id = ANY(%s)",
            [_CAPABILITIES, ids],
        )


def once() -> list[str]:
    """Go through the story; the names of what is still to come."""
    return [act.name for act in STORY if not perform(act, NOW)]


def made() -> dict[str, Any]:
    """All that the story makes."""
    with open_scope(Scope(all_tenant_ids())):
        return {
            "commands": list(Command.objects.order_by("pk").values("pk", "state", "request_key")),
            "batches": list(CommandBatch.objects.order_by("pk").values("pk", "request_key")),
            "rollouts": list(Rollout.objects.order_by("pk").values("pk", "name", "state")),
            "targets": RolloutTarget.objects.count(),
            "audit": AuditEntry.objects.count(),
        }


def state_of(name: str) -> str:
    """Where the single command of an act is."""
    with open_scope(Scope(all_tenant_ids())):
        found: str = Command.objects.get(request_key=f"demo:{name}").state
        return found


def test_story_begins_with_the_devices_and_happens_once(demo: None) -> None:
    nothing = made()
    left = once()
    # A recording that is not there is asked for nothing.
    assert left == [act.name for act in STORY if act.name != "recorded-limit"]
    assert made() == nothing
    connect()
    assert once() == [LAST.name]
    told = made()
    assert [row["name"] for row in told["rollouts"]] == [
        METERS_ROLLOUT, SUBMETERS_ROLLOUT, GATEWAYS_ROLLOUT,
    ]  # fmt: skip
    assert {row["state"] for row in told["rollouts"]} == {"running"}
    assert told["targets"] == 12 + 28 + 3
    assert len(told["batches"]) == 2
    assert state_of("car-wash-off") == State.QUEUED  # a second person has agreed
    assert state_of("bakery-off") == State.AWAITING_APPROVAL
    assert once() == [LAST.name]
    assert made() == told


def test_device_that_did_not_come_back_is_asked_where_it_is(demo: None) -> None:
    connect()
    once()
    with open_scope(Scope(all_tenant_ids())):
        RolloutTarget.objects.filter(device__serial=LOST).update(
            state=TargetState.FAILED, failure_code="timeout"
        )
    with connections["ingest"].cursor() as cursor:
        cursor.execute("UPDATE device_link SET connected = false")
    assert once() == []
    told = made()
    assert told["commands"][-1]["request_key"] == f"demo:{LAST.name}"
    assert once() == []
    assert made() == told


def test_story_goes_on_where_it_was_ended(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    connect()
    nothing = made()

    def ended(*_args: object, **_kwargs: object) -> None:
        raise _KilledError

    ask = next(act for act in STORY if act.name == "car-wash-off")
    roll_out = next(act for act in STORY if act.name == SUBMETERS_ROLLOUT)
    with monkeypatch.context() as killed:
        killed.setattr(commands_decisions, "approve", ended)
        killed.setattr(rollout_operations, "start", ended)
        for act in (ask, roll_out):
            with pytest.raises(_KilledError):
                perform(act, NOW)
    assert made() == nothing  # an act is one transaction
    assert once() == [LAST.name]
    assert state_of("car-wash-off") == State.QUEUED
    told = made()
    assert len(told["rollouts"]) == 3
    assert {row["state"] for row in told["rollouts"]} == {"running"}
    keys = [row["request_key"] for row in told["commands"] if row["request_key"]]
    assert len(keys) == len(set(keys))


class _KilledError(Exception):
    """The process ends here."""


def test_story_leaves_alone_what_people_have_changed(demo: None) -> None:
    with open_scope(Scope(all_tenant_ids())):
        group = DeviceGroup.objects.get(name=REFRIGERATION)
        groups_operations.delete_group(group_id=group.pk, actor_id=None)
        tenant_id = group.tenant_id
    with open_scope(Scope((tenant_id,))):
        wanted = policy_operations.Change(second_person=True)
        policy_operations.change(actor=SYSTEM, tenant_id=tenant_id, wanted=wanted)
    connect()
    out = io.StringIO()
    call_command("demo_events", "--patience", "0", stdout=out)
    said = out.getvalue().splitlines()
    refused = "Somebody else has to approve it before it starts."
    billing = [act.name for act in BILLING if not isinstance(act, Opening | Wallets | PaidByDay)]
    waiting = [LAST.name, *billing, OVERDUE.name, *(past.name for past in pasts())]
    assert said == [
        f"demo: {SUBMETERS_ROLLOUT} is not possible any more: {refused}",
        f"demo: {GATEWAYS_ROLLOUT} is not possible any more: {refused}",
        *(f"demo: not done, what it waits for is not there: {name}" for name in waiting),
    ]
    told = made()
    assert len(told["batches"]) == 1
    assert [row["state"] for row in told["rollouts"]] == ["running"]


def test_roll_out_that_would_reach_nobody_is_left_out(demo: None) -> None:
    connect()
    with connections["ingest"].cursor() as cursor:
        cursor.execute("UPDATE device_link SET firmware_version = '1.1.0'")
    assert once() == [LAST.name]
    assert made()["rollouts"] == []


def test_every_act_of_the_story_has_a_name_of_its_own() -> None:
    names = [act.name for act in STORY]
    assert len(set(names)) == len(names)
    for act in STORY:
        assert json.dumps(act.strategy if isinstance(act, RollOut) else dict(act.arguments))


def test_wrong_argument_is_told(demo: None) -> None:
    connect()
    act = next(act for act in STORY if isinstance(act, Ask) and act.kind == "reboot")
    with pytest.raises(ValidationError):
        perform(replace(act, name="wrong", arguments={"colour": 1}), NOW)
