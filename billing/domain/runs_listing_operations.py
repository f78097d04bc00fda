"""Which accounts a run is for, listed by the workers that then compute them.

A tenant may have hundreds of thousands: who asks for a run does not wait for them. Accounts are
listed in the order of their ids, as many as a transaction takes, and the run says how far that is;
so a worker that is killed lists no account twice and leaves none out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from billing.domain.calendars import midnight
from billing.models import Agreement, BillRun, BillRunItem, Cycle, Mode, RunState
from devices.domain.rollups import LATE_AFTER

# Accounts that are listed in a transaction.
AT_ONCE: Final = 5_000
# A quarter of an hour more, for what is being written.
_COMPLETE_AFTER: Final = LATE_AFTER + timedelta(minutes=15)


def agreements_of(
    tenant_id: int,
    cycle: Cycle,
    first_on: date,
    end_on: date,
    agreement_ids: Collection[int] | None = None,
) -> QuerySet[Agreement]:
    """The agreements that a run for [first_on, end_on) bills: the postpaid ones of a cycle that
    hold then, or of some (of any cycle and mode) those that do.
    """
    rows = Agreement.objects.filter(tenant_id=tenant_id, starts_on__lt=end_on).exclude(
        ends_on__lte=first_on
    )
    if agreement_ids is None:
        return rows.filter(cycle=cycle, mode=Mode.POSTPAID)
    return rows.filter(pk__in=agreement_ids)


def complete_at(rows: QuerySet[Agreement], end_on: date) -> datetime | None:
    """When the readings of agreements until the day `end_on` are in; None without agreements. What
    comes within LATE_AFTER is announced to nobody as a change, so that a bill which was made before
    it would never be restated. One query.
    """
    zones = rows.order_by().values_list("facility__time_zone", flat=True).distinct()
    ends = max((midnight(end_on, zone) for zone in zones), default=None)
    return None if ends is None else ends + _COMPLETE_AFTER


def list_all(run: BillRun, rows: QuerySet[Agreement]) -> None:
    """List these accounts at once: they are few."""
    _insert(run, list(rows.order_by("pk").values_list("pk", "facility_id")))


def list_more(run_id: int, *, limit: int = AT_ONCE) -> int:
    """List up to `limit` accounts of a run; returns how many. 0: all are there, or another worker
    is at it. In a transaction.
    """
    rows = BillRun.objects.select_for_update(skip_locked=True, no_key=True)
    run = rows.filter(pk=run_id, state=RunState.RATING, listed_to__isnull=False).first()
    if run is None:
        return 0
    wanted = agreements_of(run.tenant_id, Cycle(run.cycle), run.first_on, run.end_on)
    found = list(
        wanted.filter(pk__gt=run.listed_to).order_by("pk").values_list("pk", "facility_id")[:limit]
    )
    _insert(run, found)
    run.listed_to = found[-1][0] if len(found) == limit else None
    run.save(update_fields=["listed_to"])
    return len(found)


def _insert(run: BillRun, found: list[tuple[int, int]]) -> None:
    BillRunItem.objects.bulk_create(
        [
            BillRunItem(tenant_id=run.tenant_id, run=run, agreement_id=pk, facility_id=facility_id)
            for pk, facility_id in found
        ],
        batch_size=AT_ONCE,
    )
