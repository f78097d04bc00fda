"""`migrate`, run by the database role that owns the schema."""

from __future__ import annotations

from django.core.management.base import CommandParser
from django.core.management.commands import migrate

from tenants.routers import MIGRATION_ALIAS


class Command(migrate.Command):
    """Django's command with the owner's connection as its default database."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's arguments, with another default."""
        super().add_arguments(parser)
        parser.set_defaults(database=MIGRATION_ALIAS)
