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
from contextlib import contextmanager
from dataclasses import dataclass, field
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
_CONNECTED = "SELECT count(*) = {} FROM device_link WHERE connected"
_CELERY = [sys.executable, "-m", "celery", "--app", "portal", "--quiet"]
_COMMANDS = {
    "worker": [*_CELERY, "worker", "--pool", "solo", "--without-gossip", "--without-mingle"],
    "beat": [*_CELERY, "beat"],
}


@dataclass
class Product:
    """All of the product on servers of its own, with devices that update."""

    spine: Spine
    script: str
    made: dict[str, Any] = field(default_factory=dict)

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
        """The script in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-m", f"firmware.tests.{self.script}", *arguments],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def products(
    private_servers: Callable[[], PrivateServers], tmp_path: Path
) -> Iterator[Callable[[str], Product]]:
    """Starts a product with what a script makes."""
    product = Product(Spine(private_servers(), tmp_path), "")

    def start(script: str) -> Product:
        product.script = script
        product.made = json.loads(product.run("make"))
        product.launch("writer")
        product.launch("bridge")
        product.spine.wait_ready()
        return product

    try:
        yield start
    finally:
        product.spine.kill_all()


@contextmanager
def _devices(product: Product) -> Iterator[Callable[[], dict[str, Any]]]:
    """The devices run, all connected; the answer tells what they have done, and ends them."""
    fleet = {
        "port": product.spine.port,
        "ca": str(product.spine.certificate[0]),
        "report_s": 2.0,
        "restart_s": 1.0,
        **{name: value for name, value in product.made.items() if name != "rollout"},
    }

    def told() -> dict[str, Any]:
        output, _nothing = devices.communicate(timeout=60)
        found: dict[str, Any] = json.loads(output)
        return found

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
            product.wait_for(_CONNECTED.format(len(fleet["devices"])))
            yield told
        finally:
            devices.kill()


def test_rollout_survives_the_end_of_every_process(
    products: Callable[[str], Product],
) -> None:
    product = products("crash_rollout")
    with _devices(product) as told:
        product.launch("worker")
        product.launch("beat")
        product.run("start", str(product.made["rollout"]))
        _kill_everything_in_turn(product)
        got = told()
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


def test_no_wave_begins_on_stale_numbers_whatever_is_killed(
    products: Callable[[str], Product],
) -> None:
    product = products("crash_gate")
    others = len(product.made["devices"])
    with _devices(product) as told:
        product.launch("worker")
        product.launch("beat")
        # The gate said yes before the soak was over, and roll-ups lag since: that is no evidence.
        _wait_until_asked(product)
        product.restart("worker", "bridge")
        product.restart_postgres()
        _wait_until_asked(product)
        product.restart("beat")
        _wait_until_asked(product)
        _check_nothing_follows(product)

        # There is evidence, and the worker ends between what it has judged and what it keeps.
        with _held(product, "SHARE") as waiting:
            product.run("catch_up")
            waiting()
            product.restart("worker", "bridge")
        product.wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        product.wait_for("SELECT ended_at IS NOT NULL FROM firmware_rollout")
        got = told()
    assert (got["confirmed"], got["twice"], got["wrong"], got["unsigned"]) == (others, 0, 0, 0)
    assert product.ask("SELECT state FROM firmware_rollout") == [("completed",)]
    # Each look is kept once, and the wave went by the one that knew all of the soak.
    assert product.ask(
        "SELECT r.look, r.outcome,"
        " r.evidence_until >= w.updated_at + interval '1 second' * (o.strategy ->> 'soak_s')::int,"
        " r.at <= w.ended_at FROM firmware_gatereview r JOIN firmware_rolloutwave w"
        " ON w.id = r.wave_id JOIN firmware_rollout o ON o.id = r.rollout_id ORDER BY r.look"
    ) == [(1, "pass", False, True), (2, "pass", True, True)]
    assert product.ask(
        "SELECT second.started_at >= r.at FROM firmware_rolloutwave second, firmware_gatereview r"
        " WHERE second.number = 2 AND r.look = 2"
    ) == [(True,)]


def _check_nothing_follows(product: Product) -> None:
    assert product.ask("SELECT look FROM firmware_gatereview") == [(1,)]
    assert product.ask("SELECT state FROM firmware_rolloutwave ORDER BY number") == [
        ("judged",),
        ("pending",),
    ]


@contextmanager
def _held(product: Product, mode: str) -> Iterator[Callable[[], None]]:
    """Nobody gets at what the gate has said; the answer waits for somebody who wants to."""
    asked = (
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
        " AND relation = 'firmware_gatereview'::regclass"
    )
    assert product.ask("SELECT 1") == [(1,)]  # the database may just be coming back
    with psycopg.connect(product.spine.endpoints.database_url) as holding:
        holding.execute(f"LOCK TABLE firmware_gatereview IN {mode} MODE")
        yield lambda: product.wait_for(asked)


def _wait_until_asked(product: Product) -> None:
    """Until the driver has looked twice for what the gate says: once, it is done with it."""
    for _ in range(2):
        with _held(product, "ACCESS EXCLUSIVE") as waiting:
            waiting()
