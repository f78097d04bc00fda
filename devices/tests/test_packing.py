"""Packing roll-ups: what is read stays the same, to the last bit, whatever is packed and when."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import OperationalError, connection, connections, transaction

from devices import tasks
from devices.domain import packing, rollups, series_stored
from devices.domain.operations import create_facility
from devices.domain.series import read_series
from devices.models import Channel, Device, Facility
from devices.telemetry import rollup_store
from devices.telemetry.periods import Resolution, edges
from devices.telemetry.quarter_reads import Span, read_quarters, series_key
from devices.telemetry.rollup import QUARTER_MS, Quarters
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.series import Periods, put_together
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
QUARTER = timedelta(minutes=15)
# Europe's clocks are set in the middle of it, America's three weeks before.
BEGIN = datetime(2026, 3, 27, tzinfo=UTC)
END = datetime(2026, 4, 3, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC")
NAMES = Quarters.__slots__[2:]

Kept = dict[tuple[int, int], tuple[Any, ...]]  # (channel, start in ms): the rest of the row


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def make_device(zone: str = "Europe/Berlin", of: Tenant | None = None) -> Device:
    of = of or factories.tenant()
    with open_scope(Scope((of.pk,))):
        name = f"Facility {factories.number()}"
        at = create_facility(tenant_id=of.pk, name=name, time_zone=zone, actor_id=None)
        made = factories.device(at).device
        with connection.cursor() as cursor:  # as the roller does with its first frame
            cursor.execute(
                "INSERT INTO rollup_progress (device_id, tenant_id) VALUES (%s, %s)",
                [made.pk, of.pk],
            )
        return made


def scope_of(device: Device) -> Scope:
    return Scope((device.tenant_id,))


def write(device: Device, rows: Kept) -> None:
    """Roll-ups as the roller keeps them, and as it withdraws them (coverage 0)."""
    keys = np.array(list(rows), np.int64)
    columns = [np.array(column) for column in zip(*rows.values(), strict=True)]
    count = len(rows)
    with open_scope(scope_of(device)):
        rollup_store.keep(
            connection,
            Quarters(np.zeros(count, np.int64), keys[:, 1], *columns),
            tenants=np.full(count, device.tenant_id),
            devices=np.full(count, device.pk),
            channels=keys[:, 0],
        )
        starts = sorted({start for _, start in rows})
        rollup_store.mark_facilities(connection, [(device.pk, start) for start in starts])


def _row(draw: random.Random) -> tuple[Any, ...]:
    """A roll-up in the channel's resolution of 0.1, or of a register, or of no reading at all."""
    lasted = draw.choice([900_000, 900_000, 2_000, 873_001])
    coverage = lasted / QUARTER_MS
    if draw.random() < 0.1:
        return (0, np.nan, np.nan, draw.uniform(-9, 9), np.nan, np.nan, 1.5, 0.0, coverage)
    raws = [draw.randrange(-30_000, 30_000) for _ in range(4)]
    whole = draw.randrange(-30_000, 30_000) * lasted
    energy = draw.choice([whole * 1 / 10 / 3_600_000.0, draw.random(), np.nan])
    low, high, first, last = (raw * 1 / 10 for raw in raws)
    mean = whole * 1 / 10 / lasted
    return (450, low, high, mean, first, last, energy, draw.choice([0.0, np.nan]), coverage)


NONE = (0, np.nan, np.nan, 0.0, np.nan, np.nan, np.nan, np.nan, 0.0)


def some_rows(draw: random.Random, since: datetime = BEGIN, until: datetime = END) -> Kept:
    """Roll-ups of two channels over a while, with holes."""
    first = milliseconds(since) // QUARTER_MS + draw.randrange(0, (until - since) // QUARTER - 8)
    last = min(first + draw.choice([1, 8, 200]), milliseconds(until) // QUARTER_MS)
    return {
        (channel, quarter * QUARTER_MS): _row(draw)
        for channel in (0, 1)
        for quarter in range(first, last)
        if draw.random() < 0.9
    }


def _bits(value: float) -> int:
    return int(np.array([value], np.float64).view(np.int64)[0])


def read(device: Device) -> Kept:
    with open_scope(scope_of(device)):
        span = Span(device.pk, milliseconds(BEGIN - DAY), milliseconds(END + DAY))
        found = read_quarters(connection, [span])
    columns = [getattr(found, name).tolist() for name in NAMES]
    keys = zip(
        (found.series - series_key(device.pk, 0)).tolist(), found.starts.tolist(), strict=True
    )
    return dict(zip(keys, zip(*columns, strict=True), strict=True))


def same(found: Kept, expected: Kept) -> bool:
    return list(found) == sorted(expected) and all(
        (row[0], *map(_bits, row[1:])) == (expected[key][0], *map(_bits, expected[key][1:]))
        for key, row in found.items()
    )


def pack(device: Device, before: datetime, limit: int = 100) -> packing.Packed:
    with open_scope(scope_of(device)):
        return packing.pack(before=before, limit=limit)


def _count(table: str, device: Device) -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE device_id = %s", [device.pk])
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _days(device: Device) -> list[tuple[datetime, datetime]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, ends_at FROM rollup_1d WHERE device_id = %s ORDER BY 1", [device.pk]
        )
        return list(cursor.fetchall())


def _expected(rows: Kept, channel: int, resolution: Resolution, zone: str) -> Periods:
    """The periods put together from the quarters by themselves."""
    mine = sorted(key for key in rows if key[0] == channel)
    columns = [np.array(column) for column in zip(*(rows[key] for key in mine), strict=True)]
    starts = np.array([start for _, start in mine], np.int64)
    steps = [Resolution.DAY, Resolution.MONTH] if resolution is Resolution.MONTH else [resolution]
    bounds = milliseconds(BEGIN - DAY), milliseconds(END + DAY)
    chain = [edges(step, *bounds, ZoneInfo(zone)) for step in steps]
    quarters = Quarters(np.zeros(len(starts), np.int64), starts, *columns)
    return put_together(quarters, *chain)


def agree(device: Device, rows: Kept, zone: str) -> None:
    """All that is read of the device is what its quarters say, to the last bit."""
    assert same(read(device), rows)
    for resolution in (Resolution.QUARTER, Resolution.HOUR, Resolution.DAY, Resolution.MONTH):
        with open_scope(scope_of(device)):
            found = read_series(
                channels=[(device.pk, 0), (device.pk, 1)],
                start=BEGIN - DAY,
                end=END + DAY,
                resolution=resolution,
            )
        for channel, series in enumerate(found.channels):
            if not any(key[0] == channel for key in rows):
                assert len(series) == 0
                continue
            expected = _expected(rows, channel, resolution, zone)
            for name in Periods.__slots__:
                column, other = getattr(series.periods, name), getattr(expected, name)
                assert (resolution, name, column.tobytes()) == (resolution, name, other.tobytes())


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_packed_and_when_the_same_is_read(seed: int) -> None:
    """Roll-ups come, change and go, in any order; they are packed up to any quarter of an hour."""
    draw, zone = random.Random(seed), ZONES[seed]
    device = make_device(zone)
    expected: Kept = {}
    for _ in range(14):
        act = draw.random()
        if act < 0.45 or not expected:
            rows = some_rows(draw)
            write(device, rows)
            expected |= rows
        elif act < 0.6:
            gone = draw.sample(sorted(expected), min(len(expected), draw.choice([1, 40])))
            write(device, dict.fromkeys(gone, NONE))
            expected = {key: row for key, row in expected.items() if key not in set(gone)}
        else:
            before = BEGIN + draw.randrange(0, (END - BEGIN) // HOUR * 4 + 1) * timedelta(
                minutes=15
            )
            while pack(device, before).crowded:
                pass
            assert not any(
                key < before for (key,) in _starts(device)
            )  # what began before is no row any more
        agree(device, expected, zone)


def _starts(device: Device) -> list[tuple[datetime]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT starts_at FROM rollup_15m WHERE device_id = %s", [device.pk])
        return list(cursor.fetchall())


def test_days_are_kept_when_they_are_over_and_forgotten_when_a_quarter_changes() -> None:
    draw, device = random.Random(1), make_device("Europe/Berlin")
    rows = {
        (channel, start): _row(draw)
        for channel in (0, 1)
        for start in range(milliseconds(BEGIN), milliseconds(BEGIN + 4 * DAY), QUARTER_MS)
    }
    write(device, rows)
    assert _days(device) == []
    pack(device, BEGIN + 3 * DAY)
    # Local days end at 23:00, and at 22:00 (UTC) since the clocks were set on the 29th.
    local = [BEGIN - HOUR, BEGIN + DAY - HOUR, BEGIN + 2 * DAY - HOUR, BEGIN + 3 * DAY - 2 * HOUR]
    assert _days(device) == [(local[0], local[1]), (local[1], local[2]), (local[2], local[3])]
    agree(device, rows, "Europe/Berlin")
    # A late quarter takes away its own day alone, until it is packed.
    late = {(0, milliseconds(BEGIN + DAY + HOUR)): _row(draw)}
    write(device, late)
    rows |= late
    assert _days(device) == [(local[0], local[1]), (local[2], local[3])]
    agree(device, rows, "Europe/Berlin")
    pack(device, BEGIN + 3 * DAY)
    assert len(_days(device)) == 3
    agree(device, rows, "Europe/Berlin")
    # A day of silence at its end is over nevertheless.
    pack(device, END)
    assert _days(device)[-1] == (local[3] + DAY, local[3] + 2 * DAY)


def test_a_day_of_which_nothing_is_left_is_gone() -> None:
    draw, device = random.Random(1), make_device()
    rows = some_rows(draw)
    write(device, rows)
    pack(device, END)
    assert _count("rollup_packed", device) > 0
    write(device, dict.fromkeys(rows, NONE))
    agree(device, {}, "Europe/Berlin")
    pack(device, END)
    for table in ("rollup_15m", "rollup_packed", "rollup_1d"):
        assert (table, _count(table, device)) == (table, 0)


def _later_days(device: Device) -> list[datetime]:
    """The beginnings of days, but for those that may reach beyond what is packed."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at FROM rollup_1d d WHERE device_id = %s AND starts_at >="
            " (SELECT min(starts_at) FROM rollup_packed WHERE device_id = d.device_id)"
            " + interval '1 day' AND ends_at <= %s",
            [device.pk, END - DAY],
        )
        return [starts_at for (starts_at,) in cursor.fetchall()]


def test_another_calendar_has_other_days() -> None:
    draw, device = random.Random(2), make_device("Europe/Berlin")
    whole = range(milliseconds(BEGIN), milliseconds(END), QUARTER_MS)
    rows = {(0, start): _row(draw) for start in whole} | some_rows(draw)
    write(device, rows)
    pack(device, END)
    before = _days(device)
    Facility.objects.using("owner").filter(pk=device.facility_id).update(
        time_zone="America/New_York"
    )
    agree(device, rows, "America/New_York")  # before any day is counted anew
    with open_scope(scope_of(device)):
        assert packing.recount_days(before=END) == device.pk
        assert packing.recount_days(before=END) is None
    assert _days(device) != before
    assert {start.hour for start in _later_days(device)} == {4}
    agree(device, rows, "America/New_York")
    with open_scope(scope_of(device)):
        at = create_facility(
            tenant_id=device.tenant_id, name="Other", time_zone="Asia/Kathmandu", actor_id=None
        )
    Device.objects.using("owner").filter(pk=device.pk).update(facility_id=at.pk)
    more = some_rows(draw)
    write(device, more)
    pack(device, END)  # days of both calendars never overlap
    spans = _days(device)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    agree(device, rows | more, "Asia/Kathmandu")
    with open_scope(scope_of(device)):
        assert packing.recount_days(before=END) == device.pk
    assert {start.minute for start in _later_days(device)} == {15}
    agree(device, rows | more, "Asia/Kathmandu")


def test_days_are_read_where_they_are_kept() -> None:
    """What is kept is what is read: a quarter that was changed behind its back shows it."""
    draw, device = random.Random(3), make_device("UTC")
    rows = {
        (0, start): _row(draw)
        for start in range(milliseconds(BEGIN), milliseconds(END), QUARTER_MS)
    }
    write(device, rows)
    pack(device, END)
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM rollup_packed WHERE device_id = %s", [device.pk])
    with open_scope(scope_of(device)):
        found = read_series(
            channels=[(device.pk, 0)], start=BEGIN, end=END, resolution=Resolution.DAY
        )
    assert len(found.channels[0]) == 7


def test_days_outlive_their_quarters() -> None:
    """As rules of retention have it: what is kept of days stays, whatever calendar comes."""
    draw, device = random.Random(12), make_device("Europe/Berlin")
    whole = range(milliseconds(BEGIN), milliseconds(BEGIN + 4 * DAY), QUARTER_MS)
    write(device, {(0, start): _row(draw) for start in whole})
    pack(device, BEGIN + 4 * DAY)
    before = _days(device)
    assert len(before) == 4
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM rollup_packed WHERE starts_at < %s", [BEGIN + 3 * DAY])
    Facility.objects.using("owner").filter(pk=device.facility_id).update(
        time_zone="America/New_York"
    )
    late = {(0, milliseconds(BEGIN + 3 * DAY + 12 * HOUR)): _row(draw)}
    write(device, late)  # in the last of these days
    pack(device, BEGIN + 4 * DAY)
    with open_scope(scope_of(device)):
        assert packing.recount_days(before=BEGIN + 4 * DAY) == device.pk
    assert _days(device)[:3] == before[:3]


def test_many_quarters_are_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, device = random.Random(4), make_device()
    rows = some_rows(draw) | some_rows(draw)
    write(device, rows)
    pack(device, BEGIN + 2 * DAY)
    monkeypatch.setattr(series_stored, "AT_ONCE", 100)
    agree(device, rows, "Europe/Berlin")


# --- Facilities -----------------------------------------------------------------------------------


def _sums(device: Device) -> list[tuple[Any, ...]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT * FROM facility_15m WHERE facility_id = %s ORDER BY starts_at",
            [device.facility_id],
        )
        return list(cursor.fetchall())


def _sum(device: Device) -> int:
    with open_scope(scope_of(device)):
        return sum(iter(rollups.sum_facilities, 0))


def test_facilities_have_the_same_sums_when_their_roll_ups_are_packed() -> None:
    draw, device = random.Random(5), make_device()
    with open_scope(scope_of(device)):
        other = factories.device(Facility.objects.get(pk=device.facility_id)).device
    for one in (device, other):
        write(one, some_rows(draw) | some_rows(draw) | some_rows(draw))
    assert _sum(device) > 0
    before = _sums(device)
    assert any(row[3] is not None for row in before)
    pack(device, END - 2 * DAY)
    with open_scope(scope_of(device)):
        rollup_store.mark_device(connection, device.pk)
        rollup_store.mark_device(connection, other.pk)
    assert _sum(device) == len(before)  # packed quarters are marked, and no others
    assert _sums(device) == before


# --- Several at once, the wall, and the task --------------------------------------------------


def _chunks(device: Device) -> None:
    whole = range(milliseconds(BEGIN), milliseconds(END), QUARTER_MS)
    write(device, {(0, start): _row(random.Random(start)) for start in whole})
    pack(device, END)


def test_two_at_once_share_the_devices() -> None:
    of, draw = factories.tenant(), random.Random(6)
    # Chunks are there already: who makes one is waited for.
    _chunks(make_device(of=of))
    devices = [make_device(of=of) for _ in range(4)]
    expected = {device.pk: some_rows(draw) for device in devices}
    for device in devices:
        write(device, expected[device.pk])
    other: list[packing.Packed] = []

    def beside() -> None:
        try:
            other.append(pack(devices[0], END, limit=2))
        finally:
            connection.close()

    with open_scope(scope_of(devices[0])), transaction.atomic():
        first = packing.pack(before=END, limit=2)
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join(30)
    assert [first.last, other[0].last] == [devices[1].pk, devices[3].pk]
    for device in devices:
        assert _count("rollup_15m", device) == 0
        agree(device, expected[device.pk], "Europe/Berlin")


def test_who_reads_beside_meets_each_quarter_once() -> None:
    draw, device = random.Random(7), make_device()
    rows = some_rows(draw) | some_rows(draw)
    write(device, rows)
    found: list[Kept] = []

    def beside() -> None:
        try:
            found.append(read(device))
        finally:
            connection.close()

    with open_scope(scope_of(device)), transaction.atomic():
        assert packing.pack(before=END).quarters == len(rows)
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join(30)
    assert same(found[0], rows)


def test_others_and_narrowed_scopes_pack_and_see_nothing_of_it() -> None:
    of, draw = factories.tenant(), random.Random(8)
    device, beside = make_device(of=of), make_device(of=of)
    stranger = make_device()
    rows = some_rows(draw)
    write(device, rows)
    narrowed = Scope((of.pk,), facility_ids=(beside.facility_id,))
    span = [Span(device.pk, milliseconds(BEGIN), milliseconds(END))]
    for scope in (scope_of(stranger), narrowed):
        with open_scope(scope):
            assert packing.pack(before=END).last is None
    pack(device, END)
    Facility.objects.using("owner").filter(pk=device.facility_id).update(time_zone="UTC")
    for scope in (scope_of(stranger), narrowed):
        with open_scope(scope):
            assert len(read_quarters(connection, span).starts) == 0
            assert packing.recount_days(before=END) is None
            with connection.cursor() as cursor:
                for table in ("rollup_packed", "rollup_1d"):
                    cursor.execute(f"DELETE FROM {table} WHERE device_id = %s", [device.pk])
                    assert (table, cursor.rowcount) == (table, 0)
    assert same(read(device), rows)
    assert _count("rollup_1d", device) > 0


def test_the_task_packs_what_is_over_and_drops_days_of_rows_left_empty() -> None:
    draw, device = random.Random(9), make_device()
    old = some_rows(draw)
    newest = milliseconds(datetime.now(UTC)) // QUARTER_MS * QUARTER_MS
    write(device, old)
    write(device, {(0, newest): _row(draw)})
    assert _count("rollup_15m", device) == len(old) + 1
    tasks.pack_rollups()
    assert _count("rollup_15m", device) == 1
    assert same(read(device), old)
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM timescaledb_information.chunks"
            " WHERE hypertable_name = 'rollup_15m' AND range_end <= %s",
            [END],
        )
        assert cursor.fetchone() == (0,)


def test_pieces_of_four_hours_are_packed_two_hours_after_they_are_over() -> None:
    at = datetime(2026, 3, 29, 5, 59, 59, 999_999, tzinfo=UTC)
    assert packing.packed_before(at) == datetime(2026, 3, 29, tzinfo=UTC)
    assert packing.packed_before(at + timedelta(seconds=1)) == datetime(2026, 3, 29, 4, tzinfo=UTC)


def test_a_channel_that_is_gone_keeps_its_past() -> None:
    draw, device = random.Random(10), make_device()
    rows = some_rows(draw)
    write(device, rows)
    Channel.objects.using("owner").filter(device=device, number=1).delete()
    pack(device, END)
    assert same(read(device), rows)


def test_who_holds_a_device_has_it_alone() -> None:
    """Derived channels are rolled up by who holds their device: not while it is packed."""
    draw, device = random.Random(11), make_device()
    write(device, some_rows(draw))
    refused: list[str] = []

    def beside() -> None:
        try:
            with open_scope(scope_of(device)), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '200ms'")
                rollup_store.hold(connection, [device.pk])
        except OperationalError as error:
            refused.append(str(error))
        finally:
            connection.close()

    with open_scope(scope_of(device)), transaction.atomic():
        assert packing.pack(before=END).last == device.pk
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join(30)
    assert ["lock timeout" in text for text in refused] == [True]
    with open_scope(scope_of(device)):
        rollup_store.hold(connection, [device.pk])
        assert packing.pack(before=END).last is None  # all of it is packed
