"""Migrations run as the owner, and checks see to three different roles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command, get_commands, load_command_class
from django.db import connections

from tenants.checks import check_application_is_bound, check_roles_differ
from tenants.routers import OwnerMigrates


def test_migrate_works_on_the_owners_connection_by_default() -> None:
    command = load_command_class(get_commands()["migrate"], "migrate")
    parser = command.create_parser("manage.py", "migrate")
    assert parser.parse_args([]).database == "owner"
    assert parser.parse_args(["--database", "default"]).database == "default"


def test_only_the_owner_migrates() -> None:
    router = OwnerMigrates()
    assert [router.allow_migrate(alias, "devices") for alias in ("owner", "default", "ingest")] == [
        True,
        False,
        False,
    ]


@pytest.mark.django_db(databases=["default", "owner"])
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_check_passes_with_three_roles(db: None) -> None:
    assert check_roles_differ(None) == []
    assert check_application_is_bound(None, databases=["default"]) == []


def test_check_refuses_a_shared_role(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: dict[str, Any] = {
        **connections["default"].settings_dict,
        "USER": connections["owner"].settings_dict["USER"],
    }
    monkeypatch.setattr(connections["default"], "settings_dict", changed)
    assert [error.id for error in check_roles_differ(None)] == ["tenants.E001"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("check --database default", ""),
        ("migrate", "CommandError: DATABASE_URL is not set"),
        ("run_writer", "DATABASE_INGEST_URL is not set"),
    ],
)
def test_portal_runs_without_the_keys_of_the_other_roles(
    db: None, tmp_path: Path, command: str, error: str
) -> None:
    kept = {key: os.environ[key] for key in ("DATABASE_APP_URL", "REDIS_URL", "PATH")}
    done = subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=settings.BASE_DIR,
        env={**kept, "WATTLINE_HOME": str(tmp_path), "SECRET_KEY": "x" * 50},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (error == "")
    assert error in done.stderr


@pytest.mark.django_db(databases=["default", "ingest"])
def test_check_refuses_an_application_that_bypasses_the_wall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The ingest role has BYPASSRLS: as the application's connection it must be refused.
    ingest = connections["ingest"]
    monkeypatch.setattr(connections["default"], "cursor", ingest.cursor)
    assert [error.id for error in check_application_is_bound(None, databases=["default"])] == [
        "tenants.E002"
    ]
