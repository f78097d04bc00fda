"""Django's entry for the app `devices`."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    """Configuration of the app."""

    name = "devices"
    default_auto_field = "django.db.models.BigAutoField"
