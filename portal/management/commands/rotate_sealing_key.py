"""`manage.py rotate_sealing_key`: seal all secrets of the database with a new key."""

from __future__ import annotations

import time
from typing import Any, Final

from allauth.mfa.models import Authenticator
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from billing.domain import dunning_settings, payg_operations
from portal.account.adapter import MfaAdapter
from tenants import sealing
from tenants.domain.company_operations import seal_anew
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope, open_transactions

# Where an authenticator keeps what is sealed: the secret of an app, the seed of recovery codes.
_SEALED = ("secret", "seed")
# No transaction is left alone for longer (`DATABASES` in the settings).
_LONGEST_S: Final = 330
_EVERY_S: Final = 0.2


class Command(BaseCommand):
    """Make a new key, seal everything with it, and delete the former keys."""

    help = (
        "Seals the client secrets of company logins, the signing secrets of payment services and "
        "the seeds of one-time codes with a new key; no process needs a restart. Interrupted, it "
        "is simply run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say how much there was to do."""
        try:
            name = sealing.rotate()
            count = self._of_tenants() + self._authenticators()
            # Who sealed with a former key and has not committed yet was passed over.
            _wait_for_older_transactions()
            self._of_tenants()
            self._authenticators()
            former = sealing.forget_former()
        except (sealing.KeysUnusable, sealing.Unsealable) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} secrets are sealed with {name}; {former} former keys deleted")

    def _of_tenants(self) -> int:
        done = 0
        for tenant_id in all_tenant_ids():
            with open_scope(Scope((tenant_id,))):
                done += seal_anew(tenant_id=tenant_id)
                done += dunning_settings.seal_anew(tenant_id=tenant_id)
                done += payg_operations.seal_anew(tenant_id=tenant_id)
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


def _wait_for_older_transactions() -> None:
    """Wait until every transaction of the portal that is open now has ended; raises CommandError.

    Secrets are sealed inside the transaction that saves them.
    """
    older = open_transactions()
    for _attempt in range(int(_LONGEST_S / _EVERY_S)):
        older &= open_transactions()
        if not older:
            return
        time.sleep(_EVERY_S)
    raise CommandError(
        "a transaction does not end, and may hold a secret that a former key sealed: nothing is "
        "lost, the former keys are still there; run the command again"
    )
