"""Files that releases name, and those that none needs any more.

Whoever begins or ceases to name a file holds its turn until his transaction ends, and so does
whoever removes it: what is named is there.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.core.files.base import File
from django.db import connection

from devices.telemetry import firmware_facts
from firmware.artifacts import store
from firmware.models import Artifact
from tenants.domain.queries import all_tenant_ids, tenant_batches
from tenants.scope import Scope, open_scope

# A file is written before the row that names it is saved: what is younger may yet get one.
AGE: Final = timedelta(days=1)


def hold(sha256: str) -> None:
    """Wait until nobody else begins or ceases to name a file, or removes it; nobody else will
    before this transaction ends.
    """
    firmware_facts.hold_turn(connection, f"firmware.file:{sha256}")


def hold_kept(content: File[Any] | bytes, *, sha256: str) -> str:
    """The same for a file that was written and is to be named now; returns its name in the store.

    One that was swept since is written again. Raises as `store.write`.
    """
    hold(sha256)
    return store.name_of(sha256) if store.exists(sha256) else store.write(content, sha256=sha256)


def sweep(*, now: datetime) -> int:
    """Remove files that no row of any tenant names; returns how many. Needs no scope."""
    store.sweep_unfinished(now - AGE)
    waiting = set(store.stored_before(now - AGE))
    if not waiting:
        return 0
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            named = Artifact.objects.filter(sha256__in=waiting, tenant_id__in=tenant_ids)
            waiting -= set(named.values_list("sha256", flat=True))
    return sum(_removed(sha256) for sha256 in sorted(waiting))


def _removed(sha256: str) -> bool:
    """Remove a file, unless somebody has come to name it meanwhile."""
    with open_scope(Scope(all_tenant_ids())):
        hold(sha256)
        if Artifact.objects.filter(sha256=sha256).exists():
            return False
        store.remove(sha256)
    return True
