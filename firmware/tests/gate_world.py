"""A park with a wave of a roll-out and eight days of all that the gate reads, in the real store.

Every device has a week as sound devices have it, and a day after the wave in which the updated may
have a fault.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.db import connections

from devices.domain.operations import ChannelSpec, create_device_type
from devices.models import Device
from devices.tests import factories
from firmware.gate.limits import GateLimits
from firmware.models import Rollout, RolloutWave, TargetState, WaveState
from firmware.rollout.strategy import Strategy
from firmware.tests.factories import release, rollout, target
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
STARTED: Final = factories.START  # the roll-out
UPDATED: Final = STARTED + HOUR  # the wave's last confirmation
FIRST: Final = STARTED - 7 * DAY
SOAK: Final = DAY
QUARTER: Final = timedelta(minutes=15)
_COLUMNS: Final = {
    "ledger_hour": "hour, tenant_id, device_id, stored, stored_values",
    "device_event": "received_at, tenant_id, device_id, occurred_at, kind, data",
    "device_log": "received_at, tenant_id, device_id, sequence, logged_at, level, line",
    "rollup_15m": (
        "starts_at, tenant_id, device_id, channel, n, minimum, maximum, mean, first, last, coverage"
    ),
}
_CHARGE: Final = ChannelSpec(
    number=2,
    key="state_of_charge",
    name="State of charge",
    quantity="state_of_charge",
    resolution=Decimal("0.1"),
    minimum=Decimal(0),
    maximum=Decimal(100),
)


@dataclass(frozen=True, slots=True)
class Habit:
    """How devices do: of a usual hour's 3600 values, chances in an hour, chances in a quarter."""

    values: float = 0.99
    gaps: float = 0.06
    connects: float = 0.15
    resets: float = 0.1
    errors: float = 0.1
    shift: float = 0.0
    drain: float = 30.0


@dataclass(frozen=True, slots=True)
class GatePark:
    """A wave, its updated devices and the others of their type."""

    tenant: Tenant
    wave: RolloutWave
    updated: Sequence[Device]
    control: Sequence[Device]
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        """All of the tenant."""
        object.__setattr__(self, "scope", Scope((self.tenant.pk,)))


def gate_park(
    *,
    updated: int = 27,
    control: int = 54,
    fault: Habit | None = None,
    limits: GateLimits | None = None,
    until: datetime = UPDATED + SOAK + HOUR,
) -> GatePark:
    """A park of three devices a facility, with everything stored up to `until`."""
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        kind = create_device_type(
            tenant_id=of.pk,
            code=f"gate-{factories.number()}",
            name="Meter with a battery",
            channels=(*factories.CHANNELS, _CHARGE),
            actor_id=None,
        )
        devices = []
        for _ in range((updated + control) // 3):
            at = factories.facility(of)
            devices += [factories.device(at, kind).device for _ in range(3)]
        running = rollout(of, release(of, kind, "2.0.0"))
        Rollout.objects.filter(pk=running.pk).update(
            started_at=STARTED,
            strategy=Strategy(
                soak_s=int(SOAK.total_seconds()), gate=(limits or GateLimits()).to_json()
            ).to_json(),
        )
        wave = RolloutWave.objects.create(
            tenant=of,
            rollout=running,
            number=1,
            size=updated,
            state=WaveState.JUDGED,
            started_at=STARTED,
            updated_at=UPDATED,
            soaking_at=UPDATED,
        )
        for device in devices[:updated]:
            one = target(wave, device)
            one.state, one.state_at, one.to_version = TargetState.SUCCEEDED, UPDATED, "2.0.0"
            one.save(update_fields=["state", "state_at", "to_version"])
    park = GatePark(of, wave, devices[:updated], devices[updated:])
    random = np.random.default_rng(5)
    rows = Rows()
    for device in devices:
        after = fault if fault is not None and device in park.updated else Habit()
        boots = rows.add(device, Habit(), FIRST, STARTED, random)
        rows.add(device, after, UPDATED, until, random, boots=boots)
    rows.store([device.pk for device in devices], until)
    return park


class Rows:
    """What devices show, as writer and roller leave it."""

    def __init__(self, *, charge: int = 2) -> None:
        """Nothing yet; `charge` is the number of the channel that shows the state of charge."""
        self._charge = charge
        self._tables: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}

    def add(
        self,
        device: Device,
        habit: Habit,
        start: datetime,
        end: datetime,
        random: np.random.Generator,
        *,
        boots: int = 0,
    ) -> int:
        """What a device shows in [start, end); returns its boot count, which was `boots`."""
        hours = [start + n * HOUR for n in range(int((end - start) / HOUR))]
        key = (device.tenant_id, device.pk)
        arrived = 3_600 * np.minimum(1, random.normal(habit.values, 0.004, len(hours)))
        for hour, values in zip(hours, arrived, strict=True):
            self._tables["ledger_hour"].append((hour, *key, 60, int(values)))
            if random.random() < habit.connects:
                boots += int(random.random() < habit.resets)
                data = json.dumps({"boot_count": boots})
                at = hour + timedelta(minutes=7)
                self._tables["device_event"].append((at, *key, hour, "connected", data))
            if random.random() < habit.errors:
                self._tables["device_log"] += [
                    (hour, *key, 1, hour, level, "trouble") for level in (2, 4, 5)
                ]
        self._add_quarters(key, habit, start, end, random)
        return boots

    def _add_quarters(
        self,
        key: tuple[int, int],
        habit: Habit,
        start: datetime,
        end: datetime,
        random: np.random.Generator,
    ) -> None:
        quarters = int((end - start) / QUARTER)
        starts = [start + n * QUARTER for n in range(quarters)]
        clock = np.array([one.hour + one.minute / 60 for one in starts])
        wave = np.sin((clock + habit.shift) * np.pi / 12)
        power = 500 + 200 * wave + random.normal(0, 20, quarters)
        # Charged at midnight, used by day.
        charge = 95 - habit.drain * clock / 24 + random.normal(0, 0.02, quarters)
        coverage = np.where(random.random(quarters) < habit.gaps, 0.9, 1.0)
        for number, values in ((0, power), (self._charge, charge)):
            self._tables["rollup_15m"] += [
                (at, *key, number, 450, value, value, value, value, value, covered)
                for at, value, covered in zip(
                    starts, values.tolist(), coverage.tolist(), strict=True
                )
            ]

    def store(self, devices: Sequence[int], until: datetime) -> None:
        """Write all of it; the devices are rolled up `until` then."""
        self.copy()
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "UPDATE device_cursor SET last_sample_at = %s WHERE device_id = ANY(%s)",
                [until, list(devices)],
            )
            cursor.execute(
                "INSERT INTO rollup_progress (device_id, tenant_id, sequence, sampled_at)"
                " SELECT id, tenant_id, 1, %s FROM devices_device WHERE id = ANY(%s)"
                " ON CONFLICT (device_id) DO UPDATE SET sampled_at = excluded.sampled_at",
                [until, list(devices)],
            )

    def copy(self) -> None:
        """Write what was added."""
        with connections["owner"].cursor() as cursor:
            for table, rows in self._tables.items():
                statement = f"COPY {table} ({_COLUMNS[table]}) FROM STDIN"
                with cursor.cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
