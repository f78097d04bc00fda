"""Databases and servers for one test process: a copy of a migrated template, a Redis of its own.

A process takes a numbered slot (a file lock, given back however it ends), so any number of test
runs share one cluster, and none ever touches the data of `make up`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from portal import env
from portal.devstack import packages, process
from portal.devstack.errors import SetupError
from portal.devstack.home import Home
from portal.devstack.packages import Say
from portal.devstack.postgres import TEMPLATE
from portal.devstack.redis_server import Redis
from portal.devstack.roles import EXTENSIONS
from portal.devstack.servers import Endpoints, PrivateServers, Session, make_private

_SLOTS = 60
# What decides how a migrated database looks; tests are left out.
_SCHEMA_SOURCES = (
    "*/migrations/**/*.py",
    "*/models.py",
    "*/models/**/*.py",
    "tenants/*.py",
    "devices/telemetry/**/*.py",
    "portal/settings.py",
)


@dataclass
class Scratch:
    """One test process's servers: `endpoints` is what its environment shall say."""

    session: Session
    slot: int
    lock: IO[str]
    redis: Redis
    endpoints: Endpoints

    @property
    def database(self) -> str:
        """Name of this process's database."""
        return f"test_wattline_{self.slot}"

    def environment(self) -> dict[str, str]:
        """Variables for this process and every process that it starts."""
        return {
            "WATTLINE_HOME": str(self.session.home.path),
            **self.endpoints.variables(),
            "SECRET_KEY": self.session.home.secret("secret_key", 64),
        }

    def create_database(self) -> None:
        """Makes this process's database anew, migrated and empty."""
        template = _ensure_template(self.session)
        with _connect(self.session.endpoints.database_url) as connection:
            name = sql.Identifier(self.database)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(template))
            )
            # Tests commit thousands of times and lose nothing that matters in a power cut.
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET synchronous_commit TO off").format(name)
            )

    def close(self) -> None:
        """Stops the Redis and gives slot and servers back; the database stays for inspection."""
        self.redis.stop()
        self.lock.close()
        self.session.close()


def open_scratch(session: Session) -> Scratch:
    """Takes a slot and starts its Redis, empty; the database is made by `create_database`."""
    home = session.home
    slot, lock = _take_slot(home)
    folder = home.path / "tests" / f"slot-{slot}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = packages.find(home, print).redis_server
    redis = Redis(
        program, folder / "redis", folder / "redis.log", process.free_port(), home.secret("redis")
    )
    redis.launch()
    redis.wait_ready()
    urls = session.endpoints
    database = f"test_wattline_{slot}"
    endpoints = Endpoints(
        with_database(urls.database_url, database),
        with_database(urls.database_app_url, database),
        with_database(urls.database_ingest_url, database),
        redis.url,
    )
    return Scratch(session, slot, lock, redis, endpoints)


def private_servers(home: Home, folder: Path, say: Say) -> PrivateServers:
    """A running PostgreSQL (migrated) and Redis on ports of their own, which a test may kill."""
    source = home.path / "tests" / f"cluster-{schema_key()}"
    with home.lock("test-cluster"):
        if not source.exists():
            say("migrating a cluster for crash tests")
            _make_migrated_cluster(home, source)
    servers = make_private(folder, home, source / "data")
    try:
        servers.start()
    except SetupError:
        servers.stop()
        raise
    return servers


def schema_key() -> str:
    """A short text that changes with everything that decides how a migrated database looks."""
    digest = hashlib.sha256()
    files = {file for pattern in _SCHEMA_SOURCES for file in env.CHECKOUT.glob(pattern)}
    for file in sorted(files):
        if "tests" not in file.relative_to(env.CHECKOUT).parts:
            digest.update(str(file.relative_to(env.CHECKOUT)).encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def with_database(url: str, database: str) -> str:
    """`url` with another database name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def migrate(endpoints: Endpoints, home: Home) -> None:
    """Runs all migrations as owner; raises SetupError with the end of their output."""
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--database", "owner", "--no-input", "-v", "0"],
        cwd=env.CHECKOUT,
        env={
            **os.environ,
            **endpoints.variables(),
            "WATTLINE_HOME": str(home.path),
            "SECRET_KEY": home.secret("secret_key", 64),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise SetupError(f"the migrations failed:\n{tail}")


def _take_slot(home: Home) -> tuple[int, IO[str]]:
    for slot in range(_SLOTS):
        lock = (home.run / f"test-slot-{slot}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return slot, lock
    raise SetupError(f"{_SLOTS} test processes run on {home.path} already: wait for one to end")


def _ensure_template(session: Session) -> str:
    """The name of the migrated database to copy, made when the migrations have changed."""
    name = f"test_template_{schema_key()}"
    owner_url = session.endpoints.database_url
    with session.home.lock("test-template"), _connect(owner_url) as connection:
        if _exists(connection, name):
            return name
        _drop_old_templates(connection)
        base = TEMPLATE if _exists(connection, TEMPLATE) else "template1"
        draft = f"{name}_new"
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(draft))
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(draft), sql.Identifier(base)
            )
        )
        urls = session.endpoints
        endpoints = Endpoints(
            with_database(urls.database_url, draft),
            with_database(urls.database_app_url, draft),
            with_database(urls.database_ingest_url, draft),
            urls.redis_url,
        )
        with _connect(endpoints.database_url) as inside:
            for extension in EXTENSIONS:
                inside.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension))
                )
        migrate(endpoints, session.home)
        connection.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                sql.Identifier(draft), sql.Identifier(name)
            )
        )
    return name


def _drop_old_templates(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_template\\_%'"
    ).fetchall()
    for (name,) in rows:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def _make_migrated_cluster(home: Home, folder: Path) -> None:
    for old in folder.parent.glob("cluster-*"):
        shutil.rmtree(old, ignore_errors=True)
    draft = folder.with_name(folder.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    servers = make_private(draft, home)
    try:
        servers.start()
        migrate(servers.endpoints(), home)
    finally:
        servers.stop()
    draft.rename(folder)


def _exists(connection: psycopg.Connection, database: str) -> bool:
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    return connection.execute(query, [database]).fetchone() is not None


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=10)
