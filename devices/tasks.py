"""Background work of the park; `portal/celery.py` says when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celery import shared_task
from django.conf import settings
from redis import Redis

from devices.domain import ledger, links
from devices.ingest import heartbeat
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope
from tenants.tasks import KeywordTask

logger = logging.getLogger(__name__)

# Frames of this time are counted again at every audit; what is older was counted when it was new.
AUDIT_WINDOW: Final = timedelta(hours=26)
# How long quarantined messages are kept for a person to look at.
QUARANTINE_RETENTION: Final = timedelta(days=90)
# A bridge must have been missing at two looks, so that a Redis that came back empty a moment ago
# (no heartbeats yet) does not make every device look disconnected.
_MISSED_KEY: Final = "bridges:missed:"
_MISSED_S: Final = 120


@shared_task(base=KeywordTask, name="devices.audit_ledger")
def audit_ledger(**_: Any) -> None:
    """Check the conservation ledger tenant by tenant; an imbalance is an event of the device."""
    now = datetime.now(UTC)
    for tenant_id in all_tenant_ids():
        with open_scope(Scope((tenant_id,))):
            found = ledger.audit(now=now, counted_since=now - AUDIT_WINDOW)
        for imbalance in found:
            logger.error(
                "ledger_imbalance tenant=%d device=%d problem=%r",
                tenant_id,
                imbalance.device_id,
                imbalance.problem,
            )


@shared_task(base=KeywordTask, name="devices.expire_quarantine")
def expire_quarantine(**_: Any) -> None:
    """Delete quarantined messages older than the retention, tenant by tenant."""
    before = datetime.now(UTC) - QUARANTINE_RETENTION
    for tenant_id in all_tenant_ids():
        with open_scope(Scope((tenant_id,))):
            deleted = ledger.expire_quarantine(before=before)
        if deleted:
            logger.info("quarantine_expired tenant=%d messages=%d", tenant_id, deleted)


@shared_task(base=KeywordTask, name="devices.close_lost_links")
def close_lost_links(**_: Any) -> None:
    """Mark devices as disconnected whose bridge was killed; see `devices.domain.links`."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        alive = {beat.instance for beat in heartbeat.alive(redis) if beat.name == "bridge"}
        for tenant_id in all_tenant_ids():
            with open_scope(Scope((tenant_id,))):
                lost = _missed_twice(redis, tenant_id, links.bridges() - alive)
                closed = links.close_links_of(lost, now=datetime.now(UTC)) if lost else 0
            if closed:
                logger.warning("links_closed tenant=%d devices=%d", tenant_id, closed)


def _missed_twice(redis: Redis, tenant_id: int, missing: frozenset[str]) -> list[str]:
    """Those of the missing bridges that were missing at the last look as well."""
    return [
        bridge
        for bridge in sorted(missing)
        if not redis.set(f"{_MISSED_KEY}{tenant_id}:{bridge}", 1, nx=True, ex=_MISSED_S)
    ]
