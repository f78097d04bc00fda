"""Rolling up stored frames: dirty quarters, late frames, repetition, two at once, facilities."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from devices.domain import energy, flow, operations, registry_operations, rollups
from devices.domain.operations import ChannelSpec
from devices.models import Device, DevicePower, Facility, FacilityNow, Placement
from devices.tasks import refresh_power, roll_up
from devices.telemetry import rollup_reads
from devices.telemetry.rollup import QUARTER
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

METER = (
    ChannelSpec(0, "power", "Power", "active_power", Decimal(1), Decimal(-9999), Decimal(9999)),
    ChannelSpec(1, "energy_import", "In", "energy_import", Decimal(1), Decimal(0), Decimal(10**9)),
    ChannelSpec(2, "energy_export", "Out", "energy_export", Decimal(1), Decimal(0), Decimal(10**9)),
)  # fmt: skip


def _scope(of: Tenant) -> Scope:
    return Scope((of.pk,))


def _device(
    at: Facility,
    placement: Placement = Placement.MAINS,
    channels: Sequence[ChannelSpec] = METER,
) -> Device:
    kind = operations.create_device_type(
        tenant_id=at.tenant_id,
        code=f"meter-{factories.number()}",
        name="Meter",
        channels=channels,
        actor_id=None,
    )
    return factories.device(at, kind, placement=placement).device


def _store(
    device: Device,
    sequence: int,
    started_at: datetime,
    values: Sequence[Sequence[int]],
    *,
    received_at: datetime | None = None,
    step_s: int = 2,
) -> None:
    """A frame, committed as the writer does: with the cursor."""
    factories.store_frame(
        device, sequence, started_at, values, received_at=received_at, step_ms=step_s * 1000
    )


def _steady(watts: int, since: int = 0, count: int = 30) -> list[list[int]]:
    """A minute of steady power, with an import register that counts along."""
    wh = [since + round(watts * 2 * at / 3600) for at in range(count)]
    return [[watts] * count, wh, [0] * count]


def _rows(table: str = "rollup_15m") -> list[tuple[Any, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return sorted(cursor.fetchall(), key=lambda row: (row[2], row[3:4], row[0]))


def _park() -> tuple[Tenant, Facility, Device]:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        return of, at, _device(at)


def _roll_all(of: Tenant) -> int:
    with open_scope(_scope(of)):
        return rollups.roll_up().quarters


# --- Channels ---------------------------------------------------------------------------------


def test_new_frames_are_rolled_up_once() -> None:
    of, _, device = _park()
    for minute in range(20):
        _store(device, minute + 1, START + minute * MINUTE, _steady(1_800, minute * 30))
    # 12:00 and 12:15, of three channels.
    assert _roll_all(of) == 6
    assert _roll_all(of) == 0
    with open_scope(_scope(of)):
        rows = rollup_reads.device_quarters(connection, [device.pk], START, START + 2 * QUARTER)
    power = [(row.starts_at, row.n, row.mean, row.energy_wh, row.coverage) for row in rows[:2]]
    assert power == [
        (START, 450, 1_800.0, 450.0, 1.0),
        (START + QUARTER, 150, 1_800.0, 150.0, pytest.approx(1 / 3)),
    ]
    assert [row.energy_wh for row in rows[2:4]] == [450.0, 149.0]


def test_a_late_frame_changes_the_quarters_that_it_belongs_to() -> None:
    of, _, device = _park()
    _store(device, 1, START, _steady(1_000))
    _store(device, 2, START + timedelta(hours=3), _steady(1_000))
    _roll_all(of)
    before = {row[:4]: row for row in _rows()}
    _store(
        device, 3, START + MINUTE, _steady(1_000), received_at=START + timedelta(hours=3, minutes=2)
    )
    _roll_all(of)
    changed = {key for key, row in {row[:4]: row for row in _rows()}.items() if before[key] != row}
    assert {(starts_at, channel) for starts_at, _, _, channel in changed} == {
        (START, 0),
        (START, 1),
        (START, 2),
    }


def test_rows_are_the_same_whatever_the_order_of_frames_and_runs() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        one, other = _device(at), _device(at)
    minutes = list(range(0, 90, 1))
    for sequence, minute in enumerate(minutes, start=1):
        _store(one, sequence, START + minute * MINUTE, _steady(500 + minute, minute * 10))
        if sequence % 17 == 0:
            _roll_all(of)
    # Backwards, with everything arriving late, and rolled up at once.
    for sequence, minute in enumerate(reversed(minutes), start=1):
        _store(
            other, sequence, START + minute * MINUTE, _steady(500 + minute, minute * 10),
            received_at=START + timedelta(hours=2, seconds=sequence),
        )  # fmt: skip
    _roll_all(of)
    rows = _rows()
    values = {
        device.pk: [(row[0], *row[3:]) for row in rows if row[2] == device.pk]
        for device in (one, other)
    }
    assert len(values[one.pk]) == 18
    assert values[one.pk] == values[other.pk]
    # And computing all of it again changes nothing.
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE rollup_progress SET sequence = 0, received_at = NULL")
    assert _roll_all(of) == 36
    assert _rows() == rows


def test_a_clock_that_was_set_within_a_frame_touches_nothing_between() -> None:
    of, _, device = _park()
    _store(device, 1, START, [[900, 900], [0, 1], [0, 0]], step_s=200 * 86_400)
    assert _roll_all(of) == 6
    later = START + timedelta(days=200)
    assert [(row[0], row[4]) for row in _rows() if row[3] == 0] == [(START, 1), (later, 1)]
    with open_scope(_scope(of)):
        # Each of the two and its neighbours, not the 19 200 quarters between them.
        assert rollups.sum_facilities() == 6


def test_a_bridge_whose_clock_was_ahead_hides_nothing() -> None:
    of, _, device = _park()
    now = datetime.now(UTC).replace(microsecond=0)
    began = now - 4 * MINUTE
    _store(device, 1, began, _steady(900), received_at=now + timedelta(days=2))
    _roll_all(of)
    _store(device, 2, began + MINUTE, _steady(900), received_at=now)
    _roll_all(of)
    assert sum(row[4] for row in _rows() if row[3] == 0) == 60


def test_a_backlog_is_rolled_up_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_FRAMES", 7)
    of, _, device = _park()
    for minute in range(20):
        _store(device, minute + 1, START + minute * MINUTE, _steady(900))
    turns = []
    with open_scope(_scope(of)):
        while (rolled := rollups.roll_up()).last is not None:
            turns.append((rolled.frames, rolled.crowded))
    assert turns == [(7, True), (7, True), (6, False)]
    assert [row[4] for row in _rows() if row[3] == 0] == [450, 150]


def test_devices_are_rolled_up_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_VALUES", 1)
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        devices = [_device(at) for _ in range(5)]
    for device in devices:
        _store(device, 1, START, _steady(900))
    with open_scope(_scope(of)):
        first = rollups.roll_up(limit=3)
        assert (first.devices, first.last) == (3, devices[2].pk)
        second = rollups.roll_up(after=first.last or 0, limit=3)
        assert (second.devices, second.last) == (2, devices[4].pk)
    assert len(_rows()) == 15


def test_two_at_once_share_the_devices() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        # In the same facility the second would wait for the first when it marks the quarters.
        places = [factories.facility(of), factories.facility(of)]
        devices = [_device(place) for place in places for _ in range(2)]
    # Of late readings, they would wait for each other to announce them.
    start = rollup_reads.quarter_of(datetime.now(UTC)) - QUARTER
    # Whoever writes the first row of a day makes its chunk, which lasts until the commit.
    _store(devices[0], 1, start, _steady(900))
    _roll_all(of)
    for device in devices:
        _store(device, 2, start + MINUTE, _steady(900))
    with open_scope(_scope(of)):
        rollups.roll_up(limit=0)  # every device has its row of progress
    other: list[rollups.Rolled] = []

    def second() -> None:
        with open_scope(_scope(of)):
            other.append(rollups.roll_up())
        connection.close()

    with open_scope(_scope(of)):
        first = rollups.roll_up(limit=2)
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    assert (first.devices, other[0].devices) == (2, 2)
    assert [row[4] for row in _rows() if row[3] == 0] == [60, 30, 30, 30]


def test_a_device_without_channels_holds_nobody_up() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        device = _device(factories.facility(of), channels=())
    _store(device, 1, START, [[1, 2, 3]])
    assert _roll_all(of) == 0
    with open_scope(_scope(of)):
        assert rollups.roll_up().last is None


# --- Facilities -------------------------------------------------------------------------------


def test_a_facility_sums_its_meters_by_what_they_measure() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        mains = _device(at)
        sub = _device(at, Placement.SUBMETER)
        pv = _device(at, Placement.GENERATION)
        battery = _device(at, Placement.STORAGE, METER[:1])
    for device, watts, registers in (
        (mains, 900, ([0, 100], [0, 20])),
        (sub, 500, ([0, 60], [0, 0])),
        (pv, 1_000, ([0, 0], [0, 70])),
        (battery, -600, ()),
    ):
        values = [[watts] * 31, *([start] * 15 + [end] * 16 for start, end in registers)]
        _store(device, 1, START, values, step_s=30)
    _roll_all(of)
    with open_scope(_scope(of)):
        assert rollups.sum_facilities() == 3  # the quarter and its neighbours
        assert rollups.sum_facilities() == 0
        (_, quarter, _) = energy.quarters(
            facility_id=at.pk, start=START - QUARTER, end=START + 2 * QUARTER
        )
    # The battery gave 600 W for a quarter of an hour.
    assert quarter.energy == energy.Energy(100.0, 20.0, 70.0, 0.0, 150.0)
    assert quarter.energy.used_wh == 300.0
    assert quarter.energy.self_used_wh == 50.0
    assert quarter.covered == 4.0


def test_power_stands_in_for_registers_that_a_meter_lacks() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        mains = _device(at, channels=METER[:1])
    _store(mains, 1, START, [[3_600] * 225 + [-1_800] * 225])
    _roll_all(of)
    with open_scope(_scope(of)):
        rollups.sum_facilities()
        quarters = energy.quarters(facility_id=at.pk, start=START, end=START + QUARTER)
    assert [one.energy for one in quarters] == [energy.Energy(450.0, 225.0)]


def test_a_mark_that_is_there_holds_for_what_is_not_committed_yet() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        first, second = _device(at), _device(at)
    for device in (first, second):
        _store(device, 1, START, _steady(1_800))
    with open_scope(_scope(of)):
        rollups.roll_up(limit=1)  # the quarters are marked from here on

    def summing() -> None:
        with open_scope(_scope(of)):
            rollups.sum_facilities()
        connection.close()

    with open_scope(_scope(of)):
        assert rollups.roll_up(after=first.pk).devices == 1
        thread = threading.Thread(target=summing)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    with open_scope(_scope(of)):
        rollups.sum_facilities()
        (quarter,) = energy.quarters(facility_id=at.pk, start=START, end=START + QUARTER)
    assert quarter.energy.imported_wh == 58.0


def test_another_placement_sums_the_past_of_the_facility_again() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        mains, other = _device(at), _device(at, Placement.SUBMETER)
    for device in (mains, other):
        _store(device, 1, START, _steady(1_800))
    _roll_all(of)
    with open_scope(_scope(of)):
        rollups.sum_facilities()
    values = registry_operations.DeviceValues(
        other.facility_id, other.device_type_id, other.serial, other.name, Placement.MAINS
    )
    found = []
    for change in (values, values):
        with open_scope(_scope(of)):
            registry_operations.update_device(
                device_id=other.pk, values=change, based_on=None, actor_id=None
            )
        with open_scope(_scope(of)):
            summed = rollups.sum_facilities()
            (quarter,) = energy.quarters(facility_id=at.pk, start=START, end=START + QUARTER)
            found.append((summed, quarter.energy.imported_wh))
    assert found == [(1, 58.0), (0, 58.0)]


# --- Days -------------------------------------------------------------------------------------


def _quarters(at: Facility, begin: datetime, values: Sequence[float]) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO facility_15m (starts_at, tenant_id, facility_id, import_wh, covered)"
            " VALUES (%s, %s, %s, %s, 1)",
            [
                (begin + number * QUARTER, at.tenant_id, at.pk, value)
                for number, value in enumerate(values)
            ],
        )


@pytest.mark.parametrize(
    ("midnight", "next_midnight", "hours"),
    [
        (datetime(2026, 3, 27, 23, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC), 24),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC), 23),
        (datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC), 25),
    ],
)
def test_a_day_is_that_of_the_facilitys_zone(
    midnight: datetime, next_midnight: datetime, hours: int
) -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
    _quarters(at, midnight - timedelta(hours=2), [1.0] * 8 + [10.0] * (4 * hours) + [100.0] * 8)
    now = next_midnight + timedelta(hours=1, minutes=10)
    with open_scope(_scope(of)):
        found = energy.today(facility_ids=None, now=now)[at.pk]
        assert energy.local_day(zone="Europe/Berlin", now=midnight) == (midnight, next_midnight)
    assert found.yesterday.imported_wh == 40 * hours
    assert found.today.imported_wh == 500.0  # until 01:10, the running quarter included
    # Yesterday until 01:10: four quarters and two thirds of the fifth.
    assert found.same.imported_wh == pytest.approx(10 * (4 + 2 / 3))
    assert found.day == (next_midnight + timedelta(hours=3)).date()


def test_coverage_counts_what_active_devices_should_have_measured() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        _device(at), _device(at)
        silent = factories.facility(of)
        _device(silent)
        Device.objects.update(created_at=START - timedelta(days=3))
        empty = factories.facility(of)
    _quarters(at, START - timedelta(hours=1), [1.0] * 4)
    now = START + energy.SETTLING
    with open_scope(_scope(of)):
        found = energy.today(facility_ids=None, now=now)
    # Two devices since local midnight, 13 hours ago; one of them has measured for an hour.
    assert found[at.pk].coverage == pytest.approx(1 / 26)
    assert found[silent.pk].coverage == 0.0
    assert found[empty.pk].coverage is None


def test_a_device_counts_from_its_registration_on() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        _device(at)
        Device.objects.update(created_at=START - timedelta(hours=1))
    _quarters(at, START - timedelta(hours=1), [1.0] * 4)
    with open_scope(_scope(of)):
        found = energy.today(facility_ids=[at.pk], now=START + energy.SETTLING)
    assert found[at.pk].coverage == 1.0


@pytest.mark.parametrize("count", [1, 3])
def test_days_take_three_queries(count: int) -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        for _ in range(count):
            _device(factories.facility(of))
        with CaptureQueriesContext(connection) as queries:
            found = energy.today(facility_ids=None, now=START)
    assert (len(found), len(queries)) == (count, 3)


def test_today_without_facilities_is_empty() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        assert energy.today(facility_ids=None, now=START) == {}


# --- Power ------------------------------------------------------------------------------------


def test_power_flows_between_grid_generation_storage_and_home() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        placements = (Placement.MAINS, Placement.MAINS, Placement.GENERATION, Placement.STORAGE)
        devices = [_device(at, placement) for placement in placements]
        _device(at, Placement.SUBMETER)
    for device, watts in zip(devices, (-700, 200, 3_000, 1_500), strict=True):
        _store(device, 1, START, _steady(watts))
    now = START + MINUTE
    with open_scope(_scope(of)):
        assert flow.refresh_power(now=now) == flow.Refreshed(4, newcomers=True)
        rollups.roll_up()
        assert flow.refresh_power(now=now) == flow.Refreshed()
        found = flow.power_now(now=now)
        kept = FacilityNow.objects.get(facility=at)
    measured_at = START + 58 * SECOND
    assert found == {
        at.pk: flow.PowerNow(
            -500.0, 3_000.0, 1_500.0, measured_at, measured_at + flow.KNOWN_FOR, True
        )
    }
    assert found[at.pk].home_w == 1_000.0
    assert (kept.grid_w, kept.home_w, kept.known_until) == (
        -500.0,
        1_000.0,
        measured_at + flow.KNOWN_FOR,
    )


def test_power_of_a_silent_device_is_not_known() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        devices = [_device(at), _device(at)]
    _store(devices[0], 1, START, _steady(400))
    _store(devices[1], 1, START + 5 * MINUTE, _steady(900))
    now = START + 6 * MINUTE
    with open_scope(_scope(of)):
        flow.refresh_power(now=now)
        (found,) = flow.power_now(facility_ids=[at.pk], now=now).values()
        (later,) = flow.power_now(facility_ids=[at.pk], now=now + timedelta(hours=1)).values()
    assert (found.grid_w, found.complete) == (900.0, False)
    assert later == flow.PowerNow(complete=False)
    assert later.home_w is None


def test_what_the_loads_draw_is_unknown_while_generation_is_silent() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        mains, pv = _device(at), _device(at, Placement.GENERATION)
    _store(pv, 1, START, _steady(5_000))
    _store(mains, 1, START + 5 * MINUTE, _steady(-4_000))
    now = START + 6 * MINUTE
    with open_scope(_scope(of)):
        flow.refresh_power(now=now)
        (found,) = flow.power_now(facility_ids=[at.pk], now=now).values()
        kept = FacilityNow.objects.get(facility=at)
    assert (found.grid_w, found.generation_w, found.home_w) == (-4_000.0, None, None)
    assert (kept.grid_w, kept.home_w, kept.mains) == (-4_000.0, None, 1)


@pytest.mark.parametrize(
    ("last_w", "hours", "home_w"), [(-10, 8, 1_500), (30, 8, None), (-10, 21, None)]
)
def test_an_inverter_asleep_gives_nothing_for_a_night(
    last_w: int, hours: int, home_w: int | None
) -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        mains, pv = _device(at), _device(at, Placement.GENERATION)
    _store(pv, 1, START, _steady(last_w))
    morning = START + timedelta(hours=hours)
    _store(mains, 1, morning, _steady(1_500))
    with open_scope(_scope(of)):
        flow.refresh_power(now=morning + MINUTE)
        kept = FacilityNow.objects.get(facility=at)
    assert kept.grid_w == 1_500
    assert kept.home_w == home_w
    assert kept.generation_w == (None if home_w is None else 0)


def test_a_device_without_power_channels_is_looked_at_once_for_each_sample() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        sensor = _device(factories.facility(of), Placement.SENSOR, factories.CHANNELS[1:])
    _store(sensor, 1, START, [[1, 2], [20, 21]])
    with open_scope(_scope(of)):
        assert flow.refresh_power(now=START).devices == 1
        assert flow.refresh_power(now=START).devices == 0
        assert DevicePower.objects.get().power_w is None
        assert flow.power_now(now=START) == {}


def test_a_device_that_began_with_a_log_line_is_new_with_its_first_samples() -> None:
    of, _, device = _park()
    with connections["ingest"].cursor() as cursor:
        cursor.execute("UPDATE device_cursor SET committed = 1, produced = 1")
    with open_scope(_scope(of)):
        assert not flow.refresh_power(now=START).newcomers
        rollups.roll_up()
    _store(device, 2, START, _steady(1_800))
    with open_scope(_scope(of)):
        assert flow.refresh_power(now=START + MINUTE).newcomers
        rollups.roll_up()
        assert not flow.refresh_power(now=START + MINUTE).newcomers


def test_a_device_that_catches_up_does_not_wait() -> None:
    of, _, device = _park()
    _store(device, 1, START, _steady(1_800))
    _roll_all(of)
    # The rest of its backlog comes after it was rolled up, then it reports as it always does.
    found = []
    for sequence, minutes in ((2, 60), (3, 61), (4, 62)):
        _store(device, sequence, START + minutes * MINUTE, _steady(1_800))
        with open_scope(_scope(of)):
            found.append(flow.refresh_power(now=START).newcomers)
        _roll_all(of)
    assert found == [True, False, False]


# --- Tasks ------------------------------------------------------------------------------------


def test_the_tasks_go_through_all_tenants() -> None:
    facilities = []
    began = datetime.now(UTC).replace(microsecond=0) - 3 * MINUTE
    for _ in range(2):
        _, at, device = _park()
        facilities.append(at)
        for minute in range(2):
            _store(device, minute + 1, began + minute * MINUTE, _steady(600, minute * 10))
    roll_up()
    refresh_power()
    for at in facilities:
        with open_scope(Scope((at.tenant_id,))):
            row = FacilityNow.objects.get(facility=at)
        assert (row.grid_w, row.home_w, row.coverage) == (600.0, 600.0, 1.0)
        assert row.import_wh is not None
        assert row.day == _local(row.counted_at)
    assert _rows("rollup_dirty") == []


def _local(moment: datetime | None) -> date:
    assert moment is not None
    begin, _ = energy.local_day(zone="Europe/Berlin", now=moment)
    return (begin + timedelta(hours=6)).date()
