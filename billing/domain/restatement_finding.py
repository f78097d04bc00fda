"""Which final bills may not be right any more, and why.

Three things change the past of a bill: readings (announced in `devices.domain.changes`), tariffs
and prices with effect backwards, and agreements. Whoever changes one of the latter two asks here
in the same transaction; announcements are read by `find`, each once. A bill is asked for rather
too often than too seldom: computing it anew tells whether anything differs (`restatement_steps`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q

from billing.domain.calendars import midnight
from billing.models import (
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Bill,
    BillKind,
    BillState,
    ChangesRead,
    Restatement,
    RestatementState,
    TariffVersion,
    VersionState,
)
from billing.tariffs.values import Kind
from devices.domain.changes import changes_after
from devices.telemetry.redo_store import Change

# Announcements in one transaction.
MOST_CHANGES: Final = 2_000
# What is missing is estimated from the four weeks before (`devices/telemetry/estimates.py`).
_ESTIMATES_LOOK_BACK: Final = timedelta(days=28)
# A bill that changes all the time tells of this many causes; the last ones count.
MOST_CAUSES: Final = 50
_DAY: Final = timedelta(days=1)


class CauseCode(StrEnum):
    """Why a bill may differ: of readings as they are announced, and of what bills are made by."""

    LATE = "late"
    CORRECTION = "correction"
    IMPORT = "import"
    DERIVED = "derived"
    REGISTRY = "registry"
    TARIFF = "tariff"
    PRICES = "prices"
    AGREEMENT = "agreement"
    FORMER_BILL = "former_bill"


@dataclass(frozen=True, slots=True)
class Because:
    """A cause, with the days [first, end) that it concerns; `subject_id` is the number of the
    correction, import, formula, tariff version, series or bill, `device_id` the meter's.
    """

    code: CauseCode
    first: date
    end: date
    subject_id: int | None = None
    device_id: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As it is kept with a restatement."""
        found = asdict(self)
        return found | {"first": self.first.isoformat(), "end": self.end.isoformat()}


class _Billed(NamedTuple):
    pk: int
    agreement_id: int
    first_on: date
    end_on: date
    zone: str
    estimated: bool
    change_id: int


def find(*, tenant_id: int, now: datetime) -> int:
    """Read the announcements since the last time; returns how many they were.

    One transaction that holds the tenant's place in them, so that each counts once. Needs an open
    scope of the tenant that is not narrowed.
    """
    with transaction.atomic():
        place_exists(tenant_id)
        place = ChangesRead.objects.select_for_update().get(tenant_id=tenant_id)
        changes = changes_after(place.change_id, limit=MOST_CHANGES)
        if changes:
            ask(touched(changes), now=now)
            place.change_id, place.read_at = changes[-1].id, now
            place.save(update_fields=["change_id", "read_at"])
        return len(changes)


def place_exists(tenant_id: int) -> None:
    """Have a place to be held. Whoever writes it is waited for, so agreements are held after it."""
    ChangesRead.objects.get_or_create(tenant_id=tenant_id)


def hold_place(tenant_id: int) -> None:
    """Until the transaction ends nobody reads announced changes of a tenant. Before agreements are
    held: who reads changes holds them afterwards.
    """
    place_exists(tenant_id)
    list(ChangesRead.objects.select_for_update(no_key=True).filter(tenant_id=tenant_id))


def touched(
    changes: Sequence[Change], among: Q | None = None, *, state: BillState = BillState.FINAL
) -> dict[int, list[Because]]:
    """The final bills (`among` some of them), or drafts, that changes of readings concern, by bill;
    two queries.
    """
    if not changes:
        return {}
    by_device: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        by_device[change.device_id].append(change)
    meters: dict[int, list[tuple[int, datetime, datetime | None]]] = defaultdict(list)
    rows = AgreementMeter.objects.filter(channel__device_id__in=list(by_device))
    for agreement_id, device_id, starts_at, ends_at in rows.values_list(
        "agreement_id", "channel__device_id", "starts_at", "ends_at"
    ):
        meters[agreement_id].append((device_id, starts_at, ends_at))
    # In whatever calendar: what matters is compared exactly below.
    first = min(change.starts_at for change in changes).date() - _DAY
    found: dict[int, list[Because]] = {}
    concerned = Q(agreement_id__in=list(meters), end_on__gte=first) & (among or Q())
    for bill in _bills(concerned, state):
        start, end = midnight(bill.first_on, bill.zone), midnight(bill.end_on, bill.zone)
        causes = []
        for device_id, starts_at, ends_at in meters[bill.agreement_id]:
            # What lies before the bill, and before the meter's own time in it, can still be what
            # is estimated from.
            begin = start - _ESTIMATES_LOOK_BACK if bill.estimated else max(start, starts_at)
            stop = min(end, ends_at or end)
            causes += [
                _because(change, bill.zone)
                for change in by_device[device_id]
                # What was announced before the draft was computed is in it.
                if change.id > bill.change_id and change.starts_at < stop and change.ends_at > begin
            ]
        if causes:
            found[bill.pk] = causes
    return found


def _because(change: Change, zone: str) -> Because:
    first = change.starts_at.astimezone(ZoneInfo(zone)).date()
    last = (change.ends_at - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date()
    end = max(first, last) + _DAY
    return Because(CauseCode(change.cause), first, end, change.cause_id, change.device_id)


def version_published(version: TariffVersion, *, now: datetime) -> int:
    """A tariff says something else from a date on: bills by it from there until its next version;
    returns how many. In the transaction that publishes.
    """
    later = TariffVersion.objects.filter(
        tariff_id=version.tariff_id,
        valid_from__gt=version.valid_from,
        state=VersionState.PUBLISHED,
    )
    until = later.order_by("valid_from").values_list("valid_from", flat=True).first()
    spans: dict[int, list[tuple[date, date | None]]] = defaultdict(list)
    by = AgreementTariff.objects.filter(tariff_id=version.tariff_id)
    for agreement_id, starts_on, ends_on in by.values_list("agreement_id", "starts_on", "ends_on"):
        spans[agreement_id].append((starts_on, ends_on))
    concerned = Q(agreement_id__in=list(spans), end_on__gt=version.valid_from)
    if until is not None:
        concerned &= Q(first_on__lt=until)
    found = {}
    for bill in _final(concerned):
        first, end = max(bill.first_on, version.valid_from), min(bill.end_on, until or bill.end_on)
        if any(
            starts_on < end and (ends_on is None or ends_on > first)
            for starts_on, ends_on in spans[bill.agreement_id]
        ):
            found[bill.pk] = [Because(CauseCode.TARIFF, first, end, version.pk)]
    return ask(found, now=now)


def prices_entered(*, series_id: int, start: datetime, end: datetime, now: datetime) -> int:
    """Prices of a series for [start, end) were entered: bills of that time with lines that are
    priced by a series; returns how many. In the transaction that enters them.
    """
    concerned = Q(
        end_on__gt=start.date() - _DAY,
        first_on__lt=end.date() + _DAY,
        lines__kind=Kind.DYNAMIC.value,
    )
    found = {
        bill.pk: [Because(CauseCode.PRICES, bill.first_on, bill.end_on, series_id)]
        for bill in _final(concerned)
        if midnight(bill.first_on, bill.zone) < end and start < midnight(bill.end_on, bill.zone)
    }
    return ask(found, now=now)


def agreement_changed(*, agreement_id: int, first: date, now: datetime | None = None) -> int:
    """Meters, shares, tariff or dates of an agreement change from a day on; returns how many final
    bills that concerns. Drafts of runs are computed anew before they become final. In the
    transaction of the change, which holds the agreement.
    """
    Bill.objects.filter(
        agreement_id=agreement_id, state=BillState.DRAFT, run__isnull=False, end_on__gt=first
    ).update(is_stale=True)
    found = {}
    for bill in _final(Q(agreement_id=agreement_id, end_on__gt=first)):
        begin = max(bill.first_on, first)
        found[bill.pk] = [Because(CauseCode.AGREEMENT, begin, bill.end_on, agreement_id)]
    return ask(found, now=now or datetime.now(UTC))


def ask_followers(bills: Sequence[Bill], *, besides: Collection[int] = (), now: datetime) -> int:
    """Bills leave something else to those after them than was known: the final bills after them
    (but for those in `besides`) are computed anew; returns how many. One query where there is none.
    """
    first: dict[int, Bill] = {}
    for bill in sorted(bills, key=lambda one: one.end_on):
        first.setdefault(bill.agreement_id, bill)
    if not first:
        return 0
    concerned = Q(agreement_id__in=list(first))
    concerned &= Q(first_on__gte=min(bill.end_on for bill in first.values()))
    causes = {
        one.pk: [
            Because(CauseCode.FORMER_BILL, one.first_on, one.end_on, first[one.agreement_id].pk)
        ]
        for one in _final(concerned)
        if one.pk not in besides and one.first_on >= first[one.agreement_id].end_on
    }
    return ask(causes, now=now)


def leaves_something(bill: Bill) -> bool:
    """Whether a bill hands peaks or credit on to those after it."""
    carried = bill.carried
    return bool(
        carried.get("peaks") or carried.get("credit_milliwh") or Decimal(carried.get("credit", 0))
    )


def ask(causes: Mapping[int, Iterable[Because]], *, now: datetime) -> int:
    """Have final bills (by id) computed anew, each with its causes; returns how many bills.

    What is open of a bill already gets the causes too, and is computed once more. Bills that are
    void meanwhile are left out.
    """
    if not causes:
        return 0
    # Agreements are locked first, by everybody: who takes a bill back waits, or has done it before.
    held = Agreement.objects.filter(bills__in=list(causes)).order_by("pk").distinct()
    ids = list(held.values_list("pk", flat=True))
    list(Agreement.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
    rows = Bill.objects.filter(pk__in=list(causes), state=BillState.FINAL, kind=BillKind.INVOICE)
    bills = {bill.pk: bill for bill in rows.order_by("pk")}
    asked = len(bills)
    open_ones = Restatement.objects.filter(bill_id__in=list(bills), ended_at=None)
    for row in open_ones.select_for_update(of=("self",)).order_by("pk"):
        del bills[row.bill_id]
        row.causes = _joined(row.causes, causes[row.bill_id])
        row.state, row.problem = RestatementState.FOUND, ""
        row.save(update_fields=["causes", "state", "problem"])
    Restatement.objects.bulk_create(
        Restatement(
            tenant_id=bill.tenant_id,
            bill=bill,
            facility_id=bill.facility_id,
            causes=_joined([], causes[bill.pk]),
            found_at=now,
        )
        for bill in bills.values()
    )
    return asked


def _joined(before: Sequence[Mapping[str, Any]], more: Iterable[Because]) -> list[dict[str, Any]]:
    joined = [dict(one) for one in before]
    for cause in more:
        one = cause.as_json()
        if one not in joined:
            joined.append(one)
    return joined[-MOST_CAUSES:]


def _final(concerned: Q) -> list[_Billed]:
    return _bills(concerned, BillState.FINAL)


def _bills(concerned: Q, state: BillState) -> list[_Billed]:
    rows = Bill.objects.filter(concerned, state=state, kind=BillKind.INVOICE)
    columns = (
        "pk", "agreement_id", "first_on", "end_on", "zone", "estimated_kwh", "evidence__change_id",
    )  # fmt: skip
    return [
        _Billed(pk, agreement_id, first_on, end_on, zone, estimated > 0, change_id or 0)
        for pk, agreement_id, first_on, end_on, zone, estimated, change_id in (
            rows.order_by("pk").values_list(*columns).distinct()
        )
    ]
