"""Django's entry for the app `tenants`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class TenantsConfig(AppConfig):
    """Configuration of the app."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks and names the error of a query without a scope."""
        from tenants import checks  # noqa: F401 - registers itself once the apps are loaded

        connection_created.connect(_install_wrapper, dispatch_uid="tenants.scope")


def _install_wrapper(*, connection: BaseDatabaseWrapper, **_: Any) -> None:
    # Imported late: this module is read before the apps are loaded.
    from tenants.scope import explain_missing_scope

    if explain_missing_scope not in connection.execute_wrappers:
        connection.execute_wrappers.append(explain_missing_scope)
