"""Django's entry for the app `billing`."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Configuration of the app."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"
