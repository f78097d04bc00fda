"""The telemetry store: its schema, the one way to readings, and the narrow tables beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection, connections

from devices.domain import ledger, rollups, segments
from devices.domain.operations import Registered
from devices.ingest.ledger import check
from devices.models import Device
from devices.protocol.data import Block, encode_data
from devices.tasks import audit_ledger, remove_over
from devices.telemetry import (
    corrected_reads,
    history,
    packed_schema,
    reads,
    rollup_schema,
    schema,
    segment_schema,
    status,
)
from devices.tests import factories
from tenants.scope import NoScope, Scope, open_scope

# Frames are written by another connection than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START
SECOND = timedelta(seconds=1)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _device() -> Registered:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        return factories.device(factories.facility(of))


def _scope(device: Device) -> Scope:
    return Scope((device.tenant_id,))


def _store(
    device: Device,
    sequence: int,
    started_at: datetime,
    values: Sequence[Sequence[int]],
    *,
    received_at: datetime | None = None,
    body: bytes | None = None,
) -> bytes:
    """Write one frame as the writer does; two seconds between samples."""
    ended_at = started_at + 2 * (len(values[0]) - 1) * SECOND
    frame = body or factories.frame_body(sequence, _ms(started_at), [list(v) for v in values])
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                received_at or ended_at,
                device.tenant_id,
                device.pk,
                sequence,
                started_at,
                ended_at,
                len(values) * len(values[0]),
                frame,
            ],
        )
    return frame


def _execute(alias: str, query: str, parameters: Sequence[object] = ()) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(query, list(parameters))  # type: ignore[arg-type]


# --- Schema -----------------------------------------------------------------------------------


def test_hypertables_have_their_chunk_intervals_and_schema() -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT h.table_name, h.associated_schema_name, d.time_interval"
            " FROM _timescaledb_catalog.hypertable h"
            " JOIN timescaledb_information.dimensions d ON d.hypertable_name = h.table_name"
        )
        found = {name: (place, interval) for name, place, interval in cursor.fetchall()}
    expected = {table.name: (schema.CHUNK_SCHEMA, table.chunk) for table in schema.HYPERTABLES}
    expected |= {
        name: (schema.CHUNK_SCHEMA, chunk)
        for name, chunk in rollup_schema.ROLLUP_HYPERTABLES.items()
    }
    expected["telemetry_segment"] = (schema.CHUNK_SCHEMA, segment_schema.SEGMENT_CHUNK)
    expected["rollup_packed"] = (schema.CHUNK_SCHEMA, packed_schema.PACKED_CHUNK)
    expected["rollup_1d"] = (schema.CHUNK_SCHEMA, packed_schema.DAYS_CHUNK)
    assert found == expected
    assert timedelta(hours=1) == schema.FRAME_CHUNK


def test_credentials_hold_the_limits_as_integers_rounded_inwards() -> None:
    made = _device()
    device = made.device
    with open_scope(_scope(device)):
        code = device.device_type.code
        # A resolution that does not divide the limits: 1 V in steps of 0.3 V.
        device.channels.create(
            tenant_id=device.tenant_id,
            number=7,
            key="odd",
            name="Odd",
            quantity="voltage",
            unit="V",
            resolution=Decimal("0.3"),
            minimum=-1,
            maximum=1,
        )
    with connections["ingest"].cursor() as cursor:
        cursor.execute("SELECT * FROM devices_credential WHERE serial = %s", [device.serial])
        names = [column.name for column in cursor.description]
        (row,) = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    assert row == {
        "device_id": device.pk,
        "tenant_id": device.tenant_id,
        "serial": device.serial,
        "secret_sha256": made.secret.sha256,
        "certificate_sha256": None,
        "state": "active",
        "device_type": code,
        "committed": 0,
        "step_ms": 2000,
        "samples": 30,
        "channels": [[0, -200_000, 200_000], [1, 0, 30_000], [7, -3, 3]],
    }


def test_credentials_of_a_device_without_channels_have_an_empty_array() -> None:
    device = _device().device
    with open_scope(_scope(device)):
        device.channels.all().delete()
    with connections["ingest"].cursor() as cursor:
        cursor.execute("SELECT channels FROM devices_credential WHERE device_id = %s", [device.pk])
        assert cursor.fetchone() == ([],)


# --- Frames -----------------------------------------------------------------------------------


def test_frames_come_whole_and_in_the_order_of_device_and_sequence() -> None:
    one, two = _device().device, _device().device
    later = START + 60 * SECOND
    bodies = {
        (two.pk, 1): _store(two, 1, START, [[1, 2]]),
        (one.pk, 2): _store(one, 2, later, [[3, 4]], received_at=START),
        (one.pk, 1): _store(one, 1, START, [[5, 6]], received_at=later),
    }
    with open_scope(Scope((one.tenant_id, two.tenant_id))):
        found = reads.read_frames(connection, [two.pk, one.pk], START, later + SECOND)
    assert [(f.device_id, f.sequence, f.body) for f in found] == [
        (device_id, sequence, bodies[device_id, sequence]) for device_id, sequence in sorted(bodies)
    ]
    assert (found[0].started_at, found[0].ended_at) == (START, START + 2 * SECOND)


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (-10, 0, []),  # the end is exclusive
        (-10, 1, [1]),
        (4, 10, [1]),  # the last sample counts
        (5, 10, []),
        (4, 11, [1, 2]),
        (0, 100, [1, 2]),
    ],
)
def test_frames_are_those_that_touch_the_half_open_period(
    start: int, end: int, found: list[int]
) -> None:
    device = _device().device
    _store(device, 1, START, [[1, 2, 3]])  # samples at 0, 2 and 4 s
    _store(device, 2, START + 10 * SECOND, [[1, 2, 3]])
    with open_scope(_scope(device)):
        frames = reads.read_frames(
            connection, [device.pk], START + start * SECOND, START + end * SECOND
        )
    assert [frame.sequence for frame in frames] == found


def test_frame_that_arrived_days_late_is_found() -> None:
    device = _device().device
    _store(device, 1, START, [[1]], received_at=START + timedelta(days=5))
    with open_scope(_scope(device)):
        assert len(reads.read_frames(connection, [device.pk], START, START + SECOND)) == 1


def test_frame_of_a_clock_within_the_tolerance_is_found() -> None:
    device = _device().device
    _store(device, 1, START, [[1]], received_at=START - schema.CLOCK_TOLERANCE)
    with open_scope(_scope(device)):
        assert len(reads.read_frames(connection, [device.pk], START, START + SECOND)) == 1


def test_chunks_closed_before_the_period_are_left_out() -> None:
    device = _device().device
    hours = 6
    for hour in range(hours):
        _store(device, hour + 1, START + timedelta(hours=hour), [[1]])
    executed: list[str] = []

    def explain(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        if isinstance(sql, str) or "telemetry_frame" not in str(sql):
            return execute(sql, params, many, context)
        with connections["default"].connection.cursor() as cursor:
            cursor.execute(b"EXPLAIN " + sql.as_bytes(cursor), params)
            executed.extend(row[0] for row in cursor.fetchall())
        return execute(sql, params, many, context)

    since = START + timedelta(hours=hours - 1)
    with open_scope(_scope(device)), connection.execute_wrapper(explain):
        found = reads.read_frames(connection, [device.pk], since, since + SECOND)
    assert [frame.sequence for frame in found] == [hours]
    scanned = {word for line in executed for word in line.split() if word.endswith("_chunk")}
    assert len(scanned) == 2  # the hour itself and the one that the tolerance reaches back to


def test_frames_outside_the_scope_do_not_exist() -> None:
    device, other = _device().device, _device().device
    _store(device, 1, START, [[1]])
    with open_scope(_scope(other)):
        assert reads.read_frames(connection, [device.pk], START, START + SECOND) == []
    with pytest.raises(NoScope):
        reads.read_frames(connection, [device.pk], START, START + SECOND)


def test_sequences_come_in_order_with_what_is_committed() -> None:
    device = _device().device
    for sequence in (1, 2, 4, 5):
        _store(device, sequence, START + sequence * SECOND, [[sequence]])
    _execute("ingest", "UPDATE device_cursor SET committed = 5 WHERE device_id = %s", [device.pk])
    with open_scope(_scope(device)):
        found = reads.read_sequences(connection, device.pk, 2, 4)
        since = reads.read_sequences(connection, device.pk, 1, 9, received_since=START + 4 * SECOND)
    assert ([frame.sequence for frame in found.frames], found.committed) == ([2, 4], 5)
    assert [frame.sequence for frame in since.frames] == [4, 5]


def test_sequences_of_a_device_outside_the_scope_are_none() -> None:
    device, other = _device().device, _device().device
    _store(device, 1, START, [[1]])
    with open_scope(_scope(other)):
        found = reads.read_sequences(connection, device.pk, 1, 9)
    assert (found.frames, found.committed) == ((), 0)


# --- Columns ----------------------------------------------------------------------------------


def test_columns_are_scaled_by_the_resolution_without_a_rounding_error() -> None:
    device = _device().device
    _store(device, 1, START, [[2301, -2301, 0], [23005, 23010, 22995]])
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection,
            device.pk,
            {0: Decimal("0.1"), 1: Decimal("0.01")},
            START,
            START + 60 * SECOND,
        )
    times = [_ms(START) + offset for offset in (0, 2000, 4000)]
    assert found[0].times.tolist() == times
    assert found[0].values.tolist() == [230.1, -230.1, 0.0]
    assert found[1].values.tolist() == [230.05, 230.1, 229.95]
    assert (found[0].times.dtype.name, found[0].values.dtype.name) == ("int64", "float64")


def test_columns_hold_the_samples_of_the_half_open_period_only() -> None:
    device = _device().device
    _store(device, 1, START, [[1, 2, 3, 4]])
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection,
            device.pk,
            {0: Decimal(1)},
            START + 2 * SECOND,
            START + 6 * SECOND,
        )
    assert found[0].values.tolist() == [2.0, 3.0]


def test_columns_bounds_between_two_milliseconds_keep_their_meaning() -> None:
    device = _device().device
    _store(device, 1, START, [[1]])
    half = timedelta(microseconds=500)
    with open_scope(_scope(device)):
        after = corrected_reads.read_columns(
            connection, device.pk, {0: Decimal(1)}, START + half, START + SECOND
        )
        before = corrected_reads.read_columns(
            connection, device.pk, {0: Decimal(1)}, START - SECOND, START + half
        )
    assert (len(after[0].times), before[0].values.tolist()) == (0, [1.0])


def test_missing_samples_are_left_out() -> None:
    device = _device().device
    times = _ms(START) + np.arange(3, dtype=np.int64) * 2000
    present = np.array([[True, False, True]])
    body = encode_data(1, [Block(times, (0,), np.array([[10, 0, 30]]), present)])
    _store(device, 1, START, [[10, 0, 30]], body=body)
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection, device.pk, {0: Decimal(1)}, START, START + 60 * SECOND
        )
    assert found[0].times.tolist() == times[[0, 2]].tolist()
    assert found[0].values.tolist() == [10.0, 30.0]


def test_channels_with_their_own_time_axes_keep_them() -> None:
    device = _device().device
    axes = [_ms(START) + np.array(offsets, np.int64) for offsets in ([0, 1000, 2500], [500, 700])]
    body = encode_data(
        1,
        [
            Block(axes[0], (0,), np.array([[1, 2, 3]])),
            Block(axes[1], (1,), np.array([[4, 5]])),
        ],
    )
    _store(device, 1, START, [[1, 2, 3]], body=body)
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection, device.pk, {0: Decimal(1), 1: Decimal(1)}, START, START + 60 * SECOND
        )
    assert [found[number].times.tolist() for number in (0, 1)] == [axis.tolist() for axis in axes]
    assert [found[number].values.tolist() for number in (0, 1)] == [[1, 2, 3], [4, 5]]


def test_columns_are_in_the_order_of_time_after_a_clock_stepped_back() -> None:
    device = _device().device
    _store(device, 1, START + 10 * SECOND, [[3, 4]])
    _store(device, 2, START, [[1, 2]])
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection, device.pk, {0: Decimal(1)}, START, START + 60 * SECOND
        )
    assert found[0].values.tolist() == [1, 2, 3, 4]


def test_channel_that_reported_nothing_has_an_empty_column() -> None:
    device = _device().device
    _store(device, 1, START, [[1]])
    with open_scope(_scope(device)):
        found = corrected_reads.read_columns(
            connection, device.pk, {9: Decimal(1)}, START, START + 60 * SECOND
        )
    assert (len(found[9].times), len(found[9].values)) == (0, 0)


# --- Beside the frames --------------------------------------------------------------------------


def test_log_and_events_come_newest_first() -> None:
    device = _device().device
    for number in range(3):
        at = START + timedelta(days=number)
        key = [at, device.tenant_id, device.pk]
        _execute(
            "ingest",
            "INSERT INTO device_log VALUES (%s, %s, %s, %s, %s, 4, %s)",
            [*key, number + 1, at, f"line {number}"],
        )
        _execute(
            "ingest",
            "INSERT INTO device_event VALUES (%s, %s, %s, NULL, %s, %s, %s)",
            [*key, at, f"kind {number}", json.dumps({"n": number})],
        )
    with open_scope(_scope(device)):
        assert [row.line for row in history.log_page(connection, device.pk, limit=2).items] == [
            "line 2",
            "line 1",
        ]
        events = history.event_page(connection, device.pk, limit=2).items
    assert [(event.kind, event.data) for event in events] == [
        ("kind 2", {"n": 2}),
        ("kind 1", {"n": 1}),
    ]


def test_quarantine_is_listed_for_the_scope_and_for_a_device() -> None:
    one, two = _device().device, _device().device
    for device in (one, two):
        factories.telemetry(device)
    with open_scope(Scope((one.tenant_id, two.tenant_id))):
        everything = status.quarantine(connection, limit=10)
        alone = status.quarantine(connection, limit=10, device_id=one.pk)
    assert [row.device_id for row in everything] == [two.pk, one.pk]
    assert [(row.device_id, row.reason, row.sequence) for row in alone] == [(one.pk, "limit", 2)]


def test_quarantine_expires_after_its_retention() -> None:
    device = _device().device
    now = datetime.now(UTC)
    kept = timedelta(days=90)  # whole days
    for age in (kept + timedelta(days=1), kept - timedelta(minutes=5)):
        _execute(
            "ingest",
            "INSERT INTO telemetry_quarantine (received_at, tenant_id, device_id, reason, message)"
            " VALUES (%s, %s, %s, 'limit', '')",
            [now - age, device.tenant_id, device.pk],
        )
    remove_over()
    with open_scope(_scope(device)):
        left = status.quarantine(connection, limit=10)
    assert [now - row.received_at < kept for row in left] == [True]


# --- Ledger -----------------------------------------------------------------------------------


def test_balance_of_what_the_writer_leaves_is_even() -> None:
    device = _device().device
    factories.telemetry(device)
    with open_scope(_scope(device)):
        (totals,) = status.balance(connection)
    assert (totals.committed, totals.produced, totals.under_way) == (4, 4, 0)
    assert (totals.stored, totals.quarantined, totals.other, totals.frames) == (1, 1, 2, 1)
    assert check([totals]) == []


def test_balance_of_a_new_device_is_zero() -> None:
    device = _device().device
    with open_scope(_scope(device)):
        (totals,) = status.balance(connection, [device.pk])
    assert (totals.sent, totals.frames) == (0, 0)


def test_balance_counts_frames_that_have_become_segments() -> None:
    device = _device().device
    factories.telemetry(device)
    with open_scope(_scope(device)):
        rollups.roll_up()
        segments.move(before=START + timedelta(hours=1))
        (moved,) = status.balance(connection)
    _execute("owner", "UPDATE rollup_progress SET moved_frames = 0")
    with open_scope(_scope(device)):
        (lost,) = status.balance(connection)
    assert (moved.frames, lost.frames) == (1, 0)


def test_audit_makes_an_imbalance_an_event_of_the_device(caplog: pytest.LogCaptureFixture) -> None:
    sound, broken = _device().device, _device().device
    now = datetime.now(UTC)
    for device in (sound, broken):
        _store(device, 1, now, [[1]])
        _execute(
            "ingest",
            "INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, stored_values)"
            " VALUES (%s, date_trunc('hour', %s::timestamptz), %s, 1, 1)",
            [device.pk, now, device.tenant_id],
        )
        _execute(
            "ingest",
            "UPDATE device_cursor SET committed = 1, produced = 1 WHERE device_id = %s",
            [device.pk],
        )
    # A frame that the ledger does not know, and a number that nothing accounts for.
    _store(broken, 2, now, [[1]])
    _execute(
        "ingest",
        "UPDATE device_cursor SET committed = 3, produced = 3 WHERE device_id = %s",
        [broken.pk],
    )

    audit_ledger()

    with open_scope(Scope((sound.tenant_id, broken.tenant_id))):
        assert history.event_page(connection, sound.pk, limit=10).items == ()
        (event,) = history.event_page(connection, broken.pk, limit=10).items
    assert (event.kind, event.sequence) == (ledger.IMBALANCE_EVENT, None)
    assert event.data == {
        "problems": [
            "3 committed, but 1 in the ledger",
            "1 stored in the ledger, but 2 frames",
        ]
    }
    assert caplog.text.count("ledger_imbalance") == 2


def test_a_doubled_frame_does_not_make_up_for_a_lost_one() -> None:
    device = _device().device
    now = datetime.now(UTC)
    for sequence in (1, 1):
        _store(device, sequence, now, [[1]])
    _execute(
        "ingest",
        "INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, stored_values)"
        " VALUES (%s, date_trunc('hour', %s::timestamptz), %s, 2, 2)",
        [device.pk, now, device.tenant_id],
    )
    _execute(
        "ingest",
        "UPDATE device_cursor SET committed = 2, produced = 2 WHERE device_id = %s",
        [device.pk],
    )
    with open_scope(_scope(device)):
        (imbalance,) = check(status.balance(connection))
    assert imbalance.problem == "1 frames with a sequence number that is stored already"


def test_audit_of_a_balanced_park_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    device = _device().device
    factories.telemetry(device)
    audit_ledger(an_argument_of_tomorrow=True)
    assert "ledger_imbalance" not in caplog.text
