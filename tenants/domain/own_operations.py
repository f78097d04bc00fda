"""The installation's own applications: one of each kind for every root of the tenant tree, kept as
the installation says rather than as somebody typed it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import check_password
from django.db import transaction

from tenants.domain import audit
from tenants.domain.queries import all_tenant_ids
from tenants.models import Application, Tenant
from tenants.scope import Scope, open_scope


def root_tenants() -> tuple[int, ...]:
    """The tenants without a parent; an application of theirs serves all below. Needs no scope."""
    with open_scope(Scope(all_tenant_ids())):
        roots = Tenant.objects.filter(parent__isnull=True).order_by("pk")
        return tuple(roots.values_list("pk", flat=True))


@transaction.atomic
def keep_application(
    *, tenant_id: int, client_id: str, secret: str, values: dict[str, Any]
) -> bool:
    """Make the application, or bring it to `values` and `secret` ('' for a public client).

    Returns whether anything changed; an audit entry tells of it. Raises ValidationError for
    addresses that do not fit. Needs no scope.
    """
    with open_scope(Scope((tenant_id,))):
        found = Application.objects.select_for_update().filter(client_id=client_id).first()
        if found is None:
            made = Application(
                tenant_id=tenant_id,
                client_id=client_id,
                client_secret=secret,
                algorithm=Application.RS256_ALGORITHM,
                **values,
            )
            made.full_clean(exclude=["tenant", "client_secret"])
            audit.insert(made, actor_id=None, action="application.register")
            return True
        changed = audit.update(
            found, {**values, "is_active": True}, actor_id=None, action="application.change"
        )
        if secret and not check_password(secret, found.client_secret):
            found.client_secret = secret
            found.save(update_fields=["client_secret", "updated"])
            audit.record(
                tenant_id=tenant_id,
                actor_id=None,
                action="application.change_secret",
                subject=found,
            )
            return True
        return changed
