"""The servers of a copy: start what is needed, tell where they are, share them between
processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from portal import env
from portal.devstack import packages, process
from portal.devstack.errors import SetupError
from portal.devstack.external import prepare_external
from portal.devstack.home import Home, current, write_private
from portal.devstack.lease import keeper_runs, running
from portal.devstack.packages import Programs, Say
from portal.devstack.postgres import Postgres, ensure_cluster, private
from portal.devstack.redis_server import Redis
from portal.devstack.roles import Credentials, DatabaseUrls


@dataclass(frozen=True)
class Endpoints:
    """Where the servers are; passwords included."""

    database_url: str
    database_app_url: str
    database_ingest_url: str
    redis_url: str

    def variables(self) -> dict[str, str]:
        """As environment variables."""
        return {name.upper(): value for name, value in vars(self).items()}


@dataclass
class Session:
    """Running servers that stay up at least until `close`."""

    home: Home
    endpoints: Endpoints
    lease: IO[str] = field(repr=False)

    def close(self) -> None:
        """Gives the servers back: they are stopped when nobody else uses them."""
        self.lease.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_session(say: Say = print, home: Home | None = None) -> Session:
    """Brings the servers up (the first time: fetches and sets them up) and holds them.

    Raises SetupError with one sentence when that cannot be done.
    """
    home = home or current()
    with ExitStack() as undo:
        lease = undo.enter_context((home.run / "lease.lock").open("w"))
        endpoints = _bring_up(home, lease, say)
        undo.pop_all()  # from here on the session closes it
    return Session(home, endpoints, lease)


def _bring_up(home: Home, lease: IO[str], say: Say) -> Endpoints:
    wanted = _wanted(home)
    with home.lock("setup"):
        _hold(lease, say)
        if wanted:
            _ensure_running(home, wanted, say)
        variables = _stack_variables(home) | {
            name: value for name in ("DATABASE_URL", "REDIS_URL") if (value := os.environ.get(name))
        }
        if "postgres" not in wanted:
            variables |= prepare_external(home, variables["DATABASE_URL"], say)
            _merge_stack_variables(home, variables)
    return Endpoints(**{name.lower(): variables[name] for name in _NAMES})


_NAMES = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")


@dataclass
class PrivateServers:
    """A database server and a Redis of a test's own, which it may kill."""

    postgres: Postgres
    redis: Redis
    credentials: Credentials

    def endpoints(self) -> Endpoints:
        """Their addresses; they stay the same over restarts."""
        urls = DatabaseUrls.make(self.credentials, f"127.0.0.1:{self.postgres.port}", "wattline")
        return Endpoints(urls.owner, urls.app, urls.ingest, self.redis.url)

    def start(self) -> None:
        """Starts what is down and waits until both answer."""
        if self.postgres.server is None:
            self.postgres.clear_stale_pid()
            self.postgres.launch()
        if self.redis.server is None:
            self.redis.launch()
        self.postgres.wait_ready(self.credentials.admin)
        self.redis.wait_ready()

    def stop(self) -> None:
        """Stops both."""
        self.redis.stop()
        self.postgres.stop()

    def wipe_redis(self) -> None:
        """Removes the data of a Redis that is down, as a lost disk would."""
        shutil.rmtree(self.redis.data / "appendonlydir", ignore_errors=True)


def make_private(
    folder: Path, home: Home | None = None, source: Path | None = None
) -> PrivateServers:
    """Servers on ports and data of their own in `folder`, down at first; `source` is a stopped
    cluster to copy.

    The folder must be one that the servers' user can enter: take one below the home's `tmp`.
    """
    home = home or current()
    programs = packages.find(home, print)
    with home.lock("setup"):
        ensure_cluster(home, programs, print)
    server = private(home, programs, folder, process.free_port(), source)
    redis = Redis(
        programs.redis_server,
        folder / "redis",
        folder / "redis.log",
        process.free_port(),
        home.secret("redis"),
    )
    return PrivateServers(server, redis, Credentials.of(home))


def _wanted(home: Home) -> list[str]:
    """The servers to run ourselves; an address that `servers.env` gave is ours, not somebody
    else's."""
    own = _stack_variables(home)
    names = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
    return [
        server
        for server, name in names.items()
        if os.environ.get(name, own.get(name)) == own.get(name) or not os.environ.get(name)
    ]


def _stack_variables(home: Home) -> dict[str, str]:
    try:
        lines = (home.path / "servers.env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def _merge_stack_variables(home: Home, variables: dict[str, str]) -> None:
    merged = {"SECRET_KEY": home.secret("secret_key", 64)} | _stack_variables(home) | variables
    lines = ["# Written by the development stack: where this copy's servers are."]
    write_private(
        home.path / "servers.env", "\n".join(lines + [f"{k}={v}" for k, v in merged.items()]) + "\n"
    )


def _hold(lease: IO[str], say: Say) -> None:
    try:
        fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting until the servers of the last run are down")
        fcntl.flock(lease, fcntl.LOCK_SH)


def _ensure_running(home: Home, wanted: list[str], say: Say) -> None:
    if keeper_runs(home):
        has = running(home).get("servers")
        missing = set(wanted) - set(has if isinstance(has, list) else [])
        if missing:
            raise SetupError(
                f"the running servers of {home.path} do not include "
                f"{' and '.join(sorted(missing))}: "
                "run `python -m portal.devstack stop`, then try again"
            )
        return
    programs = packages.find(home, say)
    if "postgres" in wanted:
        ensure_cluster(home, programs, say)
    say(
        "starting "
        + " and ".join({"postgres": "PostgreSQL", "redis": "Redis"}[name] for name in wanted)
    )
    _spawn_keeper(home, programs, wanted)


def _spawn_keeper(home: Home, programs: Programs, wanted: list[str]) -> None:
    reading, writing = os.pipe()
    command = process.python(
        "portal.devstack",
        "keep",
        "--home",
        str(home.path),
        "--report",
        str(writing),
        "--postgres-bin",
        str(programs.postgres_bin),
        "--postgres-version",
        str(programs.postgres_version),
        "--redis-server",
        str(programs.redis_server),
        *wanted,
    )
    with (home.log / "keeper.log").open("ab") as log:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(writing,),
            cwd=env.CHECKOUT,
            check=True,
        )
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as report:
        answer = report.readline().strip()
    if answer != "ready":
        raise SetupError(answer or f"the servers did not start: see {home.log / 'keeper.log'}")
