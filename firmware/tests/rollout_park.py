"""A park with devices that are updated: rows and messages as writer and bridge make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections
from redis import Redis

from devices.ingest import queue
from devices.models import Device, DeviceType
from devices.protocol import decode_message
from devices.protocol.firmware import Offer, Withdraw
from devices.protocol.framing import MessageReader
from devices.tests import factories
from devices.tests.factories import member
from firmware.domain import rollout_driver, rollout_operations
from firmware.domain.rollout_operations import Draft
from firmware.models import Release, Rollout, RolloutTarget, UpdateEvent
from firmware.tests.uploads import Signer, approved
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CAPABILITIES = 0x04
CALM: dict[str, Any] = {
    "waves": [{"count": 1}, {"percent": 100}],
    "soak_s": 0,
    "success_percent": 100,
    "error_percent": 0,
    "max_downloads": None,
}


@dataclass
class RolloutPark:
    """A tenant with devices of one type and releases for it; the clock of the tests."""

    tenant: Tenant
    kind: DeviceType
    devices: list[Device]
    releases: dict[str, Release]
    people: tuple[int, int]
    now: datetime = NOW
    heard: list[tuple[int, Offer | Withdraw]] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        devices: int = 3,
        *,
        versions: tuple[str, ...] = ("1.0.0", "2.0.0"),
        of: Tenant | None = None,
        code: str = "",
    ) -> RolloutPark:
        """Committed: use it in tests that commit. Of a tenant of its own, unless one is given, and
        of a type with a code of its own, likewise.
        """
        of = of or factories.tenant()
        with open_scope(Scope((of.pk,))):
            kind = factories.device_type(of)
            kind.code, kind.capabilities = code or kind.code, ["firmware"]
            kind.save(update_fields=["code", "capabilities"])
            at = factories.facility(of)
            made = [factories.device(at, kind).device for _ in range(devices)]
            people = member(of, Role.ADMIN).user_id, member(of, Role.ADMIN).user_id
            signer = Signer.of(of)
            releases = {
                version: approved(signer, kind, version, image(version), people=people)
                for version in versions
            }
        park = cls(of, kind, made, releases, people)
        for device in made:
            park.connect(device)
        return park

    @property
    def scope(self) -> Scope:
        return Scope((self.tenant.pk,))

    def connect(self, device: Device, version: str = "1.0.0", **facts: Any) -> None:
        """A new connection of the device, as the writer stores it."""
        told = {
            "capabilities": CAPABILITIES,
            "image_sha256": hashlib.sha256(image(version)).hexdigest(),
            "hardware_revision": "a",
            **facts,
        }
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "UPDATE device_link SET connected = true, connection = connection + 1,"
                " firmware_version = %s, capabilities = %s, image_sha256 = %s,"
                " hardware_revision = %s WHERE device_id = %s",
                [version, *told.values(), device.pk],
            )

    def disconnect(self, device: Device) -> None:
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "UPDATE device_link SET connected = false WHERE device_id = %s", [device.pk]
            )

    def say(self, device: Device, kind: str, uid: UUID, **entries: Any) -> None:
        """An event of the device, as the writer puts it into the inbox."""
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "INSERT INTO device_inbox (tenant_id, device_id, topic, kind, occurred_at,"
                " received_at, body) VALUES (%s, %s, 'firmware', %s, %s, %s, %s)",
                [
                    device.tenant_id,
                    device.pk,
                    f"firmware.{kind}",
                    self.now,
                    self.now,
                    json.dumps({"update": uid.hex, **entries}),
                ],
            )

    def update(self, device: Device, offer: Offer, version: str = "2.0.0") -> None:
        """The device does what it was offered."""
        uid = UUID(bytes=offer.update_id)
        for kind in ("accepted", "downloaded", "installing"):
            self.say(device, kind, uid)
        self.connect(device, version)
        self.say(device, "confirmed", uid, version=version)

    def draft(self, version: str = "2.0.0", **strategy: Any) -> Rollout:
        """A draft for all devices."""
        with open_scope(self.scope):
            return rollout_operations.create(
                tenant_id=self.tenant.pk,
                draft=Draft(
                    name=f"To {version}",
                    release_id=self.releases[version].pk,
                    selection={"everything": True},
                    strategy={**CALM, **strategy},
                ),
                actor_id=self.people[0],
            )

    def start(self, version: str = "2.0.0", **strategy: Any) -> Rollout:
        """A roll-out to all devices."""
        row = self.draft(version, **strategy)
        with open_scope(self.scope):
            return rollout_operations.start(
                rollout_id=row.pk, now=self.now, actor_id=self.people[0]
            )

    def tick(self, times: int = 1, *, seconds: float = 1) -> None:
        """What the task does, so many times; what is sent to devices is in `heard`."""
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            with listening() as sent:
                rollout_driver.take_reports(now=self.now)
                for tenant_id, rollout_id in rollout_driver.driven():
                    step = rollout_driver.drive(
                        tenant_id=tenant_id, rollout_id=rollout_id, now=self.now
                    )
                    assert step is not None
                    rollout_driver.review(step, now=self.now)
            self.heard += sent

    def offers(self) -> dict[int, Offer]:
        """The last offer to each device that was sent since this was last asked."""
        found = {device: one for device, one in self.heard if isinstance(one, Offer)}
        self.heard.clear()
        return found

    def obey(self, version: str = "2.0.0") -> None:
        """Every device does what it was offered since the last time."""
        offers = self.offers()
        for device in self.devices:
            if device.pk in offers:
                self.update(device, offers[device.pk], version)

    def states(self, rollout: Rollout) -> list[str]:
        """The states of the devices, in their order."""
        with open_scope(self.scope):
            rows = RolloutTarget.objects.filter(rollout=rollout).order_by("device_id")
            return list(rows.values_list("state", flat=True))

    def fresh(self, rollout: Rollout) -> Rollout:
        """The roll-out as it is stored now."""
        with open_scope(self.scope):
            return Rollout.objects.get(pk=rollout.pk)

    def history(self, device: Device) -> list[str]:
        """What has happened to the device, one word each."""
        with open_scope(self.scope):
            rows = UpdateEvent.objects.filter(device=device).order_by("pk")
            return list(rows.values_list("kind", flat=True))


def image(version: str) -> bytes:
    """The firmware of a version."""
    return f"firmware {version} ".encode() * 100


@contextmanager
def listening() -> Iterator[list[tuple[int, Offer | Withdraw]]]:
    """What is sent to devices meanwhile."""
    heard: list[tuple[int, Offer | Withdraw]] = []
    with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as channel:
        channel.subscribe(queue.DOWNLINK_CHANNEL)
        assert channel.get_message(timeout=5) is not None
        yield heard
        while (message := channel.get_message(timeout=0.05)) is not None:
            if message["type"] != "message":
                continue
            device_id, sealed = queue.decode_downlink(message["data"])
            reader = MessageReader()
            reader.feed(sealed)
            for raw in reader:
                told = decode_message(raw.type, raw.body)
                assert isinstance(told, Offer | Withdraw)
                heard.append((device_id, told))
