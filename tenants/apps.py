"""Django's entry for the app `tenants`."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Configuration of the app."""

    name = "tenants"
    default_auto_field = "django.db.models.BigAutoField"
