"""Django's entry for the app `firmware`."""

from django.apps import AppConfig


class FirmwareConfig(AppConfig):
    """Configuration of the app."""

    name = "firmware"
    default_auto_field = "django.db.models.BigAutoField"
