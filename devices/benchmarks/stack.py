"""What a benchmark runs on: a database and a Redis of its own, and processes on free ports.

Nothing is shared with the data of this copy but the PostgreSQL server. Everything that was started
is stopped and removed at the end; the kernel ends the children if this process is killed.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql
from redis import Redis
from redis.exceptions import RedisError

from devices.ingest import heartbeat

READY_S: Final = 30.0
STOP_S: Final = 15.0
# A migrated database is copied from it when the development stack has made it.
TEMPLATE: Final = "wattline_template"
_SEEDS: Final = "wattline_seed_"
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StackError(Exception):
    """What a benchmark needs is missing or does not start; the message says what to do."""


@dataclass
class Stack:
    """The running servers of one benchmark; `environment` is for every process that belongs to it.

    Django's connections of this process point at the benchmark's database, too.
    """

    environment: dict[str, str]
    redis: Redis
    bridge_port: int
    web_port: int
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def manage(self, name: str, *arguments: str) -> None:
        """Start `manage.py ARGUMENTS` under `name`; its output goes to a log file."""
        self.start(name, [sys.executable, "manage.py", *arguments])

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process under `name`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=settings.BASE_DIR,
                env=self.environment,
                start_new_session=True,
                preexec_fn=_follow_parent,
            )

    def start_bridge(self, name: str = "bridge", *arguments: str) -> None:
        """A bridge on `bridge_port`, ready to be connected to; several share the port."""
        self.manage(name, "run_bridge", "--port", str(self.bridge_port), *arguments)
        self.wait(name, lambda: self._beats(name, "bridge"))

    def start_writer(self, name: str = "writer") -> None:
        """A writer that takes its share of the partitions."""
        self.manage(name, "run_writer")
        self.wait(name, lambda: self._beats(name, "writer"))

    def _beats(self, process: str, kind: str) -> bool:
        pid = self.processes[process].pid
        return any(beat.name == kind and beat.pid == pid for beat in heartbeat.alive(self.redis))

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until `ready`; raises StackError when process `name` ends or takes too long."""
        deadline = time.monotonic() + READY_S
        while not ready():
            ended = self.processes[name].poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"was not ready within {READY_S:.0f} s"
                raise StackError(f"{name} {what}: {self.tail(name)}")
            time.sleep(0.05)

    def tail(self, name: str, lines: int = 5) -> str:
        """The end of a process's log."""
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:]) or "it said nothing"

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time so far, user and system, of every process and of PostgreSQL as a whole."""
        used = {name: _cpu_seconds([process.pid]) for name, process in self.processes.items()}
        with connections["owner"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cast("tuple[int]", cursor.fetchone())
        postmaster = _parent(backend)
        if postmaster is not None:
            used["postgres"] = _cpu_seconds([postmaster, *_children(postmaster)])
        return used

    def stop(self, name: str) -> int:
        """Ask a process to end (SIGTERM), and kill it when it does not; returns its exit code."""
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def stop_all(self) -> None:
        """Stop everything, what was started last first."""
        for name in reversed(list(self.processes)):
            self.stop(name)


@dataclass(frozen=True, slots=True)
class Seed:
    """Rows that a benchmark begins with, kept in a database of their own between runs.

    `key` changes with what `fill` writes and with the tables that it is written to; of a name the
    latest key is kept.
    """

    name: str
    key: str
    fill: Callable[[], None]

    @property
    def database(self) -> str:
        """The database that keeps them."""
        return f"{_SEEDS}{self.name}_{self.key}"


@contextmanager
def open_stack(seed: Seed | None = None) -> Iterator[Stack]:
    """A migrated database, a Redis, two free ports; raises StackError when that cannot be had.

    With a `seed` the database is a copy of the one that keeps it, made when there is none.
    """
    for file in ("ca.pem", "bridge.pem", "bridge.key"):
        if not (settings.TLS_DIR / file).exists():
            raise StackError(f"{settings.TLS_DIR / file} is missing: run `make up` once")
    with ExitStack() as cleanup:
        scratch = tempfile.TemporaryDirectory(prefix=f"bench-{os.getpid()}-", dir=settings.HOME)
        folder = Path(cleanup.enter_context(scratch))
        database = f"wattline_bench_{os.getpid()}"
        if seed is not None:
            _keep(seed)
        cleanup.enter_context(_database(database, seed.database if seed else None))
        redis, redis_url, redis_process = cleanup.enter_context(_redis_server(folder))
        bridge_port, web_port = _free_port(), _free_port()
        environment = {
            **os.environ,
            **{
                variable: _database_url(alias, database)
                for alias, variable in (
                    ("owner", "DATABASE_URL"),
                    ("default", "DATABASE_APP_URL"),
                    ("ingest", "DATABASE_INGEST_URL"),
                )
            },
            "REDIS_URL": redis_url,
            "WATTLINE_HOME": str(settings.HOME),
            "WATTLINE_PORT": str(web_port),
            "WATTLINE_BRIDGE_PORT": str(bridge_port),
            "SECRET_KEY": settings.SECRET_KEY,
        }
        stack = Stack(environment, redis, bridge_port, web_port, folder)
        cleanup.callback(stack.stop_all)
        stack.processes["redis"] = redis_process
        yield stack


# --- Database -------------------------------------------------------------------------------


@contextmanager
def _database(name: str, source: str | None = None) -> Iterator[None]:
    """A migrated database that this process's connections point at, dropped at the end."""
    former = str(settings.DATABASES["owner"]["NAME"])
    _create(former, name, source)
    try:
        _point_connections_at(name)
        if source is None:
            _migrate()
        yield
    finally:
        _point_connections_at(former)
        _drop(former, name)


def _keep(seed: Seed) -> None:
    """Make the database of a seed unless it is there; those of older seeds go."""
    former = str(settings.DATABASES["owner"]["NAME"])
    with psycopg.connect(_database_url("owner", former), autocommit=True) as server:
        query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        kept = {str(row[0]) for row in server.execute(query, [f"{_SEEDS}{seed.name}_"]).fetchall()}
    if seed.database in kept:
        return
    for old in kept:
        _drop(former, old)
    draft = f"wattline_bench_{os.getpid()}"
    _create(former, draft, None)
    try:
        _point_connections_at(draft)
        _migrate()
        seed.fill()
        with connections["owner"].cursor() as cursor:
            # So that the planner knows the rows, and index-only scans need not visit them.
            cursor.execute("VACUUM ANALYZE")
    except BaseException:
        _point_connections_at(former)
        _drop(former, draft)
        raise
    _point_connections_at(former)
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with psycopg.connect(_database_url("owner", former), autocommit=True) as server:
        server.execute(rename.format(sql.Identifier(draft), sql.Identifier(seed.database)))


def _create(former: str, name: str, source: str | None) -> None:
    """Create a database as a copy of `source`, or of the migrated one where there is one."""
    with psycopg.connect(_database_url("owner", former), autocommit=True) as server:
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        template = TEMPLATE if server.execute(known, [TEMPLATE]).fetchone() else "template1"
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        # Files are copied as they are: through the log a large one takes several times as long.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        server.execute(create.format(sql.Identifier(name), sql.Identifier(source or template)))


def _drop(former: str, name: str) -> None:
    # Not by force: the owner may not end sessions of other roles. PostgreSQL waits for seconds
    # for those of the processes that have just been stopped.
    with psycopg.connect(_database_url("owner", former), autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def _migrate() -> None:
    for extension in ("timescaledb", "btree_gist"):
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    call_command("migrate", database="owner", interactive=False, verbosity=0)


def _point_connections_at(name: str) -> None:
    """As Django's test runner does it."""
    for connection in connections.all():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
        settings.DATABASES[connection.alias]["NAME"] = name
        connection.settings_dict["NAME"] = name


def _database_url(alias: str, name: str) -> str:
    database = {key: str(value or "") for key, value in settings.DATABASES[alias].items()}
    user, password = (quote(database[key], safe="") for key in ("USER", "PASSWORD"))
    address = database["HOST"] + (f":{database['PORT']}" if database["PORT"] else "")
    return f"postgresql://{user}:{password}@{address}/{quote(name, safe='')}"


# --- Redis ----------------------------------------------------------------------------------


@contextmanager
def _redis_server(folder: Path) -> Iterator[tuple[Redis, str, subprocess.Popen[bytes]]]:
    """A server of its own: pub/sub channels know no databases, and devices have small numbers.

    Set like the one of the development stack: append-only file, synced every second.
    """
    program = _redis_program()
    port, password = _free_port(), secrets.token_hex(16)
    data = folder / "redis"
    data.mkdir()
    configuration = (
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {data}\ndaemonize no\n"
        'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
        "loglevel warning\n"
    )
    file = folder / "redis.conf"
    file.touch(mode=0o600)
    file.write_text(configuration, encoding="utf-8")
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_follow_parent,
        )
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    redis = Redis.from_url(url)
    deadline = time.monotonic() + READY_S
    while True:
        try:
            redis.ping()
        except RedisError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"Redis did not start: {error}") from error
            time.sleep(0.05)
        else:
            break
    with redis:
        yield redis, url, process


def _redis_program() -> str:
    """The program of the Redis that this copy uses, else the one in the path."""
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=5) as running:
            information: Any = running.info("server")
            program = str(information.get("executable", ""))
    except RedisError as error:
        raise StackError(f"Redis does not answer ({error}): start it by `make servers`") from error
    found = program if os.access(program, os.X_OK) else shutil.which("redis-server")
    if found is None:
        raise StackError(
            "there is no redis-server on this machine to measure with: install one, or run "
            "without REDIS_URL to get the embedded one"
        )
    return found


# --- Processes ------------------------------------------------------------------------------


def _follow_parent() -> None:
    """The kernel ends this child when its parent is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (proc(5)); empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def session_cpu_s(connection: BaseDatabaseWrapper) -> float:
    """Processor time so far of the session behind a connection; 0 on another machine."""
    connection.ensure_connection()
    return _cpu_seconds([connection.connection.info.backend_pid])


def _cpu_seconds(pids: Sequence[int]) -> float:
    # User and system, of each and of its children that have ended: those are not to be asked.
    ticks = sum(sum(map(int, stat[11:15])) for pid in pids if (stat := _stat(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _parent(pid: int) -> int | None:
    """The parent, None when the process is not one of this machine."""
    stat = _stat(pid)
    return int(stat[1]) if stat else None


def _children(pid: int) -> list[int]:
    numbers = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    return [number for number in numbers if _parent(number) == pid]
