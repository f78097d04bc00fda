"""The plugin: what every test may rely on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth import hashers
from django.db import connections
from django.utils.module_loading import import_string

import portal.settings
from devices.tests import factories
from portal.devstack.servers import Endpoints, PrivateServers
from portal.tests import emptying, plugin
from portal.tests.quick_passwords import QuickArgon2

ROLES = {"default": "wattline_app", "owner": "wattline_owner", "ingest": "wattline_ingest"}


@pytest.mark.django_db(databases=list(ROLES))
def test_aliases_are_the_three_roles_on_one_database() -> None:
    found = {}
    for alias in ROLES:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_user, current_database()")
            found[alias] = cursor.fetchone()
    database = found["default"][1]
    assert found == {alias: (role, database) for alias, role in ROLES.items()}
    assert database.startswith("test_wattline_")


@pytest.mark.django_db(databases=list(ROLES))
def test_database_has_every_migration_and_both_extensions() -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_migrations WHERE app = 'tenants'")
        assert cursor.fetchone()[0] > 0
        cursor.execute("SELECT extname FROM pg_extension WHERE extname != 'plpgsql' ORDER BY 1")
        assert [row[0] for row in cursor.fetchall()] == ["btree_gist", "timescaledb"]


@pytest.mark.parametrize("round_", [1, 2])
@pytest.mark.django_db(transaction=True, databases=list(ROLES))
def test_transactional_tests_start_with_empty_tables(round_: int) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_session")
        assert cursor.fetchone()[0] == 0
        cursor.execute("INSERT INTO django_session VALUES ('key', 'data', now())")


def test_only_files_with_a_mark_are_collected() -> None:
    chosen = ["--collect-only", "-q", "--only-files-marked", "serial", "-m", "serial"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen, "devices/tests"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r"^(\S+)::", done.stdout, re.MULTILINE) == [
        "devices/tests/test_fuzz_bridge.py"
    ]
    # None was collected to be left out.
    assert "deselected" not in done.stdout


def test_mark_must_be_named_by_the_file(request: pytest.FixtureRequest) -> None:
    """Otherwise the step of the mark does not see the test, and the others leave it out."""
    test = request.node
    assert not plugin.names_mark(test.path, "browser")
    plugin.pytest_collection_modifyitems([test])
    test.add_marker("browser")
    with pytest.raises(pytest.UsageError, match=r"write pytest[.]mark[.]browser in its file"):
        plugin.pytest_collection_modifyitems([test])


_KEEPERS = (
    "SELECT tgrelid::regclass, tgname, tgenabled FROM pg_trigger WHERE tgenabled <> 'O' ORDER BY 2"
)


@pytest.mark.parametrize("pages", [0, emptying.MANY_PAGES + 10])
@pytest.mark.django_db(transaction=True, databases=list(ROLES))
def test_everything_is_removed_whatever_keeps_it(pages: int) -> None:
    """Few rows are deleted, many are truncated; triggers that keep rows stand in neither's way."""
    seeded = {"auth_permission", "django_content_type", "django_migrations"}
    assert emptying.filled_tables().names >= seeded
    with connections["owner"].cursor() as cursor:
        cursor.execute(_KEEPERS)
        keepers = cursor.fetchall()
    factories.park()
    filled = emptying.filled_tables()
    kept = {"tenants_auditentry", "devices_commandevent", "devices_correction"}
    assert filled.names >= kept | {"telemetry_frame", "tenants_tenant"}
    assert "telemetry_frame" in filled.hypertables
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_session SELECT n, repeat('x', 1500), now()"
            f" FROM generate_series(1, {pages * 5}) n"
        )
    connections["default"].close()
    connections["ingest"].close()
    emptying.empty(frozenset(seeded))
    # What has been truncated has no pages.
    left = emptying.filled_tables()
    assert left.hypertables == set()
    assert (left.names == seeded) is bool(pages)
    with connections["owner"].cursor() as cursor:
        for table in filled.names - seeded:
            cursor.execute(f"SELECT count(*) FROM {table}")
            assert (table, cursor.fetchone()) == (table, (0,))
        cursor.execute(_KEEPERS)
        assert cursor.fetchall() == keepers


def test_passwords_cost_little_in_tests_alone() -> None:
    assert type(hashers.get_hasher()) is QuickArgon2
    product = import_string(portal.settings.PASSWORD_HASHERS[0])
    # OWASP, password storage: Argon2id with 19 MiB and two passes at the least.
    assert product().memory_cost >= 19 * 1024
    assert product().time_cost >= 2


def test_environment_leads_started_processes_to_the_test_servers(servers: Endpoints) -> None:
    assert {name: os.environ[name] for name in servers.variables()} == servers.variables()
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}


@pytest.mark.crash
def test_private_servers_survive_a_kill(
    private_servers: Callable[[], PrivateServers], servers: Endpoints
) -> None:
    own = private_servers()
    endpoints = own.endpoints()
    assert endpoints.database_url != servers.database_url
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE survivor AS SELECT 42 AS answer")
    own.postgres.kill()
    own.redis.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(endpoints.database_url)
    own.start()
    with psycopg.connect(endpoints.database_url) as connection:
        row = connection.execute("SELECT answer FROM survivor").fetchone()
    assert row == (42,)


@pytest.mark.crash
def test_private_redis_keeps_its_data_unless_wiped(
    private_servers: Callable[[], PrivateServers],
) -> None:
    own = private_servers()
    with redis.Redis.from_url(own.redis.url) as client:
        client.set("key", "value")
        client.execute_command("WAITAOF", 1, 0, 5000)
    own.redis.kill()
    own.start()
    with redis.Redis.from_url(own.redis.url) as client:
        assert client.get("key") == b"value"
    own.redis.kill()
    own.wipe_redis()
    own.start()
    with redis.Redis.from_url(own.redis.url) as client:
        assert client.dbsize() == 0
