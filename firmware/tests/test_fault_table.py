"""Every fault of a device, through the whole product: what the server holds true in the end.

Real bridge, writer and Redis, the driver called as its task calls it, and devices of the simulator
over TLS, one for each fault, in one roll-out.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.files import File

from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.domain.selection import Selection
from devices.ingest.writer import Writer
from devices.protocol import Block
from devices.simulator.client import Address, client_tls
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.faults import UpdateFaults
from devices.simulator.firmware import FirmwareOptions
from devices.simulator.image import Behaviour
from devices.simulator.session import Identity
from devices.tests.bridge_devices import RunningBridge
from devices.tests.update_rig import (
    FOREIGN_KEY,
    KEY,
    LAYOUT,
    TYPE,
    image_of,
    manifest_of,
    public,
)
from firmware.artifacts.signing import SignatureFile
from firmware.domain import (
    key_operations,
    release_operations,
    rollout_driver,
    rollout_operations,
)
from firmware.domain.release_checks import Draft as ReleaseDraft
from firmware.domain.rollout_operations import Draft
from firmware.models import RolloutTarget
from firmware.tests.live_devices import Devices, until
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import member, tenant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

OLD, NEW = "1.0.0", "1.1.0"
OWN = (public(KEY),)
FINAL = {"succeeded", "failed", "cancelled", "skipped"}


@dataclass(frozen=True)
class Case:
    """A device with a fault, and how its target may end (state, failure code)."""

    faults: UpdateFaults
    ends: tuple[tuple[str, str], ...]
    runs: tuple[str, ...]
    keys: tuple[bytes, ...] = OWN


SUCCEEDED, UNTRUE = ("succeeded", ""), ("failed", "untrue")
CASES = {
    "sound": Case(UpdateFaults(), (SUCCEEDED,), (NEW,)),
    "slow": Case(UpdateFaults(bytes_per_s=20_000), (SUCCEEDED,), (NEW,)),
    "gaps": Case(UpdateFaults(after=Behaviour(gaps=0.3)), (SUCCEEDED,), (NEW,)),
    "bad flash": Case(UpdateFaults(bad_flash=True), (("failed", "flash"),), (OLD,)),
    "tampers": Case(UpdateFaults(tampers=True), (("failed", "digest"),), (OLD,)),
    "foreign key": Case(
        UpdateFaults(), (("failed", "signature"),), (OLD,), keys=(public(FOREIGN_KEY),)
    ),
    "self-test": Case(
        UpdateFaults(after=Behaviour(self_test=False)), (("failed", "self_test"),), (OLD,)
    ),
    "hangs": Case(UpdateFaults(after=Behaviour(hangs=True)), (("failed", "power"),), (OLD,)),
    "lies": Case(UpdateFaults(lies=True), (UNTRUE,), (OLD,)),
    "wrong version": Case(UpdateFaults(after=Behaviour(version="7.0.0")), (UNTRUE,), ("7.0.0",)),
    "power cuts": Case(
        UpdateFaults(power_cut_bytes=120_000), (SUCCEEDED, ("failed", "power")), (OLD, NEW)
    ),
    "deaf": Case(UpdateFaults(deaf=True), (("failed", "timeout"),), (OLD,)),
    "never returns": Case(UpdateFaults(never_returns=True), (("failed", "timeout"),), ()),
}


class Flat:
    """A source of one channel that never changes."""

    channel_count = 1

    def due(self, after_ms: int, samples: int, step_ms: int) -> int:
        return (after_ms // step_ms + samples) * step_ms

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        times = np.arange((after_ms // step_ms + 1) * step_ms, until_ms + 1, step_ms)
        return (Block(times, (0,), np.full((1, len(times)), 5)),) if times.size else ()


@dataclass(frozen=True)
class World:
    tenant: Tenant
    secrets: dict[str, bytes]
    rollout_id: int

    @property
    def scope(self) -> Scope:
        return Scope((self.tenant.pk,))


def _world(image: bytes) -> World:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        maker, approver = (member(of, Role.ADMIN).user.pk for _ in range(2))
        site = create_facility(tenant_id=of.pk, name="Site", time_zone="UTC", actor_id=None)
        kind = create_device_type(
            tenant_id=of.pk,
            code=TYPE,
            name="Meter",
            channels=[
                ChannelSpec(
                    number=0,
                    key="active_power",
                    name="Power",
                    quantity="active_power",
                    resolution=Decimal(1),
                    minimum=Decimal(-10),
                    maximum=Decimal(10),
                )
            ],
            actor_id=None,
        )
        registered = {
            name: register_device(
                tenant_id=of.pk,
                facility_id=site.pk,
                device_type_id=kind.pk,
                serial=_serial(name),
                name=name,
                actor_id=None,
            )
            for name in CASES
        }
        pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key_operations.add_key(tenant_id=of.pk, name="Key", pem=pem, actor_id=maker)
        signed = SignatureFile.make(KEY, manifest_of(image, NEW)).dump().encode()
        release = release_operations.create_release(
            tenant_id=of.pk,
            draft=ReleaseDraft(
                device_type_id=kind.pk,
                image=File(io.BytesIO(image), name="image.bin"),
                signature=File(io.BytesIO(signed), name="image.json"),
            ),
            actor_id=maker,
        )
        release_operations.approve_release(
            release_id=release.pk, actor_id=approver, now=datetime.now(UTC)
        )
        ids = tuple(one.device.pk for one in registered.values())
        draft = Draft(
            "Everything that can go wrong",
            release.pk,
            Selection(devices=ids).to_json(),
            {
                "waves": [{"percent": 100}],
                "soak_s": 0,
                "success_percent": 0,
                "error_percent": 100,
                "max_downloads": None,
                "retries": {},
            },
        )
        row = rollout_operations.create(tenant_id=of.pk, draft=draft, actor_id=maker)
        secrets = {name: one.secret.value for name, one in registered.items()}
        return World(of, secrets, row.pk)


def _serial(name: str) -> str:
    return f"T-{name.replace(' ', '-')}"


def _devices(world: World, port: int, ca: Path, folder: Path) -> Devices:
    tls = client_tls(ca)
    return Devices(
        {
            name: SimulatedDevice(
                identity=Identity(_serial(name), world.secrets[name], TYPE, hardware="rev A"),
                source=Flat(),
                options=DeviceOptions(
                    address=Address("localhost", port),
                    tls=tls,
                    state=folder,
                    reboot_s=0.05,
                    firmware=FirmwareOptions(case.keys, LAYOUT, case.faults),
                ),
                chance=Random(number),
            )
            for number, (name, case) in enumerate(CASES.items())
        }
    )


def _drive(world: World, ahead: timedelta = timedelta()) -> dict[str, tuple[str, str]]:
    """A tick; returns state and failure code by case."""
    now = datetime.now(UTC) + ahead
    rollout_driver.take_reports(now=now)
    rollout_driver.drive(tenant_id=world.tenant.pk, rollout_id=world.rollout_id, now=now)
    return _states(world)


def _states(world: World) -> dict[str, tuple[str, str]]:
    with open_scope(world.scope):
        rows = RolloutTarget.objects.filter(rollout=world.rollout_id).select_related("device")
        return {row.device.name: (row.state, row.failure_code) for row in rows}


def test_every_fault_ends_in_a_true_state(
    bridges: Callable[..., RunningBridge],
    writer: Writer,
    certificate: tuple[Path, Path],
    firmware_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", 0.05)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", 0.2)
    monkeypatch.setattr("devices.simulator.firmware.SELF_TEST_S", 0.1)
    monkeypatch.setattr("devices.simulator.device.WATCHDOG_S", 0.3)
    image = image_of(NEW)
    world = _world(image)
    bridge = bridges()
    devices = _devices(world, bridge.port, certificate[0], tmp_path / "state")
    # Those that are found out by a time limit alone.
    waiting = {
        name for name, case in CASES.items() if {("failed", "timeout"), UNTRUE} & {*case.ends}
    }
    with devices.running():
        bridge.wait(lambda counters: counters["connections"] >= len(CASES))
        until(lambda: all(devices.versions().values()), devices.versions)
        time.sleep(1)  # the writer notes who is there
        with open_scope(world.scope):
            rollout_operations.start(
                rollout_id=world.rollout_id, now=datetime.now(UTC), actor_id=None
            )
        until(
            lambda: all(
                state in FINAL for name, (state, _) in _drive(world).items() if name not in waiting
            ),
            lambda: _states(world),
        )
        states = _drive(world, timedelta(days=1))
        for name, case in CASES.items():
            assert states[name] in case.ends, (name, states[name])
        until(
            lambda: all(
                devices.versions()[name] in case.runs for name, case in CASES.items() if case.runs
            ),
            devices.versions,
        )
        assert [name for name, device in devices.devices.items() if device.bricked] == []
    assert set(states) == set(CASES)
