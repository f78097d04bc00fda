"""The pytest plugin: real PostgreSQL + TimescaleDB and Redis for every test process.

Before Django's settings are read, the process gets a database and a Redis of its own (see
`portal/devstack/scratch.py`), and its environment points there: processes that a test starts use
the same. The database is a copy of a template that was migrated once. Nothing of `make up` is
touched.

Fixtures: `servers` (the addresses), `private_servers` (servers that a test may kill), `chromium`
(the browser's path; skips where there is none).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from django.db import connections
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from portal.devstack import chromium as browsers
from portal.devstack.errors import SetupError
from portal.devstack.scratch import Scratch, open_scratch, private_servers
from portal.devstack.servers import Endpoints, PrivateServers, open_session

_scratch = pytest.StashKey[Scratch]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Starts the servers before pytest-django reads the settings."""
    try:
        scratch = open_scratch(open_session(_say))
    except SetupError as error:
        raise pytest.UsageError(f"wattline: {error}") from error
    early_config.stash[_scratch] = scratch
    early_config.add_cleanup(scratch.close)
    os.environ.update(scratch.environment())
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the fixtures after those of pytest-django, so that ours win."""
    config.pluginmanager.register(_Fixtures(), "wattline-fixtures")


class _Fixtures:
    @pytest.fixture(scope="session")
    def servers(self, pytestconfig: pytest.Config) -> Endpoints:
        """Addresses of this process's test database (one for each role) and Redis."""
        return pytestconfig.stash[_scratch].endpoints

    @pytest.fixture(scope="session")
    def django_db_setup(
        self,
        pytestconfig: pytest.Config,
        django_test_environment: None,
        django_db_blocker: DjangoDbBlocker,
    ) -> Iterator[None]:
        """Makes the test database; `default`, `owner` and `ingest` are its three roles."""
        pytestconfig.stash[_scratch].create_database()
        with django_db_blocker.unblock():
            _Cleaner.seeded = _filled_tables()
        original = TransactionTestCase._fixture_teardown
        TransactionTestCase._fixture_teardown = _truncate_as_owner  # type: ignore[method-assign]
        yield
        TransactionTestCase._fixture_teardown = original  # type: ignore[method-assign]
        with django_db_blocker.unblock():
            for connection in connections.all(initialized_only=True):
                connection.close()
                if hasattr(connection, "close_pool"):
                    connection.close_pool()

    @pytest.fixture
    def private_servers(
        self, pytestconfig: pytest.Config, request: pytest.FixtureRequest
    ) -> Iterator[Callable[[], PrivateServers]]:
        """Makes running servers with a migrated, empty database, which the test may kill."""
        scratch = pytestconfig.stash[_scratch]
        made: list[PrivateServers] = []
        folder = scratch.session.home.path / "tests" / f"private-{scratch.slot}"

        def make() -> PrivateServers:
            own = folder / str(len(made))
            shutil.rmtree(own, ignore_errors=True)
            made.append(private_servers(scratch.session.home, own, _say))
            return made[-1]

        yield make
        for servers in made:
            servers.stop()
        shutil.rmtree(folder, ignore_errors=True)

    @pytest.fixture(scope="session")
    def chromium(self) -> Path:
        """The path of a Chromium; the test is skipped where there is none."""
        found = browsers.find()
        if found is None:
            pytest.skip(browsers.HOW_TO_GET)
        return found


class _Cleaner:
    """Tables that migrations fill: transactional tests leave them as they are."""

    seeded: frozenset[str] = frozenset()


def _truncate_as_owner(case: TransactionTestCase) -> None:
    """Empties every table that a test has filled, those outside the ORM too.

    Django's flush works as the role of each alias, and the application's role may not truncate.
    """
    for connection in connections.all(initialized_only=True):
        if connection.alias != "owner":
            connection.close()  # a transaction left open there would block the owner
    filled = sorted(_filled_tables() - _Cleaner.seeded)
    if filled:
        with connections["owner"].cursor() as cursor:
            quote = connections["owner"].ops.quote_name
            cursor.execute(f"TRUNCATE {', '.join(map(quote, filled))} CASCADE")


def _filled_tables() -> frozenset[str]:
    """Tables with at least one page, hypertables with at least one chunk.

    Sizes rather than rows: without an open scope a tenant-owned table raises for its owner too.
    """
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
              AND (pg_relation_size(oid) > 0
                   OR EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = pg_class.oid))
            """
        )
        return frozenset(str(row[0]) for row in cursor.fetchall())


def _say(line: str) -> None:
    print(f"wattline: {line}", file=sys.stderr)
