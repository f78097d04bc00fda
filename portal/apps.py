"""Django's entry for the app `portal`."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Configuration of the app."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"
