"""A fleet of simulated devices that update over a real bridge, on a day that passes at once.

Clocks: the roll-out begins a day ago, by the driver's `now`, and devices update then, over
connections of the present. Then the day has passed: the devices start again, and report what they
have measured since, as after a day without a link. What the new firmware does to these readings,
and to its link, it does by itself. Only the days before the roll-out are rows that are put in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
from django.db import connections

from devices.domain import rollups
from devices.domain.operations import ChannelSpec, Registered, create_device_type, register_device
from devices.protocol import Block
from devices.simulator.catalogue import BATTERY
from devices.simulator.client import Address, client_tls
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.firmware import FirmwareOptions, factory_image
from devices.simulator.image import Behaviour, build_image
from devices.simulator.session import Identity
from devices.tests import factories
from devices.tests.bridge_devices import RunningBridge
from devices.tests.update_rig import LAYOUT
from firmware.domain import gate_queries, rollout_driver, rollout_operations
from firmware.domain.gate_windows import quarter_before
from firmware.domain.rollout_operations import Draft
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict
from firmware.models import Rollout, RolloutTarget, RolloutWave
from firmware.tests.gate_world import Habit, Rows
from firmware.tests.live_devices import Devices
from firmware.tests.uploads import Signer, approved
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

OLD, NEW = "1.0.0", "1.1.0"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PAST = 2 * DAY
DEVICES, CANARIES, IN_FACILITY = 54, 18, 3
STEP_MS, MINUTE_MS = 20_000, 60_000
# So much of its minutes a unit loses anyway: of a day's quarters of an hour one in ten.
LOST = 0.007
SOUND = Habit(values=0.1, gaps=0.1, connects=0.15, resets=0.5, drain=30.0)
LIMITS: Mapping[Metric, float] = {
    Metric.GAPS: 1.5,
    Metric.RESETS: 2.0,
    Metric.RECONNECTS: 2.0,
    Metric.DRAIN: 1.3,
}


class Unit:
    """A battery that is charged at midnight and used by day, and measured with some gaps."""

    channel_count = 2

    def __init__(self, number: int, began: datetime) -> None:
        self._number = number
        self._began_minute = round(began.timestamp()) // 60

    def due(self, after_ms: int, samples: int, step_ms: int) -> int:
        """It measures no oftener than every twenty seconds, whoever asks."""
        step_ms = max(step_ms, STEP_MS)
        return (after_ms // step_ms + samples) * step_ms

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        step_ms = max(step_ms, STEP_MS)
        times = np.arange((after_ms // step_ms + 1) * step_ms, until_ms + 1, step_ms)
        minutes, index = np.unique(times // MINUTE_MS, return_inverse=True)
        kept = np.array([self._measures(minute) for minute in minutes.tolist()], bool)
        times = times[kept[index]] if len(times) else times
        if not len(times):
            return ()
        charge = 950 - np.rint(300 * (times % 86_400_000) / 86_400_000).astype(np.int64)
        power = np.full(len(times), 500, np.int64)
        return (Block(times, (0, 1), np.stack([power, charge])),)

    def _measures(self, minute: int) -> bool:
        # The same minutes since the roll-out began, whenever and in whatever company this runs.
        passed = minute - self._began_minute
        return crc32(f"{self._number} {passed}".encode()) / 2**32 >= LOST


@dataclass(frozen=True)
class GateFleet:
    """Devices, and a roll-out of a firmware that acts in some way; `began` is when it begins."""

    tenant: Tenant
    rollout_id: int
    registered: Sequence[Registered]
    began: datetime
    signer: Signer

    @classmethod
    def make(
        cls,
        behaviour: Behaviour,
        *,
        on_error: str = "pause",
        soak: timedelta = DAY,
        ratios: Mapping[Metric, float] = LIMITS,
    ) -> GateFleet:
        """A draft of a roll-out with a gate between its two waves."""
        began = quarter_before(datetime.now(UTC)) - DAY
        of = factories.tenant()
        with open_scope(Scope((of.pk,))):
            people = (
                factories.member(of, Role.ADMIN).user_id,
                factories.member(of, Role.ADMIN).user_id,
            )
            kind = create_device_type(
                tenant_id=of.pk,
                code=BATTERY.code,
                name="Battery",
                channels=_CHANNELS,
                actor_id=None,
                step_ms=STEP_MS,
                samples=90,
            )
            registered = []
            for number in range(DEVICES):
                if number % IN_FACILITY == 0:
                    at = factories.facility(of)
                registered.append(
                    register_device(
                        tenant_id=of.pk,
                        facility_id=at.pk,
                        device_type_id=kind.pk,
                        serial=f"G-{factories.number()}",
                        name=f"Battery {number}",
                        actor_id=None,
                    )
                )
            signer = Signer.of(of)
            old = factory_image(identity(registered[0]), LAYOUT)
            new = build_image(NEW, device_type=BATTERY.code, behaviour=behaviour, size=len(old))
            approved(signer, kind, OLD, old, people=people)
            release = approved(signer, kind, NEW, new, people=people)
            draft = Draft(
                f"To {NEW}",
                release.pk,
                {"everything": True},
                {
                    "waves": [{"count": CANARIES}, {"percent": 100}],
                    "soak_s": int(soak.total_seconds()),
                    "success_percent": 100,
                    "error_percent": 0,
                    "max_downloads": None,
                    "on_error": on_error,
                    # A firmware that resets may do so before it has confirmed.
                    "retries": {
                        code: {"limit": 10, "delay_s": 1} for code in ("power", "self_test")
                    },
                    "gate": {
                        "ratios": {metric.value: limit for metric, limit in ratios.items()},
                        "past_days": PAST // DAY,
                        "looks": 1,
                    },
                },
            )
            row = rollout_operations.create(tenant_id=of.pk, draft=draft, actor_id=people[0])
        fleet = cls(of, row.pk, registered, began, signer)
        fleet._add_past()
        return fleet

    def _add_past(self) -> None:
        random = np.random.default_rng(7)
        rows = Rows(charge=1)
        end = self.began.replace(minute=0)
        for one in self.registered:
            rows.add(one.device, SOUND, end - PAST - HOUR, end, random)
        rows.copy()

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    def devices(
        self, bridge: RunningBridge, ca: Path, folder: Path, *, since: datetime | None = None
    ) -> Devices:
        """The devices as their memory in `folder` has left them; with `since`, they report what
        they have measured from then on.
        """
        tls = client_tls(ca)
        begin_ms = None if since is None else round(since.timestamp() * 1000)
        key = self.signer.private.public_key().public_bytes_raw()
        return Devices(
            {
                one.device.serial: SimulatedDevice(
                    identity=identity(one),
                    source=Unit(number, self.began),
                    options=DeviceOptions(
                        address=Address("localhost", bridge.port),
                        tls=tls,
                        state=folder,
                        reboot_s=0.05,
                        firmware=FirmwareOptions((key,), LAYOUT),
                    ),
                    chance=Random(number),
                    begin_ms=begin_ms,
                )
                for number, one in enumerate(self.registered)
            }
        )

    def start(self) -> None:
        """A person starts the roll-out, a day ago."""
        with open_scope(self.scope):
            rollout_operations.start(rollout_id=self.rollout_id, now=self.began, actor_id=None)

    def drive(self, now: datetime) -> None:
        """What the tasks do."""
        rollout_driver.take_reports(now=now)
        for tenant_id, rollout_id in rollout_driver.driven():
            step = rollout_driver.drive(tenant_id=tenant_id, rollout_id=rollout_id, now=now)
            assert step is not None
            rollout_driver.review(step, now=now)

    def roll_up(self) -> None:
        """What the roller does."""
        after: int | None = 0
        with open_scope(self.scope):
            while after is not None:
                after = rollups.roll_up(after=after).last

    def rollout(self) -> Rollout:
        """As it is stored now."""
        with open_scope(self.scope):
            return Rollout.objects.get(pk=self.rollout_id)

    def waves(self) -> list[str]:
        """The states of its waves."""
        with open_scope(self.scope):
            rows = RolloutWave.objects.filter(rollout=self.rollout_id).order_by("number")
            return list(rows.values_list("state", flat=True))

    def states(self) -> dict[int, dict[str, str]]:
        """The state of the update of each device, by wave and serial."""
        found: dict[int, dict[str, str]] = {}
        with open_scope(self.scope):
            rows = RolloutTarget.objects.filter(rollout=self.rollout_id)
            for wave, serial, state in rows.values_list("wave__number", "device__serial", "state"):
                found.setdefault(wave, {})[serial] = state
        return found

    def canaries(self) -> set[str]:
        """The devices of the first wave."""
        return set(self.states()[1])

    def verdicts(self) -> list[GateVerdict]:
        """What the gate has said."""
        with open_scope(self.scope):
            return [look.verdict for look in gate_queries.looks(rollout_id=self.rollout_id)]

    def roll_back_state(self) -> str:
        """The state of the roll-out that takes it back."""
        with open_scope(self.scope):
            return Rollout.objects.get(parent=self.rollout_id).state

    def connected(self) -> list[str]:
        """Who is there, as the driver knows."""
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT d.serial FROM device_link l JOIN devices_device d ON d.id = l.device_id"
                " WHERE l.connected"
            )
            return [row[0] for row in cursor.fetchall()]

    def connections_of(self, serials: set[str]) -> dict[str, int]:
        """How often devices have connected today."""
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT d.serial, count(*) FROM device_event e JOIN devices_device d"
                " ON d.id = e.device_id WHERE e.kind = 'connected' AND e.received_at >= %s"
                " AND d.serial = ANY(%s) GROUP BY 1",
                [self.began + DAY, list(serials)],
            )
            return dict(cursor.fetchall())

    def reported_until(self) -> dict[str, datetime | None]:
        """Up to when the server has readings of each device."""
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT d.serial, c.last_sample_at FROM device_cursor c"
                " JOIN devices_device d ON d.id = c.device_id"
            )
            return dict(cursor.fetchall())


def identity(of: Registered) -> Identity:
    """Who a device is, as it left the factory."""
    return Identity(of.device.serial, of.secret.value, BATTERY.code, hardware="rev A", firmware=OLD)


_CHANNELS = tuple(
    ChannelSpec(
        number=number,
        key=key,
        name=key,
        quantity=key,
        resolution=Decimal(resolution),
        minimum=Decimal(low),
        maximum=Decimal(high),
    )
    for number, (key, resolution, low, high) in enumerate(
        (("active_power", "1", -50_000, 50_000), ("state_of_charge", "0.1", 0, 100))
    )
)
