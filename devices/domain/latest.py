"""The latest value of every channel of a facility or a device.

Apart from the other reads, because it is asked for all the time: it takes the fewest statements.
Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection

from devices.domain.queries import DeviceNotFound, FacilityNotFound
from devices.models import Facility, Placement
from devices.telemetry.latest import Reported, reported


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

    Areas inside the facility are facilities of their own. One to two statements. Raises
    FacilityNotFound.
    """
    devices = reported(connection, "facility", facility_id)
    if not devices and not Facility.objects.filter(pk=facility_id).exists():
        raise FacilityNotFound(f"facility {facility_id}")
    return _latest(devices)


def latest_of_device(*, device_id: int) -> tuple[LatestValue, ...]:
    """The latest values of a device by channel; one to two statements. Raises DeviceNotFound."""
    devices = reported(connection, "device", device_id)
    if not devices:
        raise DeviceNotFound(f"device {device_id}")
    return _latest(devices)


def _latest(devices: Iterable[Reported]) -> tuple[LatestValue, ...]:
    values = []
    for device in devices:
        for channel in device.channels:
            reading = device.readings.get(channel.number)
            if reading is not None:
                # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
                numerator, denominator = channel.resolution
                values.append(
                    LatestValue(
                        device_id=device.device_id,
                        channel_id=channel.channel_id,
                        key=channel.key,
                        quantity=channel.quantity,
                        unit=channel.unit,
                        in_total=channel.in_total and device.placement == Placement.MAINS,
                        value=reading.raw * numerator / denominator,
                        time=datetime.fromtimestamp(reading.time_ms / 1000, UTC),
                    )
                )
    return tuple(values)
