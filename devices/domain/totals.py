"""Energy of facilities over periods of a calendar, each watt-hour counted once.

A facility is counted at its mains, generators and batteries; sub-meters lie behind them and do not
count (`rollups.energy_sources`). An area of a facility is a facility too: what it draws has passed
the mains of the one around it already. So of facilities in each other the outermost that is metered
at its mains counts alone.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from django.db import connection

from devices.domain.queries import FacilityNotFound
from devices.domain.rollups import energy_sources
from devices.domain.series_bounds import (
    DEFAULT_POINTS,
    SeriesRefusedError,
    checked,
    zone_named,
)
from devices.domain.series_estimates import total_estimates
from devices.models import Facility
from devices.protocol.data import Int64s
from devices.telemetry.estimates import PeriodEstimates
from devices.telemetry.periods import Reason, Resolution, chosen, edges
from devices.telemetry.rollup import Floats
from devices.telemetry.segment_store import moment
from devices.telemetry.series_reads import facility_quarters
from devices.telemetry.sums import summed


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """The energy of facilities together; columns (m,) of the periods in which any was measured.

    `starts` and `ends` in ms since the Unix epoch; energy in Wh, NaN where none of them measures
    it; `used` is what the loads drew, whatever it came from. `counted` are the facilities that the
    sums are made of, `contained` those that lie behind the mains of one of them. `estimates`, where
    they were asked for: by flow (import, export, generation, charge, discharge) what was not
    measured, which the sums do not contain.
    """

    start: datetime
    end: datetime
    resolution: Resolution
    reason: Reason
    counted: tuple[int, ...]
    contained: tuple[int, ...]
    starts: Int64s
    ends: Int64s
    imported: Floats
    exported: Floats
    generated: Floats
    charged: Floats
    discharged: Floats
    estimates: Mapping[str, PeriodEstimates] | None = field(default=None, kw_only=True)

    @property
    def used(self) -> Floats:
        """Import and what was generated and discharged, less what was exported and charged; NaN
        without a meter at the mains.
        """
        given, taken = (self.generated, self.discharged), (self.exported, self.charged)
        return (
            self.imported
            + sum(np.nan_to_num(column) for column in given)
            - sum(np.nan_to_num(column) for column in taken)
        )


def read_totals(
    *,
    facility_ids: Sequence[int],
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
    zone: str | None = None,
    estimate: bool = False,
) -> Totals:
    """The energy of one or more facilities in [start, end), widened to full quarters of an hour.

    `zone`: the calendar; None for that of the facilities, which must then be the same. Resolution
    RAW does not exist for sums: AUTO stops at quarters of an hour. `estimate`: tell, beside what
    was measured, an estimate of what was not. Three queries, six with estimates. Raises
    FacilityNotFound and SeriesRefusedError.
    """
    bounds = checked(start, end, points=points)
    parents, zones = _tree(facility_ids)
    if zone is None and len(zones) > 1:
        raise SeriesRefusedError("zone", "These facilities lie in several time zones: name one.")
    calendar = zone_named(zone or min(zones))
    reason = Reason.ASKED
    if resolution is Resolution.RAW:
        raise SeriesRefusedError("resolution", "Sums of facilities begin at quarters of an hour.")
    if resolution is Resolution.AUTO:
        resolution, reason = chosen(
            bounds.start_ms,
            bounds.end_ms,
            calendar,
            points=points or DEFAULT_POINTS,
            raw_is_quick=False,
        )
    counted = _outermost(facility_ids, parents)
    bounds.refuse_many_quarters(len(counted))
    begin, finish = moment(bounds.start_ms), moment(bounds.end_ms)
    borders = edges(resolution, bounds.start_ms, bounds.end_ms, calendar)
    starts, ends, flows = _summed(
        [*facility_quarters(connection, counted, begin, finish).values()], borders
    )
    contained = tuple(sorted(set(facility_ids) - set(counted)))
    estimates = None
    if estimate:
        sources = energy_sources(facility_ids=counted)
        estimates = total_estimates(sources, bounds, calendar, borders)
    found = Totals(
        begin, finish, resolution, reason, tuple(counted), contained, starts, ends, *flows
    )
    return replace(found, estimates=estimates)


def _tree(facility_ids: Sequence[int]) -> tuple[dict[int, int | None], set[str]]:
    """The parent of every facility in the scope, and the zones of those asked for; one query."""
    rows = {row[0]: row for row in Facility.objects.values_list("pk", "parent_id", "time_zone")}
    for facility_id in facility_ids:
        if facility_id not in rows:
            raise FacilityNotFound(f"facility {facility_id}")
    if not facility_ids:
        raise SeriesRefusedError("facility_ids", "Name at least one facility.")
    parents: dict[int, int | None] = {pk: parent_id for pk, parent_id, _ in rows.values()}
    return parents, {rows[facility_id][2] for facility_id in facility_ids}


def _outermost(facility_ids: Sequence[int], parents: Mapping[int, int | None]) -> list[int]:
    """Those that lie behind no mains of another one; one query."""
    metered = {
        source.facility_id
        for source in energy_sources(facility_ids=facility_ids)
        if source.flow == "import"
    }

    def is_behind_mains(facility_id: int) -> bool:
        around = parents[facility_id]
        while around is not None:
            if around in metered:
                return True
            around = parents.get(around)
        return False

    return sorted(one for one in set(facility_ids) if not is_behind_mains(one))


def _summed(
    facilities: Sequence[tuple[Int64s, tuple[Floats, ...]]], borders: Int64s
) -> tuple[Int64s, Int64s, list[Floats]]:
    """The sums of all facilities by period."""
    if not facilities:
        return np.empty(0, np.int64), np.empty(0, np.int64), [np.empty(0) for _ in range(5)]
    times = np.concatenate([starts for starts, _ in facilities])
    order = np.argsort(times, kind="stable")
    place = np.searchsorted(borders, times[order], side="right") - 1
    begins = np.flatnonzero(np.concatenate([[True], np.diff(place) != 0]))
    flows = [
        summed(np.concatenate(columns)[order], begins)
        for columns in zip(*(columns for _, columns in facilities), strict=True)
    ]
    return borders[place[begins]], borders[place[begins] + 1], flows
