"""The energy of loads today: by which channels, since when, and how much of it was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from devices.domain import operations, sites
from devices.domain.energy import SETTLING
from devices.domain.operations import ChannelSpec
from devices.models import Device, Facility, Placement
from devices.telemetry.rollup import QUARTER
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

MIDNIGHT = datetime(2026, 2, 28, 23, tzinfo=UTC)  # in Berlin
NOW = MIDNIGHT + timedelta(hours=1) + SETTLING


def _channel(number: int, key: str, quantity: str, *, in_total: bool) -> ChannelSpec:
    span = Decimal(10**6)
    return ChannelSpec(number, key, key, quantity, Decimal(1), -span, span, in_total)


PHASES = (
    _channel(0, "power_l1", "active_power", in_total=False),
    _channel(1, "power_l2", "active_power", in_total=False),
)
REGISTERS = (
    _channel(0, "active_power", "active_power", in_total=True),
    _channel(1, "energy_import", "energy_import", in_total=True),
    _channel(2, "energy_export", "energy_export", in_total=True),
)


@pytest.fixture
def at() -> Iterator[Facility]:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        yield factories.facility(of)


def _device(
    at: Facility, channels: Sequence[ChannelSpec], placement: Placement = Placement.SUBMETER
) -> Device:
    kind = operations.create_device_type(
        tenant_id=at.tenant_id,
        code=f"meter-{factories.number()}",
        name="Meter",
        channels=channels,
        actor_id=None,
    )
    device = factories.device(at, kind, placement=placement).device
    Device.objects.filter(pk=device.pk).update(created_at=MIDNIGHT - timedelta(days=1))
    return device


def _allocate(device: Device, name: str, starts_at: datetime, *numbers: int) -> None:
    load = operations.create_load(
        tenant_id=device.tenant_id, facility_id=device.facility_id, name=name, actor_id=None
    )
    for number in numbers:
        operations.allocate_channel(
            channel_id=device.channels.get(number=number).pk,
            load_id=load.pk,
            starts_at=starts_at,
            actor_id=None,
        )


def _quarters(device: Device, channel: int, energies: Sequence[float], coverage: float = 1) -> None:
    """Energy (Wh) of a channel in the quarters since midnight; visible after the scope's commit."""
    with connections["owner"].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO rollup_15m (starts_at, tenant_id, device_id, channel, n, mean, energy_wh,"
            " coverage) VALUES (%s, %s, %s, %s, 1, 0, %s, %s)",
            [
                (MIDNIGHT + at * QUARTER, device.tenant_id, device.pk, channel, energy, coverage)
                for at, energy in enumerate(energies)
            ],
        )


def _today(at: Facility) -> list[tuple[str, float | None, float | None]]:
    found = sites.site(facility_id=at.pk, now=NOW).loads
    return [(load.name, load.energy_wh, load.coverage) for load in found]


def test_phases_of_a_load_add_up(at: Facility) -> None:
    device = _device(at, PHASES)
    _allocate(device, "Oven", MIDNIGHT - QUARTER, 0, 1)
    _quarters(device, 0, [10, 20, 30, 40])
    _quarters(device, 1, [1, 2, 3, 4])
    assert _today(at) == [("Oven", 110.0, 1.0)]


def test_phases_do_not_count_beside_their_sum(at: Facility) -> None:
    total = _channel(2, "power", "active_power", in_total=True)
    device = _device(at, (*PHASES, total))
    _allocate(device, "Oven", MIDNIGHT - QUARTER, 0, 1, 2)
    for number, watt_hours in enumerate([10, 20, 30]):
        _quarters(device, number, [watt_hours] * 4)
    assert _today(at) == [("Oven", 120.0, 1.0)]


@pytest.mark.parametrize(
    ("placement", "counted"), [(Placement.SUBMETER, 8.0), (Placement.GENERATION, 20.0)]
)
def test_a_load_counts_in_the_direction_of_its_facility(
    at: Facility, placement: Placement, counted: float
) -> None:
    device = _device(at, REGISTERS, placement)
    _allocate(device, "Roof", MIDNIGHT - QUARTER, 0, 1, 2)
    _quarters(device, 0, [100] * 4)
    _quarters(device, 1, [2] * 4)
    _quarters(device, 2, [5] * 4)
    assert _today(at) == [("Roof", counted, 1.0)]


def test_a_load_counts_since_it_is_measured(at: Facility) -> None:
    device = _device(at, REGISTERS)
    # From 0:20 on: two thirds of the second quarter, and what follows.
    _allocate(device, "Ovens", MIDNIGHT + timedelta(minutes=20), 1)
    _quarters(device, 1, [100, 60, 10, 10])
    expected: list[Any] = [("Ovens", pytest.approx(60), pytest.approx(1.0))]
    assert _today(at) == expected


def test_gaps_of_a_load_are_told(at: Facility) -> None:
    device = _device(at, REGISTERS)
    _allocate(device, "Pumps", MIDNIGHT - QUARTER, 0, 1)
    _quarters(device, 1, [5, 5], coverage=0.5)
    silent = _device(at, REGISTERS)
    _allocate(silent, "Wash", MIDNIGHT - QUARTER, 1)
    assert _today(at) == [("Pumps", 10.0, 0.25), ("Wash", None, 0.0)]
