"""The park at a glance: what it does now, and each facility as one line of a table.

Needs an open scope and sees what it holds. Sums and orders are made by the database, from the rows
that `flow.refresh_power` and `energy.refresh_days` keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import (
    Case,
    Count,
    F,
    IntegerField,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from devices.models import Facility
from devices.telemetry import expressions
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of

# Counts older than this belong to a worker that stands still: they are not shown as today's.
COUNTED_FOR: Final = timedelta(minutes=20)
# Below this part of today, readings are missing.
COMPLETE: Final = 0.95
# How far back the small chart of a facility goes.
RECENT: Final = timedelta(hours=24)


class Rank:
    """How urgently a facility should be looked at; the higher, the more so."""

    WELL: Final = 0
    INCOMPLETE: Final = 1
    PARTLY: Final = 2
    OFFLINE: Final = 3


@dataclass(frozen=True, slots=True)
class ParkNow:
    """Sums over the facilities of the scope; None where nothing is known.

    `reporting` facilities know their power now. `coverage` weighs facilities by their devices.
    """

    facilities: int
    devices: int
    online: int
    troubled: int
    reporting: int
    power_w: float | None
    generation_w: float | None
    measured_at: datetime | None
    energy_wh: float | None
    energy_same_wh: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole park, and its facilities as an ordered `QuerySet`, urgent ones first."""

    park: ParkNow
    rows: QuerySet[Any]


def overview(*, now: datetime) -> Overview:
    """The park at `now`; one query, and one for each evaluation of the rows."""
    rows = _now(now)
    return Overview(_park(rows), facility_rows(now=now))


def facility_rows(*, now: datetime) -> QuerySet[Any]:
    """Facilities, urgent ones first, then by name, each with

    - `devices_active`, those that may connect, `online`, those that are connected, and `rank`;
    - `power_w`: what its loads draw now, of a plant what it generates; `generation_w` and `grid_w`,
      negative when it feeds in; null where unknown;
    - `energy_wh`: likewise since local midnight, `energy_same_wh` yesterday until the same time,
      and `coverage` (0 … 1), the part of today that was measured; null where unknown;
    - `recent`: the mean power in the quarters of the last 24 hours, see `recent_power`.
    """
    recent = expressions.used_power(now=now, length=RECENT)
    rows: QuerySet[Any] = _now(now).annotate(recent=recent)
    return rows.order_by("-rank", "name", "pk")


def _now(now: datetime) -> QuerySet[Any]:
    known = Q(now__known_until__gte=now)
    counted = Q(now__counted_at__gte=now - COUNTED_FOR)
    # What a plant generates stands where others have what they use. While a meter at the mains is
    # silent, the generation behind it is not that.
    plant = Q(now__mains=0)
    return Facility.objects.annotate(
        devices_active=Coalesce("now__devices", 0),
        online=Coalesce("now__connected", 0),
        power_w=Case(
            When(known & plant, then="now__generation_w"), When(known, then="now__home_w")
        ),
        generation_w=Case(When(known, then="now__generation_w")),
        grid_w=Case(When(known, then="now__grid_w")),
        measured_at=Case(When(known, then="now__measured_at")),
        energy_wh=Case(
            When(counted & plant, then=Coalesce("now__used_wh", "now__generation_wh")),
            When(counted, then="now__used_wh"),
        ),
        energy_same_wh=Case(
            When(counted & plant, then=Coalesce("now__used_same_wh", "now__generation_same_wh")),
            When(counted, then="now__used_same_wh"),
        ),
        coverage=Case(When(counted, then="now__coverage")),
        rank=Case(
            When(devices_active=0, then=Value(Rank.WELL)),
            When(online=0, then=Value(Rank.OFFLINE)),
            When(online__lt=F("devices_active"), then=Value(Rank.PARTLY)),
            When(counted & Q(now__coverage__lt=COMPLETE), then=Value(Rank.INCOMPLETE)),
            default=Value(Rank.WELL),
            output_field=IntegerField(),
        ),
    )


def _park(rows: QuerySet[Any]) -> ParkNow:
    covered = Q(coverage__isnull=False)
    found = rows.aggregate(
        facilities=Count("pk"),
        devices_sum=Coalesce(Sum("devices_active"), 0),
        online_sum=Coalesce(Sum("online"), 0),
        troubled=Count("pk", filter=Q(rank__gt=Rank.WELL)),
        reporting=Count("pk", filter=Q(power_w__isnull=False)),
        power=Sum("power_w"),
        generation=Sum("generation_w"),
        oldest=Min("measured_at"),
        energy=Sum("energy_wh"),
        energy_same=Sum("energy_same_wh", filter=Q(energy_wh__isnull=False)),
        covered=Sum(F("coverage") * F("devices_active"), filter=covered),
        expected=Sum("devices_active", filter=covered),
    )
    return ParkNow(
        facilities=found["facilities"],
        devices=found["devices_sum"],
        online=found["online_sum"],
        troubled=found["troubled"],
        reporting=found["reporting"],
        power_w=found["power"],
        generation_w=found["generation"],
        measured_at=found["oldest"],
        energy_wh=found["energy"],
        energy_same_wh=found["energy_same"],
        coverage=found["covered"] / found["expected"] if found["expected"] else None,
    )


def recent_power(pairs: list[list[float | None]] | None, *, now: datetime) -> list[float | None]:
    """The mean power (W) of each quarter of the 24 hours before `now`, oldest first, None where
    nothing was measured; from the column `recent`.
    """
    known: dict[float | None, float | None] = {pair[0]: pair[1] for pair in pairs or ()}
    first = (quarter_of(now) - RECENT).timestamp()
    return [known.get(first + at * QUARTER.total_seconds()) for at in range(RECENT // QUARTER)]
