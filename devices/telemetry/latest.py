"""The last reading of every channel, from the last stored frames.

Three statements at most, whatever the number of devices: the last frame of each, for devices whose
last frame lacks a channel some frames before it, and for what these lack the last readings of
frames that have become segments. The wall decides which devices are seen.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.protocol.data import Block, decode_data
from devices.telemetry.prepared import prepared_cursor
from devices.telemetry.schema import CLOCK_TOLERANCE

# Frames that are looked through for a channel that the last one lacks.
LOOK_BACK_FRAMES: Final = 16
# Decoded frames kept in a process. A frame of 8 channels and 30 samples costs 0.1 ms to decode and
# is asked for again until the next one comes.
_DECODED_FRAMES: Final = 4096


class LastReading(NamedTuple):
    """`time_ms` since the Unix epoch; the physical value is `raw` times the resolution."""

    time_ms: int
    raw: int


class Described(NamedTuple):
    """What a channel is; `resolution` as the fraction by which its integers are multiplied."""

    number: int
    channel_id: int
    key: str
    quantity: str
    unit: str
    resolution: tuple[int, int]
    in_total: bool


class Reported(NamedTuple):
    """A device with its channels by number, and the last reading of each that has one."""

    device_id: int
    placement: str
    channels: tuple[Described, ...]
    readings: Mapping[int, LastReading]


# One row a device: its channels as one text, which is the same from request to request and parsed
# once, and its last frame. No frame has derived channels. The conditions on frames are those of
# _FRAMES below.
_REPORTED: Final = """
SELECT device.id, device.placement, described.channels, last.frame
FROM devices_device AS device
CROSS JOIN LATERAL (
  SELECT json_agg(json_build_array(channel.number, channel.id, channel.key, channel.quantity,
    channel.unit, channel.resolution::text, channel.in_total) ORDER BY channel.number)::text
    AS channels
  FROM devices_channel AS channel WHERE channel.device_id = device.id AND NOT channel.derived
) AS described
LEFT JOIN device_cursor AS cursor ON cursor.device_id = device.id
LEFT JOIN LATERAL (
  SELECT frame FROM telemetry_frame AS stored
  WHERE stored.device_id = cursor.device_id
    AND stored.ended_at <= cursor.last_sample_at
    AND stored.received_at >= cursor.last_sample_at - %s
    AND stored.received_at <= cursor.last_received_at
  ORDER BY stored.ended_at DESC, stored.sequence DESC
  LIMIT 1
) AS last ON true
"""
_REPORTED_OF: Final = {
    "facility": f"{_REPORTED} WHERE device.facility_id = %s AND device.state <> 'revoked'"
    " ORDER BY device.id",
    "device": f"{_REPORTED} WHERE device.id = %s",
}

# Bounded in received_at on both sides, so that only the chunks which can hold the frame are
# opened: a frame never arrives before its last sample by more than the clock tolerance, nor after
# the device's last message.
_FRAMES: Final = """
SELECT cursor.device_id, last.frame
FROM device_cursor AS cursor
CROSS JOIN LATERAL (
  SELECT ended_at, sequence, frame FROM telemetry_frame AS stored
  WHERE stored.device_id = cursor.device_id
    AND stored.ended_at <= cursor.last_sample_at
    AND stored.received_at >= cursor.last_sample_at - %s
    AND stored.received_at <= cursor.last_received_at
  ORDER BY stored.ended_at DESC, stored.sequence DESC
  LIMIT %s
) AS last
WHERE cursor.device_id = ANY(%s)
ORDER BY cursor.device_id, last.ended_at DESC, last.sequence DESC
"""


def last_readings(
    connection: BaseDatabaseWrapper, channels: Mapping[int, Collection[int]]
) -> dict[int, dict[int, LastReading]]:
    """The last reading by device and channel number, for the channel numbers asked for.

    A channel that is in none of the last `LOOK_BACK_FRAMES` frames nor in a segment is left out,
    and so is a device without any.
    """
    return _look_back(connection, channels, _frames(connection, list(channels), 1))


def reported(
    connection: BaseDatabaseWrapper, of: Literal["facility", "device"], key: int
) -> list[Reported]:
    """The devices of a facility by id (revoked ones left out), or the one device, in whatever
    state: what `last_readings` finds of them, with what the channels are.

    One statement, which PostgreSQL plans once for a connection, and one or two more for devices
    whose last frame lacks a channel.
    """
    with prepared_cursor(connection) as cursor:
        cursor.execute(_REPORTED_OF[of], [CLOCK_TOLERANCE, key])
        rows = cursor.fetchall()
    described = {row[0]: _described(row[2]) for row in rows}
    found = _look_back(
        connection,
        {device_id: {one.number for one in channels} for device_id, channels in described.items()},
        [(row[0], row[3]) for row in rows if row[3] is not None],
    )
    return [Reported(row[0], row[1], described[row[0]], found.get(row[0], {})) for row in rows]


@lru_cache(_DECODED_FRAMES)
def _described(channels: str | None) -> tuple[Described, ...]:
    """The channels of a device out of the text of _REPORTED; None without any."""
    return tuple(
        Described(
            number, channel_id, key, quantity, unit, Decimal(step).as_integer_ratio(), in_total
        )
        for number, channel_id, key, quantity, unit, step, in_total in json.loads(channels or "[]")
    )


def _look_back(
    connection: BaseDatabaseWrapper,
    channels: Mapping[int, Collection[int]],
    frames: Iterable[tuple[int, bytes]],
) -> dict[int, dict[int, LastReading]]:
    """The readings of the last frames, and of those before them what these lack."""
    found: dict[int, dict[int, LastReading]] = {}
    _take(found, channels, frames)
    lacking = [
        device_id
        for device_id, readings in found.items()
        if any(number not in readings for number in channels[device_id])
    ]
    if lacking:
        _take(found, channels, _frames(connection, lacking, LOOK_BACK_FRAMES))
    lacking = [
        device_id
        for device_id, wanted in channels.items()
        if any(number not in found.get(device_id, {}) for number in wanted)
    ]
    if lacking:
        _take_moved(connection, found, channels, lacking)
    return found


def _take_moved(
    connection: BaseDatabaseWrapper,
    found: dict[int, dict[int, LastReading]],
    channels: Mapping[int, Collection[int]],
    device_ids: list[int],
) -> None:
    """What frames lack, from those that have become segments: of devices that are silent."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT device_id, channels, times_ms, raws FROM telemetry_latest"
            " WHERE device_id = ANY(%s)",
            [device_ids],
        )
        for device_id, numbers, times_ms, raws in cursor.fetchall():
            readings = found.setdefault(device_id, {})
            for number, time_ms, raw in zip(numbers, times_ms, raws, strict=True):
                if number in channels[device_id]:
                    readings.setdefault(number, LastReading(time_ms, raw))


def _frames(
    connection: BaseDatabaseWrapper, device_ids: list[int], limit: int
) -> list[tuple[int, bytes]]:
    """The last frames of each device, newest first."""
    with connection.cursor() as cursor:
        parameters: list[Any] = [CLOCK_TOLERANCE, limit, device_ids]
        cursor.execute(_FRAMES, parameters)
        return [(device_id, bytes(frame)) for device_id, frame in cursor.fetchall()]


def _take(
    found: dict[int, dict[int, LastReading]],
    channels: Mapping[int, Collection[int]],
    frames: Iterable[tuple[int, bytes]],
) -> None:
    for device_id, frame in frames:
        readings = found.setdefault(device_id, {})
        for number, reading in _last_of_frame(frame).items():
            if number in channels[device_id]:
                readings.setdefault(number, reading)


@lru_cache(_DECODED_FRAMES)
def _last_of_frame(frame: bytes) -> Mapping[int, LastReading]:
    """The last present sample of each channel in a DATA body."""
    readings: dict[int, LastReading] = {}
    for block in decode_data(frame).blocks:
        for row, number in enumerate(block.channels):
            at = _last_present(block, row)
            if at is not None:
                readings[number] = LastReading(int(block.times[at]), int(block.values[row, at]))
    return MappingProxyType(readings)


def _last_present(block: Block, row: int) -> int | None:
    if block.present is None:
        return len(block.times) - 1
    here = np.flatnonzero(block.present[row])
    return int(here[-1]) if len(here) else None
