"""Packing: quarters of an hour that are over move from rows into their device's day.

Needs an open scope, and works on what it holds. A step is one transaction: what it packs is in a
packed day and no longer a row, or nothing has changed. So it may be killed at any moment, repeated
and done by several at once. Rows that come later (late data, corrections) lie over the packed day
until they are packed as well. Packing does not wait for frames to become segments: a quarter that
is computed again becomes a row again, whatever it is computed from.

With the quarters of a local day the day itself is kept (`local_days.py`), in the calendar of the
device's facility. Who writes a quarter takes away the day that it belongs to, in the same
transaction; so a day that is kept agrees with its quarters, and one that is not is put together
from them by who asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection, transaction

from devices.models import Channel
from devices.protocol.data import Bools, Int64s
from devices.telemetry import local_days
from devices.telemetry import packed_store as store
from devices.telemetry.periods import Resolution, edges
from devices.telemetry.quarter_reads import Span, read_quarters
from devices.telemetry.rollup import Quarters
from devices.telemetry.rollup_codec import DAY_MS, NUMBERS, encode
from devices.telemetry.segment_store import milliseconds, moment
from devices.telemetry.sums import Sums, runs

# Devices claimed, and days of devices packed, in one transaction: 150 000 rows of eight channels.
MAX_DEVICES: Final = 100
MAX_DAYS: Final = 200
# Rows are packed in pieces of a few hours: so a question that goes over the running day meets few
# of them, and a body is written six times.
OPEN_FOR: Final = timedelta(hours=2)
PIECE: Final = timedelta(hours=4)
# The local days of a device that are counted anew at once, when its calendar has changed.
_AT_ONCE: Final = 366
_DAYS: Final = 1 << 20  # days (UTC) that a device may have, until long after the last clock


@dataclass(frozen=True, slots=True)
class Packed:
    """What a step did.

    `last` is the highest device id that it claimed, None when none was left; `crowded` says whether
    it left old rows of these devices.
    """

    last: int | None
    days: int = 0
    quarters: int = 0
    crowded: bool = False


def packed_before(now: datetime) -> datetime:
    """The instant before which quarters are packed."""
    piece = PIECE // timedelta(milliseconds=1)
    open_ms = milliseconds((now - OPEN_FOR).replace(microsecond=0))
    return moment(open_ms // piece * piece)


@transaction.atomic
def pack(*, before: datetime, after: int = 0, limit: int = MAX_DEVICES) -> Packed:
    """Pack the quarters that began before an instant (a full quarter), of up to `limit` devices
    with ids above `after`; one transaction.
    """
    claims = store.claim(connection, before=before, after=after, limit=limit)
    if not claims:
        return Packed(None)
    device_ids = [one.device_id for one in claims]
    days = store.open_days(connection, device_ids, before=before, limit=MAX_DAYS)
    if not days:
        return Packed(device_ids[-1])
    taken, joined = store.take(connection, days, before=before)
    store.keep(connection, _packed(days, joined, {one.device_id: one.tenant_id for one in claims}))
    _keep_days(claims, taken, before)
    store.advance(connection, claims, days_until=before)
    return Packed(device_ids[-1], len(days), len(taken.starts), len(days) == MAX_DAYS)


def _packed(
    days: Sequence[tuple[int, int]], quarters: Quarters, tenants: Mapping[int, int]
) -> list[store.PackedDay]:
    """The days with what they have now."""
    ratios: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    channels = Channel.objects.filter(device_id__in=sorted({one for one, _ in days}))
    for device_id, number, resolution in channels.values_list("device_id", "number", "resolution"):
        ratios[device_id][number] = resolution.as_integer_ratio()
    numbers = quarters.series % NUMBERS
    of = quarters.series // NUMBERS * _DAYS + quarters.starts // DAY_MS
    order = np.argsort(of, kind="stable")
    found = []
    for device_id, start_ms in days:
        key = device_id * _DAYS + start_ms // DAY_MS
        first, last = np.searchsorted(of, [key, key + 1], sorter=order)
        rows = order[first:last]
        body = None
        if len(rows):
            body = encode(start_ms, numbers[rows], quarters.only(rows), ratios[device_id])
        found.append(store.PackedDay(device_id, tenants[device_id], start_ms, body))
    return found


def _keep_days(claims: Sequence[store.Claim], taken: Quarters, before: datetime) -> None:
    """Keep the local days that quarters were taken of, and those that are over since the last time,
    as far as they are over.
    """
    devices = taken.series // NUMBERS
    for zone in sorted({one.zone for one in claims}):
        some = [one for one in claims if one.zone == zone]
        touched = {one.device_id: taken.starts[devices == one.device_id] for one in some}
        since = [milliseconds(one.days_until) for one in some if one.days_until is not None]
        since += [int(starts.min()) for starts in touched.values() if len(starts)]
        borders = _days_of(zone, min(since), milliseconds(before))
        chosen = {
            one.device_id: _chosen(borders, touched[one.device_id], one.days_until) for one in some
        }
        _write_days(some, borders, chosen)


def _days_of(zone: str, start_ms: int, end_ms: int) -> Int64s:
    """The borders of the local days that are over at `end_ms`, from the one on that holds
    `start_ms`.
    """
    # No local day is longer than two of 24 hours; what `edges` begins and ends with are cuts.
    around = edges(Resolution.DAY, start_ms - 2 * DAY_MS, end_ms + DAY_MS, ZoneInfo(zone))[1:-1]
    borders = around[around <= end_ms]
    return borders[max(0, int(np.searchsorted(borders, start_ms, side="right")) - 1) :]


def _chosen(borders: Int64s, touched: Int64s, days_until: datetime | None) -> Bools:
    """Which of the days between borders are to be kept."""
    chosen = np.zeros(max(0, len(borders) - 1), np.bool_)
    place = np.searchsorted(borders, touched, side="right") - 1
    chosen[place[(place >= 0) & (place < len(chosen))]] = True
    if days_until is not None:
        chosen |= borders[1:] > milliseconds(days_until)
    return chosen


def _write_days(
    claims: Sequence[store.Claim], borders: Int64s, chosen: Mapping[int, Bools]
) -> None:
    """Keep some of the days between borders, for each device of one calendar, if anything is known
    of them. Of others nothing is taken away: days may be kept for longer than their quarters.
    """
    spans = [
        Span(device_id, int(borders[first]), int(borders[last]))
        for device_id, days in chosen.items()
        for first, last in runs(days)
    ]
    sums = Sums.of(read_quarters(connection, spans))
    if len(sums.starts):
        sums = sums.over(borders)
    device = sums.series // NUMBERS
    order = np.lexsort((sums.series, sums.starts, device))
    sums, device = sums.only(order), device[order]
    new = (np.diff(device, prepend=-1) != 0) | (np.diff(sums.starts, prepend=-1) != 0)
    begins = [*np.flatnonzero(new).tolist(), len(device)]
    tenants = {one.device_id: one.tenant_id for one in claims}
    ends = borders[np.searchsorted(borders, sums.starts) + 1]
    days = [
        local_days.Day(
            int(device[first]), tenants[int(device[first])], int(sums.starts[first]),
            int(ends[first]), local_days.body_of(sums.only(slice(first, last))),
        )
        for first, last in pairwise(begins)
    ]  # fmt: skip
    local_days.keep(connection, days)


@transaction.atomic
def recount_days(*, before: datetime, after: int = 0) -> int | None:
    """Keep all local days of the first device with an id above `after` whose facility now has
    another calendar, because it was changed or the device moved; one transaction.

    Returns the device, None when none was left. A day whose quarters are gone, by a rule of
    retention, stays as it was.
    """
    claim = store.claim_moved(connection, after=after)
    if claim is None:
        return None
    first = store.packed_since(connection, claim.device_id)
    if first is not None:
        borders = _days_of(claim.zone, milliseconds(first), milliseconds(before))
        # The quarters of a day that began before the first that is packed may be gone in part.
        borders = borders[borders >= milliseconds(first)]
        for at in range(0, len(borders) - 1, _AT_ONCE):
            some = borders[at : at + _AT_ONCE + 1]
            _write_days([claim], some, {claim.device_id: np.ones(len(some) - 1, np.bool_)})
    store.set_calendar(connection, claim, days_until=before)
    return claim.device_id


@transaction.atomic
def drop_empty_chunks(*, before: datetime) -> int:
    """Drop the days of rows of which nothing is left; returns how many. Chunks are everybody's: it
    needs no scope.
    """
    return store.drop_empty_chunks(connection, before=before)
