"""Changes to bill runs as clients make them: done, and answered by how the run stands then."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain import runs_operations as operations
from billing.domain.runs_queries import RunEntry, run_entry
from billing.models import Cycle

LEAVE_OUT: Final = "leave_out"


@dataclass(frozen=True, slots=True)
class Decision:
    """`accept` or `leave_out`: of some accounts, or (accept alone) of all that are held."""

    decision: str
    reason: str
    item_ids: Collection[int] | None


def start(
    *,
    tenant_id: int,
    first_on: date,
    end_on: date | None,
    cycle: str,
    agreement_ids: Collection[int] | None,
    now: datetime,
    actor_id: int | None,
) -> RunEntry:
    """Begin a run; see `runs_operations.start`."""
    made = operations.start(
        tenant_id=tenant_id,
        first_on=first_on,
        end_on=end_on,
        cycle=Cycle(cycle),
        agreement_ids=agreement_ids,
        now=now,
        actor_id=actor_id,
    )
    return run_entry(run_id=made.pk)


def decide(*, run_id: int, decision: Decision, now: datetime, actor_id: int | None) -> RunEntry:
    """Accept accounts that the checklist holds, or leave some out."""
    if decision.decision != LEAVE_OUT:
        operations.accept(
            run_id=run_id,
            item_ids=decision.item_ids,
            reason=decision.reason,
            now=now,
            actor_id=actor_id,
        )
    elif decision.item_ids is None:
        raise ValidationError({"items": [_("Name the accounts that are to be left out.")]})
    else:
        operations.leave_out(
            run_id=run_id,
            item_ids=decision.item_ids,
            reason=decision.reason,
            now=now,
            actor_id=actor_id,
        )
    return run_entry(run_id=run_id)


def approve(*, run_id: int, issued_on: date, now: datetime, actor_id: int | None) -> RunEntry:
    """Let the drafts of a run become final."""
    operations.approve(run_id=run_id, issued_on=issued_on, now=now, actor_id=actor_id)
    return run_entry(run_id=run_id)


def cancel(*, run_id: int, reason: str, now: datetime, actor_id: int | None) -> RunEntry:
    """End a run and remove its drafts."""
    operations.cancel(run_id=run_id, reason=reason, now=now, actor_id=actor_id)
    return run_entry(run_id=run_id)
