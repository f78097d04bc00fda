"""`manage.py import_tariff`: take a published tariff in as drafts."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.domain.tariffs_imports import import_tariff
from billing.tariffs.importing import Refused
from billing.tariffs.recognising import MAX_BYTES, Wishes, import_any
from billing.tariffs.writing import yaml_of
from tenants.models import Tenant
from tenants.scope import Scope, open_scope


class Command(BaseCommand):
    """Prints the document of each version, and keeps drafts of them if a tenant is named."""

    help = (
        "Import a tariff of OpenEI's URDB, of open-energy-tariffs or of an Australian retailer or"
        " network (JSON), as drafts of a tenant; without a tenant, only print it. Exit code 1 when"
        " a field cannot be expressed, with its name and the reason."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--tenant", metavar="SLUG")
        parser.add_argument("--choose", default="", metavar="NAME", help="one of several in a file")
        parser.add_argument("--name", default="", help="of the tariff, instead of its own")
        parser.add_argument("--valid-from", type=date.fromisoformat, metavar="YYYY-MM-DD")
        parser.add_argument("--currency", default="USD", help="of URDB records")
        parser.add_argument("--window", type=int, choices=(15, 30, 60), help="minutes of demand")
        parser.add_argument("--part", default="NUOS", help="of a network's tariff")

    def handle(self, *args: Any, **options: Any) -> None:
        content = _content(options["file"])
        wishes = Wishes(options["currency"], options["window"], options["part"], options["choose"])
        answer = import_any(content, wishes)
        if isinstance(answer, Refused):
            raise CommandError(answer.reason)
        if options["tenant"] is None:
            for dated in answer.documents:
                days = (
                    f"From {dated.first or 'a day that is not said'} until {dated.end or 'ever'}."
                )
                self.stdout.write(yaml_of(dated.document, [days, *map(str, dated.notes)]))
            return
        try:
            tenant = Tenant.objects.using("owner").get(slug=options["tenant"])
        except Tenant.DoesNotExist:
            raise CommandError(f"there is no tenant {options['tenant']}") from None
        try:
            with open_scope(Scope((tenant.pk,))):
                taken = import_tariff(
                    tenant_id=tenant.pk,
                    content=content,
                    wishes=wishes,
                    name=options["name"],
                    valid_from=options["valid_from"],
                    actor_id=None,
                )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"tariff {taken.tariff.pk}: {taken.tariff.name}")
        for version in taken.versions:
            self.stdout.write(f"draft {version.pk}: from {version.valid_from}")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
