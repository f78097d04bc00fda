"""Moving stored frames into segments: nothing lost, nothing doubled, whatever happens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, connections, transaction

from devices import tasks
from devices.domain import rollups, segments
from devices.domain.operations import Registered
from devices.models import Device
from devices.telemetry import corrected_reads, latest, reads, segment_store
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.segment_codec import decode
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

# Frames are written by another connection than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _device(of: Tenant | None = None) -> Device:
    of = of or factories.tenant()
    with open_scope(Scope((of.pk,))):
        made: Registered = factories.device(factories.facility(of))
    return made.device


def _scope(device: Device) -> Scope:
    return Scope((device.tenant_id,))


def _store(
    device: Device,
    sequence: int,
    started_at: datetime,
    values: Sequence[Sequence[int]],
    *,
    received_at: datetime | None = None,
) -> None:
    """Write one frame as the writer does; two seconds between samples."""
    ended_at = started_at + 2 * (len(values[0]) - 1) * SECOND
    arrived = received_at or ended_at
    body = factories.frame_body(sequence, _ms(started_at), [list(v) for v in values])
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                arrived, device.tenant_id, device.pk, sequence, started_at, ended_at,
                len(values) * len(values[0]), body,
            ],
        )  # fmt: skip
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [sequence, sequence, arrived, ended_at, device.pk],
        )


def _roll(device: Device) -> None:
    with open_scope(_scope(device)):
        rollups.roll_up()


def _move(device: Device, before: datetime = START + 24 * HOUR) -> segments.Moved:
    with open_scope(_scope(device)):
        return segments.move(before=before)


def _segments(device: Device) -> dict[int, dict[int, Readings]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, body FROM telemetry_segment WHERE device_id = %s ORDER BY 1",
            [device.pk],
        )
        return {_ms(at): decode(_ms(at), bytes(body)) for at, body in cursor.fetchall()}


def _bodies(device: Device) -> list[bytes]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT body FROM telemetry_segment WHERE device_id = %s ORDER BY starts_at",
            [device.pk],
        )
        return [bytes(body) for (body,) in cursor.fetchall()]


def _one(table: str, column: str, device: Device) -> object:
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {table} WHERE device_id = %s", [device.pk])
        row = cursor.fetchone()
        return row and row[0]


def _frames(device: Device) -> object:
    return _one("telemetry_frame", "count(*)", device)


def test_frames_move_into_the_hours_in_which_they_were_measured() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2, 3], [7, 8, 9]])
    _store(device, 2, START + HOUR - 2 * SECOND, [[4, 5], [10, 11]])
    _roll(device)
    moved = _move(device)
    assert (moved.frames, moved.segments, moved.crowded) == (2, 2, False)
    assert _frames(device) == 0
    found = _segments(device)
    start = _ms(START)
    assert {hour: sorted(channels) for hour, channels in found.items()} == {
        start: [0, 1],
        start + HOUR_MS: [0, 1],
    }
    assert found[start][0].raw.tolist() == [1, 2, 3, 4]
    assert found[start][1].times.tolist() == [start, start + 2000, start + 4000, start + 3598000]
    assert found[start + HOUR_MS][1].raw.tolist() == [11]
    assert _one("rollup_progress", "moved_frames", device) == 2
    assert _one("rollup_progress", "moved_values", device) == 10
    assert _one("telemetry_latest", "raws", device) == [5, 11]


def test_what_is_not_rolled_up_or_has_just_come_stays() -> None:
    device = _device()
    _store(device, 1, START, [[1], [7]])
    _roll(device)
    _store(device, 2, START + 2 * SECOND, [[2], [8]])  # not rolled up
    assert _move(device).frames == 1
    assert _frames(device) == 1
    _roll(device)
    assert _move(device, before=START).frames == 0  # not old
    assert _move(device).frames == 1
    assert _frames(device) == 0


def test_an_hour_of_arrival_is_closed_an_hour_after_its_end() -> None:
    assert segments.closed_before(START + HOUR) == START
    assert segments.closed_before(START + HOUR - SECOND) == START - HOUR


def test_late_frames_merge_into_a_segment_that_is_there() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2], [7, 8]])
    _roll(device)
    _move(device)
    before = _bodies(device)
    # An hour late: one sample again, one otherwise, one that was missing.
    _store(device, 2, START, [[1, 5, 6], [7, 8, 9]], received_at=START + HOUR)
    _roll(device)
    assert _move(device).segments == 1
    (hour,) = _segments(device).values()
    assert hour[0].raw.tolist() == [1, 2, 5, 6]
    assert hour[0].counting().raw.tolist() == [1, 5, 6]
    assert hour[0].counting(as_of=int((START + HOUR).timestamp()) - 1).raw.tolist() == [1, 2]
    assert hour[1].raw.tolist() == [7, 8, 9]
    assert _bodies(device) != before
    assert _move(device).frames == 0
    assert _one("telemetry_latest", "raws", device) == [6, 9]


def test_steps_of_any_size_give_the_same_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = _device(), _device()
    for sequence in range(1, 20):
        values = [[sequence * 7 % 5, sequence], [sequence, 3]]
        for device in (whole, parts):
            _store(device, sequence, START + (sequence % 4) * 1500 * SECOND, values)
    _roll(whole)
    _move(whole)
    monkeypatch.setattr(segments, "MAX_FRAMES", 3)
    _roll(parts)
    assert _move(parts).crowded
    while _move(parts).frames:
        pass
    assert _frames(parts) == 0
    assert len(_bodies(parts)) > 1
    assert _bodies(parts) == _bodies(whole)


def test_devices_are_moved_in_groups_until_none_is_left() -> None:
    of = factories.tenant()
    devices = [_device(of) for _ in range(3)]
    for device in devices:
        _store(device, 1, START, [[1], [7]])
    _roll(devices[0])
    with open_scope(_scope(devices[0])):
        first = segments.move(before=START + HOUR, limit=2)
        second = segments.move(before=START + HOUR, after=first.last or 0, limit=2)
        third = segments.move(before=START + HOUR, after=second.last or 0, limit=2)
    assert [first.frames, second.frames, third.last] == [2, 1, None]


def test_a_backlog_of_many_devices_is_moved_in_bounded_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step ends with the frame that fills it, in whatever device that is."""
    of = factories.tenant()
    devices = [_device(of) for _ in range(3)]
    for device in devices:
        for sequence in range(1, 6):
            _store(device, sequence, START + sequence * 4 * SECOND, [[sequence, 2], [7, 8]])
    _roll(devices[0])
    monkeypatch.setattr(segments, "MAX_VALUES", 28)  # seven frames
    steps = []
    after = 0
    while True:
        with open_scope(_scope(devices[0])):
            moved = segments.move(before=START + HOUR, after=after)
        if moved.last is None:
            break
        steps.append((moved.frames, moved.crowded, moved.last))
        after = moved.last
    ids = [device.pk for device in devices]
    assert steps == [(7, True, ids[1]), (5, False, ids[2])]
    tasks.move_to_segments()
    assert [_frames(device) for device in devices] == [0, 0, 0]
    assert len({body for device in devices for body in _bodies(device)}) == 1


def test_clocks_of_bridges_that_differ_do_not_change_which_reading_counts() -> None:
    """The second of two frames seemed to arrive first, and so to be old first."""
    device = _device()
    _store(device, 1, START, [[1], [7]], received_at=START + HOUR)
    _store(device, 2, START, [[2], [8]], received_at=START + HOUR - SECOND)
    _roll(device)
    assert _move(device, before=START + HOUR).frames == 2
    assert _move(device).frames == 0
    (hour,) = _segments(device).values()
    assert [hour[0].counting().raw.tolist(), hour[1].counting().raw.tolist()] == [[2], [8]]


def test_two_at_once_move_each_frame_once() -> None:
    of = factories.tenant()
    segments.prepare_chunks(now=START)  # who makes one holds up the others
    devices = [_device(of) for _ in range(4)]
    for device in devices:
        _store(device, 1, START, [[1], [7]])
    _roll(devices[0])
    other: list[segments.Moved] = []

    def beside() -> None:
        try:
            other.append(_move(devices[0]))
        finally:
            connection.close()

    with open_scope(_scope(devices[0])), transaction.atomic():
        first = segments.move(before=START + HOUR, limit=2)
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join(30)
    assert (first.frames, other[0].frames) == (2, 2)
    assert [len(_segments(device)) for device in devices] == [1, 1, 1, 1]


def test_chunks_are_made_before_they_are_needed() -> None:
    """Two who write the first rows of a week at once do not wait for each other."""
    week = START.replace(year=2001)  # of which nobody else has anything
    assert segments.prepare_chunks(now=week) == 4
    assert segments.prepare_chunks(now=week) == 0
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM telemetry_segment WHERE device_id = 0)")
        assert cursor.fetchone() == (0,)
    mine, others = _device(), _device()
    with open_scope(_scope(mine)), connection.cursor() as cursor:
        segment_store.keep(connection, [factories.segment(mine, week, {0: [1]})])
        with transaction.atomic("owner"), connections["owner"].cursor() as beside:
            beside.execute("SET LOCAL lock_timeout = '2s'")
            beside.execute(
                "INSERT INTO telemetry_segment VALUES (%s, %s, %s, 1, '')",
                [week + timedelta(days=7), others.tenant_id, others.pk],
            )


def test_a_step_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _device()
    _store(device, 1, START, [[1], [7]])
    _roll(device)

    def another(*arguments: object, **options: object) -> list[segment_store.OldFrame]:
        frames = found(*arguments, **options)  # type: ignore[arg-type]
        return [*frames, frames[-1]]  # one more than there is

    found = segment_store.old_frames
    monkeypatch.setattr(segment_store, "old_frames", another)
    with pytest.raises(segment_store.NotMovedError, match="1 frames were deleted where 2"):
        _move(device)
    assert _frames(device) == 1
    assert _segments(device) == {}


def test_empty_chunks_are_dropped_and_no_other() -> None:
    device = _device()
    _store(device, 1, START, [[1], [7]])
    _store(device, 2, START + 3 * HOUR, [[2], [8]])
    _roll(device)

    def chunks() -> int:
        with connections["owner"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM show_chunks('telemetry_frame')")
            return int(cursor.fetchone()[0])

    def drop() -> int:
        return segments.drop_empty_chunks(before=START + 24 * HOUR)

    drop()
    held = chunks()
    _move(device, before=START + HOUR)
    assert drop() == 1
    assert chunks() == held - 1
    assert _frames(device) == 1
    # A late frame that arrived in a dropped hour makes its chunk anew.
    _store(device, 3, START + 30 * SECOND, [[3], [9]])
    assert _frames(device) == 2


def test_a_chunk_that_is_written_to_is_left_alone() -> None:
    device = _device()
    _store(device, 1, START, [[1], [7]])
    _roll(device)
    _move(device)
    with transaction.atomic("ingest"):
        _store(device, 2, START + 2 * SECOND, [[2], [8]])  # not committed yet
        assert segments.drop_empty_chunks(before=START + 24 * HOUR) == 0
    assert _frames(device) == 1


def test_segments_of_others_are_behind_the_wall() -> None:
    mine, others = _device(), _device()
    for device in (mine, others):
        _store(device, 1, START, [[1], [7]])
        _roll(device)
        _move(device)
    with open_scope(_scope(mine)), connection.cursor() as cursor:
        for table in ("telemetry_segment", "telemetry_latest"):
            cursor.execute(f"SELECT device_id FROM {table}")
            assert cursor.fetchall() == [(mine.pk,)]
        with pytest.raises(Exception, match="row-level security"), transaction.atomic():
            cursor.execute(
                "INSERT INTO telemetry_segment VALUES (%s, %s, %s, 1, '')",
                [START, others.tenant_id, others.pk],
            )


def test_reading_is_the_same_before_and_after_the_move() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2, 3], [7, 8, 9]])
    _store(device, 2, START + HOUR - 2 * SECOND, [[4, 5], [10, 11]])
    _store(device, 3, START + 2 * SECOND, [[6], [9]], received_at=START + 2 * HOUR)

    def read() -> list[tuple[list[int], list[int], list[int]]]:
        window = (START + 2 * SECOND, START + HOUR + SECOND)
        with open_scope(_scope(device)):
            found = reads.read_readings(connection, [device.pk], *window)
        return [
            (readings.times.tolist(), readings.known.tolist(), readings.raw.tolist())
            for readings in found[device.pk].values()
        ]

    before = read()
    assert [raws for _, _, raws in before] == [[2, 6, 3, 4, 5], [8, 9, 9, 10, 11]]
    _roll(device)
    _move(device, before=START + HOUR)  # a part of them
    assert (_frames(device), read()) == (2, before)
    _move(device)
    assert (_frames(device), read()) == (0, before)


def test_each_device_is_asked_for_channels_of_its_own() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2], [7, 8]])
    _roll(device)
    _move(device, before=START + HOUR)
    _store(device, 2, START + 2 * SECOND, [[3, 4], [9, 10]], received_at=START + HOUR)

    def read(numbers: list[int], *, arrivals: bool) -> dict[int, tuple[list[int], list[int]]]:
        with open_scope(_scope(device)):
            found = reads.read_readings(
                connection,
                [device.pk],
                START,
                START + HOUR,
                channels_of={device.pk: numbers},
                arrivals=arrivals,
            )
        return {
            number: (readings.raw.tolist(), readings.known.tolist())
            for number, readings in found.get(device.pk, {}).items()
        }

    first, late = (int(at.timestamp()) for at in (START + 2 * SECOND, START + HOUR))
    assert read([1], arrivals=True) == {1: ([7, 8, 9, 10], [first, first, late, late])}
    assert read([0], arrivals=False) == {0: ([1, 2, 3, 4], [0, 0, 0, 0])}
    assert read([], arrivals=True) == {}


def test_as_of_reads_what_had_arrived() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2], [7, 8]])
    _store(device, 2, START, [[3], [9]], received_at=START + HOUR)

    def read(as_of: datetime | None) -> list[float]:
        window = (START, START + HOUR)
        with open_scope(_scope(device)):
            found = corrected_reads.read_columns(
                connection, device.pk, {0: Decimal("0.1")}, *window, as_of=as_of
            )
        return [float(value) for value in found[0].values]

    for _ in range(2):
        assert read(None) == [0.3, 0.2]
        assert read(START + HOUR) == [0.3, 0.2]
        assert read(START + HOUR - SECOND) == [0.1, 0.2]
        assert read(START) == []
        _roll(device)
        _move(device)


def test_the_task_moves_what_is_old_and_drops_the_chunks() -> None:
    devices = [_device(), _device()]
    now = datetime.now(UTC)
    for device in devices:
        _store(device, 1, START, [[1, 2], [7, 8]])
        _store(device, 2, now, [[3], [9]])
    tasks.roll_up()
    tasks.move_to_segments()
    assert [_frames(device) for device in devices] == [1, 1]
    assert [len(_segments(device)) for device in devices] == [1, 1]
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM show_chunks('telemetry_frame', older_than => %s)",
            [now - 3 * HOUR],
        )
        assert cursor.fetchone() == (0,)


def test_the_last_readings_are_found_after_the_move() -> None:
    device = _device()
    _store(device, 1, START, [[1, 2], [7, 8]])
    _store(device, 2, START + 10 * SECOND, [[3]])  # of the first channel alone

    def read() -> dict[int, latest.LastReading]:
        with open_scope(_scope(device)):
            (told,) = latest.reported(connection, "device", device.pk)
            found = latest.last_readings(connection, {device.pk: [0, 1]})
        assert dict(told.readings) == found[device.pk]
        return found[device.pk]

    expected = {
        0: latest.LastReading(_ms(START) + 10_000, 3),
        1: latest.LastReading(_ms(START) + 2_000, 8),
    }
    assert read() == expected
    _roll(device)
    _move(device)
    assert read() == expected
    _store(device, 3, START + 12 * SECOND, [[4]])
    assert read() == {**expected, 0: latest.LastReading(_ms(START) + 12_000, 4)}


def _quarters(device: Device) -> list[object]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, channel, n, minimum, maximum, mean, first, last, energy_wh,"
            " returned_wh, coverage FROM rollup_15m WHERE device_id = %s ORDER BY 1, 2",
            [device.pk],
        )
        return list(cursor.fetchall())


def test_late_frames_are_rolled_up_with_what_has_moved() -> None:
    """The roll-ups of a device whose frames had moved before the last came equal those of one whose
    frames were all there.
    """
    moved, whole = _device(), _device()
    for device in (moved, whole):
        for sequence in range(1, 31):
            values = [[sequence * 37 % 91, sequence * 53 % 97], [7, 8]]
            _store(device, sequence, START + sequence * 4 * SECOND, values)
    _roll(moved)
    _move(moved)
    for device in (moved, whole):
        _store(device, 31, START + 30 * SECOND, [[500, 501], [9, 9]], received_at=START + HOUR)
        _store(device, 32, START + 124 * SECOND, [[7, 6], [9, 9]], received_at=START + HOUR)
        _roll(device)
    assert _frames(moved) == 2
    assert _quarters(moved) == _quarters(whole)
    _move(moved)
    assert _frames(moved) == 0
    # Everything once more, from segments alone.
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE rollup_15m SET mean = 0 WHERE device_id = %s", [moved.pk])
    _store(moved, 33, START + 4 * SECOND, [[37], [7]], received_at=START + 2 * HOUR)
    _roll(moved)
    assert _quarters(moved) == _quarters(whole)
