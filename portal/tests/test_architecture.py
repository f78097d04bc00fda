"""The layers of the apps, as the database sees them; imports are import-linter's part."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest
from django.apps import apps
from django.db import models

from portal.settings import BASE_DIR
from tenants.models import TenantOwned

# Lower layers first; apps in one set are side by side and may not point to each other.
LAYERS: Final = (
    {"contenttypes"},
    {"auth", "sessions"},
    {"tenants"},
    {"account", "mfa", "socialaccount", "usersessions"},  # of allauth, for every app alike
    {"devices"},
    {"firmware", "billing"},
    {"portal"},
)


def _layer(model: type[models.Model]) -> int:
    (found,) = [n for n, layer in enumerate(LAYERS) if model._meta.app_label in layer]
    return found


@pytest.mark.parametrize("model", apps.get_models(), ids=lambda model: model._meta.label)
def test_relations_point_to_the_same_or_a_lower_layer(model: type[models.Model]) -> None:
    for field in model._meta.get_fields(include_hidden=True):
        if not field.is_relation or field.auto_created or field.related_model is None:
            continue
        target = field.related_model
        assert isinstance(target, type)
        here, there = model._meta.app_label, target._meta.app_label
        assert here == there or _layer(target) < _layer(model), f"{field} points up to {there}"


@pytest.mark.parametrize(
    "model",
    [model for model in apps.get_models() if issubclass(model, TenantOwned)],
    ids=lambda model: model._meta.label,
)
def test_tenant_of_a_row_is_never_null(model: type[models.Model]) -> None:
    assert not model._meta.get_field("tenant").null


@pytest.mark.parametrize(
    "model",
    [
        model
        for model in apps.get_models()
        if model._meta.app_label in {"tenants", "devices", "firmware", "billing"}
    ],
    ids=lambda model: model._meta.label,
)
def test_constraints_carry_the_name_of_their_table(model: type[models.Model]) -> None:
    names = [constraint.name for constraint in model._meta.constraints]
    assert [name for name in names if not name.startswith(f"{model._meta.db_table}_")] == []


def _python_files() -> list[Path]:
    folders = ("tenants", "devices", "firmware", "billing", "portal")
    return [path for folder in folders for path in sorted((BASE_DIR / folder).rglob("*.py"))]


# Beside the two packages for SQL: the protocol, which has no database and a method `raw`.
_WITH_SQL: Final = ("devices/telemetry/", "devices/ingest/", "devices/protocol/")


def test_raw_sql_stands_where_it_belongs() -> None:
    """Cursors are opened where tables outside the ORM, doors and the scope are, nowhere else."""
    allowed = {
        "tenants/scope.py",
        "tenants/checks.py",
        "tenants/domain/queries.py",  # the doors
        "tenants/domain/oauth_queries.py",  # the doors of sign-on
        "tenants/domain/company_queries.py",  # the doors of company logins
        "tenants/domain/home_queries.py",  # the doors of the consumer view
        "tenants/domain/queries_invitations.py",  # the doors of invitations
        "tenants/domain/branding.py",  # the doors of looks
        "tenants/domain/operations.py",  # the key of a new tenant
        "devices/domain/queries.py",  # the door to a membership's facilities
        "devices/domain/claims_doors.py",
        "billing/domain/payments_doors.py",
        "firmware/domain/ddi_doors.py",
        "firmware/domain/policy_doors.py",
    }
    found = set()
    for path in _python_files():
        name = path.relative_to(BASE_DIR).as_posix()
        if {"tests", "migrations", "benchmarks", "devstack"} & set(Path(name).parts):
            continue
        if name.startswith(_WITH_SQL) or name in allowed:
            continue
        calls = [
            node.func.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        if {"cursor", "raw", "extra"} & set(calls):
            found.add(name)
    assert found == set()
