"""Sums of facilities over quarters of an hour, from the roll-ups of their devices.

Summed by NumPy from what the one reader of roll-ups gives, so that it does not matter whether they
are packed yet: always in the order of devices and channels, so that a sum that is computed again is
the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from devices.protocol.data import Int64s
from devices.telemetry.prepared import binary_cursor
from devices.telemetry.quarter_reads import BODY, rows_of, series_key, unpacked
from devices.telemetry.rollup import Floats, Quarters
from devices.telemetry.rollup_codec import NUMBERS
from devices.telemetry.rollup_store import FLOWS, Source
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.sums import keys

_DEVICES: Final = "SELECT id, facility_id FROM devices_device WHERE id = ANY(%s) ORDER BY id"
# The bounds that do not depend on the row leave out whole chunks while it is planned.
_READ: Final = sql.SQL("""
WITH dirty AS MATERIALIZED (
  SELECT d.id AS device_id, dirty.starts_at
  FROM unnest(%(facilities)s::bigint[], %(starts)s::timestamptz[]) AS dirty(facility_id, starts_at)
  JOIN devices_device d USING (facility_id)
)
SELECT {rows} FROM (
  SELECT r.* FROM dirty JOIN rollup_15m r USING (device_id, starts_at)
  WHERE r.starts_at >= %(first)s AND r.starts_at <= %(last)s
) r
UNION ALL
SELECT {body} FROM (
  SELECT DISTINCT device_id, date_trunc('day', starts_at, 'UTC') AS starts_at FROM dirty
) day JOIN rollup_packed p USING (device_id, starts_at)
WHERE p.starts_at >= %(before)s AND p.starts_at <= %(last)s
""").format(rows=rows_of(("energy_wh", "returned_wh", "coverage")), body=BODY)
_KEEP: Final = """
INSERT INTO facility_15m AS kept (starts_at, tenant_id, facility_id, import_wh, export_wh,
  generation_wh, charge_wh, discharge_wh, covered)
SELECT starts_at, tenant_id, facility_id, nullif(import_wh, 'NaN'), nullif(export_wh, 'NaN'),
  nullif(generation_wh, 'NaN'), nullif(charge_wh, 'NaN'), nullif(discharge_wh, 'NaN'), covered
FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[], %s::float8[], %s::float8[], %s::float8[],
  %s::float8[], %s::float8[], %s::float8[]) AS made(starts_at, tenant_id, facility_id, import_wh,
  export_wh, generation_wh, charge_wh, discharge_wh, covered)
ON CONFLICT (facility_id, starts_at) DO UPDATE SET import_wh = excluded.import_wh,
  export_wh = excluded.export_wh, generation_wh = excluded.generation_wh,
  charge_wh = excluded.charge_wh, discharge_wh = excluded.discharge_wh, covered = excluded.covered
"""

Dirty = Sequence[tuple[int, datetime, int]]


def sum_facilities(
    connection: BaseDatabaseWrapper, dirty: Dirty, sources: Sequence[Source]
) -> None:
    """Compute the sums of facilities in some quarters, (facility, start, tenant) each once, from
    the roll-ups of their devices; inside a transaction.
    """
    dirty = sorted(dirty)
    facilities, starts, tenants = (list(column) for column in zip(*dirty, strict=True))
    first, last = min(starts), max(starts)
    with binary_cursor(connection, plans_anew=True) as cursor:
        cursor.execute(
            _READ,
            {
                "facilities": facilities,
                "starts": starts,
                "first": first,
                "before": first - timedelta(days=1),
                "last": last,
            },
        )
        quarters = unpacked(cursor.fetchall())
    with connection.cursor() as cursor:
        # Afterwards, and by what was found: a device that has just come is not met yet.
        cursor.execute(_DEVICES, [np.unique(quarters.series // NUMBERS).tolist()])
        owners = np.array(cursor.fetchall(), np.int64).reshape(-1, 2)
    asked = keys(
        np.array(facilities, np.int64), np.array([milliseconds(at) for at in starts], np.int64)
    )
    place, quarters = _placed(quarters, owners, asked)
    flows = _flows(quarters, place, sources, len(asked))
    covered = _covered(quarters, place, len(asked))
    columns = [column.tolist() for column in (*flows, covered)]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [starts, tenants, facilities, *columns])


def _placed(quarters: Quarters, owners: Int64s, asked: Int64s) -> tuple[Int64s, Quarters]:
    """Of the quarters that are asked for (keys of facility and start, rising) to which each of them
    belongs, and these quarters: a packed day has others too.
    """
    devices = quarters.series // NUMBERS
    if not len(devices):
        return np.empty(0, np.int64), quarters
    at = np.searchsorted(owners[:, 0], devices)
    key = keys(owners[at, 1], quarters.starts)
    place = np.minimum(np.searchsorted(asked, key), len(asked) - 1)
    wanted = asked[place] == key
    return place[wanted], quarters.only(wanted)


def _flows(
    quarters: Quarters, place: Int64s, sources: Sequence[Source], count: int
) -> list[Floats]:
    """The energy (Wh) of each flow in each place; NaN where nothing measures it."""
    found = []
    for flow in FLOWS:
        parts = {
            series_key(one.device_id, one.channel): one.part for one in sources if one.flow == flow
        }
        series = np.array(sorted(parts), np.int64)
        part = np.array([parts[key] for key in sorted(parts)], object)
        rows = np.flatnonzero(np.isin(quarters.series, series))
        of = part[np.searchsorted(series, quarters.series[rows])]
        energy, back = quarters.energy[rows], quarters.returned[rows]
        # Of a power what flowed forward is all that flowed, and what flowed back put to it again.
        wh = np.where(of == "energy", energy, np.where(of == "returned", back, energy + back))
        known = ~np.isnan(wh)
        sums = np.bincount(place[rows][known], wh[known], count)
        some = np.bincount(place[rows][known], minlength=count)
        found.append(np.where(some > 0, sums, np.nan))
    return found


def _covered(quarters: Quarters, place: Int64s, count: int) -> Floats:
    """The sum over devices of how much of the quarter their channels have measured on average."""
    device = keys(quarters.series // NUMBERS, quarters.starts)
    _, rows, of = np.unique(device, return_index=True, return_inverse=True)
    share = np.bincount(of, quarters.coverage) / np.bincount(of)
    return np.bincount(place[rows], share, count).astype(np.float64)
