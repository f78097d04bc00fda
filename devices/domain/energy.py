"""Energy by day and quarter of an hour, in the calendar of each facility's time zone.

Needs an open scope and sees what it holds. It counts what the roll-ups hold: they follow the
readings by two minutes, the running quarter included. Days have 23, 24 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    F,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Greatest

from devices.models import Device, DeviceState, Facility, FacilityNow
from devices.telemetry import rollup_reads as reads
from devices.telemetry import status
from devices.telemetry.rollup import QUARTER

# Readings of the last minutes are still with the devices, or not rolled up: not missing.
SETTLING: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy in Wh; None where nothing measures it, or nothing was measured.

    `charge` and `discharge` are what storage took and gave.
    """

    imported_wh: float | None = None
    exported_wh: float | None = None
    generated_wh: float | None = None
    charge_wh: float | None = None
    discharge_wh: float | None = None

    @property
    def used_wh(self) -> float | None:
        """What the loads drew, whatever it came from; None without a meter at the mains."""
        if self.imported_wh is None:
            return None
        return (
            self.imported_wh
            - (self.exported_wh or 0)
            + (self.generated_wh or 0)
            + (self.discharge_wh or 0)
            - (self.charge_wh or 0)
        )

    @property
    def self_used_wh(self) -> float | None:
        """What was generated and did not leave over the mains; None without generation."""
        if self.generated_wh is None:
            return None
        return max(0.0, self.generated_wh - (self.exported_wh or 0))


@dataclass(frozen=True, slots=True)
class DayEnergy:
    """A facility's energy since local midnight, and of yesterday.

    `same` is yesterday until the same local time. `coverage` 0 … 1: how much of today its active
    devices have measured; None while nothing is expected of them.
    """

    day: date
    today: Energy
    same: Energy
    yesterday: Energy
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Quarter:
    """A facility's energy in the quarter of an hour from `starts_at` (UTC) on.

    `coverage` 0 … 1: how much of it its devices have measured, of those that measured at all.
    """

    starts_at: datetime
    energy: Energy
    covered: float


@dataclass(frozen=True, slots=True)
class _Days:
    """Where today and yesterday begin in a zone, and yesterday's moment of the same local time."""

    day: date
    yesterday: datetime
    midnight: datetime
    same: datetime


def today(*, facility_ids: Sequence[int] | None, now: datetime) -> Mapping[int, DayEnergy]:
    """The energy of facilities (None: all of the scope) at `now`; three queries."""
    rows = Facility.objects.order_by("pk")
    if facility_ids is not None:
        rows = rows.filter(pk__in=facility_ids)
    zones = dict(rows.values_list("pk", "time_zone"))
    if not zones:
        return {}
    days = {zone: _days(zone, now) for zone in set(zones.values())}
    quarters = _by_facility(
        reads.facility_quarters(
            connection, list(zones), min(day.yesterday for day in days.values()), now
        )
    )
    expected = _expected(zones, days, now)
    return {
        facility_id: _day(quarters.get(facility_id, ()), days[zone], expected[facility_id])
        for facility_id, zone in zones.items()
    }


def quarters(*, facility_id: int, start: datetime, end: datetime) -> tuple[Quarter, ...]:
    """The quarters of a facility that begin in [start, end); one query."""
    return tuple(
        Quarter(row.starts_at, _sum([(row, 1.0)]), row.covered)
        for row in reads.facility_quarters(connection, [facility_id], start, end)
    )


_KEPT: Final = (
    "counted_at", "day", "used_wh", "used_same_wh", "used_yesterday_wh", "import_wh", "export_wh",
    "generation_wh", "generation_same_wh", "coverage",
)  # fmt: skip


@transaction.atomic
def refresh_days(*, now: datetime) -> int:
    """Keep what `today` says of all facilities of the scope, for pages that sort by it.

    Returns how many facilities that were. Nothing when somebody else is at it.
    """
    if not status.take_turn(connection, "days"):
        return 0
    counted = today(facility_ids=None, now=now)
    tenants = dict(Facility.objects.values_list("pk", "tenant_id"))
    rows = [
        FacilityNow(
            tenant_id=tenants[facility_id],
            facility_id=facility_id,
            counted_at=now,
            day=found.day,
            used_wh=found.today.used_wh,
            used_same_wh=found.same.used_wh,
            used_yesterday_wh=found.yesterday.used_wh,
            import_wh=found.today.imported_wh,
            export_wh=found.today.exported_wh,
            generation_wh=found.today.generated_wh,
            generation_same_wh=found.same.generated_wh,
            coverage=found.coverage,
        )
        for facility_id, found in counted.items()
    ]
    FacilityNow.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["facility"], update_fields=list(_KEPT)
    )
    return len(rows)


def local_day(*, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """Begin and end (UTC) of the local day that holds `now`."""
    begin = _midnight(ZoneInfo(zone), now.astimezone(ZoneInfo(zone)).date())
    end = _midnight(ZoneInfo(zone), now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1))
    return begin, end


def expected_quarters(since: datetime, registered_at: datetime, now: datetime) -> float:
    """How many quarters an active device should have measured since an instant; below 0 when none.

    It counts from the moment on at which it was registered.
    """
    return (now - SETTLING - max(since, registered_at)) / QUARTER


def _days(name: str, now: datetime) -> _Days:
    zone = ZoneInfo(name)
    local = now.astimezone(zone)
    day = local.date()
    before = day - timedelta(days=1)
    midnight, yesterday = _midnight(zone, day), _midnight(zone, before)
    # The same reading of the clock; a time that yesterday did not have is an hour later there.
    same = datetime.combine(before, local.time(), zone).replace(fold=local.fold).astimezone(UTC)
    return _Days(day, yesterday, midnight, min(same, midnight))


def _midnight(zone: ZoneInfo, day: date) -> datetime:
    """The instant (UTC) at which a local day begins, also where clocks skip midnight."""
    return datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)


_Rows = Sequence[reads.FacilityQuarter]


def _by_facility(rows: Iterable[reads.FacilityQuarter]) -> dict[int, list[reads.FacilityQuarter]]:
    found: dict[int, list[reads.FacilityQuarter]] = {}
    for row in rows:
        found.setdefault(row.facility_id, []).append(row)
    return found


def _day(rows: _Rows, days: _Days, expected: float) -> DayEnergy:
    today = [(row, 1.0) for row in rows if row.starts_at >= days.midnight]
    yesterday = [(row, 1.0) for row in rows if days.yesterday <= row.starts_at < days.midnight]
    same = [
        (row, min(1.0, (days.same - row.starts_at) / QUARTER))
        for row, _ in yesterday
        if row.starts_at < days.same
    ]
    covered = sum(row.covered for row, _ in today)
    return DayEnergy(
        day=days.day,
        today=_sum(today),
        same=_sum(same),
        yesterday=_sum(yesterday),
        coverage=_coverage(covered, expected),
    )


def _sum(rows: Sequence[tuple[reads.FacilityQuarter, float]]) -> Energy:
    """The energy of quarters, of each a share (0 … 1)."""

    def total(name: str) -> float | None:
        measured = [
            value * share for row, share in rows if (value := getattr(row, name)) is not None
        ]
        return sum(measured) if measured else None

    return Energy(
        total("import_wh"),
        total("export_wh"),
        total("generation_wh"),
        total("charge_wh"),
        total("discharge_wh"),
    )


def _coverage(covered: float, expected: float) -> float | None:
    if covered >= expected:
        return 1.0 if covered else None
    return covered / expected


def _expected(
    zones: Mapping[int, str], days: Mapping[str, _Days], now: datetime
) -> dict[int, float]:
    """How many quarters the active devices of each facility should have measured since midnight.

    A device counts from the moment on at which it was registered.
    """
    until = now - SETTLING
    midnight = Case(
        *(When(facility__time_zone=zone, then=Value(day.midnight)) for zone, day in days.items()),
        output_field=DateTimeField(),
    )
    rows = (
        Device.objects.filter(state=DeviceState.ACTIVE, facility_id__in=list(zones))
        .annotate(begins_at=Greatest("created_at", midnight))
        .filter(begins_at__lt=until)
        .values("facility_id")
        .annotate(
            lasts=Sum(
                ExpressionWrapper(Value(until) - F("begins_at"), output_field=DurationField())
            )
        )
        .order_by()
    )
    return dict.fromkeys(zones, 0.0) | {row["facility_id"]: row["lasts"] / QUARTER for row in rows}
