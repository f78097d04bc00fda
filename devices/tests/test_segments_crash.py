"""The roller killed at any moment: nothing lost, nothing doubled, the same segments."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection, connections

from devices.domain import rollups, seals, segments
from devices.ingest.ledger import check
from devices.models import Device
from devices.telemetry import reads, status
from devices.telemetry.segment_codec import decode
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.crash,
    pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"]),
]

START = factories.START
HOUR = timedelta(hours=1)
STEP = timedelta(seconds=30)
LATER = START + 48 * HOUR
ROUNDS = 50
FRAMES_A_ROUND = 12
SAMPLES = 15

Sent = dict[int, dict[int, int]]  # channel: time in ms: raw


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _device() -> Device:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        return factories.device(factories.facility(of)).device


def _store(device: Device, sequence: int, draw: random.Random, sent: Sent) -> None:
    """One frame as the writer commits it: mostly the next one, now and then a late one."""
    place = sequence if draw.random() < 0.8 else draw.randrange(1, sequence + 1)
    started_at = START + place * STEP
    values = [[draw.randrange(-9, 9) for _ in range(SAMPLES)] for _ in range(2)]
    start_ms = int(started_at.timestamp() * 1000)
    ended_at = started_at + timedelta(seconds=2 * (SAMPLES - 1))
    arrived = START + sequence * STEP + timedelta(minutes=1)
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                arrived, device.tenant_id, device.pk, sequence, started_at, ended_at, 2 * SAMPLES,
                factories.frame_body(sequence, start_ms, values),
            ],
        )  # fmt: skip
        cursor.execute(
            "INSERT INTO ledger_hour AS kept (device_id, hour, tenant_id, stored, stored_values)"
            " VALUES (%s, date_trunc('hour', %s::timestamptz), %s, 1, %s)"
            " ON CONFLICT (device_id, hour) DO UPDATE SET stored = kept.stored + 1,"
            " stored_values = kept.stored_values + excluded.stored_values",
            [device.pk, arrived, device.tenant_id, 2 * SAMPLES],
        )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = greatest(last_sample_at, %s) WHERE device_id = %s",
            [sequence, sequence, arrived, ended_at, device.pk],
        )
    for channel, row in enumerate(values):
        times = range(start_ms, start_ms + 2000 * SAMPLES, 2000)
        sent.setdefault(channel, {}).update(zip(times, row, strict=True))


def _work(tenant_id: int) -> None:
    """Roll up and move, in small steps, until nothing is left."""
    frames = 1
    while frames:
        with open_scope(Scope((tenant_id,))):
            frames = rollups.roll_up(limit=1).frames
        with open_scope(Scope((tenant_id,))):
            frames += segments.move(before=LATER).frames
        segments.drop_empty_chunks(before=LATER)


def _killed(tenant_id: int, after_s: float) -> None:
    """A process of its own that works, and is killed."""
    for each in connections.all():
        each.close()
        each.close_pool()  # type: ignore[attr-defined] # of PostgreSQL's wrapper
    child = os.fork()
    if child == 0:
        try:
            _work(tenant_id)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _read(device: Device) -> Sent:
    with open_scope(Scope((device.tenant_id,))):
        found = reads.read_readings(connection, [device.pk], START - HOUR, LATER)
    return {
        channel: dict(
            zip(readings.counting().times.tolist(), readings.counting().raw.tolist(), strict=True)
        )
        for channel, readings in found[device.pk].items()
    }


def _segments(device: Device) -> list[tuple[datetime, bytes]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, body FROM telemetry_segment WHERE device_id = %s ORDER BY 1",
            [device.pk],
        )
        return [(starts_at, bytes(body)) for starts_at, body in cursor.fetchall()]


def test_killed_fifty_times_nothing_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    killed, undisturbed = _device(), _device()
    draw, same, chance = random.Random(4), random.Random(4), random.Random(5)
    sent: Sent = {}
    ignored: Sent = {}
    sequence = interrupted = 0
    monkeypatch.setattr(segments, "MAX_FRAMES", 3)
    monkeypatch.setattr(rollups, "MAX_FRAMES", 5)
    for _ in range(ROUNDS):
        for _ in range(FRAMES_A_ROUND):
            sequence += 1
            _store(killed, sequence, draw, sent)
            _store(undisturbed, sequence, same, ignored)
        _killed(killed.tenant_id, chance.uniform(0.01, 0.25))
        assert _read(killed) == sent
        with open_scope(Scope((killed.tenant_id,))):
            (totals,) = status.balance(connection)
        assert check([totals]) == []
        interrupted += totals.frames > _moved(killed)
    assert interrupted > ROUNDS // 4  # they were killed at work, not after it
    _work(killed.tenant_id)
    monkeypatch.undo()
    _work(undisturbed.tenant_id)
    assert _read(killed) == sent == ignored
    assert _moved(killed) == sequence
    assert _segments(killed) == _segments(undisturbed)
    with open_scope(Scope((killed.tenant_id,))):
        proven = seals.verify(connection, [killed.pk], START.date(), LATER.date())
    assert (proven.segments, proven.differences) == (len(_segments(killed)), ())
    assert all(decode(int(at.timestamp() * 1000), body) for at, body in _segments(killed))


def _moved(device: Device) -> int:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(moved_frames), 0) FROM rollup_progress WHERE device_id = %s",
            [device.pk],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0
