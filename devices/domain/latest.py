"""The latest value of every channel of a facility or a device.

Apart from the other reads, because it is asked for all the time: it takes the fewest statements.
Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import QuerySet

from devices.domain.queries import DeviceNotFound, FacilityNotFound
from devices.models import Channel, Device, DeviceState, Facility, Placement
from devices.telemetry.latest import LastReading, last_readings


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The last reading of a channel: `value` in `unit`, at `time` (UTC).

    `in_total`: it counts into the facility's total, which is the sum over the mains devices.
    """

    device_id: int
    channel_id: int
    key: str
    quantity: str
    unit: str
    in_total: bool
    value: float
    time: datetime


def latest_of_facility(*, facility_id: int) -> tuple[LatestValue, ...]:
    """The latest values of a facility's devices (revoked ones left out), by device and channel.

    Areas inside the facility are facilities of their own. Two to three statements. Raises
    FacilityNotFound.
    """
    rows = _channels(
        Channel.objects.filter(device__facility_id=facility_id).exclude(
            device__state=DeviceState.REVOKED
        )
    )
    if not rows and not Facility.objects.filter(pk=facility_id).exists():
        raise FacilityNotFound(f"facility {facility_id}")
    return _latest(rows)


def latest_of_device(*, device_id: int) -> tuple[LatestValue, ...]:
    """The latest values of a device by channel; two to three statements. Raises DeviceNotFound."""
    rows = _channels(Channel.objects.filter(device_id=device_id))
    if not rows and not Device.objects.filter(pk=device_id).exists():
        raise DeviceNotFound(f"device {device_id}")
    return _latest(rows)


# device, channel, number, key, quantity, unit, resolution, in_total, placement
_Row = tuple[int, int, int, str, str, str, Decimal, bool, str]


def _channels(channels: QuerySet[Channel]) -> list[_Row]:
    columns = ("device_id", "pk", "number", "key", "quantity", "unit", "resolution", "in_total")
    rows: Iterable[Any] = channels.order_by("device_id", "number").values_list(
        *columns, "device__placement"
    )
    return list(rows)


def _latest(rows: list[_Row]) -> tuple[LatestValue, ...]:
    numbers: defaultdict[int, set[int]] = defaultdict(set)
    for device_id, _, number, *_ in rows:
        numbers[device_id].add(number)
    readings = last_readings(connection, numbers) if rows else {}
    values = []
    for device_id, channel_id, number, key, quantity, unit, resolution, counts, placement in rows:
        reading = readings.get(device_id, {}).get(number)
        if reading is not None:
            value = _value(reading, resolution)
            time = datetime.fromtimestamp(reading.time_ms / 1000, UTC)
            in_total = counts and placement == Placement.MAINS
            values.append(
                LatestValue(device_id, channel_id, key, quantity, unit, in_total, value, time)
            )
    return tuple(values)


def _value(reading: LastReading, resolution: Decimal) -> float:
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    numerator, denominator = _fraction(resolution)
    return reading.raw * numerator / denominator


@lru_cache(256)
def _fraction(resolution: Decimal) -> tuple[int, int]:
    return resolution.as_integer_ratio()
