"""The one reader of roll-ups: packed days and the rows that lie over them, joined.

A quarter of an hour of a channel is in a packed day (`rollup_codec.py`), in a row of `rollup_15m`,
or in both: then the row is the newer one and counts. A row without coverage says that nothing is
known of its quarter any more. All of it comes in one statement, and so from one moment. Columns
come packed and in PostgreSQL's binary form, because making a Python object of each cell, or text of
each byte, takes longer than all the rest.

Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from devices.protocol.data import Int64s
from devices.telemetry.prepared import binary_cursor
from devices.telemetry.rollup import Floats, Quarters, no_quarters
from devices.telemetry.rollup_codec import NUMBERS, Body, decode
from devices.telemetry.segment_store import moment
from devices.telemetry.sums import keys

# PostgreSQL's own instants count from here, in µs.
_EPOCH_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1000
_ONE_DAY: Final = timedelta(days=1)
FLOATS: Final = (
    "minimum", "maximum", "mean", "first", "last", "energy_wh", "returned_wh", "coverage",
)  # fmt: skip


def packed_floats(names: Sequence[str]) -> sql.Composed:
    """Aggregates that pack columns of doubles, which `floats` reads; NULL as NaN."""
    one = sql.SQL("string_agg(float8send(coalesce({}, 'NaN')), ''::bytea)")
    return sql.SQL(", ").join(one.format(sql.Identifier(name)) for name in names)


def rows_of(names: Sequence[str]) -> sql.Composed:
    """Aggregates that pack rows of roll-ups, which `unpacked` reads; of the other columns nothing.

    All columns are gathered in one pass, so that they have the same order.
    """
    columns = [packed_floats([name]) if name in names else sql.SQL("NULL") for name in FLOATS]
    return sql.SQL(
        "string_agg(int8send(device_id), ''::bytea), string_agg(int2send(channel), ''::bytea),"
        " string_agg(timestamptz_send(starts_at), ''::bytea),"
        " string_agg(int4send(n), ''::bytea), {columns}"
    ).format(columns=sql.SQL(", ").join(columns))


# A packed day `p` in the same columns.
BODY: Final = sql.SQL(
    "int8send(p.device_id), NULL, timestamptz_send(p.starts_at), p.body, {nulls}"
).format(nulls=sql.SQL(", ").join([sql.SQL("NULL")] * len(FLOATS)))
# The bounds that do not depend on the span leave out whole chunks while it is planned. OFFSET keeps
# the planner to one look into the index for each span: a plan for any bounds at all (the statement
# is prepared) would read all chunks whole.
_READ: Final = sql.SQL("""
WITH span AS MATERIALIZED (
  SELECT * FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span(device_id, starts_at, ends_at)
)
SELECT {rows} FROM (
  SELECT r.* FROM span CROSS JOIN LATERAL (
    SELECT * FROM rollup_15m s WHERE s.device_id = span.device_id {of_numbers}
      AND s.starts_at >= span.starts_at AND s.starts_at < span.ends_at
      AND s.starts_at >= %(first)s AND s.starts_at < %(last)s OFFSET 0
  ) r {of_series}
) r
UNION ALL
SELECT {body} FROM span CROSS JOIN LATERAL (
  SELECT * FROM rollup_packed s WHERE s.device_id = span.device_id
    AND s.starts_at > span.starts_at - interval '1 day' AND s.starts_at < span.ends_at
    AND s.starts_at > %(before)s AND s.starts_at < %(last)s OFFSET 0
) p
""")
_EVERY: Final = _READ.format(
    rows=rows_of(FLOATS), body=BODY, of_numbers=sql.SQL(""), of_series=sql.SQL("")
)
_SOME: Final = _READ.format(
    rows=rows_of(FLOATS),
    body=BODY,
    of_numbers=sql.SQL("AND s.channel = ANY(%(numbers)s)"),
    of_series=sql.SQL("WHERE r.device_id * {numbers} + r.channel = ANY(%(series)s)").format(
        numbers=sql.Literal(NUMBERS)
    ),
)


class Span(NamedTuple):
    """Of a device, the quarters that begin in [start, end), ms since the Unix epoch."""

    device_id: int
    start_ms: int
    end_ms: int


def series_key(device_id: int, number: int) -> int:
    """The `series` of a channel in what is read here."""
    return device_id * NUMBERS + number


def read_quarters(
    connection: BaseDatabaseWrapper, spans: Sequence[Span], *, series: Iterable[int] | None = None
) -> Quarters:
    """The quarters of some periods by series (`series_key`) and start, each once; of all channels
    of the devices, or of some series. One statement.
    """
    if not spans:
        return no_quarters()
    first, last = min(one.start_ms for one in spans), max(one.end_ms for one in spans)
    parameters: dict[str, Any] = {
        "devices": [one.device_id for one in spans],
        "starts": [moment(one.start_ms) for one in spans],
        "ends": [moment(one.end_ms) for one in spans],
        "first": moment(first),
        "before": moment(first) - _ONE_DAY,
        "last": moment(last),
    }
    wanted = None
    if series is not None:
        wanted = np.unique(np.fromiter(series, np.int64))
        parameters["series"] = wanted.tolist()
        parameters["numbers"] = np.unique(wanted % NUMBERS).tolist()
    with binary_cursor(connection) as cursor:
        cursor.execute(_EVERY if wanted is None else _SOME, parameters)
        found = unpacked(cursor.fetchall(), wanted)
    return within(found, spans)


def unpacked(rows: Iterable[Sequence[Any]], wanted: Int64s | None = None) -> Quarters:
    """The quarters of what `rows_of` and BODY have selected, by series and start, each once."""
    bodies: dict[tuple[int, int], Body] = {}
    lying_over = no_quarters()
    for row in rows:
        devices, numbers, starts, body, *_ = row
        if numbers is not None:
            lying_over = of_rows(row)
        elif devices is not None:
            device_id = int.from_bytes(devices, "big", signed=True)
            start_ms = int.from_bytes(starts, "big", signed=True) // 1000 + _EPOCH_MS
            bodies[device_id, start_ms] = Body(device_id, start_ms, body)
    packed = decode(list(bodies.values()), wanted) if bodies else no_quarters()
    return overlaid(packed, lying_over)


def of_rows(row: Sequence[Any]) -> Quarters:
    """The quarters of what `rows_of` has packed, in the order of the table."""
    devices, numbers, starts, n, *values = row
    if devices is None:
        return no_quarters()
    unknown = np.full(len(n) // 4, np.nan)
    return Quarters(
        _integers(devices) * NUMBERS + np.frombuffer(numbers, ">i2"),
        instants(starts),
        np.frombuffer(n, ">i4").astype(np.int64),
        *(unknown if column is None else floats(column) for column in values),
    )


def overlaid(packed: Quarters, rows: Quarters) -> Quarters:
    """Both, by series and start; where both have a quarter the row counts, and where nothing is
    known any more there is none.
    """
    if not len(rows.starts):
        return packed
    key = keys(rows.series, rows.starts)
    order = np.argsort(key)
    rows, key = rows.only(order), key[order]
    below = keys(packed.series, packed.starts)
    place = np.minimum(np.searchsorted(below, key), max(0, len(below) - 1))
    covered = place[below[place] == key] if len(below) else place[:0]
    if len(covered):
        uncovered = np.ones(len(below), np.bool_)
        uncovered[covered] = False
        packed, below = packed.only(uncovered), below[uncovered]
    known = rows.coverage > 0
    rows, key = rows.only(known), key[known]
    # Where rows go, and where what is packed stays: cheaper than sorting all of it.
    at = np.searchsorted(below, key) + np.arange(len(key))
    stays = np.ones(len(below) + len(key), np.bool_)
    stays[at] = False
    columns = []
    for name in Quarters.__slots__:
        one, other = getattr(packed, name), getattr(rows, name)
        column = np.empty(len(stays), one.dtype)
        column[stays], column[at] = one, other
        columns.append(column)
    return Quarters(*columns)


def within(quarters: Quarters, spans: Sequence[Span]) -> Quarters:
    """Those that begin in one of the spans of their device."""
    starts, series = quarters.starts, quarters.series
    if not len(starts):
        return quarters
    if len({(one.start_ms, one.end_ms) for one in spans}) == 1:
        inside = (starts >= spans[0].start_ms) & (starts < spans[0].end_ms)
        return quarters if inside.all() else quarters.only(inside)
    ordered = sorted(set(spans))
    begins = np.array([series_key(one.device_id, 0) for one in ordered], np.int64)
    lows = keys(begins, np.array([one.start_ms for one in ordered], np.int64))
    ends = np.array([one.end_ms for one in ordered], np.int64)
    # Spans of a device do not overlap: the last that begins before a quarter holds it, or none.
    of_device = keys(series // NUMBERS * NUMBERS, starts)
    place = np.searchsorted(lows, of_device, side="right") - 1
    place = np.maximum(place, 0)
    inside = (of_device >= lows[place]) & (begins[place] == series // NUMBERS * NUMBERS)
    return quarters.only(inside & (starts < ends[place]))


def instants(packed: bytes) -> Int64s:
    """Instants that `timestamptz_send` packed, in ms since the Unix epoch."""
    return np.frombuffer(packed, ">i8").astype(np.int64) // 1000 + _EPOCH_MS


def floats(packed: bytes) -> Floats:
    """Doubles that `float8send` packed."""
    return np.frombuffer(packed, ">f8").astype(np.float64)


def _integers(packed: bytes) -> Int64s:
    return np.frombuffer(packed, ">i8").astype(np.int64)
