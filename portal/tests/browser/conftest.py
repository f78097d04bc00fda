"""A real Chromium on the real processes: bridge, writer, live reader, web, and a recording that is
replayed over TLS.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, sync_playwright
from pytest_django import DjangoDbBlocker
from redis import Redis

from devices.ingest import heartbeat
from devices.tests import factories
from portal.devstack import certificates, frontend
from portal.devstack.up import collect_static
from portal.tests.fixtures import scratch_key
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

DATA = Path(os.environ.get("WATTLINE_DATA", settings.BASE_DIR.parent / "shared" / "data"))
RECORDING = DATA / "house-redd-h5-3s" / "grid-2011-05-31.csv.gz"
# The recording has a sample every 3 s; three times as fast, one a second.
SPEED = 3
PASSWORD = "correct horse battery staple"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_READY_S = 40
# A process imports all of the product first: 5 s, and ten times that on a machine that is busy.
_STARTED_S = 120


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(ready: Callable[[], bool], what: str, seconds: float = _READY_S) -> None:
    """Wait until `ready`; fails with `what` when it takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@dataclass
class Copy:
    """The running product of this test process."""

    folder: Path
    tenant: Tenant
    manager: User
    web_port: int
    bridge_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the portal is."""
        return f"http://127.0.0.1:{self.web_port}"

    def start(self, name: str, *command: str) -> None:
        """Start a process; its output goes to a file that a failing test shows."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=settings.BASE_DIR,
                env={
                    **os.environ,
                    "WATTLINE_BRIDGE_PORT": str(self.bridge_port),
                    "WATTLINE_PORT": str(self.web_port),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_web(self) -> None:
        """Start the web process and wait until it answers."""
        uvicorn = ("-m", "uvicorn", "portal.asgi:application", "--port", str(self.web_port))
        self.start("web", *uvicorn, "--lifespan", "off", "--log-level", "warning")
        eventually(self._answers, f"the web process answers {self.log('web')}", _STARTED_S)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a process."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


@pytest.fixture(scope="session")
def served_files(pytestconfig: pytest.Config) -> None:
    """Front-end packages, hashed static files and the bridge's certificate are in their places.

    One test process prepares them at a time: those beside it serve the same files.
    """
    session = pytestconfig.stash[scratch_key].session
    with session.home.lock("served-files"):
        frontend.ensure(session.home, print)
        certificates.ensure(session.home, print)
        collect_static(session, print)


@pytest.fixture(scope="module")
def copy(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Copy]:
    """The product with one tenant, whose facility replays the recording."""
    if not RECORDING.exists():
        pytest.skip(f"the recording {RECORDING} is not there: set WATTLINE_DATA to its data folder")
    with django_db_blocker.unblock(), Redis.from_url(settings.REDIS_URL) as redis:
        redis.flushdb()
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            manager = factories.member(tenant, Role.MANAGER).user
        manager.set_password(PASSWORD)
        manager.save(update_fields=["password"])
        folder = tmp_path_factory.mktemp("copy")
        running = Copy(folder, tenant, manager, free_port(), free_port())
        try:
            for name in ("writer", "bridge", "live"):
                running.start(name, "manage.py", f"run_{name}")
            running.start_web()
            needed = {"writer", "bridge", "live"}
            eventually(
                lambda: {beat.name for beat in heartbeat.alive(redis)} >= needed,
                f"writer, bridge and live reader are up {running.log('bridge')}",
            )
            running.start(
                "simulate",
                *("manage.py", "simulate", "--replay", str(RECORDING), "--speed", str(SPEED)),
                *("--axis", "compress", "--tenant", tenant.slug, "--state", str(folder)),
            )
            yield running
        finally:
            for name in reversed(list(running.processes)):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture(scope="session")
def browser(chromium: Path) -> Iterator[Browser]:
    """The system's Chromium without a window."""
    # Playwright's driver keeps an event loop in this thread, in which Django would refuse the
    # database; the tests of this folder use no other loop.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(chromium), args=ARGUMENTS)
        yield opened
        opened.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]
