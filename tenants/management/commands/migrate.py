"""`migrate`, run by the database role that owns the schema."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections

from tenants.routers import MIGRATION_ALIAS


class Command(migrate.Command):
    """Django's command with the owner's connection as its default database."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's arguments, with another default."""
        super().add_arguments(parser)
        parser.set_defaults(database=MIGRATION_ALIAS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; CommandError in an environment that does not have the owner's URL."""
        if not connections[MIGRATION_ALIAS].settings_dict["USER"]:
            raise CommandError(
                "DATABASE_URL is not set: set it to the URL of the role that owns the tables"
            )
        super().handle(*args, **options)
