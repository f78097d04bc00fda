"""System checks: the wall stands only when the application is not the owner of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

_ROLES = ("default", "owner", "ingest")


@register(Tags.security)
def check_roles_differ(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001: two of the three connections use the same database role."""
    del app_configs, kwargs
    users = {
        alias: connections[alias].settings_dict["USER"]
        for alias in _ROLES
        # A process may go without the roles that it does not work with.
        if connections[alias].settings_dict["ENGINE"] != "django.db.backends.dummy"
    }
    if len(set(users.values())) == len(users) and all(users.values()):
        return []
    return [
        Error(
            f"the connections use the database roles {users}: they must be three different ones",
            hint="Set DATABASE_URL (owner), DATABASE_APP_URL and DATABASE_INGEST_URL to URLs that "
            "name their own user each: row-level security does not bind the owner of a table.",
            id="tenants.E001",
        )
    ]


@register(Tags.database)
def check_application_is_bound(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """E002: the application's role may bypass row-level security (superuser or BYPASSRLS)."""
    del app_configs, kwargs
    if "default" not in (databases or ()):
        return []
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        name, exempt = cursor.fetchone()
    if not exempt:
        return []
    return [
        Error(
            f"the application's database role {name} bypasses row-level security",
            hint=f"As a superuser run: ALTER ROLE {name} NOSUPERUSER NOBYPASSRLS",
            id="tenants.E002",
        )
    ]
