"""A private Redis: append-only file, bounded memory that refuses instead of forgetting."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from portal.devstack import process
from portal.devstack.errors import SetupError
from portal.devstack.home import give_to_service_user, require_space, service_user, write_atomic
from portal.devstack.postgres import available_memory

# Database 0 is the product's; tests take one each.
DATABASES = 64
_START_SECONDS = 30
_MEGABYTE = 1024 * 1024


@dataclass
class Redis:
    """One server on one data folder, TCP on 127.0.0.1 with a password."""

    program: Path
    data: Path
    log: Path
    port: int
    password: str
    server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of database 0."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def launch(self) -> None:
        """Starts the server as a child that ends when its parent does; returns at once."""
        self.data.mkdir(parents=True, exist_ok=True)
        require_space(self.data, 200)
        give_to_service_user(self.data, 0o700)
        config = self.data / "redis.conf"
        write_atomic(config, self._settings(), 0o600)
        give_to_service_user(config, 0o600)
        command = [str(self.program), str(config)]
        self.server = process.spawn(
            command, log=self.log, user=service_user(), dies_with=signal.SIGTERM
        )

    def wait_ready(self) -> None:
        """Blocks until it answers and its data is loaded; raises SetupError when it ends or takes
        too long."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                    client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                pass  # not listening or still loading its data
            else:
                return
            if self.server is not None and self.server.poll() is not None:
                raise SetupError(
                    f"Redis did not start ({process.last_line(self.log)}): see {self.log}"
                )
            if time.monotonic() > deadline:
                raise SetupError(f"Redis did not answer within {_START_SECONDS} s: see {self.log}")
            time.sleep(0.05)

    def stop(self, *, grace: float = 10.0) -> None:
        """Asks it to write everything and end; after `grace` seconds it is killed."""
        if self.server is not None:
            process.end(self.server, signal.SIGTERM, grace)
            self.server = None

    def kill(self) -> None:
        """kill -9, as a crash would."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            self.server = None

    def _settings(self) -> str:
        memory = max(64, min(2048, available_memory() // _MEGABYTE // 8))
        return f"""\
# Written at every start by portal/devstack/redis_server.py.
bind 127.0.0.1
port {self.port}
protected-mode yes
requirepass {self.password}
databases {DATABASES}
dir {self.data}
daemonize no
supervised no
appendonly yes
appendfsync everysec
save ""
maxmemory {memory}mb
maxmemory-policy noeviction
tcp-backlog 511
loglevel warning
logfile ""
"""
