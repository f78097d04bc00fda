"""Background work of billing; `portal/celery.py` says when."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from celery import shared_task

from billing.domain import (
    comparisons_operations,
    documents_mail_operations,
    documents_operations,
    documents_sweep_operations,
    dunning_driver,
    payg_operations,
    restatement_steps,
    runs_steps,
    unbilled_operations,
    wallet_operations,
)
from tenants.domain.queries import all_tenant_ids, tenant_batches
from tenants.scope import Scope, long_scope, open_scope
from tenants.tasks import KeywordTask

logger = logging.getLogger(__name__)

# A worker goes on with a run for so long; then others get their turn.
TURN_S: Final = 8.0
# Workers that share a run, asked for with each tick of so many seconds.
WORKERS: Final = 2
TICK_S: Final = 10
DUNNING_TICK_S: Final = 120
PREPAID_TICK_S: Final = 60
# The same for documents.
DOCUMENTS_TURN_S: Final = 45.0
DOCUMENTS_TICK_S: Final = 60
# A worker computes agreements of a comparison for so long; then others get their turn.
COMPARE_TURN_S: Final = 20.0
# How often bills are compared with what has changed.
RESTATE_S: Final = 60
# How often it is looked which accounts' unbilled energy is to be valued, and for how long a worker
# goes on with a tenant then.
UNBILLED_S: Final = 600
UNBILLED_TURN_S: Final = 120.0


@shared_task(base=KeywordTask, name="billing.drive_dunning")
def drive_dunning(**_: Any) -> None:
    """Open cases for accounts that have fallen behind, and have each case looked at that is due."""
    now = datetime.now(UTC)
    if opened := dunning_driver.open_cases(now=now):
        logger.info("dunning.opened cases=%d", opened)
    for tenant_id, case_id in dunning_driver.due_cases(now=now):
        # Each by itself: one that fails holds up no other. Who comes too late is not needed.
        drive_case.apply_async(
            kwargs={"tenant_id": tenant_id, "case_id": case_id}, expires=DUNNING_TICK_S
        )


@shared_task(base=KeywordTask, name="billing.drive_case")
def drive_case(*, tenant_id: int, case_id: int, **_: Any) -> None:
    """Do what is to be done about an account that is behind."""
    if dunning_driver.drive(tenant_id=tenant_id, case_id=case_id, now=datetime.now(UTC)):
        logger.info("dunning.driven case=%d", case_id)


@shared_task(base=KeywordTask, name="billing.drive_runs")
def drive_runs(**_: Any) -> None:
    """Have workers bring each bill run on that waits for nobody.

    Several at once share the work; one that is killed leaves whole chunks behind.
    """
    for tenant_id, run_id in runs_steps.moving():
        for _worker in range(WORKERS):
            # Who comes too late is not needed: the next tick asks again.
            drive_run.apply_async(kwargs={"tenant_id": tenant_id, "run_id": run_id}, expires=TICK_S)


@shared_task(base=KeywordTask, name="billing.drive_run")
def drive_run(*, tenant_id: int, run_id: int, **_: Any) -> None:
    """Bring the accounts of a run on for a while."""
    until = time.monotonic() + TURN_S
    done = runs_steps.work(
        tenant_id=tenant_id,
        run_id=run_id,
        go_on=lambda: time.monotonic() < until,
        clock=lambda: datetime.now(UTC),
    )
    if done:
        logger.info("bill_run.driven run=%d accounts=%d", run_id, done)


@shared_task(base=KeywordTask, name="billing.tend_documents")
def tend_documents(**_: Any) -> None:
    """Have the documents of bills made that became final, and queue them for their customers."""
    for tenant_id in documents_operations.tenants_lately_billed(now=datetime.now(UTC)):
        for part in range(WORKERS):
            make_documents.apply_async(
                kwargs={"tenant_id": tenant_id, "part": part}, expires=DOCUMENTS_TICK_S
            )


@shared_task(base=KeywordTask, name="billing.make_documents")
def make_documents(*, tenant_id: int, part: int, **_: Any) -> None:
    """Make the documents of one of WORKERS parts of a tenant's bills, for a while."""
    until = time.monotonic() + DOCUMENTS_TURN_S
    done = documents_operations.make_waiting(
        tenant_id=tenant_id,
        part=part,
        parts=WORKERS,
        go_on=lambda: time.monotonic() < until,
        clock=lambda: datetime.now(UTC),
    )
    with open_scope(Scope((tenant_id,))):
        documents_mail_operations.queue_final(tenant_id=tenant_id, now=datetime.now(UTC))
    if done:
        logger.info("bill.documents_made tenant=%d bills=%d", tenant_id, done)


@shared_task(base=KeywordTask, name="billing.sweep_documents")
def sweep_documents(**_: Any) -> None:
    """Remove documents from the store that no bill names."""
    if removed := documents_sweep_operations.sweep(now=datetime.now(UTC)):
        logger.info("bill.documents_swept files=%d", removed)


@shared_task(base=KeywordTask, name="billing.restate")
def restate(**_: Any) -> None:
    """Find the final bills whose past has changed, and have each agreement's computed anew."""
    for tenant_id in all_tenant_ids():
        restate_tenant.apply_async(kwargs={"tenant_id": tenant_id}, expires=RESTATE_S)


@shared_task(base=KeywordTask, name="billing.restate_tenant")
def restate_tenant(*, tenant_id: int, **_: Any) -> None:
    """Bills of a tenant; can be killed and started again at any moment."""
    found = restatement_steps.work(tenant_id=tenant_id, now=datetime.now(UTC))
    if found:
        logger.info("bills_restated tenant=%d bills=%d", tenant_id, found)


@shared_task(base=KeywordTask, name="billing.burn_wallets")
def burn_wallets(**_: Any) -> None:
    """Take from prepaid wallets what their agreements cost by now, in chunks.

    Several at once share the work; one that is killed leaves whole chunks behind.
    """
    now = datetime.now(UTC)
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            wallet_operations.open_missing(now=now)
            tenants = wallet_operations.tenants_due(now=now)
        for tenant_id in tenants:
            # Each by itself: one that fails holds up no other.
            burn_wallets_of.apply_async(kwargs={"tenant_id": tenant_id}, expires=PREPAID_TICK_S)


@shared_task(base=KeywordTask, name="billing.burn_wallets_of")
def burn_wallets_of(*, tenant_id: int, **_: Any) -> None:
    """Burn the wallets of a tenant that are due; can be killed and started again at any moment."""
    now = datetime.now(UTC)
    done: int | None = None
    # Nothing done: another worker holds what is left.
    while done != 0:
        with long_scope(Scope((tenant_id,))):
            due = wallet_operations.due_wallets(now=now)
            done = wallet_operations.burn(wallet_ids=due, now=now) if due else 0


@shared_task(base=KeywordTask, name="billing.compare_tariffs")
def compare_tariffs(*, tenant_id: int, comparison_id: int, **_: Any) -> None:
    """Compute agreements of a comparison of tariffs for a while, and ask for another turn."""
    until = time.monotonic() + COMPARE_TURN_S
    left = comparisons_operations.work(
        tenant_id=tenant_id,
        comparison_id=comparison_id,
        go_on=lambda: time.monotonic() < until,
        clock=lambda: datetime.now(UTC),
    )
    if left:
        compare_tariffs.delay(tenant_id=tenant_id, comparison_id=comparison_id)


@shared_task(base=KeywordTask, name="billing.tend_comparisons")
def tend_comparisons(**_: Any) -> None:
    """Remove old comparisons of tariffs, and go on with those whose worker was killed."""
    for tenant_id, comparison_id in comparisons_operations.tend(now=datetime.now(UTC)):
        compare_tariffs.delay(tenant_id=tenant_id, comparison_id=comparison_id)


@shared_task(base=KeywordTask, name="billing.issue_tokens")
def issue_tokens(**_: Any) -> None:
    """Have the tokens issued that credit pays for, where that was not done with the payment."""
    for tenant_ids in tenant_batches():
        with open_scope(Scope(tenant_ids)):
            units = payg_operations.due_units()
        for tenant_id, unit_id in units:
            # Each by itself: one that fails holds up no other.
            issue_token.apply_async(
                kwargs={"tenant_id": tenant_id, "unit_id": unit_id}, expires=PREPAID_TICK_S
            )


@shared_task(base=KeywordTask, name="billing.issue_token")
def issue_token(*, tenant_id: int, unit_id: int, **_: Any) -> None:
    """Issue the token that the credit of a unit's agreement pays for."""
    with open_scope(Scope((tenant_id,))):
        payg_operations.issue_for_credit(unit_id=unit_id, now=datetime.now(UTC), actor_id=None)


@shared_task(base=KeywordTask, name="billing.value_unbilled")
def value_unbilled(**_: Any) -> None:
    """Have the unbilled energy of each tenant valued: of all accounts once a day, at other times of
    those whose bills have changed.
    """
    for tenant_id in all_tenant_ids():
        value_unbilled_of.apply_async(kwargs={"tenant_id": tenant_id}, expires=UNBILLED_S)


@shared_task(base=KeywordTask, name="billing.value_unbilled_of")
def value_unbilled_of(*, tenant_id: int, **_: Any) -> None:
    """Accounts of a tenant, for a while; can be killed and started again at any moment."""
    until = time.monotonic() + UNBILLED_TURN_S
    done = unbilled_operations.work(
        tenant_id=tenant_id, now=datetime.now(UTC), go_on=lambda: time.monotonic() < until
    )
    if done:
        logger.info("unbilled.valued tenant=%d accounts=%d", tenant_id, done)
