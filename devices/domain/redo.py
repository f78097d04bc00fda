"""Rolling up again what was changed below: by a correction, an import, a formula.

Needs an open scope, and works on what it holds. A step is one transaction and takes a bounded part
of what was asked for, under the lock of the device; so it may be killed at any moment, repeated and
done by several at once. What it has computed it announces (`changes.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from django.db import connection, transaction

from devices.domain import corrections_gone, derived_due, removed, rollups
from devices.protocol.data import Int64s
from devices.telemetry import redo_store, rollup_store, segment_store
from devices.telemetry.redo_store import Asked, Changed
from devices.telemetry.rollup import QUARTER_MS, Quarters, no_quarters
from devices.telemetry.rollup_corrections import shifts_of
from devices.telemetry.rollup_samples import Series, reach_ms
from devices.telemetry.series_reads import channel_quarters

MAX_DEVICES: Final = 50
# Quarters of one device in one transaction: a month.
MAX_QUARTERS: Final = 31 * 96


@dataclass(frozen=True, slots=True)
class Redone:
    """What a step did.

    `last` is the highest device id that it claimed, None when none was left; `more` says whether it
    left anything of these devices.
    """

    last: int | None
    quarters: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """What is done now of a device: the starts of quarters, and of each request how far it goes."""

    starts: Sequence[int]
    until: Mapping[Asked, int]


@transaction.atomic
def redo(*, after: int = 0, limit: int = MAX_DEVICES) -> Redone:
    """Compute again what was asked for, of up to `limit` devices with ids above `after`; a part of
    it, if it is long; one transaction.
    """
    tenants = redo_store.claim(connection, after=after, limit=limit)
    if not tenants:
        return Redone(None)
    asked: dict[int, list[Asked]] = defaultdict(list)
    for one in redo_store.asked_of(connection, list(tenants)):
        asked[one.device_id].append(one)
    series = rollups.series_of(list(asked))
    left = rollups.MAX_VALUES
    parts: dict[int, _Part] = {}
    for device_id, some in asked.items():
        if left <= 0:
            break
        parts[device_id] = _part(some, series.get(device_id, ()), left)
        left -= len(parts[device_id].starts) * _values(series.get(device_id, ()))
    quarters = _compute(parts, series, tenants)
    done = {one: until for part in parts.values() for one, until in part.until.items()}
    redo_store.finish(connection, [(one.id, until) for one, until in done.items()])
    changed = [
        Changed(one.device_id, one.start_ms, min(until, one.end_ms), one.cause, one.cause_id)
        for one, until in done.items()
        if until > one.start_ms
    ]
    derived_due.readings_changed(
        (one.device_id, one.start_ms, one.end_ms) for one in dict.fromkeys(changed)
    )
    redo_store.announce(connection, list(dict.fromkeys(changed)))
    finished = all(
        one in done and done[one] >= one.end_ms for some in asked.values() for one in some
    )
    return Redone(max(tenants), quarters, more=not finished)


def _values(series: Sequence[Series]) -> int:
    """How many values a quarter of a device has at most."""
    return len(series) * QUARTER_MS // series[0].step_ms if series else 1


def _part(requests: Sequence[Asked], series: Sequence[Series], values: int) -> _Part:
    """As much of what was asked for of a device as a transaction takes, from its beginning on."""
    reach = reach_ms(series[0].step_ms) if series else 0
    # More than what a single reading matters to: so every part gets further.
    least = 2 * (reach // QUARTER_MS) + 3
    most = max(least, min(MAX_QUARTERS, values // max(1, _values(series))))
    starts: list[int] = []
    until: dict[Asked, int] = {}
    for one in requests:
        first = (one.start_ms - reach) // QUARTER_MS
        last = (one.end_ms + reach) // QUARTER_MS
        # Requests are sorted by their start: what is done already is not done twice.
        begin = max(first, starts[-1] // QUARTER_MS + 1) if starts else first
        end = min(last + 1, begin + most - len(starts))
        starts += [quarter * QUARTER_MS for quarter in range(begin, end)]
        if end <= last:
            # The next part begins with the quarters that readings after this instant matter to.
            until[one] = max(one.start_ms, end * QUARTER_MS - reach)
            break
        until[one] = one.end_ms
    return _Part(starts, until)


def _compute(
    parts: Mapping[int, _Part],
    series: Mapping[int, Sequence[Series]],
    tenants: Mapping[int, int],
) -> int:
    """Compute and keep the quarters of some devices, and take away what there is no reading of any
    more; returns how many quarters that were.
    """
    dirty = {
        device_id: part.starts
        for device_id, part in parts.items()
        if part.starts and series.get(device_id)
    }
    dirty = removed.without_removed(dirty, series, tenants)
    dirty = corrections_gone.without_gone(
        dirty, series, shifts_of(connection, rollups.corrected_devices(series))
    )
    if not dirty:
        return 0
    rolled, flat = rollups.compute(dirty, series)
    lost = _without(gone(rolled, flat, dirty), flat, removed.covered(removed.own(dirty), tenants))
    rollups.keep(rolled, flat, tenants)
    rollups.keep(lost, flat, tenants)
    devices = np.array([one.device_id for one in flat], np.int64)
    touched = {
        pair
        for quarters in (rolled, lost)
        for pair in zip(devices[quarters.series].tolist(), quarters.starts.tolist(), strict=True)
    }
    rollup_store.mark_facilities(connection, sorted(touched))
    return len(rolled.starts) + len(lost.starts)


def _without(
    quarters: Quarters, flat: Sequence[Series], left: Collection[tuple[int, int]]
) -> Quarters:
    """The quarters but for those of some (device, start)."""
    pairs = zip(quarters.series.tolist(), quarters.starts.tolist(), strict=True)
    kept = [(flat[place].device_id, start) not in left for place, start in pairs]
    return quarters.only(np.array(kept, np.bool_))


def gone(rolled: Quarters, flat: Sequence[Series], dirty: Mapping[int, Sequence[int]]) -> Quarters:
    """The quarters that are kept and that nothing is known of now, as quarters without coverage."""
    first = min(starts[0] for starts in dirty.values())
    last = max(starts[-1] for starts in dirty.values()) + QUARTER_MS
    kept = channel_quarters(
        connection,
        [(one.device_id, one.number) for one in flat],
        segment_store.moment(first),
        segment_store.moment(last),
    )
    places: list[Int64s] = []
    starts: list[Int64s] = []
    for place, one in enumerate(flat):
        quarters = kept.get((one.device_id, one.number), no_quarters())
        asked = np.isin(quarters.starts, np.array(dirty[one.device_id], np.int64))
        known = np.isin(quarters.starts, rolled.starts[rolled.series == place])
        found = quarters.starts[asked & ~known]
        starts.append(found)
        places.append(np.full(len(found), place, np.int64))
    return _without_coverage(np.concatenate(places), np.concatenate(starts))


def _without_coverage(places: Int64s, starts: Int64s) -> Quarters:
    zeros, unknown = np.zeros(len(starts)), np.full(len(starts), np.nan)
    return Quarters(
        series=places,
        starts=starts,
        n=np.zeros(len(starts), np.int64),
        minimum=unknown,
        maximum=unknown,
        mean=zeros,
        first=unknown,
        last=unknown,
        energy=unknown,
        returned=unknown,
        coverage=zeros,
    )
