"""Bill runs and their accounts, to be looked at. Needs an open scope and sees what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, Q, QuerySet, Sum

from billing.domain.paging import page_of
from billing.models import (
    Bill,
    BillKind,
    BillRun,
    BillRunItem,
    Cycle,
    ItemState,
    RunKind,
    RunState,
)
from devices.domain.catalogue import Page

PAGE: Final = 50
_MONTHS: Final = {Cycle.MONTH: 1, Cycle.QUARTER: 3, Cycle.YEAR: 12}


class RunNotFound(LookupError):  # noqa: N818 - it reads as what happened
    """There is no such run in the scope."""


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run; `counts` are its accounts by state (`ItemState`), `total` that of its bills in their
    currencies, credit notes included. Names are empty for the system.
    """

    run_id: int
    kind: RunKind
    cycle: Cycle
    first_on: date
    end_on: date
    state: RunState
    known_at: datetime
    issued_on: date | None
    cause: str
    asked_by_id: int | None
    asked_by: str
    approved_by: str
    created_at: datetime
    approved_at: datetime | None
    ended_at: datetime | None
    counts: Mapping[ItemState, int]
    totals: Mapping[str, Decimal]

    @property
    def accounts(self) -> int:
        """How many accounts it has."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class ItemBill:
    """A bill that a run has made for an account."""

    bill_id: int
    number: str
    state: str
    first_on: date
    end_on: date
    total: Decimal
    currency: str
    imported_kwh: Decimal


@dataclass(frozen=True, slots=True)
class ItemEntry:
    """An account of a run; `findings` have the figures that `checklist.Code` names."""

    item_id: int
    agreement_id: int
    agreement: str
    customer: str
    facility: str
    state: ItemState
    findings: tuple[Mapping[str, Any], ...]
    problem: str
    reason: str
    accepted_by: str
    bills: tuple[ItemBill, ...]


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Some accounts of a run in their order; `after` asks for the next ones, None: there are
    none.
    """

    items: tuple[ItemEntry, ...]
    after: int | None


def next_end(first_on: date, cycle: Cycle) -> date | None:
    """The end of the period of a cycle that begins on a day; None where none does."""
    months = _MONTHS[cycle]
    if first_on.day != 1 or (first_on.month - 1) % months:
        return None
    index = first_on.year * 12 + first_on.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def runs(*, limit: int = PAGE, before: int | None = None) -> tuple[RunEntry, ...]:
    """Runs, the newest first, of those with ids below `before`; three queries."""
    rows = BillRun.objects.order_by("-pk")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return _entries(rows.select_related("asked_by", "approved_by")[:limit])


def run_page(
    *, limit: int, after: int = 0, state: str | None = None, cycle: str | None = None
) -> Page[RunEntry]:
    """Runs by id; four queries."""
    rows = BillRun.objects.select_related("asked_by", "approved_by")
    wanted = {"state": state, "cycle": cycle}
    page = page_of(rows, limit=limit, after=after, wanted=wanted)
    ids = [run.pk for run in page.items]
    found = _entries(rows.filter(pk__in=ids).order_by("pk"))
    return Page(found, page.next_after)


def item_page(
    *, run_id: int, limit: int, after: int = 0, state: str | None = None
) -> Page[ItemEntry]:
    """The accounts of a run by id; three queries. Raises RunNotFound."""
    if not BillRun.objects.filter(pk=run_id).exists():
        raise RunNotFound(f"run {run_id}")
    states = () if state is None else (ItemState(state),)
    found = items(run_id=run_id, states=states, after=after, limit=limit)
    return Page(found.items, found.after)


def run_entry(*, run_id: int) -> RunEntry:
    """A run; three queries. Raises RunNotFound."""
    rows = BillRun.objects.filter(pk=run_id).select_related("asked_by", "approved_by")
    found = _entries(rows)
    if not found:
        raise RunNotFound(f"run {run_id}")
    return found[0]


def items(
    *,
    run_id: int,
    states: Sequence[ItemState] = (),
    after: int = 0,
    limit: int = PAGE,
) -> ItemPage:
    """The accounts of a run with ids above `after`, of some states or of all; two queries."""
    rows = BillRunItem.objects.filter(run_id=run_id, pk__gt=after)
    if states:
        rows = rows.filter(state__in=list(states))
    found = list(
        rows.select_related("agreement__customer", "facility", "accepted_by").order_by("pk")[
            : limit + 1
        ]
    )
    more, found = len(found) > limit, found[:limit]
    bills: dict[int, list[ItemBill]] = {}
    for bill in Bill.objects.filter(
        run_id=run_id,
        kind=BillKind.INVOICE,
        agreement_id__in=[one.agreement_id for one in found],
    ).order_by("first_on"):
        bills.setdefault(bill.agreement_id, []).append(_item_bill(bill))
    entries = tuple(_item(one, tuple(bills.get(one.agreement_id, ()))) for one in found)
    return ItemPage(entries, found[-1].pk if more else None)


def findings_of(*, run_id: int) -> dict[str, int]:
    """How many held accounts of a run have each finding, by code; one query."""
    counts: dict[str, int] = {}
    rows = BillRunItem.objects.filter(run_id=run_id, state=ItemState.HELD)
    for findings in rows.values_list("findings", flat=True):
        for code in {one["code"] for one in findings}:
            counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items()))


def _entries(rows: QuerySet[BillRun]) -> tuple[RunEntry, ...]:
    found = list(rows)
    ids = [run.pk for run in found]
    counts: dict[int, dict[ItemState, int]] = {pk: {} for pk in ids}
    for run_id, state, count in (
        BillRunItem.objects.filter(run_id__in=ids)
        .order_by()
        .values_list("run_id", "state")
        .annotate(count=Count("pk"))
    ):
        counts[run_id][ItemState(state)] = count
    totals: dict[int, dict[str, Decimal]] = {pk: {} for pk in ids}
    for run_id, currency, total in (
        Bill.objects.filter(Q(run_id__in=ids))
        .order_by()
        .values_list("run_id", "currency")
        .annotate(sum=Sum("total"))
    ):
        if run_id is not None:
            totals[run_id][currency] = total
    return tuple(_entry(run, counts[run.pk], totals[run.pk]) for run in found)


def _entry(
    run: BillRun, counts: Mapping[ItemState, int], totals: Mapping[str, Decimal]
) -> RunEntry:
    return RunEntry(
        run_id=run.pk,
        kind=RunKind(run.kind),
        cycle=Cycle(run.cycle),
        first_on=run.first_on,
        end_on=run.end_on,
        state=RunState(run.state),
        known_at=run.known_at,
        issued_on=run.issued_on,
        cause=run.cause,
        asked_by_id=run.asked_by_id,
        asked_by=run.asked_by.get_full_name() if run.asked_by else "",
        approved_by=run.approved_by.get_full_name() if run.approved_by else "",
        created_at=run.created_at,
        approved_at=run.approved_at,
        ended_at=run.ended_at,
        counts=counts,
        totals=totals,
    )


def _item(one: BillRunItem, bills: tuple[ItemBill, ...]) -> ItemEntry:
    return ItemEntry(
        item_id=one.pk,
        agreement_id=one.agreement_id,
        agreement=one.agreement.number,
        customer=one.agreement.customer.name,
        facility=one.facility.name,
        state=ItemState(one.state),
        findings=tuple(one.findings),
        problem=one.problem,
        reason=one.reason,
        accepted_by=one.accepted_by.get_full_name() if one.accepted_by else "",
        bills=bills,
    )


def _item_bill(bill: Bill) -> ItemBill:
    return ItemBill(
        bill_id=bill.pk,
        number=bill.number,
        state=bill.state,
        first_on=bill.first_on,
        end_on=bill.end_on,
        total=bill.total,
        currency=bill.currency,
        imported_kwh=bill.imported_kwh,
    )
