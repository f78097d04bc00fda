"""What the consumer view shows of one facility: who measures what, power now, energy of two days.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from devices.domain import energy, flow
from devices.domain.queries import DeviceFacts, FacilityFacts, FacilityNotFound, devices
from devices.domain.queries import facility_facts as facts_of
from devices.models import Facility, Placement

# What flows in a facility, by the placement of the devices that measure it.
FLOWS: Final = {
    "grid": Placement.MAINS,
    "generation": Placement.GENERATION,
    "storage": Placement.STORAGE,
}


class NoFacility(Exception):  # noqa: N818 - it reads as what happened
    """The scope holds no facility at all."""


@dataclass(frozen=True, slots=True)
class Place:
    """A facility to choose."""

    facility_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Home:
    """One facility, `devices` being those whose power makes up its flows, mains first.

    `quarters` are those of today, `before` those of yesterday; `midnight` and `previous_midnight`
    (UTC) are where the two local days begin, `end` where today ends.
    """

    facility: FacilityFacts
    places: tuple[Place, ...]
    devices: tuple[DeviceFacts, ...]
    power: flow.PowerNow | None
    day: energy.DayEnergy
    quarters: tuple[energy.Quarter, ...]
    before: tuple[energy.Quarter, ...]
    previous_midnight: datetime
    midnight: datetime
    end: datetime

    def sources(self, part: str) -> tuple[tuple[int, int], ...]:
        """Device and channel number of every channel that counts into one of FLOWS."""
        return tuple(
            (device.device_id, channel.number)
            for device in self.devices
            if device.placement == FLOWS[part]
            for channel in device.channels
            if channel.in_total and channel.quantity == "active_power"
        )


def home(*, facility_id: int | None, preferred_id: int | None, now: datetime) -> Home:
    """The facility `facility_id`; without one the preferred one, or the first by name.

    Raises FacilityNotFound, and NoFacility when there is none to choose.
    """
    rows = {row.pk: row for row in Facility.objects.order_by("name", "pk")}
    if not rows:
        raise NoFacility
    if facility_id is None:
        facility_id = preferred_id if preferred_id in rows else next(iter(rows))
    if facility_id not in rows:
        raise FacilityNotFound(f"facility {facility_id}")
    facility = facts_of(rows[facility_id])
    measuring = [
        device
        for device in devices(facility_id=facility_id)
        if device.state == "active" and device.placement in FLOWS.values()
    ]
    previous, midnight, end = _days(facility.time_zone, now)
    quarters = energy.quarters(facility_id=facility_id, start=previous, end=end)
    return Home(
        facility=facility,
        places=tuple(Place(row.pk, row.name) for row in rows.values()),
        devices=tuple(sorted(measuring, key=lambda device: not device.counts_in_total)),
        power=flow.power_now(facility_ids=[facility_id], now=now).get(facility_id),
        day=energy.today(facility_ids=[facility_id], now=now)[facility_id],
        quarters=tuple(quarter for quarter in quarters if quarter.starts_at >= midnight),
        before=tuple(quarter for quarter in quarters if quarter.starts_at < midnight),
        previous_midnight=previous,
        midnight=midnight,
        end=end,
    )


def _days(zone: str, now: datetime) -> tuple[datetime, datetime, datetime]:
    """Where yesterday, today and tomorrow begin in a zone (UTC)."""
    midnight, end = energy.local_day(zone=zone, now=now)
    # A moment of yesterday, however long it was.
    previous, _ = energy.local_day(zone=zone, now=midnight - timedelta(hours=1))
    return previous, midnight, end


def day_of(home: Home) -> date:
    """The local date that the facility has."""
    return home.midnight.astimezone(ZoneInfo(home.facility.time_zone)).date()
