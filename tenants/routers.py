"""Which connection does what: the application reads and writes, the owner changes the schema."""

from __future__ import annotations

from typing import Any

MIGRATION_ALIAS = "owner"


class OwnerMigrates:
    """Schema changes run through the alias `owner` alone; everything else uses `default`."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """True for the owner's connection."""
        del app_label, hints
        return db == MIGRATION_ALIAS
