"""`manage.py rotate_oidc_key`: sign ID tokens with the next key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants import oidc_keys


class Command(BaseCommand):
    """Rotate the keys of ID tokens; no process needs a restart."""

    help = (
        "Lets the announced next key sign ID tokens and announces another one. What the former key "
        "signed stays valid until the rotation after this one: leave an hour between two."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say which key signs now."""
        try:
            kid = oidc_keys.rotate()
        except oidc_keys.KeysUnusable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"ID tokens are signed with {kid} from now on")
