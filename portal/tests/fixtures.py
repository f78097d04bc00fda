"""The fixtures of `portal/tests/plugin.py`, a plugin of their own: it is registered after
pytest-django, so that its fixtures win."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.test import TransactionTestCase, override_settings
from pytest_django import DjangoDbBlocker

from portal.devstack import chromium as browsers
from portal.devstack import scratch as scratches
from portal.devstack.scratch import Scratch
from portal.devstack.servers import Endpoints, PrivateServers
from portal.tests import emptying
from portal.tests.quick_passwords import QuickArgon2

scratch_key = pytest.StashKey[Scratch]()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> Endpoints:
    """Addresses of this process's test database (one for each role) and Redis."""
    return pytestconfig.stash[scratch_key].endpoints


@pytest.fixture(scope="session")
def django_db_setup(
    pytestconfig: pytest.Config,
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Makes the test database; `default`, `owner` and `ingest` are its three roles."""
    pytestconfig.stash[scratch_key].create_database()
    with django_db_blocker.unblock():
        _Cleaner.seeded = emptying.filled_tables().names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_as_owner)
        yield
    with django_db_blocker.unblock():
        for connection in connections.all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                connection.close_pool()


@pytest.fixture(scope="module", autouse=True)
def passwords_cost_little(request: pytest.FixtureRequest) -> Iterator[None]:
    """Those of the product cost a tenth of a second and 100 MB, here thousands of times.

    Not where a process of the product checks them: it would make them anew at the first sign-in,
    which ends the sessions that a test has made before.
    """
    if request.node.get_closest_marker("browser") is not None:
        yield
        return
    quick = f"{QuickArgon2.__module__}.{QuickArgon2.__qualname__}"
    with override_settings(PASSWORD_HASHERS=[quick, *settings.PASSWORD_HASHERS[1:]]):
        yield


@pytest.fixture
def private_servers(
    pytestconfig: pytest.Config,
) -> Iterator[Callable[[], PrivateServers]]:
    """Makes running servers with a migrated, empty database, which the test may kill."""
    scratch = pytestconfig.stash[scratch_key]
    made: list[PrivateServers] = []
    folder = scratch.session.home.path / "tests" / f"private-{scratch.slot}"

    def make() -> PrivateServers:
        own = folder / str(len(made))
        shutil.rmtree(own, ignore_errors=True)
        made.append(scratches.private_servers(scratch.session.home, own, say))
        return made[-1]

    yield make
    for servers in made:
        servers.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a Chromium; the test is skipped where there is none."""
    found = browsers.find()
    if found is None:
        pytest.skip(browsers.HOW_TO_GET)
    return found


class _Cleaner:
    """Tables that migrations fill: transactional tests leave them as they are."""

    seeded: frozenset[str] = frozenset()


def _empty_as_owner(case: TransactionTestCase) -> None:
    """Empties every table that a test has filled, those outside the ORM too.

    Django's flush works as the role of each alias, and the application's role may not truncate.
    """
    for connection in connections.all(initialized_only=True):
        if connection.alias != "owner":
            connection.close()  # a transaction left open there would block the owner
    emptying.empty(_Cleaner.seeded)


def say(line: str) -> None:
    """Tells what takes its time."""
    print(f"wattline: {line}", file=sys.stderr)
