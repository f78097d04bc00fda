"""`manage.py register_application`: a client of OAuth2, with its secret shown once."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.domain import application_operations
from tenants.domain.queries import all_tenant_ids
from tenants.models import Application, ApplicationKind, Tenant
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES
from tenants.scope import Scope, open_scope


class Command(BaseCommand):
    """Register an application in a tenant."""

    help = "Registers an application; its secret is shown once and stored as a digest alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """What an application is made of."""
        parser.add_argument("tenant", help="slug of the tenant that it belongs to")
        parser.add_argument("name", help="the name that people are shown")
        parser.add_argument(
            "--kind", choices=ApplicationKind.values, default=ApplicationKind.WEB.value
        )
        parser.add_argument("--redirect-uri", action="append", default=[])
        parser.add_argument("--post-logout-redirect-uri", action="append", default=[])
        parser.add_argument("--backchannel-logout-uri", default="")
        parser.add_argument("--scope", action="append", choices=list(ACCESS_SCOPES))
        parser.add_argument("--facility", action="append", type=int, help="service accounts only")
        parser.add_argument(
            "--first-party",
            action="store_true",
            help="people are not asked for consent: for the operator's own applications",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Register it, and print identifier and secret."""
        kind = ApplicationKind(options["kind"])
        service = kind is ApplicationKind.SERVICE
        fitting = [name for name in ACCESS_SCOPES if not (service and name in PERSONAL_SCOPES)]
        with open_scope(Scope(all_tenant_ids())):
            tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"there is no tenant {options['tenant']!r}: name one by its slug")
        application = Application(
            tenant_id=tenant.pk,
            name=options["name"],
            client_type=kind.client_type,
            authorization_grant_type=kind.grant_type,
            redirect_uris=" ".join(options["redirect_uri"]),
            post_logout_redirect_uris=" ".join(options["post_logout_redirect_uri"]),
            backchannel_logout_uri=options["backchannel_logout_uri"],
            allowed_scopes=options["scope"] or fitting,
            facility_ids=options["facility"],
            skip_authorization=options["first_party"],
        )
        try:
            with open_scope(Scope((tenant.pk,))):
                secret = application_operations.register_application(application, actor_id=None)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"client_id={application.client_id}")
        if secret:
            self.stdout.write(f"client_secret={secret}")
