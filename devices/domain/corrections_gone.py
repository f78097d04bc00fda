"""Quarters that corrections have moved readings to, when those are gone where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from devices.domain.removed import Rests, left_alone
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.rollup_corrections import Shifts
from devices.telemetry.rollup_samples import Series, reach_ms


def without_gone(
    dirty: Mapping[int, Sequence[int]], series: Mapping[int, Sequence[Series]], shifts: Shifts
) -> dict[int, Sequence[int]]:
    """Of the quarters (starts in ms) of devices, those to which no reading was moved that retention
    has removed since: the others stay as they are.
    """
    sources: dict[tuple[int, int], set[int]] = {}
    for device_id in shifts.layers.keys() & dirty.keys():
        reach = reach_ms(series[device_id][0].step_ms) if series.get(device_id) else 0
        for start in dirty[device_id]:
            windows = shifts.sources(device_id, start - reach, start + QUARTER_MS + reach)
            sources[device_id, start] = {
                quarter
                for begin, end in windows
                for quarter in range(begin // QUARTER_MS * QUARTER_MS, end, QUARTER_MS)
            }
    wanted: dict[int, set[int]] = {}
    for (device_id, _), quarters in sources.items():
        wanted.setdefault(device_id, set()).update(quarters)
    gone = left_alone(
        {
            device_id: Rests(sorted(quarters), frozenset({device_id}), 0)
            for device_id, quarters in wanted.items()
        }
    )
    left = {
        (device_id, start)
        for (device_id, start), quarters in sources.items()
        if any((device_id, quarter) in gone for quarter in quarters)
    }
    if not left:
        return dict(dirty)
    return {
        device_id: known
        for device_id, starts in dirty.items()
        if (known := [start for start in starts if (device_id, start) not in left])
    }
