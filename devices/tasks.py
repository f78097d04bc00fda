"""Background work of the park; `portal/celery.py` says when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from celery import shared_task
from django.conf import settings
from redis import Redis

from devices.domain import (
    claims_operations,
    derived_rollups,
    energy,
    exports,
    flow,
    history_imports,
    imports_operations,
    ledger,
    links,
    packing,
    redo,
    retention,
    rollups,
    segments,
)
from devices.ingest import heartbeat
from devices.models import DataClass
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, long_scope, open_scope
from tenants.tasks import KeywordTask

logger = logging.getLogger(__name__)

# A bridge must have been missing at two looks, so that a Redis that came back empty a moment ago
# (no heartbeats yet) does not make every device look disconnected.
_MISSED_KEY: Final = "bridges:missed:"
_MISSED_S: Final = 120


@shared_task(base=KeywordTask, name="devices.audit_ledger")
def audit_ledger(**_: Any) -> None:
    """Check the conservation ledger; an imbalance is an event of the device."""
    now = datetime.now(UTC)
    for tenant_ids in tenant_batches():
        with long_scope(Scope(tenant_ids)):
            found = ledger.audit(now=now)
        for imbalance in found:
            logger.error(
                "ledger_imbalance device=%d problem=%r", imbalance.device_id, imbalance.problem
            )


@shared_task(base=KeywordTask, name="devices.remove_over")
def remove_over(**_: Any) -> None:
    """Remove what no rule of retention keeps any longer, whole chunks first.

    Each step is a transaction of its own: one that is killed leaves whole steps behind.
    """
    for data_class in DataClass:
        chunks = rows = 0
        while dropped := retention.drop_over(data_class=data_class):
            chunks += dropped
        for tenant_ids in tenant_batches():
            with long_scope(Scope(tenant_ids)):
                some = retention.tenants_with_rules(tenant_ids=tenant_ids, data_class=data_class)
            for tenant_id in some:
                removed: int | None = 1
                while removed:
                    with long_scope(Scope((tenant_id,))):
                        removed = retention.remove_over(tenant_id=tenant_id, data_class=data_class)
                    rows += removed or 0
        while dropped := retention.drop_over(data_class=data_class):  # what is empty now
            chunks += dropped
        if chunks or rows:
            logger.info("removed_over class=%s chunks=%d rows=%d", data_class.value, chunks, rows)


@shared_task(base=KeywordTask, name="devices.close_lost_links")
def close_lost_links(**_: Any) -> None:
    """Mark devices as disconnected whose bridge was killed; see `devices.domain.links`."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        alive = {beat.instance for beat in heartbeat.alive(redis) if beat.name == "bridge"}
        for tenant_ids in tenant_batches():
            with long_scope(Scope(tenant_ids)):
                lost = _missed_twice(redis, tenant_ids[0], links.bridges() - alive)
                closed = links.close_links_of(lost, now=datetime.now(UTC)) if lost else 0
            if closed:
                logger.warning("links_closed devices=%d", closed)


@shared_task(base=KeywordTask, name="devices.run_import")
def run_import(*, tenant_id: int, run_id: int, **_: Any) -> None:
    """Do the rows of an import, group by group, each in a transaction of its own.

    Can be killed and started again at any moment; two at once do no harm.
    """
    more = True
    while more:
        with open_scope(Scope((tenant_id,))):
            more = imports_operations.advance(run_id=run_id, now=datetime.now(UTC)).more


@shared_task(base=KeywordTask, name="devices.import_history")
def import_history(*, tenant_id: int, run_id: int, **_: Any) -> None:
    """Store the parts of an import of history, each in a transaction of its own.

    Can be killed and started again at any moment; two at once do no harm. What waits for frames to
    become segments is taken up later by `resume_imports`.
    """
    scope = Scope((tenant_id,))
    with long_scope(scope):
        prepared = history_imports.open_run(run_id)
    part: int | None = 0
    while prepared is not None and part is not None:
        with long_scope(scope):
            part = history_imports.advance(
                run_id=run_id, prepared=prepared, now=datetime.now(UTC), after=part
            ).part_id


@shared_task(base=KeywordTask, name="devices.resume_imports")
def resume_imports(**_: Any) -> None:
    """Take up imports whose worker was killed, or that had to wait."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            stalled = imports_operations.stalled(now=datetime.now(UTC))
            histories = history_imports.stalled(now=datetime.now(UTC))
        for tenant_id, run_id in histories:
            logger.warning("history_import_resumed run=%d", run_id)
            import_history.delay(tenant_id=tenant_id, run_id=run_id)
        for tenant_id, run_id in stalled:
            logger.warning("import_resumed run=%d", run_id)
            run_import.delay(tenant_id=tenant_id, run_id=run_id)


@shared_task(base=KeywordTask, name="devices.export_history")
def export_history(*, tenant_id: int, export_id: int, **_: Any) -> None:
    """Write an export; can be killed and begun anew at any moment."""
    exports.run(
        export_id=export_id,
        scoped=lambda: long_scope(Scope((tenant_id,))),
        clock=lambda: datetime.now(UTC),
    )


@shared_task(base=KeywordTask, name="devices.tend_exports")
def tend_exports(**_: Any) -> None:
    """Begin exports anew whose worker was killed, and remove those whose time is up."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            stalled = exports.stalled(now=datetime.now(UTC))
            expired = exports.expire(now=datetime.now(UTC))
        for tenant_id, export_id in stalled:
            logger.warning("export_begun_anew export=%d", export_id)
            export_history.delay(tenant_id=tenant_id, export_id=export_id)
        if expired:
            logger.info("exports_expired count=%d", expired)


@shared_task(base=KeywordTask, name="devices.forget_sealed")
def forget_sealed(**_: Any) -> None:
    """Remove claim codes and new secrets whose time to be shown is over."""
    now = datetime.now(UTC)
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            codes = claims_operations.forget_sealed(now=now)
            others = imports_operations.forget_sealed(now=now)
            others += history_imports.forget_abandoned(now=now)
        if codes or others:
            logger.info("seals_removed codes=%d others=%d", codes, others)


@shared_task(base=KeywordTask, name="devices.roll_up")
def roll_up(**_: Any) -> None:
    """Roll up what has come since the last time, group by group, then count the days.

    Several at once share the work; one that is killed leaves whole groups behind.
    """
    for tenant_ids in tenant_batches():
        scope = Scope(tenant_ids)
        frames = quarters = after = 0
        more, crowded = True, False
        while more:
            with long_scope(scope):
                rolled = rollups.roll_up(after=after)
            frames += rolled.frames
            quarters += rolled.quarters
            crowded |= rolled.crowded
            after, more = rolled.last or 0, rolled.last is not None
            if not more and crowded:  # once more from the first
                more, crowded = True, False
        quarters += _derive(scope)
        with long_scope(scope):
            while rollups.sum_facilities() == rollups.MAX_DIRTY:
                pass
            energy.refresh_days(now=datetime.now(UTC))
        if frames:
            logger.info("rolled_up frames=%d quarters=%d", frames, quarters)


@shared_task(base=KeywordTask, name="devices.redo_rollups")
def redo_rollups(**_: Any) -> None:
    """Roll up again what was corrected, imported or derived anew, part by part.

    Several at once share the work; one that is killed leaves whole parts behind.
    """
    for tenant_ids in tenant_batches():
        scope = Scope(tenant_ids)
        quarters = after = 0
        more, left = True, False
        while more:
            with long_scope(scope):
                redone = redo.redo(after=after)
            quarters += redone.quarters
            left |= redone.more
            after, more = redone.last or 0, redone.last is not None
            if not more and left:  # once more from the first
                more, left = True, False
        quarters += _derive(scope)
        if quarters:
            with long_scope(scope):
                while rollups.sum_facilities() == rollups.MAX_DIRTY:
                    pass
                energy.refresh_days(now=datetime.now(UTC))
            logger.info("rolled_up_again quarters=%d", quarters)


def _derive(scope: Scope) -> int:
    """Roll up derived channels where what they are computed from has changed, part by part;
    returns how many quarters that were.
    """
    quarters = after = 0
    more, left = True, False
    while more:
        with long_scope(scope):
            derived = derived_rollups.advance(after=after)
        quarters += derived.quarters
        left |= derived.more
        after, more = derived.last or 0, derived.last is not None
        if not more and left:  # once more from the first
            more, left = True, False
    return quarters


@shared_task(base=KeywordTask, name="devices.move_to_segments")
def move_to_segments(**_: Any) -> None:
    """Move frames of closed hours into segments, group by group, and drop the chunks left empty.

    Several at once share the work; one that is killed leaves whole groups behind.
    """
    segments.prepare_chunks(now=datetime.now(UTC))
    before = segments.closed_before(datetime.now(UTC))
    for tenant_ids in tenant_batches():
        frames = after = 0
        more, crowded = True, False
        while more:
            with long_scope(Scope(tenant_ids)):
                moved = segments.move(before=before, after=after)
            frames += moved.frames
            crowded |= moved.crowded
            after, more = moved.last or 0, moved.last is not None
            if not more and crowded:  # once more from the first
                more, crowded = True, False
        if frames:
            logger.info("moved_to_segments frames=%d", frames)
    dropped = segments.drop_empty_chunks(before=before)
    if dropped:
        logger.info("chunks_dropped chunks=%d", dropped)


@shared_task(base=KeywordTask, name="devices.pack_rollups")
def pack_rollups(**_: Any) -> None:
    """Pack quarters of an hour that are over into their days, count the days of changed calendars
    anew, and drop the days of rows left empty.

    Several at once share the work; one that is killed leaves whole groups behind.
    """
    before = packing.packed_before(datetime.now(UTC))
    for tenant_ids in tenant_batches():
        days = after = 0
        more, crowded = True, False
        while more:
            with long_scope(Scope(tenant_ids)):
                packed = packing.pack(before=before, after=after)
            days += packed.days
            crowded |= packed.crowded
            after, more = packed.last or 0, packed.last is not None
            if not more and crowded:  # once more from the first
                more, crowded = True, False
        device_id: int | None = 0
        while device_id is not None:
            with long_scope(Scope(tenant_ids)):
                device_id = packing.recount_days(before=before, after=device_id)
        if days:
            logger.info("rollups_packed days=%d", days)
    dropped = packing.drop_empty_chunks(before=before)
    if dropped:
        logger.info("rollup_chunks_dropped chunks=%d", dropped)


@shared_task(base=KeywordTask, name="devices.refresh_power")
def refresh_power(**_: Any) -> None:
    """Bring the power of devices and facilities up to date.

    Where a device has reported for the first time, or has come back, its roll-ups do not wait for
    their turn.
    """
    newcomers = False
    for tenant_ids in tenant_batches():
        with long_scope(Scope(tenant_ids)):
            newcomers |= flow.refresh_power(now=datetime.now(UTC)).newcomers
    if newcomers:
        roll_up.apply_async(expires=120)


def _missed_twice(redis: Redis, group: int, missing: frozenset[str]) -> list[str]:
    """Those of the missing bridges that were missing at the last look as well."""
    return [
        bridge
        for bridge in sorted(missing)
        if not redis.set(f"{_MISSED_KEY}{group}:{bridge}", 1, nx=True, ex=_MISSED_S)
    ]
