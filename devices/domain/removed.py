"""What retention has taken away is not computed from, and does not come back piece by piece.

- Roll-ups that rest on readings which are gone stay as they are, whatever arrives or is asked for:
  they would be computed to less, or to nothing.
- What arrives late for an hour whose readings were removed is over when it comes, and not kept. An
  hour of which nothing had ever been kept is an hour as any other.

Who asks holds the removal of anything up until the end of the transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection

from devices.models import LEAST_DAYS
from devices.telemetry import retention_store as store
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.rollup_samples import Series, reach_ms
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.segment_store import milliseconds

logger = logging.getLogger(__name__)

# No rule removes what is younger: nobody has to be asked about it.
YOUNG: Final = timedelta(days=LEAST_DAYS)

Hours = Mapping[int, Mapping[int, Readings]]  # start (ms): channel


def without_removed(
    dirty: Mapping[int, Sequence[int]], series: Mapping[int, Sequence[Series]]
) -> dict[int, Sequence[int]]:
    """Of the quarters (starts in ms) of devices, those that rest on no reading that is gone."""
    old = _old_ms()
    wanted: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for device_id, starts in dirty.items():
        reach = reach_ms(series[device_id][0].step_ms) if series.get(device_id) else 0
        for start in starts:
            if start - reach < old:
                wanted[device_id, start] = {
                    (device_id, hour) for hour in _hours(start - reach, start + QUARTER_MS + reach)
                }
    if not wanted:
        return dict(dirty)
    store.wait_for_removals(connection)
    gone = store.gone(connection, set().union(*wanted.values()))
    left = {quarter for quarter, hours in wanted.items() if hours & gone}
    if left:
        logger.info("rollups_left quarters=%d: readings below them were removed", len(left))
    return {
        device_id: known
        for device_id, starts in dirty.items()
        if (known := [start for start in starts if (device_id, start) not in left])
    }


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
