"""Imports beside devices that report, and beside each other: what came first stands first."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from devices import tasks
from devices.domain import history_imports, ledger, rollups, seals, segments
from devices.domain.series import read_series
from devices.models import Channel, Device, HistoryImport, HistoryState
from devices.telemetry.periods import Resolution
from devices.tests import factories
from devices.tests.history_world import checked, place, roll, run_to_end, scope
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START
NOW = START + timedelta(days=30)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _readings(serial: str, values: list[str]) -> tuple[bytes, dict[str, object]]:
    heading = f"{serial} voltage (V)"
    rows = [
        f"{(START + timedelta(seconds=2 * n)).isoformat()},{value}"
        for n, value in enumerate(values)
    ]
    mapping: dict[str, object] = {
        "time": "time",
        "stamp": "instant",
        "values": [{"column": heading}],
    }
    return ("time," + heading + "\n" + "\n".join(rows)).encode(), mapping


def _values(channel: Channel, as_of: datetime | None = None) -> list[float]:
    found = read_series(
        channels=[channel.pk],
        start=START,
        end=START + timedelta(hours=1),
        resolution=Resolution.RAW,
        as_of=as_of,
    )
    curve = found.channels[0].curve
    assert curve is not None
    values: list[float] = curve.values.tolist()
    return values


def test_frames_that_came_before_an_import_are_waited_for_and_stand_before_it() -> None:
    at = place()
    with open_scope(scope(at)):
        device = factories.device(at).device
        channel = device.channels.get(key="voltage")
    factories.telemetry(device)  # 230.00 and 230.10 V at START
    content, mapping = _readings(device.serial, ["230.00", "231.00", "232.00"])
    run = checked(at, content, mapping=mapping, now=NOW)
    with open_scope(scope(at)):
        history_imports.start(run_id=run.pk, now=NOW, actor_id=None)
        prepared = history_imports.open_run(run.pk)
        assert prepared is not None
        step = history_imports.advance(run_id=run.pk, prepared=prepared, now=NOW)
        assert step.waits
        assert step.part_id is not None
        last = history_imports.advance(
            run_id=run.pk, prepared=prepared, now=NOW, after=step.part_id
        )
        assert last.part_id is None
        assert HistoryImport.objects.get(pk=run.pk).state == HistoryState.RUNNING
        rollups.roll_up()
        segments.move(before=NOW)
        history_imports.advance(run_id=run.pk, prepared=prepared, now=NOW)
        history_imports.advance(run_id=run.pk, prepared=prepared, now=NOW)
        assert HistoryImport.objects.get(pk=run.pk).state == HistoryState.FINISHED
        assert history_imports.totals(run) == {"new": 1, "changed": 1, "same": 1}
        assert _values(channel) == [230.0, 231.0, 232.0]
        assert _values(channel, NOW - timedelta(days=1)) == [230.0, 230.1]
        assert ledger.audit(now=NOW) == ()
    roll(at)


def test_two_workers_store_each_part_once() -> None:
    at = place("Australia/Brisbane")
    days = "".join(
        f"300,2026{month:02}10,{','.join(['1'] * 48)},A,,,20260301000000,\r\n"
        for month in (1, 2, 3)
    )
    content = f"100,NEM12,202601010000,A,B\r\n200,NMI1,E1,E1,E1,N1,S1,kWh,30,\r\n{days}900\r\n"
    run = checked(at, content.encode(), now=NOW)
    with open_scope(scope(at)):
        history_imports.start(run_id=run.pk, now=NOW, actor_id=None)
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            with open_scope(scope(at)):
                prepared = history_imports.open_run(run.pk)
            assert prepared is not None
            barrier.wait()
            done = False
            while not done:
                with open_scope(scope(at)):
                    history_imports.advance(run_id=run.pk, prepared=prepared, now=NOW)
                with open_scope(scope(at)):
                    state = HistoryImport.objects.get(pk=run.pk).state
                    done = state == HistoryState.FINISHED
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    with open_scope(scope(at)):
        assert history_imports.totals(run) == {"new": 144, "changed": 0, "same": 0}
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*), sum(value_count) FROM telemetry_segment")
            assert cursor.fetchone() == (72, 144)


def test_import_of_a_park_is_rolled_up_with_what_devices_report() -> None:
    at = place()
    with open_scope(scope(at)):
        device = factories.device(at).device
        channel = device.channels.get(key="voltage")
    content, mapping = _readings(device.serial, ["230.00", "231.00", "232.00"])
    run_to_end(at, checked(at, content, mapping=mapping, now=NOW), now=NOW)
    roll(at)
    with open_scope(scope(at)):
        quarters = (
            read_series(
                channels=[channel.pk],
                start=START.astimezone(UTC),
                end=START + timedelta(hours=1),
                resolution=Resolution.QUARTER,
            )
            .channels[0]
            .periods
        )
    assert quarters is not None
    assert (quarters.n.tolist(), quarters.mean.tolist()) == ([3], [231.0])


def test_command_stores_a_file_and_says_what_it_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = place("Australia/Brisbane")
    path = tmp_path / "file.csv"
    path.write_text(
        "100,NEM12,202601010000,A,B\r\n200,NMI1,E1,E1,E1,N1,S1,kWh,30,\r\n"
        f"300,20260110,{','.join(['1'] * 48)},A,,,20260301000000,\r\n900\r\n"
    )
    where = ["--tenant", at.tenant.slug, "--facility", at.name]
    call_command("import_meter_file", str(path), *where, "--dry-run")
    told = capsys.readouterr().out
    assert "NMI1 E1 S1: 48 values, total 48000 Wh → NMI1 e1\n" in told
    assert "NMI1: 48 new, 0 changed, 0 same\n" in told
    with open_scope(scope(at)):
        assert HistoryImport.objects.count() == 0
    for expected in ({"new": 48, "changed": 0, "same": 0}, {"new": 0, "changed": 0, "same": 48}):
        call_command("import_meter_file", str(path), *where, "--json")
        answer: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert answer == {"import": answer["import"], "state": "finished", **expected}
    for arguments, sentence in (
        ((str(path), "--tenant", "nobody"), "there is no tenant nobody"),
        ((str(path), "--tenant", at.tenant.slug, "--facility", "x"), "there is no facility named"),
        ((str(tmp_path / "none"), *where), "cannot be read"),
        ((str(path), *where, "--serial", "x"), "must be METER=SERIAL"),
        ((str(path), *where, "--leave-out", "NMI1"), "Nothing in the file can be stored"),
        ((str(path), *where, "--mapping", str(path)), "is no mapping"),
    ):
        with pytest.raises(CommandError, match=re.escape(sentence)):
            call_command("import_meter_file", *arguments)


KILLED = """
import sys
import django
django.setup()
from django.db import connections
from devices import tasks
tasks.import_history(tenant_id=int(sys.argv[1]), run_id=int(sys.argv[2]))
"""


def _days(count: int) -> bytes:
    start = datetime(2016, 1, 1, tzinfo=UTC)
    values = ",".join(["1"] * 48)
    rows = "".join(
        f"300,{start + timedelta(days=31 * n):%Y%m%d},{values},A,,,20260301000000,\r\n"
        for n in range(count)
    )
    head = "100,NEM12,202601010000,A,B\r\n200,NMI1,E1,E1,E1,N1,S1,kWh,30,\r\n"
    return f"{head}{rows}900\r\n".encode()


@pytest.mark.crash
def test_import_whose_worker_is_killed_goes_on_and_stores_every_part_once() -> None:
    at = place("Australia/Brisbane")
    count = 110
    run = checked(at, _days(count), now=NOW)
    with open_scope(scope(at)):
        history_imports.start(run_id=run.pk, now=NOW, actor_id=None)
        parts = run.parts.count()
    connections["default"].close()
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(at.tenant_id), str(run.pk)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"},
    )
    try:
        for _ in range(1200):
            with open_scope(scope(at)):
                done = run.parts.filter(done_at__isnull=False).count()
            if done >= 3 or worker.poll() is not None:
                break
            time.sleep(0.01)
    finally:
        worker.kill()
        worker.wait()
    assert 3 <= done < parts
    for _ in range(2):
        tasks.import_history(tenant_id=at.tenant_id, run_id=run.pk)
    with open_scope(scope(at)):
        run.refresh_from_db()
        assert run.state == HistoryState.FINISHED
        assert history_imports.totals(run) == {"new": 48 * count, "changed": 0, "same": 0}
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*), sum(value_count) FROM telemetry_segment")
            assert cursor.fetchone() == (24 * count, 48 * count)
        device = Device.objects.get(serial="NMI1")
        found = seals.verify(connection, [device.pk], date(2015, 12, 31), date(2026, 1, 1))
        assert (found.segments, found.differences) == (24 * count, ())
