"""Background work of firmware; `portal/celery.py` says when."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from celery import shared_task

from firmware.domain import (
    artifact_operations,
    ddi_presence,
    delta_operations,
    rollout_driver,
    rollout_joining,
)
from tenants.domain.queries import tenant_batches
from tenants.scope import Scope, open_scope
from tenants.tasks import KeywordTask

logger = logging.getLogger(__name__)

# A step that has not begun within this time is left to the next one.
STEP_S: Final = 10


@shared_task(base=KeywordTask, name="firmware.make_deltas")
def make_deltas(*, tenant_id: int, **_: Any) -> None:
    """Make the patches that a tenant's releases want.

    Can be killed and started again at any moment; two at once do no harm.
    """
    more = True
    while more:
        more = delta_operations.make_next(scope=Scope((tenant_id,)), now=datetime.now(UTC))


@shared_task(base=KeywordTask, name="firmware.tend_artifacts")
def tend_artifacts(**_: Any) -> None:
    """Make patches whose worker was killed, and remove files that nothing names."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            waiting = delta_operations.tenants_waiting(tenant_ids)
        for tenant_id in waiting:
            make_deltas(tenant_id=tenant_id)
    if removed := artifact_operations.sweep(now=datetime.now(UTC)):
        logger.info("artifacts_swept files=%d", removed)


@shared_task(base=KeywordTask, name="firmware.drive")
def drive(**_: Any) -> None:
    """Take what devices have said about updates, and have each roll-out brought one step on.

    Several at once share the work; one that is killed leaves whole steps behind.
    """
    rollout_driver.take_reports(now=datetime.now(UTC))
    for tenant_id, rollout_id in rollout_driver.driven():
        # Each by itself: one that fails holds up no other. Who comes too late is not needed.
        drive_rollout.apply_async(
            kwargs={"tenant_id": tenant_id, "rollout_id": rollout_id}, expires=STEP_S
        )


@shared_task(base=KeywordTask, name="firmware.drive_rollout")
def drive_rollout(*, tenant_id: int, rollout_id: int, **_: Any) -> None:
    """Bring a roll-out one step on, and ask the gate if the step wants to know."""
    now = datetime.now(UTC)
    step = rollout_driver.drive(tenant_id=tenant_id, rollout_id=rollout_id, now=now)
    if step is not None:
        rollout_driver.review(step, now=datetime.now(UTC))


@shared_task(base=KeywordTask, name="firmware.close_silent_ddi")
def close_silent_ddi(**_: Any) -> None:
    """Take DDI devices as disconnected that did not ask when they should have."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            ddi_presence.close_silent(tenant_ids=tenant_ids, now=datetime.now(UTC))


@shared_task(base=KeywordTask, name="firmware.join_rollouts")
def join_rollouts(**_: Any) -> None:
    """Take devices into running roll-outs that have come to belong to their selections."""
    for tenant_id, rollout_id in rollout_driver.driven():
        joined = rollout_joining.join(
            tenant_id=tenant_id, rollout_id=rollout_id, now=datetime.now(UTC)
        )
        if joined:
            logger.info("rollout.joined rollout=%d devices=%d", rollout_id, joined)
