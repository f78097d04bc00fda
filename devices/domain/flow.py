"""Power now: of each device, and of facilities as the flow between grid, generation, storage, home.

Needs an open scope and sees what it holds. A device that reports every minute is known to a minute;
one that is watched live, to two seconds and the ten until `refresh_power` runs again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection, transaction

from devices.models import Channel, Device, DevicePower, DeviceState, FacilityNow, Placement
from devices.telemetry import rollup_store as store
from devices.telemetry import status
from devices.telemetry.latest import LastReading, last_readings

# A device's power is known until it has missed two frames, and for this long in any case.
KNOWN_FOR: Final = timedelta(minutes=3)
_MISSED: Final = 2.5
# An inverter with nothing to convert switches itself off, as each evening: the last reading that it
# sent tells it from one that broke down. For the longest night below the polar circles.
_ASLEEP_W: Final = 25.0
_NIGHT: Final = timedelta(hours=20)
# Devices read at once.
MAX_DEVICES: Final = 2_000


@dataclass(frozen=True, slots=True)
class PowerNow:
    """Power of a facility in W; None where nothing measures it or the measurement is too old.

    `grid` is positive when power comes from the grid, `generation` when something is generated,
    `storage` while it is charged; `home` is what the loads draw: grid + generation - storage.
    `measured_at` is the oldest measurement in it; without news none of it is known after
    `known_until`. `complete`: no device that measures it is silent, but for inverters asleep, which
    give nothing.
    """

    grid_w: float | None = None
    generation_w: float | None = None
    storage_w: float | None = None
    measured_at: datetime | None = None
    known_until: datetime | None = None
    complete: bool = True

    @property
    def home_w(self) -> float | None:
        """What the loads draw; None without a meter at the mains, and while a device is silent:
        what it measures would be taken for what the loads draw, or the other way round.
        """
        if self.grid_w is None or not self.complete:
            return None
        return self.grid_w + (self.generation_w or 0) - (self.storage_w or 0)


@dataclass(frozen=True, slots=True)
class _Part:
    placement: str
    power_w: float
    measured_at: datetime
    known_until: datetime


def power_now(
    *, facility_ids: Sequence[int] | None = None, now: datetime
) -> Mapping[int, PowerNow]:
    """The power of facilities (None: all of the scope) that have a device which measures it.

    One query.
    """
    rows = DevicePower.objects.filter(
        power_w__isnull=False,
        device__state=DeviceState.ACTIVE,
        device__placement__in=[Placement.MAINS, Placement.GENERATION, Placement.STORAGE],
    )
    if facility_ids is not None:
        rows = rows.filter(device__facility_id__in=list(facility_ids))
    parts: defaultdict[int, list[_Part]] = defaultdict(list)
    for facility_id, placement, power_w, measured_at, step_ms, samples in rows.values_list(
        "device__facility_id",
        "device__placement",
        "power_w",
        "measured_at",
        "device__device_type__step_ms",
        "device__device_type__samples",
    ).order_by("device_id"):
        if power_w is not None and measured_at is not None:
            known_until = measured_at + _known_for(step_ms, samples)
            parts[facility_id].append(_Part(placement, power_w, measured_at, known_until))
    return {facility_id: _flow(found, now) for facility_id, found in parts.items()}


def _known_for(step_ms: int, samples: int) -> timedelta:
    return max(KNOWN_FOR, _MISSED * timedelta(milliseconds=step_ms * samples))


def _flow(parts: Sequence[_Part], now: datetime) -> PowerNow:
    totals: dict[str, float] = {}
    known = [part for part in parts if part.known_until >= now]
    for part in known:
        totals[part.placement] = totals.get(part.placement, 0.0) + part.power_w
    asleep = sum(_asleep(part, now) for part in parts)
    if asleep and known:
        totals.setdefault(Placement.GENERATION, 0.0)
    return PowerNow(
        grid_w=totals.get(Placement.MAINS),
        generation_w=totals.get(Placement.GENERATION),
        storage_w=totals.get(Placement.STORAGE),
        measured_at=min((part.measured_at for part in known), default=None),
        known_until=min((part.known_until for part in known), default=None),
        complete=len(known) + asleep == len(parts),
    )


def _asleep(part: _Part, now: datetime) -> bool:
    return (
        part.placement == Placement.GENERATION
        and abs(part.power_w) <= _ASLEEP_W
        and part.known_until < now <= part.measured_at + _NIGHT
    )


@dataclass(frozen=True, slots=True)
class Refreshed:
    """How many devices had new samples, and whether some are new or have come back, so that their
    roll-ups should not wait for their turn.
    """

    devices: int = 0
    newcomers: bool = False


@transaction.atomic
def refresh_power(*, now: datetime) -> Refreshed:
    """Bring the power of devices with new samples up to date, and of their facilities; and how many
    devices of each facility are connected.

    Does nothing when somebody else is at it.
    """
    if not status.take_turn(connection, "power"):
        return Refreshed()
    changed = status.sampled_since(connection)
    for at in range(0, len(changed), MAX_DEVICES):
        _refresh_devices(dict(changed[at : at + MAX_DEVICES]))
    if changed:
        _refresh_facilities([device_id for device_id, _ in changed], now)
    _refresh_counts()
    return Refreshed(len(changed), store.has_newcomers(connection))


def _refresh_devices(sampled: Mapping[int, datetime]) -> None:
    scales: defaultdict[int, dict[int, float]] = defaultdict(dict)
    channels = Channel.objects.filter(
        device_id__in=list(sampled), quantity="active_power", in_total=True
    )
    for device_id, number, resolution in channels.order_by("device_id", "number").values_list(
        "device_id", "number", "resolution"
    ):
        scales[device_id][number] = float(resolution)
    readings = last_readings(connection, scales) if scales else {}
    tenants = dict(Device.objects.filter(pk__in=list(sampled)).values_list("pk", "tenant_id"))
    rows = []
    for device_id in sorted(tenants):
        power_w, measured_at = _power(scales.get(device_id, {}), readings.get(device_id, {}))
        rows.append(
            DevicePower(
                tenant_id=tenants[device_id],
                device_id=device_id,
                power_w=power_w,
                measured_at=measured_at,
                sampled_at=sampled[device_id],
            )
        )
    DevicePower.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["device"],
        update_fields=["power_w", "measured_at", "sampled_at"],
    )


def _power(
    scales: Mapping[int, float], readings: Mapping[int, LastReading]
) -> tuple[float | None, datetime | None]:
    """The sum of the channels and its oldest reading; nothing unless all have one."""
    if not scales or any(number not in readings for number in scales):
        return None, None
    power_w = sum(readings[number].raw * scale for number, scale in scales.items())
    oldest = min(readings[number].time_ms for number in scales)
    return power_w, datetime.fromtimestamp(oldest / 1000, UTC)


def _refresh_facilities(device_ids: Sequence[int], now: datetime) -> None:
    tenants = dict(
        Device.objects.filter(pk__in=list(device_ids))
        .order_by("facility_id")
        .values_list("facility_id", "tenant_id")
    )
    power = power_now(facility_ids=list(tenants), now=now)
    FacilityNow.objects.bulk_create(
        [
            FacilityNow(
                tenant_id=tenant_id,
                facility_id=facility_id,
                measured_at=found.measured_at,
                known_until=found.known_until,
                grid_w=found.grid_w,
                generation_w=found.generation_w,
                storage_w=found.storage_w,
                home_w=found.home_w,
            )
            for facility_id, tenant_id in tenants.items()
            if (found := power.get(facility_id)) is not None
        ],
        update_conflicts=True,
        unique_fields=["facility"],
        update_fields=[
            "measured_at",
            "known_until",
            "grid_w",
            "generation_w",
            "storage_w",
            "home_w",
        ],
    )


def _refresh_counts() -> None:
    kept = {
        facility_id: counts
        for facility_id, *counts in FacilityNow.objects.values_list(
            "facility_id", "devices", "connected", "mains"
        )
    }
    FacilityNow.objects.bulk_create(
        [
            FacilityNow(
                tenant_id=count.tenant_id,
                facility_id=count.facility_id,
                devices=count.devices,
                connected=count.connected,
                mains=count.mains,
            )
            for count in status.link_counts(connection)
            if kept.get(count.facility_id) != [count.devices, count.connected, count.mains]
        ],
        update_conflicts=True,
        unique_fields=["facility"],
        update_fields=["devices", "connected", "mains"],
    )
