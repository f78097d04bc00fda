"""`make up` as a whole, on a home of its own: ready, not twice, gone without a trace."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from portal import env
from portal.devstack import packages, process
from portal.devstack.home import current

pytestmark = pytest.mark.crash

PATIENCE_SECONDS = 120.0
ADDRESSES = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL", "SECRET_KEY")


class Copy:
    """A state folder and ports, and `make up` on them as often as wanted."""

    def __init__(self, folder: Path, stack: Path) -> None:
        self.folder = folder
        self.port = process.free_port()
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ADDRESSES
        } | {
            "WATTLINE_HOME": str(folder),
            "WATTLINE_STACK": str(stack),
            "WATTLINE_PORT": str(self.port),
            "WATTLINE_BRIDGE_PORT": str(process.free_port()),
        }
        self.lines: list[str] = []
        self.up: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Starts it and returns when it says that it is ready."""
        self.lines.clear()
        self.up = subprocess.Popen(
            [sys.executable, "-m", "portal.devstack", "up"],
            cwd=env.CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=[self.up])
        self._reader.start()
        wait_until(lambda: self.up_ended() or any("| ready: " in line for line in self.lines))
        assert not self.up_ended(), "\n".join(self.lines)

    def _read(self, up: subprocess.Popen[str]) -> None:
        assert up.stdout is not None
        self.lines.extend(line.rstrip() for line in up.stdout)

    def up_ended(self) -> bool:
        return self.up is None or self.up.poll() is not None

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal and waits for the end; the exit code."""
        assert self.up is not None
        self.up.send_signal(number)
        code = self.up.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.up.stdout is not None
        self.up.stdout.close()
        self.up = None
        return code

    def processes(self) -> list[str]:
        """Living processes that have this copy's folder in their environment or command line."""
        mark = os.fsencode(self.folder)
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                where = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
                folder = os.fsencode((entry / "cwd").readlink())
            except OSError:
                continue
            if any(mark in text for text in (*where, folder)):
                found.append(f"{entry.name} {where[1]!r}")
        return found

    def health(self) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body


@pytest.fixture(scope="module")
def copy() -> Iterator[Copy]:
    mine = current()
    packages.find(mine, print)
    # Not pytest's temporary folder: the servers' user cannot enter that of root.
    folder = mine.path / "tests" / f"whole-{os.getpid()}"
    made = Copy(folder, mine.stack)
    yield made
    if not made.up_ended():
        made.signal(signal.SIGKILL)
    wait_until(lambda: made.processes() == [])
    shutil.rmtree(folder)


def test_make_up_gets_ready_stops_and_keeps_the_data(copy: Copy) -> None:
    copy.start()
    assert any("| login: " in line for line in copy.lines)
    status, body = copy.health()
    assert (status, body["status"]) == (200, "ready")

    second = subprocess.run(
        [sys.executable, "-m", "portal.devstack", "up"],
        cwd=env.CHECKOUT,
        env=copy.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert second.stderr.startswith(f"wattline: `make up` runs on {copy.folder} already (process ")
    assert len(second.stderr.splitlines()) == 1

    tenants = count_of_tenants(copy)
    assert tenants > 0
    # Who keeps the servers ends in the moment after them.
    assert copy.signal(signal.SIGINT) == 0
    wait_until(lambda: copy.processes() == [])

    copy.start()
    assert count_of_tenants(copy) == tenants
    assert copy.signal(signal.SIGTERM) == 0
    wait_until(lambda: copy.processes() == [])


def test_make_up_killed_leaves_nothing(copy: Copy) -> None:
    copy.start()
    assert len(copy.processes()) > 15  # supervisor, guards, processes, servers
    copy.signal(signal.SIGKILL)
    wait_until(lambda: copy.processes() == [])


def count_of_tenants(copy: Copy) -> int:
    lines = (copy.folder / "servers.env").read_text(encoding="utf-8").splitlines()
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    with psycopg.connect(variables["DATABASE_URL"]) as owner:
        row = owner.execute("SELECT count(*) FROM tenants_tenant").fetchone()
        assert row is not None
        return int(row[0])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)
