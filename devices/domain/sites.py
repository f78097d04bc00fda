"""A facility and a device with everything that their pages show.

Needs an open scope and sees what it holds; each function runs a fixed number of queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection
from django.db.models import Q

from devices.domain import energy, flow, queries
from devices.domain.energy import DayEnergy
from devices.domain.flow import PowerNow
from devices.models import Allocation
from devices.telemetry import history, rollup_reads
from devices.telemetry.rollup import QUARTER

# Lines of log and history on a page of them.
LINES: Final = 50


@dataclass(frozen=True, slots=True)
class LoadNow:
    """A load that a channel measures at the moment, and its energy since local midnight (Wh)."""

    load_id: int
    name: str
    category: str
    device_id: int
    device: str
    energy_wh: float | None


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
    `delivered` is what arrived, `coverage` (0 … 1) the part that was measured, None before the
    first quarter of an hour is over.
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
            "channel__device__name", "channel__number", "channel__quantity",
        )
    )  # fmt: skip
    found: dict[tuple[int, str, str, int, str], dict[str, int]] = {}
    for load_id, name, category, device_id, device, number, quantity in rows:
        found.setdefault((load_id, name, category, device_id, device), {})[quantity] = number
    counted = _counted({key[3] for key in found}, begins_at, now)
    return tuple(
        LoadNow(*key, counted.get((key[3], number)) if number is not None else None)
        for key, channels in found.items()
        for number in [_counting(channels)]
    )


def _counting(channels: dict[str, int]) -> int | None:
    """The channel whose energy is the load's: a register before a power."""
    for quantity in ("energy_import", "energy_export", "active_power"):
        if quantity in channels:
            return channels[quantity]
    return None


def _counted(device_ids: set[int], start: datetime, end: datetime) -> dict[tuple[int, int], float]:
    """Energy (Wh) by device and channel."""
    total: dict[tuple[int, int], float] = {}
    for row in rollup_reads.device_quarters(connection, sorted(device_ids), start, end):
        if row.energy_wh is not None:
            key = (row.device_id, row.channel)
            total[key] = total.get(key, 0.0) + row.energy_wh
    return total


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
        coverage=_coverage(device_id, begins_at, now),
        delivered=history.delivered_since(connection, device_id, begins_at),
        log=history.log_page(
            connection, device_id, limit=LINES, before=log_before, level=log_level
        ),
        events=history.event_page(connection, device_id, limit=LINES, before=events_before),
    )


def _coverage(device_id: int, begins_at: datetime, now: datetime) -> float | None:
    expected = (now - energy.SETTLING - begins_at) / QUARTER
    if expected < 1:
        return None
    rows = rollup_reads.device_quarters(connection, [device_id], begins_at, now)
    channels = {row.channel for row in rows}
    return min(1.0, sum(row.coverage for row in rows) / max(1, len(channels)) / expected)
