"""Files in the bills' store that no bill names: whoever made them was killed, or was overtaken.

Whoever comes to name a file holds its turn until the transaction ends, and so does whoever removes
it: what is named is there.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from billing.domain import documents_store
from billing.models import BillFile
from devices.telemetry.firmware_facts import hold_turn
from tenants.domain.queries import all_tenant_ids, tenant_batches
from tenants.scope import Scope, open_scope

# A file is written before the row that names it is saved: what is younger may yet get one.
AGE: Final = timedelta(days=1)


def hold_kept(content: bytes, *, sha256: str) -> None:
    """Nobody removes a file that was written and is to be named now, before the transaction ends;
    one that was swept since is written again.
    """
    _hold(sha256)
    documents_store.write(content)


def sweep(*, now: datetime) -> int:
    """Remove files that no bill of any tenant names; returns how many. Opens scopes itself."""
    documents_store.remove_unfinished(now - AGE)
    waiting = set(documents_store.stored_before(now - AGE))
    if not waiting:
        return 0
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            named = BillFile.objects.filter(sha256__in=waiting, tenant_id__in=tenant_ids)
            waiting -= set(named.values_list("sha256", flat=True))
    return sum(_removed(sha256) for sha256 in sorted(waiting))


def _hold(sha256: str) -> None:
    hold_turn(connection, f"billing.file:{sha256}")


def _removed(sha256: str) -> bool:
    """Remove a file, unless somebody has come to name it meanwhile."""
    with open_scope(Scope(all_tenant_ids())):
        _hold(sha256)
        if BillFile.objects.filter(sha256=sha256).exists():
            return False
        documents_store.remove(sha256)
    return True
