"""The meter tree of a facility: which meter lies behind which, and what each measured.

A device lies behind the meter that its electricity passes first (`Device.behind`); without one,
behind the mains of its facility, if there are any. What a meter measured and those right behind it
did not is the *rest*: loads without a meter of their own, and losses.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from devices.domain.queries import DeviceNotFound, FacilityNotFound
from devices.domain.rollups import meter_sources
from devices.domain.series import read_series
from devices.models import Device, DeviceState, Facility, Placement
from devices.telemetry.periods import Resolution
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_store import Source
from devices.telemetry.series import Periods

# What flows out of a meter's own circuit is given back.
_GIVEN: Final = frozenset({"export", "discharge", "generation"})


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter in its tree, `depth` 0 for those that lie behind none.

    `net_wh`: what it drew less what it gave back; None while nothing is known. `share`: the part of
    what went through the meter before it. `rest_wh`: what went through it and not through those
    right behind it; None without any behind it, for mains (`MeterTree.rest_wh`), and where a figure
    is missing. `coverage` 0 … 1 of the period, of the least measured of its channels.
    """

    device_id: int
    name: str
    placement: str
    behind_id: int | None
    depth: int
    net_wh: float | None
    share: float | None
    rest_wh: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class MeterTree:
    """The meters of a facility in [start, end), each followed by those behind it.

    `mains_wh`: what the mains drew together, less what they gave back; `rest_wh`: the part of it
    that no meter right behind them measured. None where a figure is missing, or nothing lies there.
    """

    facility_id: int
    name: str
    time_zone: str
    start: datetime
    end: datetime
    mains_wh: float | None
    rest_wh: float | None
    meters: tuple[Meter, ...]


@dataclass(frozen=True, slots=True)
class MeterSum:
    """What several meters drew together in [start, end), nothing twice.

    `counted` are those that the sum is made of, `contained` those that lie behind one of them,
    `unknown` those of the counted that have no figure. `net_wh` is None when none has.
    """

    net_wh: float | None
    counted: tuple[int, ...]
    contained: tuple[int, ...]
    unknown: tuple[int, ...]


class Row(NamedTuple):
    """A device and where it lies."""

    device_id: int
    facility_id: int
    name: str
    placement: str
    behind_id: int | None


@dataclass(frozen=True, slots=True)
class PlacedFacility:
    """A facility and where its devices lie."""

    facility_id: int
    name: str
    devices: tuple[Row, ...]


class _Measured(NamedTuple):
    net_wh: float | None
    coverage: float


def tree_of_days(
    *, facility_id: int, choose: Callable[[date], tuple[date, date]], now: datetime
) -> MeterTree:
    """The meter tree of a facility over full days of its own calendar, until `now` at most.

    `choose` is given today there, and gives the first and the last day, both included. Five
    queries; raises as `meter_tree` does.
    """
    facility = _facility(facility_id)
    zone = ZoneInfo(facility.time_zone)
    first, last = choose(now.astimezone(zone).date())
    begin, end = _midnight(first, zone), _midnight(last + timedelta(days=1), zone)
    # What lies ahead is no gap.
    end = min(end, now)
    return _tree(facility, min(begin, end - QUARTER), end)


def meter_tree(*, facility_id: int, start: datetime, end: datetime) -> MeterTree:
    """The meter tree of a facility in [start, end); five queries. Raises FacilityNotFound, and
    SeriesRefusedError for a period that cannot be answered.
    """
    return _tree(_facility(facility_id), start, end)


def placed_devices(*, facility_id: int) -> PlacedFacility:
    """The devices of a facility that may lie behind each other; two queries. Raises
    FacilityNotFound.
    """
    facility = _facility(facility_id)
    rows = _rows(facility__pk=facility_id)
    return PlacedFacility(facility_id, facility.name, tuple(rows))


def _facility(facility_id: int) -> Facility:
    try:
        return Facility.objects.get(pk=facility_id)
    except Facility.DoesNotExist as error:
        raise FacilityNotFound(f"facility {facility_id}") from error


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)


def _tree(facility: Facility, start: datetime, end: datetime) -> MeterTree:
    rows = _rows(facility__pk=facility.pk)
    sources = _sources_of([row.device_id for row in rows])
    rows = [row for row in rows if row.device_id in sources]
    above = _above(rows)
    measured = _measured(sources, start, end)
    below: dict[int | None, list[Row]] = defaultdict(list)
    for row in rows:
        if row.placement != Placement.MAINS:
            below[above.get(row.device_id)].append(row)
    mains = [row for row in rows if row.placement == Placement.MAINS]
    through = _sum([measured[row.device_id].net_wh for row in mains])
    ordered = [(row, 0) for row in mains] + _ordered(below, None, 1 if mains else 0)
    found = tuple(
        Meter(
            device_id=row.device_id,
            name=row.name,
            placement=row.placement,
            behind_id=above.get(row.device_id),
            depth=depth,
            net_wh=measured[row.device_id].net_wh,
            share=_share(row, above, measured, through),
            rest_wh=_rest(measured[row.device_id].net_wh, below[row.device_id], measured),
            coverage=measured[row.device_id].coverage,
        )
        for row, depth in ordered
    )
    return MeterTree(
        facility_id=facility.pk,
        name=facility.name,
        time_zone=facility.time_zone,
        start=start,
        end=end,
        mains_wh=through,
        rest_wh=_rest(through, below[None], measured),
        meters=found,
    )


def read_sum(*, device_ids: Sequence[int], start: datetime, end: datetime) -> MeterSum:
    """What meters, of one or several facilities, drew together: of meters in each other the
    outermost counts alone, and what lies in an area has passed the mains of the facility around it.
    Five queries. Raises DeviceNotFound and SeriesRefusedError.
    """
    chosen = set(device_ids)
    facilities = Device.objects.filter(pk__in=chosen).values("facility_id")
    rows = _rows(facility__in=facilities)
    if missing := chosen - {row.device_id for row in rows}:
        raise DeviceNotFound(f"device {min(missing)}")
    parents = dict(Facility.objects.values_list("pk", "parent_id"))
    inside = contained(chosen, rows, parents)
    counted = sorted(chosen - inside)
    sources = _sources_of(counted)
    measured = _measured(sources, start, end)
    known = {one: found.net_wh for one, found in measured.items() if found.net_wh is not None}
    return MeterSum(
        net_wh=sum(known.values()) if known else None,
        counted=tuple(counted),
        contained=tuple(sorted(inside)),
        unknown=tuple(one for one in counted if one not in known),
    )


def _rows(**chosen: Any) -> list[Row]:
    """Devices, mains first, then by name; one query."""
    found = Device.objects.filter(**chosen).exclude(state=DeviceState.PLANNED)
    rows = [
        Row(*row)
        for row in found.values_list("pk", "facility_id", "name", "placement", "behind_id")
    ]
    return sorted(rows, key=lambda row: (row.placement != Placement.MAINS, row.name, row.device_id))


def _above(rows: Iterable[Row]) -> dict[int, int]:
    """The meter right before a device, of those that lie behind another one than the mains."""
    placements = {row.device_id: row.placement for row in rows}
    return {
        row.device_id: row.behind_id
        for row in rows
        if row.behind_id is not None
        and placements.get(row.behind_id, Placement.MAINS) != Placement.MAINS
    }


def contained(
    chosen: AbstractSet[int], rows: Sequence[Row], parents: Mapping[int, int | None]
) -> set[int]:
    """Those of some meters that lie behind another one of them.

    `rows` are all devices of their facilities, `parents` the facility around each facility.
    """
    before = {row.device_id: row.behind_id for row in rows}
    mains: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        if row.placement == Placement.MAINS:
            mains[row.facility_id].add(row.device_id)

    def has_passed_mains(row: Row) -> bool:
        at = parents.get(row.facility_id) if row.placement == Placement.MAINS else row.facility_id
        while at is not None:
            if mains[at] and mains[at] <= chosen:
                return True
            at = parents.get(at)
        return False

    def iscontained(row: Row) -> bool:
        over = row.behind_id
        while over is not None:
            if over in chosen:
                return True
            over = before.get(over)
        return has_passed_mains(row)

    return {row.device_id for row in rows if row.device_id in chosen and iscontained(row)}


def _ordered(
    below: Mapping[int | None, Sequence[Row]], over: int | None, depth: int
) -> list[tuple[Row, int]]:
    """The meters behind one with their depth, each followed by those behind it."""
    found: list[tuple[Row, int]] = []
    left = [(row, depth) for row in reversed(below.get(over, ()))]
    while left:
        row, at = left.pop()
        found.append((row, at))
        left += [(one, at + 1) for one in reversed(below.get(row.device_id, ()))]
    return found


def _share(
    row: Row,
    above: Mapping[int, int],
    measured: Mapping[int, _Measured],
    through: float | None,
) -> float | None:
    own = measured[row.device_id].net_wh
    over = above.get(row.device_id)
    before = through if over is None else measured[over].net_wh
    if own is None or before is None or row.placement == Placement.MAINS or before <= 0:
        return None
    return own / before


def _rest(
    through: float | None, behind: Sequence[Row], measured: Mapping[int, _Measured]
) -> float | None:
    parts = _sum([measured[row.device_id].net_wh for row in behind])
    return None if through is None or parts is None else through - parts


def _sum(parts: Sequence[float | None]) -> float | None:
    """The sum of what is known completely; None without any."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def _sources_of(device_ids: Sequence[int]) -> dict[int, list[Source]]:
    found: dict[int, list[Source]] = defaultdict(list)
    for source in meter_sources(device_ids=device_ids):
        found[source.device_id].append(source)
    return found


def _measured(
    sources: Mapping[int, Sequence[Source]], start: datetime, end: datetime
) -> dict[int, _Measured]:
    """What meters measured; two queries."""
    pairs = sorted({(one.device_id, one.channel) for some in sources.values() for one in some})
    found = read_series(channels=pairs, start=start, end=end, resolution=Resolution.MONTH)
    length = (found.end - found.start) / timedelta(milliseconds=1)
    periods = {
        (one.channel.device_id, one.channel.number): one.periods
        for one in found.channels
        if one.periods is not None
    }
    measured = {}
    for device_id, some in sources.items():
        parts = []
        coverages = []
        for one in some:
            these = periods[device_id, one.channel]
            wh = _part(these, one.part)
            if wh is not None:
                parts.append(-wh if one.flow in _GIVEN else wh)
            coverages.append(float((these.coverage * (these.ends - these.starts)).sum()) / length)
        measured[device_id] = _Measured(sum(parts) if parts else None, min(coverages))
    return measured


def _part(periods: Periods, part: str) -> float | None:
    """The energy (Wh) of one direction; None where nothing was counted."""
    known = ~np.isnan(periods.energy)
    if not known.any():
        return None
    energy = float(periods.energy[known].sum())
    returned = float(np.nansum(periods.returned[known]))
    return {"energy": energy, "returned": returned, "forward": energy + returned}[part]
