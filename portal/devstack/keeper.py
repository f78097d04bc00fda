"""The process that runs the embedded servers as long as somebody needs them.

Whoever uses the servers holds a shared lock on `run/lease.lock`; the kernel gives it back however
that process ends. The keeper ends the servers when the last lease is gone, unless `run/persistent`
says that they shall stay.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from types import FrameType

from portal.devstack import process
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, write_private
from portal.devstack.packages import Programs
from portal.devstack.postgres import DATABASE, Postgres
from portal.devstack.redis_server import Redis
from portal.devstack.roles import Credentials, DatabaseUrls

POLL_SECONDS = 0.25
# A server that ends this often within the time is not started again.
_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0


def keep(home: Home, programs: Programs, wanted: list[str], report: int) -> int:
    """Runs the `wanted` servers ("postgres", "redis"); writes "ready" or the reason to the file
    descriptor `report`.

    Returns the exit code when the servers are down again.
    """
    stopping: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        stopping.append(number)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with (
        (home.run / "keeper.lock").open("w") as running,
        (home.run / "lease.lock").open("w") as lease,
    ):
        fcntl.flock(running, fcntl.LOCK_EX)
        servers = _Servers(home, programs, wanted)
        try:
            servers.start()
        except (SetupError, OSError) as error:
            servers.stop()
            os.write(report, f"{error}\n".encode())
            return 1
        os.write(report, b"ready\n")
        os.close(report)
        failed = None
        while not stopping and failed is None:
            time.sleep(POLL_SECONDS)
            failed = servers.restart_ended()
            if _nobody_uses(home, lease.fileno()):
                break
        servers.stop()
        (home.run / "servers.json").unlink(missing_ok=True)
        return 1 if failed else 0


def _nobody_uses(home: Home, lease: int) -> bool:
    """Whether there is no lease; then the lock is ours, and a newcomer waits until the servers are
    down."""
    if (home.run / "persistent").exists():
        return False
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Servers:
    def __init__(self, home: Home, programs: Programs, wanted: list[str]) -> None:
        self.home = home
        self.credentials = Credentials.of(home)
        ports = home.read_state("ports")
        self.postgres = (
            Postgres(
                programs,
                home.path / "postgres" / "data",
                home.sockets,
                home.log / "postgres.log",
                process.free_port(_port(ports, "postgres")),
            )
            if "postgres" in wanted
            else None
        )
        self.redis = (
            Redis(
                programs.redis_server,
                home.path / "redis",
                home.log / "redis.log",
                process.free_port(_port(ports, "redis")),
                home.secret("redis"),
            )
            if "redis" in wanted
            else None
        )
        self._ended: list[float] = []

    def start(self) -> None:
        for server in (self.postgres, self.redis):
            if server is not None:
                self._start(server)
        self._publish()

    def _start(self, server: Postgres | Redis) -> None:
        if isinstance(server, Postgres):
            server.clear_stale_pid()
            server.launch()
            server.wait_ready(self.credentials.admin)
        else:
            server.launch()
            server.wait_ready()

    def restart_ended(self) -> str | None:
        """Starts a server that ended by itself again; returns a sentence when that happens too
        often."""
        for server in (self.postgres, self.redis):
            if server is None or server.server is None or server.server.poll() is None:
                continue
            now = time.monotonic()
            self._ended = [at for at in self._ended if now - at < _RESTART_WINDOW_SECONDS] + [now]
            if len(self._ended) > _RESTARTS:
                return (
                    f"{type(server).__name__} ended {_RESTARTS} times within a minute: see "
                    f"{server.log}"
                )
            try:
                self._start(server)
            except SetupError as error:
                return str(error)
        return None

    def stop(self) -> None:
        if self.redis is not None:
            self.redis.stop()
        if self.postgres is not None:
            self.postgres.stop()

    def _publish(self) -> None:
        """Remembers the ports and writes the addresses where `portal/env.py` looks."""
        ports = {
            server: getattr(self, server).port
            for server in ("postgres", "redis")
            if getattr(self, server)
        }
        self.home.write_state("ports", {**self.home.read_state("ports"), **ports})
        urls: dict[str, str] = {}
        if self.postgres is not None:
            address = f"127.0.0.1:{self.postgres.port}"
            database = DatabaseUrls.make(self.credentials, address, DATABASE)
            urls |= database.variables()
        if self.redis is not None:
            urls["REDIS_URL"] = self.redis.url
        urls["SECRET_KEY"] = self.home.secret("secret_key", 64)
        lines = ["# Written by the development stack: where this copy's servers are."]
        lines += [f"{name}={value}" for name, value in urls.items()]
        write_private(self.home.path / "servers.env", "\n".join(lines) + "\n")
        self.home.write_state("servers", {"pid": os.getpid(), "servers": sorted(ports), **ports})


def _port(ports: dict[str, object], name: str) -> int | None:
    value = ports.get(name)
    return value if isinstance(value, int) else None
