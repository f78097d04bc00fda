"""`manage.py own_applications`: the applications of the installation itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from portal.oauth import own


class Command(BaseCommand):
    """Part of every set-up; to be run again when WATTLINE_URL or SECRET_KEY changes."""

    help = (
        "Make the applications of the consumer view and of the API reference for every root "
        "tenant, or bring them up to date with WATTLINE_URL and SECRET_KEY."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them, and say how many changed."""
        try:
            changed = own.keep_all()
        except ValidationError as error:
            problem = "; ".join(error.messages)
            raise CommandError(
                f"WATTLINE_URL is {settings.PUBLIC_URL}: {problem} Set it to the address that "
                "people know this installation by."
            ) from error
        self.stdout.write(f"own applications changed: {changed}")
