"""Roll-outs reach devices that speak DDI as they reach all others, whoever made the release."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from redis import Redis

from devices.telemetry import status
from devices.tests import factories
from firmware.domain import rollout_driver, rollout_operations
from firmware.domain.rollout_operations import Draft
from firmware.models import Release, Rollout, RolloutTarget
from firmware.tests import swu
from firmware.tests.rollout_park import CALM
from firmware.tests.uploads import Signer, approved
from portal.tests.ddi_world import Ddi, ddi_type, number_in, speaking, whole
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

IMAGE = swu.image(
    swu.Signer.make(), version="2.0.0", hardware="a", content=b"firmware" * 400, path="/tmp/x"
)


@dataclass
class Fleet:
    """A reseller that releases firmware, and two devices of its client."""

    reseller: Tenant
    release: Release
    devices: tuple[Ddi, Ddi]
    actor: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def scope(self) -> Scope:
        """The reseller's, with its client."""
        return Scope((self.reseller.pk, self.devices[0].tenant.pk))

    def start(self, **strategy: object) -> Rollout:
        """A roll-out of the reseller to everything below it."""
        draft = Draft(
            name="To 2.0.0",
            release_id=self.release.pk,
            selection={"everything": True},
            strategy={**CALM, **strategy},
        )
        with open_scope(self.scope):
            row = rollout_operations.create(
                tenant_id=self.reseller.pk, draft=draft, actor_id=self.actor
            )
            return rollout_operations.start(rollout_id=row.pk, now=self.now, actor_id=self.actor)

    def tick(self, times: int = 3, *, seconds: float = 1) -> None:
        """What the driver does meanwhile."""
        for _ in range(times):
            self.now += timedelta(seconds=seconds)
            for tenant_id, rollout_id in rollout_driver.driven():
                rollout_driver.drive(tenant_id=tenant_id, rollout_id=rollout_id, now=self.now)

    def state(self, ddi: Ddi) -> str:
        """How far a device is."""
        with open_scope(ddi.scope):
            found: str = RolloutTarget.objects.values_list("state", flat=True).get(
                device=ddi.device
            )
        return found

    def offered(self) -> Ddi:
        """The one device that has something to do."""
        (found,) = (ddi for ddi in self.devices if "deploymentBase" in ddi.links())
        return found


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Committed, since the driver has transactions of its own."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.flushall()
    reseller = factories.tenant()
    client = factories.tenant(reseller)
    with open_scope(Scope((reseller.pk,))):
        kind = ddi_type(reseller)
        people = tuple(factories.member(reseller, Role.ADMIN).user_id for _ in range(2))
        signer = Signer.of(reseller)
        release = approved(signer, kind, "2.0.0", IMAGE, people=(people[0], people[1]))
    with open_scope(Scope((client.pk,))):
        # The client has the type as a row of its own.
        own = ddi_type(client)
        own.code = kind.code
        own.save(update_fields=["code"])
    devices = speaking(client, own), speaking(client, own)
    yield Fleet(reseller, release, devices, people[0])
    cache.clear()


def _update(ddi: Ddi) -> None:
    """What a client does."""
    link = ddi.links()["deploymentBase"]
    (file,) = ddi.ask(link).json()["deployment"]["chunks"][0]["artifacts"]
    assert file["filename"].endswith(".swu")
    assert whole(ddi.ask(file["_links"]["download-http"]["href"])) == IMAGE
    assert ddi.feedback(number_in(link), "closed", "success").status_code == 200


def test_rollout_of_a_reseller_reaches_the_devices_of_its_client(fleet: Fleet) -> None:
    row = fleet.start()
    fleet.tick()
    canary = fleet.offered()
    _update(canary)
    assert fleet.state(canary) == "succeeded"
    fleet.tick()
    other = fleet.offered()
    assert other is not canary
    _update(other)
    fleet.tick()
    with open_scope(fleet.scope):
        assert Rollout.objects.get(pk=row.pk).state == "completed"
        assert status.links(connection, [canary.device.pk])[canary.device.pk].firmware_version == (
            "2.0.0"
        )


def test_payload_of_devices_that_ask_by_themselves_takes_no_room_in_redis(fleet: Fleet) -> None:
    fleet.start()
    fleet.tick()
    fleet.offered()
    with Redis.from_url(settings.REDIS_URL) as redis:
        assert redis.keys("firmware:*") == []


def test_failed_attempt_is_made_again_as_another_action(fleet: Fleet) -> None:
    fleet.start(retries={"download": {"limit": 1, "delay_s": 60}}, error_percent=100)
    fleet.tick()
    canary = fleet.offered()
    first = number_in(canary.links()["deploymentBase"])
    canary.ask(f"/deploymentBase/{first}")
    canary.feedback(first, "closed", "failure", "ERROR : Download failed")
    assert "deploymentBase" not in canary.links()
    fleet.tick(seconds=61)
    second = number_in(canary.links()["deploymentBase"])
    assert second > first
    _update(canary)
    assert fleet.state(canary) == "succeeded"


def test_aborted_rollout_is_stopped_at_the_device(fleet: Fleet) -> None:
    row = fleet.start()
    fleet.tick()
    canary = fleet.offered()
    action = number_in(canary.links()["deploymentBase"])
    canary.ask(f"/deploymentBase/{action}")
    with open_scope(fleet.scope):
        rollout_operations.abort(rollout_id=row.pk, actor_id=fleet.actor)
    fleet.tick()
    assert "cancelAction" in canary.links()
    assert canary.feedback(action, "closed", "success", of="cancelAction").status_code == 200
    assert not {"cancelAction", "deploymentBase"} & set(canary.links())
    assert fleet.state(canary) == "cancelled"


def test_device_that_never_asks_gives_its_place_and_finds_it_again(fleet: Fleet) -> None:
    fleet.start(waves=[{"percent": 100}], max_downloads=1, offer_s=60)
    fleet.tick()
    first = fleet.offered()
    (other,) = (ddi for ddi in fleet.devices if ddi is not first)
    fleet.tick(seconds=40)
    assert "deploymentBase" in other.links()
    _update(other)
    for _ in range(8):
        fleet.tick(1, seconds=40)
        if "deploymentBase" in first.links():
            break
    _update(first)
    assert [fleet.state(ddi) for ddi in fleet.devices] == ["succeeded"] * 2
