"""The pytest plugin: real PostgreSQL + TimescaleDB and Redis for every test process.

Before Django's settings are read, the process gets a database and a Redis of its own (see
`portal/devstack/scratch.py`), and its environment points there: processes that a test starts use
the same. The database is a copy of a template that was migrated once. Nothing of `make up` is
touched.

Fixtures: `servers` (the addresses), `private_servers` (servers that a test may kill), `chromium`
(the browser's path; skips where there is none).
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from portal.devstack import languages
from portal.devstack.errors import SetupError
from portal.devstack.scratch import open_scratch
from portal.devstack.servers import open_session
from portal.tests import fixtures

_ADDRESSES = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")
_OUTER = "WATTLINE_TEST_OUTER_ADDRESSES"

# How long an example takes is a matter of what else the machine does, and no property of ours.
settings.register_profile("wattline", deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
    which no later test could run one of its own."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
