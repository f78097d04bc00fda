"""Files that no release needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from firmware.artifacts import store
from firmware.models import Artifact
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, open_scope

# A file is written before the row that names it is saved: what is younger may yet get one.
AGE: Final = timedelta(days=1)


def sweep(*, now: datetime) -> int:
    """Remove files that no row of any tenant names; returns how many. Needs no scope."""
    waiting = set(store.stored_before(now - AGE))
    if not waiting:
        return 0
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            named = Artifact.objects.filter(sha256__in=waiting, tenant_id__in=tenant_ids)
            waiting -= set(named.values_list("sha256", flat=True))
    for sha256 in waiting:
        store.remove(sha256)
    return len(waiting)
