"""The roll-ups of local days of a device as they are kept: records of fixed width, one a channel.

A record holds sums (`sums.Sums`), from which a day's figures and a month's are computed when they
are asked for. A year of two hundred channels is seventy thousand of them, which are read in one
piece: hence no compression, and columns that NumPy takes as they lie.

Every function takes an open Django connection with a scope, and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray

from devices.protocol.data import Bools, Int64s
from devices.telemetry.prepared import binary_cursor
from devices.telemetry.quarter_reads import instants, series_key
from devices.telemetry.rollup import no_quarters
from devices.telemetry.rollup_codec import NUMBERS
from devices.telemetry.segment_store import moment
from devices.telemetry.sums import Sums, ordered

_VALUES: Final = (
    "minimum", "maximum", "first", "last", "weighted", "held", "energy", "returned",
)  # fmt: skip
RECORD: Final = np.dtype([("number", "u1"), ("n", "<u4"), *((name, "<f8") for name in _VALUES)])

# One row a device: a single one with all of them would have to be there before it is sent.
_READ: Final = """
SELECT device_id, string_agg(timestamptz_send(starts_at), ''::bytea),
  string_agg(timestamptz_send(ends_at), ''::bytea),
  string_agg(int4send(length(body)), ''::bytea), string_agg(body, ''::bytea)
FROM rollup_1d WHERE device_id = ANY(%s) AND starts_at >= %s AND starts_at < %s
GROUP BY device_id
"""
_FORGET: Final = """
DELETE FROM rollup_1d d
USING unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
  AS made(device_id, starts_at, ends_at)
WHERE d.device_id = made.device_id AND d.starts_at < made.ends_at AND d.ends_at > made.starts_at
  AND d.starts_at > made.starts_at - interval '2 days'
  AND d.starts_at > %s AND d.starts_at < %s
"""
_KEEP: Final = """
INSERT INTO rollup_1d (starts_at, ends_at, tenant_id, device_id, body)
SELECT * FROM unnest(%s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::bytea[])
"""


class Day(NamedTuple):
    """A local day [start, end) of a device, ms since the Unix epoch, with its records."""

    device_id: int
    tenant_id: int
    start_ms: int
    end_ms: int
    body: bytes


def body_of(day: Sums) -> bytes:
    """The records of the channels of a device over one day."""
    records = np.zeros(len(day.series), RECORD)
    records["number"] = day.series % NUMBERS
    for name in ("n", *_VALUES):
        records[name] = getattr(day, name)
    return records.tobytes()


def keep(connection: BaseDatabaseWrapper, days: Sequence[Day]) -> None:
    """Keep days in place of all that overlap them."""
    if not days:
        return
    _forget(connection, days)
    columns: list[list[Any]] = [
        [moment(one.start_ms) for one in days],
        [moment(one.end_ms) for one in days],
        [one.tenant_id for one in days],
        [one.device_id for one in days],
        [one.body for one in days],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, columns)


def _forget(connection: BaseDatabaseWrapper, days: Sequence[Day]) -> None:
    starts = [moment(one.start_ms) for one in days]
    ends = [moment(one.end_ms) for one in days]
    devices = [one.device_id for one in days]
    bounds = [min(starts) - timedelta(days=2), max(ends)]
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [devices, starts, ends, *bounds])


def read_days(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], edges: Int64s, wanted: Int64s
) -> tuple[Sums, Bools]:
    """What is kept of the days between `edges` (m + 1,), ms since the Unix epoch, rising: the sums
    of the wanted series, and for each device (in the order given) and day whether it is kept.

    A row counts where it is of that very day, whatever calendar it was made for. One statement.
    """
    is_kept = np.zeros((len(device_ids), len(edges) - 1), np.bool_)
    with binary_cursor(connection) as cursor:
        bounds = [moment(int(edges[0])), moment(int(edges[-1]))]
        cursor.execute(_READ, [list(device_ids), *bounds])
        rows = cursor.fetchall()
    place_of = {device_id: place for place, device_id in enumerate(device_ids)}
    parts = [_of_device(row, edges, is_kept[place_of[row[0]]]) for row in rows]
    if not parts:
        return Sums.of(no_quarters()), is_kept
    records, series, starts = (np.concatenate(column) for column in zip(*parts, strict=True))
    chosen = np.isin(series, wanted)
    if not chosen.all():
        records, series, starts = records[chosen], series[chosen], starts[chosen]
    columns = {name: np.ascontiguousarray(records[name]) for name in _VALUES}
    return ordered(
        Sums(series=series, starts=starts, n=records["n"].astype(np.int64), **columns)
    ), is_kept


def _of_device(
    row: Sequence[Any], edges: Int64s, is_kept: Bools
) -> tuple[NDArray[Any], Int64s, Int64s]:
    """The records of the days of a device that lie between edges, with series and start of each;
    notes which days these are.
    """
    device_id, starts_at, ends_at, lengths, body = row
    starts, ends = instants(starts_at), instants(ends_at)
    place = np.searchsorted(edges, starts)
    exact = (edges[place] == starts) & (edges[np.minimum(place + 1, len(edges) - 1)] == ends)
    is_kept[place[exact]] = True
    counts = np.frombuffer(lengths, ">i4") // RECORD.itemsize
    records = np.frombuffer(body, RECORD)
    if not exact.all():
        records = records[np.repeat(exact, counts)]
    series = series_key(device_id, 0) + records["number"].astype(np.int64)
    return records, series, np.repeat(starts[exact], counts[exact])
