"""Django's entry for the app `portal`."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Configuration of the app."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Makes the project's Celery application the one that tasks belong to, in every process,
        and registers the system checks."""
        # Imported for their effect, once the apps are loaded.
        from portal import celery  # noqa: F401
        from portal.api import checks  # noqa: F401
