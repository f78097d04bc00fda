"""kill -9 of worker, beat, bridge and database during a roll-out: it goes on to its end, no device
is left out, none is updated twice, and no wave begins before the one before it is through.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from devices.tests.crash_spine import PrivateServers, Spine
from devices.tests.ingest_park import rows
from firmware.tests.crash_rollout import DEVICES, SOAK_S

pytestmark = [pytest.mark.crash, pytest.mark.django_db(databases=[])]

MOST_S = 300.0
_CELERY = [sys.executable, "-m", "celery", "--app", "portal", "--quiet"]
_COMMANDS = {
    "worker": [*_CELERY, "worker", "--pool", "solo", "--without-gossip", "--without-mingle"],
    "beat": [*_CELERY, "beat"],
}


@dataclass
class Product:
    """All of the product on servers of its own, with devices that update."""

    spine: Spine
    made: dict[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        ends = self.spine.endpoints
        return {
            **os.environ,
            "DATABASE_URL": ends.database_url,
            "DATABASE_APP_URL": ends.database_app_url,
            "DATABASE_INGEST_URL": ends.database_ingest_url,
            "REDIS_URL": ends.redis_url,
        }

    def launch(self, name: str) -> None:
        """Start a process of the product."""
        if name not in _COMMANDS:
            self.spine.launch(name)
            return
        command = list(_COMMANDS[name])
        if name == "beat":
            command += ["--schedule", str(self.spine.folder / "celery-beat")]
        with (self.spine.folder / f"{name}.log").open("ab") as log:
            self.spine.processes[name] = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def restart(self, *names: str) -> None:
        """kill -9, all at once, and start again."""
        for name in names:
            self.spine.kill(name)
        for name in names:
            self.launch(name)

    def restart_postgres(self) -> None:
        """kill -9 of the database, and start again."""
        self.spine.kill_postgres()
        self.spine.servers.postgres.clear_stale_pid()
        self.spine.servers.postgres.launch()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """What the database holds; waits for one that is just coming back."""
        deadline = time.monotonic() + MOST_S
        while True:
            try:
                with psycopg.connect(self.spine.endpoints.database_url, autocommit=True) as owner:
                    return rows(owner, query)
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.spine.logs()
                time.sleep(0.1)

    def wait_for(self, query: str) -> None:
        """Until the query answers with true."""
        deadline = time.monotonic() + MOST_S
        while self.ask(query) != [(True,)]:
            states = self.ask("SELECT state, count(*) FROM firmware_rollouttarget GROUP BY 1")
            assert time.monotonic() < deadline, f"{query}: {states}\n{self.spine.logs()}"
            time.sleep(0.2)

    def run(self, *arguments: str) -> str:
        """`crash_rollout` in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "firmware.tests.crash_rollout", *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def product(private_servers: Callable[[], PrivateServers], tmp_path: Path) -> Iterator[Product]:
    product = Product(Spine(private_servers(), tmp_path), {})
    try:
        product.made = json.loads(product.run("make"))
        product.launch("writer")
        product.launch("bridge")
        product.spine.wait_ready()
        yield product
    finally:
        product.spine.kill_all()


def test_rollout_survives_the_end_of_every_process(product: Product) -> None:
    fleet = {
        "port": product.spine.port,
        "ca": str(product.spine.certificate[0]),
        "report_s": 2.0,
        "restart_s": 1.0,
        **{name: value for name, value in product.made.items() if name != "rollout"},
    }
    with subprocess.Popen(
        [sys.executable, "-m", "devices.benchmarks.updates"],
        cwd=settings.BASE_DIR,
        env=product.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as devices:
        try:
            assert devices.stdin is not None
            assert devices.stdout is not None
            devices.stdin.write(json.dumps(fleet) + "\n")
            devices.stdin.flush()
            assert devices.stdout.readline() == "ready\n", product.spine.logs()
            product.wait_for(f"SELECT count(*) = {DEVICES} FROM device_link WHERE connected")
            product.launch("worker")
            product.launch("beat")
            product.run("start", str(product.made["rollout"]))
            _kill_everything_in_turn(product)
            told, _nothing = devices.communicate(timeout=60)
        finally:
            devices.kill()
    got = json.loads(told)
    assert (got["confirmed"], got["twice"], got["wrong"], got["unsigned"]) == (DEVICES, 0, 0, 0)
    _check_what_is_stored(product)


def _kill_everything_in_turn(product: Product) -> None:
    """Each at a moment at which something hangs on it."""
    has = "SELECT EXISTS (SELECT FROM firmware_rollouttarget WHERE state {})"
    product.wait_for(has.format("IN ('offered', 'downloading')"))
    product.restart("worker", "beat")
    product.wait_for(has.format("= 'succeeded'"))
    product.restart_postgres()
    product.wait_for("SELECT count(*) > 2 FROM firmware_rollouttarget WHERE state = 'downloading'")
    product.restart("bridge", "worker")
    product.wait_for("SELECT count(*) > 3 FROM firmware_rollouttarget WHERE state = 'succeeded'")
    product.restart("writer", "beat")
    product.wait_for("SELECT ended_at IS NOT NULL FROM firmware_rollout")


def _check_what_is_stored(product: Product) -> None:
    assert product.ask("SELECT state FROM firmware_rollout") == [("completed",)]
    assert product.ask("SELECT state, count(*) FROM firmware_rollouttarget GROUP BY 1") == [
        ("succeeded", DEVICES)
    ]
    assert product.ask("SELECT DISTINCT firmware_version FROM device_link") == [("1.1.0",)]
    once = product.ask(
        "SELECT target_id FROM firmware_updateevent WHERE kind = 'succeeded'"
        " GROUP BY target_id HAVING count(*) = 1"
    )
    assert len(once) == DEVICES
    waves = product.ask(
        "SELECT started_at, updated_at, ended_at FROM firmware_rolloutwave ORDER BY number"
    )
    assert len(waves) == 3
    for (_start, updated, ended), (begun, _updated, _ended) in pairwise(waves):
        assert updated + timedelta(seconds=SOAK_S) <= ended <= begun
