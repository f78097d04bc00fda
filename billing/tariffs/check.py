"""Whether a tariff has exactly one price at every instant of some days."""

from __future__ import annotations

from datetime import date

import numpy as np

from billing.tariffs.calendar import (
    CoverageError,
    codes_of,
    midnight,
    next_month,
    starts_of,
    uncovered,
)
from billing.tariffs.parts import Component, Energy, Schedule, Tariff

__all__ = ["CoverageError", "check"]


def check(tariff: Tariff, *, zone: str, first: date, end: date) -> None:
    """Raises CoverageError naming the first local instant of the days [first, end) for which a
    schedule has no period or several, or a component that prices energy no price; and the
    component. Of several, the one that comes first in time.
    """
    month = first.replace(day=1)
    while month < end:
        found = [
            error
            for component in tariff.components
            if (error := _wrong(component, tariff, zone, month, first, end)) is not None
        ]
        if found:
            raise min(found, key=lambda error: error.at)
        month = next_month(month)


def _wrong(
    component: Component, tariff: Tariff, zone: str, month: date, first: date, end: date
) -> CoverageError | None:
    schedule: Schedule | None = getattr(component, "schedule", None)
    if schedule is None:
        return None
    # The rules change at minutes, and an interval goes by the minute in which it begins.
    codes = codes_of(schedule, zone, month, tariff.interval_s)
    starts = starts_of(zone, month, tariff.interval_s)
    bad = codes < 0
    if isinstance(component, Energy):
        priced = {price.period for price in component.prices}
        for code, period in enumerate(schedule.periods):
            if period not in priced:
                bad |= codes == code
    bad &= (starts >= midnight(zone, first)) & (starts < midnight(zone, end))
    if not bad.any():
        return None
    n = int(np.flatnonzero(bad)[0])
    return uncovered(component.name, int(starts[n]), zone, int(codes[n]))
