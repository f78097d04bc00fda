"""An account that does not pay, and its unit, which really goes off and on.

Bridge, writer, dispatcher and Redis are real, the device is a simulated one, and the driver is
called as its tasks call it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest

from billing.domain import dunning_driver, ledger_operations, payments_operations
from billing.domain.ledger_operations import Draft
from billing.models import Agreement, DunningEvent, EntryKind
from billing.payments.values import Received
from billing.tests import factories as billing_factories
from billing.tests.dunning_world import set_policy
from devices.dispatcher import Dispatcher
from devices.domain import control_queries
from devices.domain.operations import Registered
from devices.ingest.writer import Writer
from devices.models import Channel, Command
from devices.protocol import Block
from devices.simulator.client import Address, client_tls
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.session import Identity
from devices.simulator.settings import Switching
from devices.tests import factories
from devices.tests.bridge_devices import WAIT_S, RunningBridge, Servers
from devices.tests.conftest import bridges, certificate, owner, redis, writer
from firmware.tests.live_devices import Devices, until
from tenants.scope import Scope, open_scope

__all__ = ["bridges", "certificate", "owner", "redis", "writer"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


class Meter:
    """Draws 50 W at 230 V while its output is on."""

    channel_count = 2

    def __init__(self) -> None:
        self._switchings: Sequence[Switching] = ()

    def control(self, switchings: Sequence[Switching]) -> None:
        self._switchings = switchings

    def due(self, after_ms: int, samples: int, step_ms: int) -> int:
        return (after_ms // step_ms + samples) * step_ms

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        times = np.arange((after_ms // step_ms + 1) * step_ms, until_ms + 1, step_ms)
        if not len(times):
            return ()
        on = self._switchings[-1].on if self._switchings else True
        power = np.full(len(times), 500 if on else 0, np.int64)
        return (Block(times, (0, 1), np.stack([power, np.full(len(times), 23_000, np.int64)])),)


class Scene:
    """An agreement that owes 100 EUR, and its unit at a bridge."""

    def __init__(self, port: int, ca: Path, folder: Path) -> None:
        of = factories.tenant()
        self.scope = Scope((of.pk,))
        with open_scope(self.scope):
            steps = [{"kind": "reminder", "after_days": 1}, {"kind": "disable", "after_days": 1}]
            set_policy(of, steps=steps, region="", quiet_weekdays=(), hour_from=0, hour_to=24)
            self.registered: Registered = factories.device(factories.facility(of))
            self.device_id = self.registered.device.pk
            kind = self.registered.device.device_type.code
            channel = Channel.objects.filter(device=self.device_id).order_by("pk")[0]
            self.agreement: Agreement = billing_factories.agreement(
                self.registered.device.facility, channels=(channel,)
            )
            day = datetime.now(UTC).date() - timedelta(days=40)
            owed = Draft(EntryKind.FEE, "owed", Decimal(100), day, day)
            ledger_operations.charge(self.agreement, owed, actor_id=None, now=datetime.now(UTC))
        self.simulated = SimulatedDevice(
            identity=Identity(
                self.registered.device.serial,
                self.registered.secret.value,
                kind,
            ),
            source=Meter(),
            options=DeviceOptions(
                address=Address("localhost", port), tls=client_tls(ca), state=folder
            ),
            chance=Random(1),
        )
        self.devices = Devices({"unit": self.simulated})

    def drive(self) -> list[str]:
        """What the tasks do, until nothing is left to do; the kinds of all that has happened."""
        dunning_driver.open_cases(now=datetime.now(UTC))
        for _step in range(3):
            now = datetime.now(UTC)
            for tenant_id, case_id in dunning_driver.due_cases(now=now):
                dunning_driver.drive(tenant_id=tenant_id, case_id=case_id, now=now)
        with open_scope(self.scope):
            return list(DunningEvent.objects.order_by("pk").values_list("kind", flat=True))

    def pay(self) -> None:
        now = datetime.now(UTC)
        with open_scope(self.scope):
            payments_operations.enter(
                agreement_id=self.agreement.pk,
                received=Received("P1", Decimal(100), "EUR", now.date()),
                now=now,
                actor_id=None,
            )

    def told(self) -> tuple[bool | None, bool]:
        """What the device says its output is, and what it really is."""
        with open_scope(self.scope):
            said = control_queries.output_of(device_id=self.device_id).reported
        return said, self.simulated.unit.settings.output.on

    def states(self) -> list[str]:
        with open_scope(self.scope):
            return list(Command.objects.order_by("pk").values_list("state", flat=True))


@pytest.fixture
def scene(
    bridges: Callable[..., RunningBridge],
    writer: Writer,
    servers: Servers,
    certificate: tuple[Path, Path],
    tmp_path: Path,
) -> Iterator[Scene]:
    dispatcher = Dispatcher(servers.redis_url, "dispatcher-of-a-test")
    thread = threading.Thread(target=dispatcher.run, name="dispatcher")
    made = Scene(bridges().port, certificate[0], tmp_path / "state")
    thread.start()
    yield made
    dispatcher.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    factories.remove_everything()


def test_the_unit_goes_off_and_comes_back_when_it_is_paid(scene: Scene) -> None:
    with scene.devices.running():
        until(lambda: scene.told() == (True, True), scene.told)
        assert scene.drive() == ["reminder", "disable"]
        until(lambda: scene.told() == (False, False), scene.told)
        scene.pay()
        until(lambda: scene.told() == (True, True), scene.told)
        until(lambda: scene.states() == ["succeeded", "succeeded"], scene.states)
    assert scene.drive() == ["reminder", "disable", "restored", "closed"]


def test_a_unit_that_is_away_while_it_is_paid_never_goes_off(scene: Scene) -> None:
    assert scene.drive() == ["reminder", "disable"]
    scene.pay()
    with scene.devices.running():
        until(lambda: scene.states() == ["cancelled", "succeeded"], scene.states)
        until(lambda: scene.told() == (True, True), scene.told)
