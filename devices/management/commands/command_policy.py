"""`manage.py command_policy SLUG`: whether a tenant wants two persons for every switching off."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.domain.commands_policy import SYSTEM, set_two_persons, two_persons
from tenants.models import Tenant
from tenants.scope import Scope, open_scope


class Command(BaseCommand):
    """Says how it is, after the change if one was asked for."""

    help = "Tell, or say, whether switching an output off always needs a second person's approval."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", metavar="SLUG")
        parser.add_argument("--two-persons", choices=("always", "by-role"))

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.using("owner").filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"there is no tenant {options['tenant']}")
        with open_scope(Scope((tenant.pk,))):
            if options["two_persons"] is not None:
                wanted = options["two_persons"] == "always"
                set_two_persons(actor=SYSTEM, tenant_id=tenant.pk, wanted=wanted)
            always = two_persons(tenant_id=tenant.pk)
        self.stdout.write(f"{tenant.slug}: {'always' if always else 'by-role'}")
