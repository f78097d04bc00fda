"""A facility and a device with everything that their pages show.

Needs an open scope and sees what it holds; each function runs a fixed number of queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import Q

from devices.domain import energy, flow, queries
from devices.domain.energy import DayEnergy
from devices.domain.flow import PowerNow
from devices.models import Allocation, Placement
from devices.telemetry import history, rollup_reads
from devices.telemetry.rollup import QUARTER

# Lines of log and history on a page of them.
LINES: Final = 50


@dataclass(frozen=True, slots=True)
class LoadNow:
    """A load that a device measures at the moment, and its energy since local midnight (Wh).

    Both are of the time since the device measures it. `coverage` (0 … 1) is the part of it that was
    measured; None while nothing is expected.
    """

    load_id: int
    name: str
    category: str
    device_id: int
    device: str
    energy_wh: float | None
    coverage: float | None


class _Meter(NamedTuple):
    """A device that measures a load."""

    load_id: int
    name: str
    category: str
    device_id: int
    device: str
    placement: str
    registered_at: datetime


class _Measuring(NamedTuple):
    """A channel that measures a load since `since`."""

    number: int
    quantity: str
    in_total: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class Site:
    """A facility: devices, power, and energy of the local day from `begins_at` to `ends_at`."""

    detail: queries.FacilityDetail
    power: PowerNow
    day: DayEnergy
    begins_at: datetime
    ends_at: datetime
    quarters: tuple[energy.Quarter, ...]
    loads: tuple[LoadNow, ...]


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A device with its facility, and a page each of its log and its history.

    `loads` are the names of what its channels measure now, by channel number. Since local midnight:
    `delivered` is what arrived, `coverage` (0 … 1) the part that was measured, or of the time since
    it was registered; None before a quarter of an hour is over.
    """

    device: queries.DeviceFacts
    facility: queries.FacilityFacts
    loads: dict[int, str]
    coverage: float | None
    delivered: history.Delivered
    log: history.Lines[history.LogLine]
    events: history.Lines[history.Event]


def site(*, facility_id: int, now: datetime) -> Site:
    """A facility at `now`; twelve queries. Raises `queries.FacilityNotFound`."""
    detail = queries.facility_detail(facility_id=facility_id)
    begins_at, ends_at = energy.local_day(zone=detail.facility.time_zone, now=now)
    return Site(
        detail=detail,
        power=flow.power_now(facility_ids=[facility_id], now=now).get(facility_id, PowerNow()),
        day=energy.today(facility_ids=[facility_id], now=now)[facility_id],
        begins_at=begins_at,
        ends_at=ends_at,
        quarters=energy.quarters(facility_id=facility_id, start=begins_at, end=ends_at),
        loads=_loads(facility_id, begins_at, now),
    )


def _loads(facility_id: int, begins_at: datetime, now: datetime) -> tuple[LoadNow, ...]:
    """The loads that are measured at `now`, by name; two queries."""
    rows = (
        Allocation.objects.filter(facility_id=facility_id, starts_at__lte=now)
        .filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))
        .exclude(channel__device__state="revoked")
        .order_by("load__name", "load_id", "channel__device_id", "channel__number")
        .values_list(
            "load_id", "load__name", "load__category", "channel__device_id",
            "channel__device__name", "channel__device__placement", "channel__device__created_at",
            "channel__number", "channel__quantity", "channel__in_total", "starts_at",
        )
    )  # fmt: skip
    meters: dict[_Meter, list[_Measuring]] = {}
    for row in rows:
        channel = _Measuring(*row[7:])
        meters.setdefault(_Meter(*row[:7]), []).append(channel)
    quarters: dict[tuple[int, int], list[rollup_reads.DeviceQuarter]] = {}
    devices = sorted({meter.device_id for meter in meters})
    for quarter in rollup_reads.device_quarters(connection, devices, begins_at, now):
        quarters.setdefault((quarter.device_id, quarter.channel), []).append(quarter)
    return tuple(
        LoadNow(*meter[:5], *_measured(meter, _counting(meter, channels), quarters, begins_at, now))
        for meter, channels in meters.items()
    )


def _counting(meter: _Meter, channels: Sequence[_Measuring]) -> list[_Measuring]:
    """The channels whose energy is the load's: registers before powers, and of phases and their sum
    the sum; in the direction that the facility's energy counts (`rollups.energy_sources`).
    """
    directions = ["energy_import", "energy_export"]
    if meter.placement == Placement.GENERATION:
        directions.reverse()
    for quantity in (*directions, "active_power"):
        found = [channel for channel in channels if channel.quantity == quantity]
        if found:
            return [channel for channel in found if channel.in_total] or found
    return []


def _measured(
    meter: _Meter,
    channels: Sequence[_Measuring],
    quarters: Mapping[tuple[int, int], Sequence[rollup_reads.DeviceQuarter]],
    begins_at: datetime,
    now: datetime,
) -> tuple[float | None, float | None]:
    """Energy (Wh) and coverage of some channels of a device, since each measures its load."""
    energies: list[float] = []
    covered = expected = 0.0
    for channel in channels:
        since = max(channel.since, begins_at)
        for row in quarters.get((meter.device_id, channel.number), ()):
            share = min(1.0, (row.starts_at + QUARTER - since) / QUARTER)
            if share > 0 and row.energy_wh is not None:
                energies.append(row.energy_wh * share)
                covered += row.coverage * share
        expected += max(0.0, energy.expected_quarters(since, meter.registered_at, now))
    counted = sum(energies) if energies else None
    return counted, min(1.0, covered / expected) if expected else None


def device_page(
    *,
    device_id: int,
    now: datetime,
    log_before: history.Place | None = None,
    log_level: int = 0,
    events_before: history.Place | None = None,
) -> DevicePage:
    """A device at `now`, with its log from `log_level` up; twelve queries.

    The log and the history begin below a place where the page before ended. Raises
    `queries.DeviceNotFound`.
    """
    device, facility = queries.device_and_facility(device_id=device_id)
    begins_at, _ = energy.local_day(zone=facility.time_zone, now=now)
    loads = Allocation.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=now),
        channel__device_id=device_id,
        starts_at__lte=now,
    )
    return DevicePage(
        device=device,
        facility=facility,
        loads=dict(loads.values_list("channel__number", "load__name")),
        coverage=_coverage(device, begins_at, now),
        delivered=history.delivered_since(connection, device_id, begins_at),
        log=history.log_page(
            connection, device_id, limit=LINES, before=log_before, level=log_level
        ),
        events=history.event_page(connection, device_id, limit=LINES, before=events_before),
    )


def _coverage(device: queries.DeviceFacts, begins_at: datetime, now: datetime) -> float | None:
    rows = rollup_reads.device_quarters(connection, [device.device_id], begins_at, now)
    expected = energy.expected_quarters(begins_at, device.registered_at, now)
    if expected < 1:
        return None
    channels = {row.channel for row in rows}
    return min(1.0, sum(row.coverage for row in rows) / max(1, len(channels)) / expected)
