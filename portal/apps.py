"""Django's entry for the app `portal`."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Configuration of the app."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Makes the project's Celery application the one that tasks belong to, in every process."""
        from portal import celery  # noqa: F401 - imported for its effect, once the apps are loaded
