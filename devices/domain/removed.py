"""What retention has taken away is not computed from, and does not come back piece by piece.

- Roll-ups that rest on readings which are gone stay as they are, whatever arrives or is asked for:
  they would be computed to less, or to nothing. So do days and sums of facilities whose quarters
  are gone.
- What arrives late for an hour whose readings were removed is over when it comes, and not kept. An
  hour of which nothing had ever been kept is an hour as any other.

Who asks holds the removal of anything up until the end of the transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

from devices.models import LEAST_DAYS, DataClass
from devices.telemetry import retention_store as store
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.rollup_samples import Series, reach_ms
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.segment_store import milliseconds

logger = logging.getLogger(__name__)

# No rule removes what is younger: nobody has to be asked about it.
YOUNG: Final = timedelta(days=LEAST_DAYS)

Hours = Mapping[int, Mapping[int, Readings]]  # start (ms): channel


@dataclass(frozen=True, slots=True)
class Rests:
    """What quarters (starts in ms) are computed from: readings of some devices, no further away
    from a quarter than `reach_ms`.
    """

    starts: Sequence[int]
    devices: frozenset[int]
    reach_ms: int


def without_removed(
    dirty: Mapping[int, Sequence[int]],
    series: Mapping[int, Sequence[Series]],
    tenants: Mapping[int, int],
) -> dict[int, Sequence[int]]:
    """Of the quarters (starts in ms) of devices, those that rest on no reading that is gone, and
    are not gone themselves; `tenants` has the tenant of each device.
    """
    left = left_alone(
        {
            device_id: Rests(starts, frozenset({device_id}), reach_ms(series[device_id][0].step_ms))
            for device_id, starts in dirty.items()
            if series.get(device_id)
        }
    )
    left |= covered(own(dirty), tenants, data_class=DataClass.QUARTERS)
    if not left:
        return dict(dirty)
    return {
        device_id: known
        for device_id, starts in dirty.items()
        if (known := [start for start in starts if (device_id, start) not in left])
    }


def own(dirty: Mapping[int, Sequence[int]]) -> dict[int, Rests]:
    """Quarters of devices as what they are themselves."""
    return {
        device_id: Rests(starts, frozenset({device_id}), 0) for device_id, starts in dirty.items()
    }


def left_alone(asked: Mapping[int, Rests]) -> set[tuple[int, int]]:
    """Of quarters by some key (a device, a channel), (key, start) of those that rest on a reading
    that is gone: they stay as they are.
    """
    old = _old_ms()
    wanted: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for key, rests in asked.items():
        for start in rests.starts:
            if start - rests.reach_ms < old:
                hours = _hours(start - rests.reach_ms, start + QUARTER_MS + rests.reach_ms)
                wanted[key, start] = {(one, hour) for one in rests.devices for hour in hours}
    if not wanted:
        return set()
    store.wait_for_removals(connection)
    gone = store.gone(connection, set().union(*wanted.values()))
    left = {quarter for quarter, hours in wanted.items() if hours & gone}
    if left:
        logger.info("rollups_left quarters=%d: readings below them were removed", len(left))
    return left


def covered(
    asked: Mapping[int, Rests],
    tenants: Mapping[int, int],
    *,
    data_class: DataClass = DataClass.READINGS,
) -> set[tuple[int, int]]:
    """Of quarters by some key, (key, start) of those in whose time retention has removed readings
    (or quarters), even if an import has brought some back: of channels that it has not, nothing can
    be told. `tenants` has the tenant of each key.
    """
    old = _old_ms()
    starts = [start for rests in asked.values() for start in rests.starts if start < old]
    if not starts:
        return set()
    first, last = min(starts) // HOUR_MS * HOUR_MS, max(starts) + QUARTER_MS
    removals = store.removals(connection, tenants.values(), first, last, data_class=data_class)
    return {
        (key, start)
        for key, rests in asked.items()
        for start in rests.starts
        for hour in (start // HOUR_MS * HOUR_MS,)
        if start < old
        and any(
            removal.covers(tenants[key], device_id, hour)
            for removal in removals
            for device_id in rests.devices
        )
    }


Dirty = Sequence[tuple[int, datetime, int]]  # facility, start of a quarter, tenant


def without_lost_sums(dirty: Dirty) -> Dirty:
    """Of the quarters of facilities that are to be summed, those whose roll-ups are not gone."""
    old = datetime.now(UTC) - YOUNG
    past = [(tenant_id, milliseconds(at)) for _, at, tenant_id in dirty if at < old]
    if not past:
        return dirty
    store.wait_for_removals(connection)
    first, last = (bound(start for _, start in past) for bound in (min, max))
    removals = store.removals(
        connection, {one for one, _ in past}, first, last + 1, data_class=DataClass.QUARTERS
    )
    return [
        (facility_id, at, tenant_id)
        for facility_id, at, tenant_id in dirty
        if not any(
            removal.tenant_id == tenant_id and removal.start_ms <= milliseconds(at) < removal.end_ms
            for removal in removals
        )
    ]


def without_late(fresh: Mapping[int, Hours], tenants: Mapping[int, int]) -> dict[int, Hours]:
    """What has come of devices, without the hours that retention has removed; `tenants` has the
    tenant of each device.
    """
    old = _old_ms()
    wanted = {(device_id, hour) for device_id, hours in fresh.items() for hour in hours}
    wanted = {(device_id, hour) for device_id, hour in wanted if hour < old}
    if not wanted:
        return dict(fresh)
    store.wait_for_removals(connection)
    gone = store.gone(connection, wanted)
    starts = [hour for _, hour in gone] or [0]
    owners = {tenants[device_id] for device_id, _ in gone}
    removals = store.removals(connection, owners, min(starts), max(starts) + HOUR_MS)
    late = {
        (device_id, hour)
        for device_id, hour in gone
        if any(removal.covers(tenants[device_id], device_id, hour) for removal in removals)
    }
    for device_id, hour in sorted(late):
        count = sum(map(len, fresh[device_id][hour].values()))
        logger.info("readings_over device=%d hour_ms=%d values=%d", device_id, hour, count)
    return {
        device_id: {hour: found for hour, found in hours.items() if (device_id, hour) not in late}
        for device_id, hours in fresh.items()
    }


def _old_ms() -> int:
    return milliseconds((datetime.now(UTC) - YOUNG).replace(microsecond=0))


def _hours(start_ms: int, end_ms: int) -> Iterable[int]:
    return range(start_ms // HOUR_MS * HOUR_MS, end_ms, HOUR_MS)
