"""`manage.py rotate_sealing_key`: seal all secrets of the database with a new key."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from portal.account.adapter import MfaAdapter
from tenants import sealing
from tenants.domain.company_operations import seal_anew
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope

# Where an authenticator keeps what is sealed: the secret of an app, the seed of recovery codes.
_SEALED = ("secret", "seed")


class Command(BaseCommand):
    """Make a new key, seal everything with it, and delete the former keys."""

    help = (
        "Seals the client secrets of company logins and the seeds of one-time codes with a new "
        "key; no process needs a restart. Interrupted, it is simply run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say how much there was to do."""
        try:
            name = sealing.rotate()
            count = self._logins() + self._authenticators()
            former = sealing.forget_former()
        except (sealing.KeysUnusable, sealing.Unsealable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} secrets are sealed with {name}; {former} former keys deleted")

    def _logins(self) -> int:
        done = 0
        for tenant_id in all_tenant_ids():
            with open_scope(Scope((tenant_id,))):
                done += seal_anew(tenant_id=tenant_id)
        return done

    def _authenticators(self) -> int:
        adapter, done = MfaAdapter(), 0
        for key in Authenticator.objects.values_list("pk", flat=True):
            with transaction.atomic():
                row = Authenticator.objects.select_for_update().filter(pk=key).first()
                for field in _SEALED if row else ():
                    assert row is not None
                    if value := row.data.get(field):
                        row.data[field] = adapter.encrypt(adapter.decrypt(value))
                        row.save(update_fields=["data"])
                        done += 1
        return done
