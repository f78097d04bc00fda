"""A private PostgreSQL cluster with TimescaleDB: made once, started as often as wanted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from portal.devstack import process
from portal.devstack.errors import SetupError
from portal.devstack.home import (
    Home,
    give_to_service_user,
    require_space,
    service_user,
    write_atomic,
)
from portal.devstack.packages import Programs, Say
from portal.devstack.roles import ADMIN, Credentials, create_database, create_roles

DATABASE = "wattline"
# A database with the extensions, owned by the administrator: what a role with CREATEDB copies to
# make its own.
TEMPLATE = "wattline_template"
_START_SECONDS = 60
_MEGABYTE = 1024 * 1024


@dataclass
class Postgres:
    """One server on one data folder; TCP on 127.0.0.1 and a Unix socket in `sockets`.

    `log` gets what the server says. `small` gives it little memory, for instances that live as long
    as one test.
    """

    programs: Programs
    data: Path
    sockets: Path
    log: Path
    port: int
    small: bool = False
    server: subprocess.Popen[bytes] | None = None

    def launch(self, *, setting_up: bool = False) -> None:
        """Starts the server as a child that ends when its parent does; returns at once.

        While setting up it listens on the Unix socket alone and leaves the writing to the system.
        """
        require_space(self.data, 300)
        write_atomic(self.data / "wattline.conf", _settings(small=self.small), 0o644)
        command = [
            str(self.programs.postgres_bin / "postgres"),
            "-D",
            str(self.data),
            "-p",
            str(self.port),
            "-k",
            str(self.sockets),
            "-h",
            "" if setting_up else "127.0.0.1",
            *(("-c", "fsync=off") if setting_up else ()),
        ]
        self.server = process.spawn(
            command, log=self.log, user=service_user(), dies_with=signal.SIGINT
        )

    def wait_ready(self, password: str) -> None:
        """Blocks until queries are answered; raises SetupError when the server ends or takes too
        long."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.connect_admin(password, "postgres").close()
            except psycopg.OperationalError as error:
                reason = str(error)
            else:
                return
            if "password authentication failed" in reason:
                raise SetupError(
                    "the password in the folder secrets does not fit the database in "
                    f"{self.data}: restore that "
                    "folder, or remove both to start anew"
                )
            if self.server is not None and self.server.poll() is not None:
                raise SetupError(
                    f"PostgreSQL did not start ({process.last_line(self.log)}): see {self.log}"
                )
            if time.monotonic() > deadline:
                raise SetupError(
                    f"PostgreSQL did not answer within {_START_SECONDS} s: see {self.log}"
                )
            time.sleep(0.05)

    def connect_admin(self, password: str, database: str) -> psycopg.Connection:
        """A connection of the administrator over the Unix socket, in autocommit mode."""
        return psycopg.connect(
            host=str(self.sockets),
            port=self.port,
            user=ADMIN,
            password=password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def stop(self, *, grace: float = 20.0) -> None:
        """Fast shutdown: sessions are ended, everything is on disk; after `grace` seconds it is
        killed."""
        if self.server is not None:
            process.end(self.server, signal.SIGINT, grace)
            self.server = None

    def kill(self) -> None:
        """kill -9, as a crash would."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()
            self.server = None

    def clear_stale_pid(self) -> None:
        """Removes the lock of a server that is gone, whose process number somebody else may have by
        now.

        PostgreSQL itself trusts any living process of its user with that number.
        """
        file = self.data / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            return
        if not process.runs(pid, str(self.data)):
            file.unlink()


def ensure_cluster(home: Home, programs: Programs, say: Say) -> Path:
    """The cluster's data folder; made under another name and renamed when complete, so it exists
    whole or not at all."""
    root = home.path / "postgres"
    data = root / "data"
    if data.exists():
        version_file = data / "PG_VERSION"
        if not version_file.exists():
            raise SetupError(f"{data} is no database cluster: move it away to start anew")
        made_by = version_file.read_text(encoding="ascii").strip()
        if int(made_by) != programs.postgres_version:
            raise SetupError(
                f"{data} was made by PostgreSQL {made_by} and this machine would run "
                f"{programs.postgres_version}: "
                f"install {made_by} again, or move the folder away to start anew"
            )
        return data
    say("making a database cluster")
    root.mkdir(exist_ok=True)
    root.chmod(0o755)
    draft = root / "data.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    give_to_service_user(draft, 0o700)
    _initdb(programs, draft, home)
    credentials = Credentials.of(home)
    server = Postgres(programs, draft, home.sockets, home.log / "postgres.log", port=1, small=True)
    server.launch(setting_up=True)
    try:
        server.wait_ready(credentials.admin)
        with server.connect_admin(credentials.admin, "postgres") as connection:
            create_roles(connection, credentials)
            create_database(connection, TEMPLATE, owner=ADMIN, template="template0")
        with server.connect_admin(credentials.admin, TEMPLATE) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute("CREATE EXTENSION btree_gist")
        with server.connect_admin(credentials.admin, "postgres") as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false").format(
                    sql.Identifier(TEMPLATE)
                )
            )
            create_database(connection, DATABASE, owner="wattline_owner", template=TEMPLATE)
    finally:
        server.stop()
    _copy_folder(draft, root / "pristine")
    _sync(programs, draft)
    draft.rename(data)
    return data


def private(
    home: Home, programs: Programs, folder: Path, port: int, source: Path | None = None
) -> Postgres:
    """A server on a copy of the pristine cluster (or of `source`, a stopped one) in `folder`; not
    started yet."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    data = folder / "data"
    if not data.exists():
        _copy_folder(source or home.path / "postgres" / "pristine", data)
    # One folder of sockets for all: the port is part of a socket's name.
    return Postgres(programs, data, home.sockets, folder / "postgres.log", port, small=True)


def _copy_folder(source: Path, target: Path) -> None:
    draft = target.with_name(target.name + ".copy")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    # cp keeps owners and modes, and shares the blocks on file systems that can.
    subprocess.run(["cp", "-a", "--reflink=auto", str(source), str(draft)], check=True)
    draft.rename(target)


def _initdb(programs: Programs, data: Path, home: Home) -> None:
    user = service_user()
    password = home.sockets / "initdb-password"
    password.write_text(home.secret("postgres_admin") + "\n", encoding="ascii")
    give_to_service_user(password, 0o600)
    provider = (
        ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if programs.postgres_version >= 17
        else []
    )
    command = [
        str(programs.postgres_bin / "initdb"),
        "-D",
        str(data),
        "-U",
        ADMIN,
        "--encoding=UTF8",
        "--locale=C",
        *provider,
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--data-checksums",
        "--no-instructions",
        "--no-sync",
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd="/",
            env=process.clean_environment(),
            check=False,
            **process.identity(user),
        )
    finally:
        password.unlink(missing_ok=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise SetupError(f"initdb failed: {lines[-1] if lines else done.returncode}")
    with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude 'wattline.conf'\n")


def _sync(programs: Programs, data: Path) -> None:
    """Brings every file of a stopped cluster to disk."""
    command = [str(programs.postgres_bin / "initdb"), "--sync-only", "-D", str(data)]
    identity = process.identity(service_user())
    subprocess.run(command, stdout=subprocess.DEVNULL, cwd="/", check=True, **identity)


def _settings(*, small: bool) -> str:
    """Settings for steady ingest on a small machine; durable: a commit is on disk before it is
    answered."""
    memory = 64 if small else max(64, min(2048, available_memory() // _MEGABYTE // 8))
    return f"""\
# Written at every start by portal/devstack/postgres.py.
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
# Wattline rolls up and expires by itself; background workers would only hold databases open.
timescaledb.max_background_workers = 0
jit = off
shared_buffers = {memory}MB
effective_cache_size = {memory * 3}MB
maintenance_work_mem = {max(64, memory // 8)}MB
synchronous_commit = on
wal_compression = lz4
max_wal_size = {"1GB" if small else "4GB"}
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
max_connections = 200
max_locks_per_transaction = 256
max_parallel_workers_per_gather = {0 if (os.cpu_count() or 1) <= 2 else 2}
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
log_min_messages = warning
log_checkpoints = off
logging_collector = off
lc_messages = 'C'
"""


def available_memory() -> int:
    """Bytes of memory of this machine or of the container that limits us."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return memory
    return min(memory, int(limit)) if limit.isdigit() else memory
