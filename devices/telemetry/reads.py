"""The one way to readings.

Every function takes an open Django connection with a scope (or the owner's, for checks), and sees
what the wall lets it see: a device outside the scope has no frames.

A frame is never stored twice (the writer's cursor sees to that), so nothing is made distinct here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.datetime import TimestamptzLoader

from devices.protocol.data import Block, decode_many
from devices.telemetry.schema import CLOCK_TOLERANCE

_COLUMNS: Final = sql.SQL("device_id, sequence, received_at, started_at, ended_at, frame")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]


class Frame(NamedTuple):
    """One stored frame: `body` is a DATA body of the protocol, as the device sent it.

    `started_at` and `ended_at` are its first and last sample, UTC, both included.
    """

    device_id: int
    sequence: int
    received_at: datetime
    started_at: datetime
    ended_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class SequenceRange:
    """The frames among a range of sequence numbers.

    `committed` is the device's last committed number: up to it the range is complete, because
    numbers without a frame belong to other messages, to declared gaps or to quarantined frames.
    """

    frames: tuple[Frame, ...]
    committed: int


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The readings of one channel: `times` (n,) ms since the Unix epoch, not decreasing; `values`
    (n,) in the channel's unit, NaN where the device reported a sample as missing.
    """

    times: Int64s
    values: Floats


def read_frames(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start: datetime, end: datetime
) -> list[Frame]:
    """The frames of some devices that touch [start, end), by device and sequence number.

    Chunks that were closed before `start` are not looked at: a sample is never further ahead of its
    arrival than the clock tolerance. A late arrival may lie in any later chunk.
    """
    query = sql.SQL(
        "SELECT {columns} FROM telemetry_frame"
        " WHERE device_id = ANY(%s) AND started_at < %s AND ended_at >= %s AND received_at >= %s"
        " ORDER BY device_id, sequence"
    ).format(columns=_COLUMNS)
    return _frames(connection, query, [list(device_ids), end, start, start - CLOCK_TOLERANCE])


def read_sequences(
    connection: BaseDatabaseWrapper,
    device_id: int,
    first: int,
    last: int,
    *,
    received_since: datetime | None = None,
) -> SequenceRange:
    """The frames of a device with sequence numbers `first` to `last`, both included, in order.

    `received_since` leaves out chunks closed before it; without it every stored hour is asked,
    which is for repairs rather than for pages.
    """
    # The cursor first: all that it counts as committed is then visible to the second query.
    with connection.cursor() as cursor:
        cursor.execute("SELECT committed FROM device_cursor WHERE device_id = %s", [device_id])
        row = cursor.fetchone()
    query = sql.SQL(
        "SELECT {columns} FROM telemetry_frame"
        " WHERE device_id = %s AND sequence BETWEEN %s AND %s{since} ORDER BY sequence"
    )
    parameters: list[Any] = [device_id, first, last]
    since = sql.SQL("")
    if received_since is not None:
        since = sql.SQL(" AND received_at >= %s")
        parameters.append(received_since)
    frames = _frames(connection, query.format(columns=_COLUMNS, since=since), parameters)
    return SequenceRange(tuple(frames), row[0] if row else 0)


def _frames(
    connection: BaseDatabaseWrapper, query: sql.Composed, parameters: list[Any]
) -> list[Frame]:
    with connection.cursor() as cursor:
        # psycopg's own loader, in C, instead of Django's: 28 800 frames in 50 ms instead of 270 ms.
        # Both give UTC, because Django sets the session's time zone to it.
        cursor.cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        cursor.execute(query, parameters)
        return list(map(Frame._make, cursor.fetchall()))


def read_columns(
    connection: BaseDatabaseWrapper,
    device_id: int,
    channels: Mapping[int, Decimal],
    start: datetime,
    end: datetime,
) -> dict[int, Column]:
    """The readings of a device in [start, end), one column for each channel asked for.

    `channels` maps the channel's number to its resolution: value = stored integer x resolution.
    Channels that reported nothing have empty columns.
    """
    frames = read_frames(connection, [device_id], start, end)
    blocks = [block for data in decode_many([f.body for f in frames]) for block in data.blocks]
    window = (_milliseconds(start), _milliseconds(end))
    return {
        number: _column(number, resolution, blocks, window)
        for number, resolution in channels.items()
    }


def _milliseconds(moment: datetime) -> int:
    # Rounded up, so that a bound between two milliseconds keeps its meaning for whole ones.
    microseconds = (moment - _EPOCH) // (_EPOCH.resolution)
    return -(-microseconds // 1000)


def _column(
    number: int, resolution: Decimal, blocks: Sequence[Block], window: tuple[int, int]
) -> Column:
    carriers = [
        (block, block.channels.index(number)) for block in blocks if number in block.channels
    ]
    nothing = np.empty(0, np.int64)
    times = np.concatenate([nothing, *(block.times for block, _ in carriers)])
    raw = np.concatenate([nothing, *(block.values[row] for block, row in carriers)])
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    numerator, denominator = resolution.as_integer_ratio()
    values = raw.astype(np.float64) * numerator / denominator
    if any(block.present is not None for block, _ in carriers):
        missing = [
            np.zeros(len(block.times), np.bool_) if block.present is None else ~block.present[row]
            for block, row in carriers
        ]
        values[np.concatenate(missing)] = np.nan
    inside = (times >= window[0]) & (times < window[1])
    times, values = times[inside], values[inside]
    # Frames come in the order of sequence; a corrected clock may have stepped back between two.
    order = np.argsort(times, kind="stable")
    return Column(times[order], values[order])
