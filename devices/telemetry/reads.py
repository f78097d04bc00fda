"""The one way to what was measured; with the corrections that stand, `corrected_reads` has it.

Every function takes an open Django connection with a scope (or the owner's, for checks), and sees
what the wall lets it see: a device outside the scope has no frames.

A frame is stored once (the writer's cursor sees to that), for one to two hours as it came, then in
the segments of the hours in which it was measured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray
from psycopg import sql
from psycopg.pq import Format
from psycopg.types.datetime import TimestamptzLoader

from devices.telemetry.arrivals import Arrived, gathered_bodies
from devices.telemetry.prepared import prepared_cursor
from devices.telemetry.schema import CLOCK_TOLERANCE
from devices.telemetry.segment import HOUR_MS, Readings, joined, known_second
from devices.telemetry.segment_codec import decode_many
from devices.telemetry.segment_store import segment_bodies

_COLUMNS: Final = sql.SQL("device_id, sequence, received_at, started_at, ended_at, frame")
_BODIES: Final = """
SELECT device_id, received_at, frame FROM telemetry_frame
WHERE device_id = ANY(%s) AND started_at < %s AND ended_at >= %s AND received_at >= %s
ORDER BY device_id, sequence
"""
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


def read_bodies(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start: datetime, end: datetime
) -> list[Arrived]:
    """As `read_frames`, without what readings do not need."""
    with prepared_cursor(connection) as cursor:
        # As bytes rather than as text, which has two digits for each of them.
        cursor.cursor.format = Format.BINARY
        cursor.execute(_BODIES, [list(device_ids), end, start, start - CLOCK_TOLERANCE])
        return [
            Arrived(device_id, known_second(received_at), body)
            for device_id, received_at, body in cursor.fetchall()
        ]


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


def read_readings(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
    *,
    channels: Collection[int] | None = None,
    channels_of: Mapping[int, Collection[int]] | None = None,
    arrivals: bool = True,
) -> dict[int, dict[int, Readings]]:
    """All readings in [start, end) of some devices, of all their channels or those with the given
    numbers (`channels_of`: for each device its own): by device and channel, with what later ones
    have replaced (`Readings.counting`).

    Who asks for what counts now needs no `arrivals`: `known` is 0 then, and takes no time. Devices
    and channels without a reading are left out. Two statements.
    """
    # Frames before segments: what moves between the two statements is then met twice, which the
    # rules of merging undo, where the other order could miss it.
    frames = read_bodies(connection, device_ids, start, end)
    first = _milliseconds(start) // HOUR_MS * HOUR_MS
    window = (_milliseconds(start), _milliseconds(end))
    segments = segment_bodies(connection, device_ids, first, window[1])
    wanted = dict.fromkeys(device_ids, channels) if channels_of is None else channels_of
    hours = decode_many(
        [(start_ms, body, wanted[device_id]) for device_id, start_ms, body in segments],
        arrivals=arrivals,
    )
    parts: dict[tuple[int, int], list[Readings]] = {}
    for (device_id, _, _), hour in zip(segments, hours, strict=True):
        for number, readings in hour.items():
            parts.setdefault((device_id, number), []).append(readings)
    for at, fresh in gathered_bodies(frames, wanted, arrivals=arrivals).items():
        parts.setdefault(at, []).append(fresh)
    found: dict[int, dict[int, Readings]] = {}
    for device_id, number in sorted(parts):
        whole = joined(parts[device_id, number])
        rows = np.searchsorted(whole.times, window).tolist()
        if rows[0] < rows[1]:
            found.setdefault(device_id, {})[number] = whole.chosen(slice(*rows))
    return found


def _milliseconds(moment: datetime) -> int:
    # Rounded up, so that a bound between two milliseconds keeps its meaning for whole ones.
    microseconds = (moment - _EPOCH) // (_EPOCH.resolution)
    return -(-microseconds // 1000)
