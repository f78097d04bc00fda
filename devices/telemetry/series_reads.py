"""Quarters of an hour as columns: the row store's roll-ups in as few bytes and steps as it allows.

A channel's rows come as one row of packed columns, because making a Python object of each cell
takes ten times as long as all the rest. Every function takes an open Django connection and sees
what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray
from psycopg import sql

from devices.protocol.data import Int64s
from devices.telemetry.rollup import Floats, Quarters

# PostgreSQL's own instants count from here, in µs.
_EPOCH_MS: Final = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1000
# Channels have numbers 0 to 255.
_NUMBERS: Final = 256
_ROLLUP: Final = (
    "minimum", "maximum", "mean", "first", "last", "energy_wh", "returned_wh", "coverage",
)  # fmt: skip
_FACILITY: Final = ("import_wh", "export_wh", "generation_wh", "charge_wh", "discharge_wh")


def _packed(names: Sequence[str]) -> sql.Composed:
    one = sql.SQL("string_agg(float8send(coalesce({}, 'NaN')), ''::bytea)")
    return sql.SQL(", ").join(one.format(sql.Identifier(name)) for name in names)


# All columns of a group are gathered in one pass, so that they have the same order.
_QUARTERS: Final = sql.SQL("""
SELECT device_id, channel, string_agg(timestamptz_send(starts_at), ''::bytea),
  string_agg(int4send(n), ''::bytea), {packed}
FROM rollup_15m
WHERE device_id = ANY(%s) AND channel = ANY(%s) AND device_id * {numbers} + channel = ANY(%s)
  AND starts_at >= %s AND starts_at < %s AND coverage > 0
GROUP BY device_id, channel
""").format(packed=_packed(_ROLLUP), numbers=sql.Literal(_NUMBERS))
_FACILITY_QUARTERS: Final = sql.SQL("""
SELECT facility_id, string_agg(timestamptz_send(starts_at), ''::bytea), {packed}
FROM facility_15m
WHERE facility_id = ANY(%s) AND starts_at >= %s AND starts_at < %s
GROUP BY facility_id
""").format(packed=_packed(_FACILITY))


def channel_quarters(
    connection: BaseDatabaseWrapper,
    channels: Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
) -> dict[tuple[int, int], Quarters]:
    """The quarters that begin in [start, end), rising, of some (device, channel number).

    Channels without any are left out. `series` is 0 throughout. One statement.
    """
    parameters: list[Any] = [
        sorted({device_id for device_id, _ in channels}),
        sorted({number for _, number in channels}),
        [device_id * _NUMBERS + number for device_id, number in channels],
        start,
        end,
    ]
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(_QUARTERS, parameters)
        for device_id, number, starts, n, *columns in cursor.fetchall():
            integers = np.frombuffer(n, ">i4").astype(np.int64)
            times, values = _rising(starts, integers, *map(_floats, columns))
            found[device_id, number] = Quarters(np.zeros(len(times), np.int64), times, *values)
    return found


def facility_quarters(
    connection: BaseDatabaseWrapper, facility_ids: Sequence[int], start: datetime, end: datetime
) -> dict[int, tuple[Int64s, tuple[Floats, ...]]]:
    """The quarters of facilities that begin in [start, end): their starts (ms since the Unix
    epoch, rising), and in Wh (NaN for nothing) import, export, generation, charge and discharge.

    Facilities without any are left out. One statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(_FACILITY_QUARTERS, [list(facility_ids), start, end])
        found = {}
        for facility_id, starts, *columns in cursor.fetchall():
            found[facility_id] = _rising(starts, *map(_floats, columns))
        return found


def _floats(packed: bytes) -> Floats:
    return np.frombuffer(packed, ">f8").astype(np.float64)


def _rising(starts: bytes, *columns: NDArray[Any]) -> tuple[Int64s, tuple[NDArray[Any], ...]]:
    times = np.frombuffer(starts, ">i8").astype(np.int64) // 1000 + _EPOCH_MS
    if (np.diff(times) > 0).all():
        return times, columns
    order = np.argsort(times)
    return times[order], tuple(column[order] for column in columns)
