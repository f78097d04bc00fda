"""Rolling up again what has changed below, and announcing what has changed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

from devices.domain import changes, redo, registry_operations, rollups
from devices.domain.registry_operations import DeviceValues
from devices.domain.series import read_series
from devices.models import Device, Facility, Placement
from devices.tasks import redo_rollups
from devices.telemetry import redo_store
from devices.telemetry.periods import Resolution
from devices.telemetry.redo_store import Cause, Redo
from devices.telemetry.rollup import QUARTER, QUARTER_MS
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
START_MS = int(START.timestamp() * 1000)
HOURS = 3


def _scope(of: Tenant) -> Scope:
    return Scope((of.pk,))


def _park(hours: int = HOURS) -> tuple[Tenant, Facility, Device]:
    """A meter at the mains with some hours of steady power, rolled up and summed."""
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        device = factories.device(at, placement=Placement.MAINS).device
    for minute in range(60 * hours):
        factories.store_frame(
            device, minute + 1, START + timedelta(minutes=minute), [[600] * 30], step_ms=2_000
        )
    with open_scope(_scope(of)):
        rollups.roll_up()
        rollups.sum_facilities()
    return of, at, device


def _ask(of: Tenant, *periods: Redo, cause: Cause = Cause.CORRECTION, number: int = 7) -> None:
    with open_scope(_scope(of)):
        redo_store.ask_again(connection, periods, cause=cause, cause_id=number)


def _spoil(device: Device) -> None:
    """Roll-ups that are wrong, and one of a quarter of which nothing is stored."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE rollup_15m SET mean = 1 WHERE device_id = %s", [device.pk])
        cursor.execute(
            "INSERT INTO rollup_15m SELECT starts_at + interval '12 hours', tenant_id, device_id,"
            " channel, n, minimum, maximum, mean, first, last, energy_wh, returned_wh, coverage"
            " FROM rollup_15m WHERE device_id = %s AND starts_at = %s",
            [device.pk, START],
        )


def _means(of: Tenant, device: Device) -> dict[int, float]:
    with open_scope(_scope(of)):
        found = read_series(
            channels=[(device.pk, 0)],
            start=START - timedelta(days=1),
            end=START + timedelta(days=2),
            resolution=Resolution.QUARTER,
        )
    periods = found.channels[0].periods
    assert periods is not None
    return dict(zip(periods.starts.tolist(), periods.mean.tolist(), strict=True))


def _facility_wh(of: Tenant) -> list[tuple[Any, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, import_wh FROM facility_15m"
            " WHERE tenant_id = %s AND import_wh IS NOT NULL ORDER BY 1",
            [of.pk],
        )
        return list(cursor.fetchall())


def _execute(of: Tenant, statement: str, parameters: Sequence[Any] = ()) -> None:
    with open_scope(_scope(of)), connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _announced(of: Tenant, after: int = 0) -> list[redo_store.Change]:
    with open_scope(_scope(of)):
        return list(changes.changes_after(after))


def test_what_was_asked_for_is_computed_again_and_announced() -> None:
    of, at, device = _park()
    right, sums = _means(of, device), _facility_wh(of)
    assert len(right) == 4 * HOURS
    before = [one.id for one in _announced(of)]
    _spoil(device)
    assert len(_means(of, device)) == 4 * HOURS + 1
    day = Redo(device.pk, START_MS, START_MS + 86_400_000)
    _ask(of, day)
    redo_rollups()
    assert _means(of, device) == right
    # What is gone counts as nothing; it was never summed.
    assert _facility_wh(of) == sums
    (change,) = _announced(of, after=max(before))
    assert (change.facility_id, change.device_id) == (at.pk, device.pk)
    assert (change.cause, change.cause_id) == (Cause.CORRECTION, 7)
    assert (change.starts_at, change.ends_at) == (START, START + timedelta(days=1))
    with open_scope(_scope(of)):
        assert redo.redo() == redo.Redone(None)


@pytest.mark.parametrize("most", [5, 7, 96])
def test_a_long_period_is_done_in_parts(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    of, _, device = _park()
    right = _means(of, device)
    _spoil(device)
    monkeypatch.setattr(redo, "MAX_QUARTERS", most)
    end = START_MS + 86_400_000
    later = START_MS + 2 * 3_600_000
    _ask(of, Redo(device.pk, START_MS, end), Redo(device.pk, later, end + 1), number=1)
    _ask(of, Redo(device.pk, START_MS + 1, later), cause=Cause.IMPORT, number=2)
    steps = 0
    while True:
        with open_scope(_scope(of)):
            redone = redo.redo()
        if redone.last is None:
            break
        steps += 1
        assert steps < 200
    assert steps >= 96 // most
    assert _means(of, device) == right
    told = [one for one in _announced(of) if one.cause is not Cause.LATE]
    # Every request is told of from its beginning to its end.
    for cause, start, finish in (
        (Cause.CORRECTION, START_MS, end + 1),
        (Cause.IMPORT, START_MS + 1, later),
    ):
        mine = [
            (int(one.starts_at.timestamp() * 1000), int(one.ends_at.timestamp() * 1000 + 0.5))
            for one in told
            if one.cause is cause
        ]
        reached = start
        for begins, ends in sorted(mine):
            assert begins <= reached
            reached = max(reached, ends)
        assert reached == finish


def test_what_fails_is_asked_for_still() -> None:
    of, _, device = _park(1)
    right = _means(of, device)
    _spoil(device)
    _ask(of, Redo(device.pk, START_MS, START_MS + 86_400_000))

    def fail() -> None:
        with open_scope(_scope(of)):
            redo.redo()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _means(of, device) != right
    redo_rollups()
    assert _means(of, device) == right


def test_whoever_is_at_work_on_a_device_is_passed_over() -> None:
    of, _, device = _park(1)
    _ask(of, Redo(device.pk, START_MS, START_MS + 1))
    locked, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic("owner"), connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT FROM rollup_progress WHERE device_id = %s FOR UPDATE", [device.pk]
            )
            locked.set()
            leave.wait(30)
        connections["owner"].close()

    other = threading.Thread(target=hold)
    other.start()
    assert locked.wait(30)
    with open_scope(_scope(of)):
        assert redo.redo() == redo.Redone(None)
    leave.set()
    other.join()
    with open_scope(_scope(of)):
        assert redo.redo().last == device.pk


def test_a_device_that_never_reported_may_be_asked_for() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        device = factories.device(factories.facility(of)).device
    _ask(of, Redo(device.pk, START_MS, START_MS + 1))
    redo_rollups()
    assert [one.cause for one in _announced(of)] == [Cause.CORRECTION]


def test_late_readings_are_announced_and_those_in_time_are_not() -> None:
    of, _, device = _park(1)
    told = _announced(of)
    # The test's readings are months old.
    assert [one.cause for one in told] == [Cause.LATE]
    assert told[0].starts_at <= START
    assert told[0].ends_at >= START + timedelta(hours=1)
    now = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
    factories.store_frame(device, 61, now, [[600] * 30], step_ms=2_000)
    with open_scope(_scope(of)):
        assert rollups.roll_up().frames == 1
    assert _announced(of) == told


def test_quarters_become_periods() -> None:
    day = 86_400_000
    quarters = [(1, 0), (1, QUARTER_MS), (1, day), (1, 3 * day), (2, 0)]
    assert list(rollups.periods_of(quarters)) == [
        (1, 0, day + QUARTER_MS),
        (1, 3 * day, 3 * day + QUARTER_MS),
        (2, 0, QUARTER_MS),
    ]
    assert list(rollups.periods_of([])) == []


def test_another_placement_is_announced() -> None:
    of, at, device = _park(1)
    before = [one.id for one in _announced(of)]
    with open_scope(_scope(of)):
        registry_operations.update_device(
            device_id=device.pk,
            values=DeviceValues(
                facility_id=at.pk,
                device_type_id=device.device_type_id,
                serial=device.serial,
                name=device.name,
                placement=Placement.SUBMETER,
            ),
            based_on=None,
            actor_id=None,
        )
    (change,) = _announced(of, after=max(before))
    assert change.cause is Cause.REGISTRY
    assert change.starts_at < START - 365 * QUARTER < change.ends_at


# --- Isolation --------------------------------------------------------------------------------


def test_nobody_sees_or_asks_for_what_is_not_theirs() -> None:
    of, at, device = _park(1)
    other = factories.tenant()
    with open_scope(_scope(of)):
        elsewhere = factories.facility(of)
    _ask(of, Redo(device.pk, START_MS, START_MS + 1))
    for scope in (_scope(other), Scope((of.pk,), (elsewhere.pk,))):
        with open_scope(scope):
            assert list(changes.changes_after(0)) == []
            assert redo.redo() == redo.Redone(None)
            redo_store.ask_again(
                connection, [Redo(device.pk, START_MS, START_MS + 1)], cause=Cause.IMPORT
            )
    with pytest.raises(DatabaseError, match="row-level security"):
        _execute(
            other,
            "INSERT INTO history_change (tenant_id, facility_id, device_id, starts_at, ends_at,"
            " cause) VALUES (%s, %s, %s, now(), now() + interval '1 s', 'late')",
            [of.pk, at.pk, device.pk],
        )
    with open_scope(Scope((of.pk,), (at.pk,))):
        assert list(changes.changes_after(0))
        assert redo.redo().last == device.pk
    assert [one.cause for one in _announced(of)].count(Cause.IMPORT) == 0


def test_an_announcement_cannot_be_changed() -> None:
    of, _, _ = _park(1)
    for statement in ("UPDATE history_change SET cause = 'x'", "DELETE FROM history_change"):
        with pytest.raises(DatabaseError, match="permission denied"):
            _execute(of, statement)
