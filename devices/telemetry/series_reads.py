"""Quarters of an hour as columns, of channels and of facilities.

Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray
from psycopg import sql

from devices.protocol.data import Int64s
from devices.telemetry.quarter_reads import (
    Span,
    floats,
    instants,
    packed_floats,
    read_quarters,
    series_key,
)
from devices.telemetry.rollup import Floats, Quarters
from devices.telemetry.rollup_codec import NUMBERS
from devices.telemetry.segment_store import milliseconds

_FACILITY: Final = ("import_wh", "export_wh", "generation_wh", "charge_wh", "discharge_wh")
_FACILITY_QUARTERS: Final = sql.SQL("""
SELECT facility_id, string_agg(timestamptz_send(starts_at), ''::bytea), {packed}
FROM facility_15m
WHERE facility_id = ANY(%s) AND starts_at >= %s AND starts_at < %s
GROUP BY facility_id
""").format(packed=packed_floats(_FACILITY))


def channel_quarters(
    connection: BaseDatabaseWrapper,
    channels: Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
) -> dict[tuple[int, int], Quarters]:
    """The quarters that begin in [start, end), rising, of some (device, channel number).

    Channels without any are left out. One statement.
    """
    spans = [
        Span(device_id, milliseconds(start), milliseconds(end))
        for device_id in sorted({device_id for device_id, _ in channels})
    ]
    found = read_quarters(connection, spans, series=[series_key(*one) for one in channels])
    return {
        divmod(int(found.series[begin]), NUMBERS): found.only(slice(begin, after))
        for begin, after in groups(found.series)
    }


def groups(series: Int64s) -> Iterator[tuple[int, int]]:
    """Where each series begins and ends, of rows by series."""
    begins = np.flatnonzero(np.diff(series, prepend=-1))
    yield from pairwise([*begins.tolist(), len(series)])


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
            found[facility_id] = _rising(starts, *map(floats, columns))
        return found


def _rising(starts: bytes, *columns: NDArray[Any]) -> tuple[Int64s, tuple[NDArray[Any], ...]]:
    times = instants(starts)
    if (np.diff(times) > 0).all():
        return times, columns
    order = np.argsort(times)
    return times[order], tuple(column[order] for column in columns)
