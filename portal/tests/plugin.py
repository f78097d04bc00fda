"""The pytest plugin: real PostgreSQL + TimescaleDB and Redis for every test process.

Before Django's settings are read, the process gets a database and a Redis of its own (see
`portal/devstack/scratch.py`), and its environment points there: processes that a test starts use
the same. The database is a copy of a template that was migrated once. Nothing of `make up` is
touched.

`--only-files-marked serial` leaves out files that do not name the mark: collecting every test for a
few of them costs half a minute of each process.

Fixtures: `servers` (the addresses), `private_servers` (servers that a test may kill), `chromium`
(the browser's path; skips where there is none).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from portal.devstack import languages
from portal.devstack.errors import SetupError
from portal.devstack.scratch import open_scratch
from portal.devstack.servers import open_session
from portal.tests import fixtures

_ADDRESSES = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")
_OUTER = "WATTLINE_TEST_OUTER_ADDRESSES"
# What `make test` runs in steps of their own, which look for tests in files with these words alone.
_APART: Final = ("browser", "crash", "serial")

# How long an example takes is a matter of what else the machine does, and no property of ours.
settings.register_profile("wattline", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option; it selects files, and `-m` the tests in them."""
    parser.addoption(
        "--only-files-marked",
        choices=_APART,
        help="collect only files whose text has this mark (use it together with -m)",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out what cannot have tests that are wanted; None lets others decide."""
    mark = config.getoption("--only-files-marked")
    if mark is None or not collection_path.name.startswith("test_"):
        return None
    return None if names_mark(collection_path, mark) else True


@cache
def names_mark(file: Path, mark: str) -> bool:
    """Whether the text of a test file has a mark."""
    return f"pytest.mark.{mark}" in file.read_text(encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Starts the servers before pytest-django reads the settings."""
    _restore_addresses()
    try:
        languages.compile_all()
        scratch = open_scratch(open_session(fixtures.say))
    except SetupError as error:
        raise pytest.UsageError(f"wattline: {error}") from error
    early_config.stash[fixtures.scratch_key] = scratch
    early_config.add_cleanup(scratch.close)
    os.environ.update(scratch.environment())
    return (yield)


def _restore_addresses() -> None:
    """Undoes in a worker of xdist what its controller, whose environment it has, did to its own."""
    if _OUTER in os.environ:
        for name in _ADDRESSES:
            os.environ.pop(name, None)
        os.environ.update(json.loads(os.environ[_OUTER]))
    else:
        outer = {name: os.environ[name] for name in _ADDRESSES if name in os.environ}
        os.environ[_OUTER] = json.dumps(outer)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the fixtures after those of pytest-django, so that ours win."""
    settings.load_profile("wattline")
    config.pluginmanager.register(fixtures, "wattline-fixtures")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: Playwright leaves an event loop running in the main thread, in
    which no later test could run one of its own.

    UsageError for a test with a mark that its file does not name: no step would run it.
    """
    for item in items:
        for mark in _APART:
            if item.get_closest_marker(mark) and not names_mark(item.path, mark):
                raise pytest.UsageError(
                    f"{item.nodeid} has the mark {mark} from elsewhere: write pytest.mark.{mark} "
                    "in its file, or no step of `make test` finds it"
                )
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
