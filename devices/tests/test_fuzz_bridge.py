"""Fuzzing for half a minute (`WATTLINE_FUZZ_SECONDS`): the bridge lives on, small, and healthy
devices notice nothing. `manage.py bench fuzz` does the same for longer."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from redis import Redis

from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.fuzz import HOSTILE, MAX_GROWTH_MB, PAYLOAD, fuzz
from devices.ingest import heartbeat
from devices.ingest.artifacts import stage
from devices.ingest.writer import Writer
from devices.tests.bridge_devices import WAIT_S, Servers
from devices.tests.ingest_park import Owner, ParkDevice, imbalances, make_park, rows

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"]),
    pytest.mark.serial,
]

SECONDS = float(os.environ.get("WATTLINE_FUZZ_SECONDS", "30"))
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bridge(
    redis: Redis, certificate: tuple[Path, Path], tmp_path: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A bridge in a process of its own, whose memory can be measured, and its port."""
    log = tmp_path / "bridge.log"
    options = ["--port", "0", "--certificate", str(certificate[0]), "--key", str(certificate[1])]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_bridge", *options],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + WAIT_S
        while not (ready := [line for line in log.read_text().split() if "127.0.0.1:" in line]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process, int(ready[0].rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0, log.read_text()[-4_000:]


def test_fuzzing_harms_nobody_but_who_does_it(
    bridge: tuple[subprocess.Popen[bytes], int],
    certificate: tuple[Path, Path],
    owner: Owner,
    redis: Redis,
    servers: Servers,
    writer: Writer,
) -> None:
    process, port = bridge
    hostile = make_park(owner, HOSTILE, 8)
    healthy = make_park(owner, 10, 8)
    stage(redis, hashlib.sha256(PAYLOAD).digest(), PAYLOAD, 3_600)
    result = uvloop.run(
        fuzz(
            port=port,
            ca=str(certificate[0]),
            bridge_pid=process.pid,
            hostile=_fleet(hostile),
            healthy=_fleet(healthy),
            seconds=SECONDS,
            seed=1,
            redis_url=servers.redis_url,
            hostile_ids=[device.device_id for device in hostile],
        )
    )
    assert process.poll() is None
    (beat,) = (beat for beat in heartbeat.alive(redis) if beat.name == "bridge")
    assert beat.pid == process.pid
    fleet = result.healthy
    assert (fleet.refused, fleet.lost, fleet.rewinds) == (0, 0, 0)
    stored = rows(
        owner,
        "SELECT count(*), count(DISTINCT (device_id, sequence)) FROM telemetry_frame"
        " WHERE device_id = ANY(%s)",
        [device.device_id for device in healthy],
    )
    assert stored == [(fleet.sent, fleet.sent)]
    assert fleet.sent == fleet.acknowledged >= SECONDS * len(healthy) * 0.9
    assert imbalances(owner) == []
    assert result.rss_max_mb - result.rss_start_mb <= MAX_GROWTH_MB
    # The attack was one: every kind of answer was wrung from the bridge.
    assert result.attack.answers.keys() >= {"malformed", "checksum", "too_long", "unsupported"}
    assert beat.counters["chunks"] > 0


def _fleet(park: list[ParkDevice]) -> list[FleetDevice]:
    return [FleetDevice(one.serial, one.secret.hex(), one.device_type) for one in park]
