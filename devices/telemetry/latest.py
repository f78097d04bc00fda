"""The last reading of every channel, from the last stored frames.

Two statements at most, whatever the number of devices: the last frame of each, and for devices
whose last frame lacks a channel some frames before it. The wall decides which devices are seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.protocol.data import Block, decode_data
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

    A channel that is in none of the last `LOOK_BACK_FRAMES` frames is left out, and so is a device
    without frames.
    """
    found: dict[int, dict[int, LastReading]] = {}
    _take(found, channels, _frames(connection, list(channels), 1))
    lacking = [
        device_id
        for device_id, readings in found.items()
        if any(number not in readings for number in channels[device_id])
    ]
    if lacking:
        _take(found, channels, _frames(connection, lacking, LOOK_BACK_FRAMES))
    return found


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
